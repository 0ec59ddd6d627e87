/**
 * The least that a browser is to send where packets are lost by chance, kbit/s: sound in RED (100), the smallest layer and
 * its repairs; with 200 the picture had 30 of it. Trade: Chromium cannot tell such losses from a network that is too narrow, and
 * its estimate falls without end, at 30 % to a picture a second. On a network that takes less than this a floor
 * does harm: a queue that never empties, and sound lost in it.
 */
const LEAST_KBPS = 300;
export const LOOK_EVERY_MS = 1000;
/** A network that is too narrow loses less than this once the estimate is below what it takes. */
const LOSSY = 0.1;
/** So many looks in a row decide for a floor: the estimate takes some more to fall so far that the picture suffers. */
const LOSSY_LOOKS = 2;
/** Longer by this than ever on this path is a queue. */
const QUEUE_MS = 150;
/** And so many looks in a row decide against the floor: two answers to STUN, so that one that waited behind a key frame does not. */
const QUEUE_LOOKS = 4;
/** After so many looks with hardly a loss there is nothing left to hold against. */
const CALM = 0.05;
const CALM_LOOKS = 10;
/** After a queue no floor for so many looks: each change costs a key frame. */
const REST_LOOKS = 60;

/**
 * Whether the browser's estimate needs a floor: only where packets go on being lost although it has fallen below the
 * floor, and no queue grows meanwhile.
 */
export class LeastRate {
  #path = "";
  /** The shortest round trip of this path. */
  #nearest = Infinity;
  #lossy = 0;
  #queued = 0;
  #calm = 0;
  #rest = 0;
  /** The floor, kbit/s; `null` = none. @type {number | null} */
  kbps = null;

  /**
   * One more look at what the connection counts.
   *
   * @param {{path: string, rttMs: number | null, estimateKbps: number | null, lost: number}} seen by {@link UplinkStats}
   * @returns {boolean} whether `kbps` has changed
   */
  look({ path, rttMs, estimateKbps, lost }) {
    if (rttMs === null || estimateKbps === null) return false;
    if (path !== this.#path) this.#nearest = rttMs;
    this.#path = path;
    this.#nearest = Math.min(this.#nearest, rttMs);
    const queue = rttMs > this.#nearest + QUEUE_MS;
    const fallen = estimateKbps < LEAST_KBPS;
    this.#lossy = fallen && lost >= LOSSY && !queue ? this.#lossy + 1 : 0;
    this.#queued = queue ? this.#queued + 1 : 0;
    this.#calm = lost < CALM ? this.#calm + 1 : 0;
    this.#rest = Math.max(0, this.#rest - 1);
    const before = this.kbps;
    if (before === null && this.#lossy >= LOSSY_LOOKS && this.#rest === 0) this.kbps = LEAST_KBPS;
    if (before !== null && this.#queued >= QUEUE_LOOKS) {
      this.kbps = null;
      this.#rest = REST_LOOKS;
    }
    if (before !== null && this.#calm >= CALM_LOOKS) this.kbps = null;
    return this.kbps !== before;
  }
}

/** What a publishing connection knows of its way up; needs to be asked about once a second. */
export class UplinkStats {
  #sent = 0;
  #repeated = 0;

  /**
   * @param {RTCPeerConnection} pc
   * @returns {Promise<{path: string, rttMs: number | null, estimateKbps: number | null, lost: number}>} `lost`: the
   *   share of packets. Of sound the server's reports tell it; video is repaired before they do, so there the
   *   share of repairs does, since the last call. `null` where a browser does not tell
   */
  async read(pc) {
    const seen = { path: "", rttMs: null, estimateKbps: null, lost: 0 };
    let [sent, repeated] = [0, 0];
    for (const report of (await pc.getStats()).values()) {
      if (report.type === "candidate-pair" && report.nominated && report.availableOutgoingBitrate !== undefined) {
        seen.path = report.id;
        seen.rttMs = (report.currentRoundTripTime ?? NaN) * 1000;
        seen.estimateKbps = report.availableOutgoingBitrate / 1000;
      }
      if (report.type === "remote-inbound-rtp") seen.lost = Math.max(seen.lost, report.fractionLost ?? 0);
      if (report.type === "outbound-rtp" && report.kind === "video") {
        sent += report.packetsSent ?? 0;
        repeated += report.retransmittedPacketsSent ?? 0;
      }
    }
    if (Number.isNaN(seen.rttMs)) seen.rttMs = null;
    if (sent > this.#sent) seen.lost = Math.max(seen.lost, (repeated - this.#repeated) / (sent - this.#sent));
    [this.#sent, this.#repeated] = [sent, repeated];
    return seen;
  }
}

/**
 * The server's answer with a floor for the browser's estimate, where it knows one (`x-google-min-bitrate` of libwebrtc, a
 * parameter of each video codec). Others ignore it.
 *
 * @param {string} sdp
 * @param {number | null} kbps `null`: as it is
 */
export function withLeastRate(sdp, kbps) {
  if (kbps === null) return sdp;
  const codecs = [...sdp.matchAll(/^a=rtpmap:(\d+) (?:VP8|VP9|H264|AV1)\/90000\r?$/gm)].map(([, pt]) => pt);
  return codecs.reduce((text, pt) => {
    const known = new RegExp(`^(a=fmtp:${pt} [^\\r\\n]*)`, "m");
    const floor = `x-google-min-bitrate=${kbps}`;
    if (known.test(text)) return text.replace(known, `$1;${floor}`);
    return text.replace(new RegExp(`^(a=rtpmap:${pt} [^\\r\\n]*)(\\r?\\n)`, "m"), `$1$2a=fmtp:${pt} ${floor}$2`);
  }, sdp);
}
