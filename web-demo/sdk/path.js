/** How long an answer may take: a few round trips, so that a far viewer is not taken for a lost one. */
const ANSWER_LEAST_MS = 300;
const ANSWER_MOST_MS = 1000;
/** Where no round trip was measured yet. */
const USUAL_RTT_MS = 150;

/** How long a ping to a peer at this distance may take before its path counts as broken. @param {number | null} rttMs */
export function answerWithin(rttMs) {
  return Math.min(ANSWER_MOST_MS, Math.max(ANSWER_LEAST_MS, 100 + 3 * (rttMs ?? USUAL_RTT_MS)));
}

/**
 * What came over a connection so far, what was asked for again, and how far away its peer is.
 *
 * @param {RTCPeerConnection} pc
 * @returns {Promise<{received: number, nacks: number, rttMs: number | null}>} bytes; packets; milliseconds
 */
export async function pathStats(pc) {
  let [whole, parts, nacks, rttMs] = [null, 0, 0, null];
  for (const report of (await pc.getStats()).values()) {
    const bytes = report.bytesReceived ?? 0;
    if (report.type === "transport") whole = (whole ?? 0) + bytes;
    if (report.type === "candidate-pair" || report.type === "inbound-rtp") parts += bytes;
    if (report.type === "inbound-rtp") nacks += report.nackCount ?? 0;
    if (report.type === "candidate-pair" && report.nominated && report.responsesReceived > 0) {
      rttMs = roundTrip(report) * 1000;
    }
  }
  // Firefox has no "transport" reports; what counts is only whether the sum grows.
  return { received: whole ?? parts, nacks, rttMs: Number.isFinite(rttMs) ? rttMs : null };
}

/** The same in a moment: when the packets that were under way at a break have come too. */
export async function laterStats(pc, ms) {
  await new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
  return pathStats(pc);
}

/** The last one, or the mean if that is shorter: one that waited behind a key frame says nothing. */
function roundTrip({ currentRoundTripTime, totalRoundTripTime, responsesReceived }) {
  return Math.min(currentRoundTripTime ?? Infinity, (totalRoundTripTime ?? Infinity) / responsesReceived);
}

/** Since when nothing has arrived. */
export class Silence {
  #received = -1;
  #since = 0;
  /** Nothing was read since the last thing that is known to have come. */
  #fresh = false;

  /** @param {number} now `performance.now()` */
  constructor(now) {
    this.#since = now;
  }

  /** Something arrived at this time, or until then nothing was expected. @param {number} at */
  reset(at) {
    this.#since = at;
    this.#fresh = true;
  }

  /**
   * How long it has been silent, given the bytes received so far.
   *
   * @param {number} now
   * @param {number} received
   * @returns {number} milliseconds; 0 if something came since the last call
   */
  lasts(now, received) {
    // The first reading after something came cannot tell whether more has come since: the next one will.
    if (received !== this.#received && !this.#fresh) this.#since = now;
    this.#fresh = false;
    this.#received = received;
    return now - this.#since;
  }
}
