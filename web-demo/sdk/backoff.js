/** First wait after a lost connection; doubles per failed try. */
const BASE_MS = 300;
/** Trades load on a server that just came back against how long a viewer stares at a banner. */
const MAX_MS = 8000;

/**
 * How long to wait before try number `attempt` (0-based). Half of it is random, so that the
 * viewers of a restarted server do not all come back in the same instant.
 *
 * @param {number} attempt
 * @param {() => number} [random] in [0, 1)
 * @returns {number} milliseconds
 */
export function backoff(attempt, random = Math.random) {
  const ceiling = Math.min(MAX_MS, BASE_MS * 2 ** attempt);
  return Math.round(ceiling * (0.5 + 0.5 * random()));
}
