import { OFFLINE, Refusal, TIMEOUT } from "./refusal.js";

/** How long one carrier may take before the same key goes over the other one. */
const CARRIER_TIMEOUT_MS = 3000;
/** Tries of one gift over alternating carriers; the key makes all of them one transfer. */
const TRIES = 4;

/** A fresh idempotency key. */
export function newKey() {
  // randomUUID exists in secure contexts only; a demo may be opened over plain HTTP in a LAN.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/**
 * Commands that may travel on the `gifts` data channel or on the WebSocket. The shortest way is
 * tried first; without a reply in time the *same* command goes over the other carrier.
 */
export class GiftCarrier {
  #channel = null;

  /**
   * @param {{
   *   requests: () => import("./requests.js").Requests,
   *   overSocket: (type: string, data: object, timeoutMs: number) => Promise<any>,
   * }} ways
   */
  constructor({ requests, overSocket }) {
    this.requests = requests;
    this.overSocket = overSocket;
  }

  /** @param {RTCDataChannel | null} channel */
  useChannel(channel) {
    this.#channel = channel;
  }

  get channelOpen() {
    return this.#channel?.readyState === "open";
  }

  /**
   * @param {string} type
   * @param {object} data must hold its own idempotency key if it moves money
   */
  async send(type, data) {
    let last;
    for (let attempt = 0; attempt < TRIES; attempt += 1) {
      const viaChannel = this.channelOpen && attempt % 2 === 0;
      try {
        return await (viaChannel ? this.#overChannel(type, data) : this.overSocket(type, data, CARRIER_TIMEOUT_MS));
      } catch (refusal) {
        if (refusal.code !== TIMEOUT && refusal.code !== OFFLINE) throw refusal;
        last = refusal;
        if (refusal.code === OFFLINE && !this.channelOpen) await pause(500 * (attempt + 1));
      }
    }
    throw last;
  }

  /** Whether the path of the data channel works both ways. @param {number} withinMs */
  ping(withinMs) {
    return this.#overChannel("ping", {}, withinMs);
  }

  #overChannel(type, data, timeoutMs = CARRIER_TIMEOUT_MS) {
    const { text, reply } = this.requests().create(type, data, timeoutMs);
    try {
      this.#channel.send(text);
    } catch {
      reply.catch(() => {});
      return Promise.reject(new Refusal({ code: OFFLINE, message: "The data channel is closed." }));
    }
    return reply;
  }
}

function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
