import { nextWait, STEP_EVERY_MS } from "./repairs.js";
import { mark } from "./timings.js";

/** Ids and modes of the data channels are part of the protocol; nothing is negotiated in band. */
const CHANNELS = [
  ["gifts", { negotiated: true, id: 0 }],
  ["ev", { negotiated: true, id: 1 }],
  ["fx", { negotiated: true, id: 2, ordered: false, maxRetransmits: 0 }],
];

/** The screen share has a seat number too, so that every slot is `(seat, kind)`. */
export const SCREEN_SEAT = 9;

/**
 * Which slot an m-line shows: `a{k}` and `v{k}` are seat k, `s` is the screen.
 *
 * @param {string | null} mid
 * @returns {{seat: number, kind: "audio" | "video"} | null}
 */
export function slotOfMid(mid) {
  if (mid === "s") return { seat: SCREEN_SEAT, kind: "video" };
  const match = /^([av])([0-8])$/.exec(mid ?? "");
  return match && { seat: Number(match[2]), kind: match[1] === "a" ? "audio" : "video" };
}

/**
 * The connection that shows the stage. The server offers, we answer; guests come and go in fixed
 * slots without another offer. Made before the offer is here, so that the certificate is ready.
 */
export class WatchLink {
  /** @type {Promise<any> | null} */
  #negotiation = null;
  #closed = false;
  #waitStep = 0;

  /**
   * @param {{
   *   dataChannels: boolean,
   *   onTrack: (seat: number, kind: "audio" | "video", track: MediaStreamTrack) => void,
   *   onChannel: (name: string, channel: RTCDataChannel) => void,
   *   onMessage: (name: string, text: string) => void,
   *   onState: (state: RTCPeerConnectionState) => void,
   * }} options
   */
  constructor(options) {
    this.options = options;
    /** The server's name for this connection, known from its first offer. */
    this.transport = null;
    /** @type {Record<string, RTCDataChannel>} */
    this.channels = {};
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.pc.addEventListener("track", (e) => this.#track(e));
    this.pc.addEventListener("iceconnectionstatechange", () => {
      if (this.pc.iceConnectionState === "connected") mark("iceConnected");
    });
    this.pc.addEventListener("connectionstatechange", () => {
      if (!this.#closed) options.onState(this.pc.connectionState);
    });
    if (options.dataChannels) this.#openChannels();
  }

  /** For the next gathering: the first one, or that of an ICE restart. @param {RTCIceServer[]} servers */
  useIceServers(servers) {
    this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers: servers });
  }

  /**
   * Take an offer (the first, a grown one or an ICE restart) and hand our answer to `send`. One
   * negotiation at a time; the answer leaves as soon as it exists, before it is applied here.
   *
   * @param {{transport: string, sdp: string}} offer
   * @param {(answer: {transport: string, sdp: string}) => Promise<any>} send
   */
  accept(offer, send) {
    // Begun here and now if nothing is under way: a promise's turn would come after the page has drawn.
    const run = this.#negotiation ? this.#negotiation.then(() => this.#answer(offer, send)) : this.#answer(offer, send);
    const ended = run.catch(() => {}).then(() => {
      if (this.#negotiation === ended) this.#negotiation = null;
    });
    this.#negotiation = ended;
    return run;
  }

  async #answer({ transport, sdp }, send) {
    this.transport = transport;
    // Chained by the browser; waiting for each here would wait for the page's drawing too.
    const [, answer] = await Promise.all([this.pc.setRemoteDescription({ type: "offer", sdp }), this.pc.createAnswer()]);
    const sent = send({ transport, sdp: answer.sdp });
    mark("answerSent");
    await this.pc.setLocalDescription(answer);
    await sent;
  }

  /** @param {(seat: number) => number | null} wait how long its pictures wait for what is missing, ms; `null` = as the browser thinks best */
  waitForRepairs(wait) {
    clearTimeout(this.#waitStep);
    if (this.#closed) return;
    let arrived = true;
    for (const { mid, receiver } of this.pc.getTransceivers()) {
      const slot = slotOfMid(mid);
      if (slot?.kind !== "video" || !("jitterBufferTarget" in receiver)) continue;
      const wanted = wait(slot.seat);
      const next = nextWait(receiver.jitterBufferTarget, wanted);
      receiver.jitterBufferTarget = next;
      arrived &&= next === wanted;
    }
    if (!arrived) this.#waitStep = setTimeout(() => this.waitForRepairs(wait), STEP_EVERY_MS);
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#waitStep);
    this.pc.close();
  }

  #track({ transceiver, track }) {
    const slot = slotOfMid(transceiver.mid);
    if (slot && !this.#closed) this.options.onTrack(slot.seat, slot.kind, track);
  }

  #openChannels() {
    for (const [name, init] of CHANNELS) {
      const channel = this.pc.createDataChannel(name, init);
      channel.binaryType = "arraybuffer";
      this.channels[name] = channel;
      channel.addEventListener("open", () => this.options.onChannel(name, channel));
      channel.addEventListener("message", (e) => {
        if (!this.#closed) this.options.onMessage(name, textOf(e.data));
      });
    }
  }
}

/** The server may send text or binary frames; both hold UTF-8 JSON. */
function textOf(data) {
  return typeof data === "string" ? data : new TextDecoder().decode(data);
}
