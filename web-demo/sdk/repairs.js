/** Losses are looked for this often, and so many of the last looks decide. */
export const LOOK_EVERY_MS = 1000;
const LOOKS = 10;
/** A burst now and then is no reason to be later all the time: so many of them must have had losses. */
const LOSSY_LOOKS = 3;
/** A browser that does not know the round trip asks for the same packet again after this long. */
const ASK_AGAIN_MS = 100;
/** Until a hole is seen, which may take until the next frame, and asked for. */
const NOTICE_MS = 60;
/** Later than this is worse than a frame less now and then. */
const MOST_MS = 500;

/** A longer wait is taken in such steps. Trade: taken at once it is a picture that stands still for as long; so it runs at three quarters of its speed. */
const STEP_MS = 25;
export const STEP_EVERY_MS = 100;

/** Where packets are lost, so are some of the requests and of the repairs. */
function twoTries(rttMs) {
  return Math.round(NOTICE_MS + Math.max(rttMs, ASK_AGAIN_MS) + rttMs);
}

/**
 * How long pictures of a seat wait: for what is lost on the way from the server, and on the way there, whichever takes longer.
 *
 * @param {number | null} here a {@link RepairWait}'s `ms`
 * @param {number} [there] the seat's `repairMs`
 * @returns {number | null} milliseconds; `null` = as the browser thinks best
 */
export function seatWait(here, there = 0) {
  if (!there) return here;
  return Math.min(MOST_MS, Math.max(here ?? 0, NOTICE_MS + there));
}

/**
 * The next step of a receiver's wait.
 *
 * @param {number | null} present how long its pictures wait now, ms
 * @param {number | null} wanted
 * @returns {number | null}
 */
export function nextWait(present, wanted) {
  return wanted === null ? null : Math.min(wanted, (present ?? 0) + STEP_MS);
}

/**
 * How long pictures should wait for packets that were lost and are asked for again.
 *
 * A browser that only receives does not know how far away the sender is (RTCP tells that to senders), so its jitter
 * buffer has no room for repairs, and pictures come late and by leaps. The connection's round trip by STUN is known here.
 */
export class RepairWait {
  /** @type {number | null} */
  #nacks = null;
  #looks = [];
  /** How long to wait, ms; `null` = as the browser thinks best. @type {number | null} */
  ms = null;

  /**
   * One more look at what the connection counts.
   *
   * @param {{nacks: number, rttMs: number | null}} stats all NACKs so far
   * @returns {boolean} whether `ms` has changed
   */
  look({ nacks, rttMs }) {
    const lossy = this.#nacks !== null && nacks > this.#nacks;
    this.#nacks = nacks;
    this.#looks = [...this.#looks, lossy].slice(-LOOKS);
    const before = this.ms;
    const losses = this.#looks.filter(Boolean).length;
    // Once begun it goes on until nothing is lost any more: each change is a picture that runs slower or faster.
    const waits = losses >= LOSSY_LOOKS || (before !== null && losses > 0);
    if (!waits) this.ms = null;
    else if (rttMs !== null) this.ms = Math.min(MOST_MS, Math.max(before ?? 0, twoTries(rttMs)));
    return this.ms !== before;
  }
}
