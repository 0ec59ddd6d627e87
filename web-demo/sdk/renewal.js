/** A token is replaced this long before it ends. */
const BEFORE_MS = 120_000;
/** Longest wait that a browser's timer can hold safely. */
const LONGEST_MS = 2 ** 31 - 1;

/** When a JWT ends, in ms since the epoch; `null` if it does not say. @param {string} token */
export function expiryOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { exp } = JSON.parse(atob(payload));
    return Number.isFinite(exp) ? exp * 1000 : null;
  } catch {
    return null;
  }
}

/**
 * Run `renew` before the token ends.
 *
 * @param {string} token
 * @param {() => void} renew
 * @returns {() => void} stop
 */
export function beforeExpiry(token, renew) {
  const end = expiryOf(token);
  if (end === null) return () => {};
  const timer = setTimeout(renew, Math.min(LONGEST_MS, Math.max(1000, end - Date.now() - BEFORE_MS)));
  return () => clearTimeout(timer);
}
