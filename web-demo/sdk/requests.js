import { Refusal, TIMEOUT } from "./refusal.js";

/**
 * Commands that wait for their reply. Ids are unique per connection over all its carriers, so one
 * table serves the WebSocket and the `gifts` data channel.
 */
export class Requests {
  #next = 1;
  #waiting = new Map();

  /**
   * @param {string} type `noun.verb`
   * @param {object} data
   * @param {number} timeoutMs
   * @returns {{text: string, reply: Promise<any>}} the JSON to send and its reply's data
   */
  create(type, data, timeoutMs) {
    const id = this.#next++;
    const reply = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Refusal({ code: TIMEOUT, message: "The server did not answer in time." }));
      }, timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
    });
    return { text: JSON.stringify({ id, type, data }), reply };
  }

  /** @param {{id: number, ok: boolean, data?: any, refusal?: any}} message */
  settle(message) {
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.ok) waiting.resolve(message.data ?? {});
    else waiting.reject(new Refusal(message.refusal ?? { code: "internal" }));
  }

  /** The connection is gone. @param {Refusal} reason */
  failAll(reason) {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(reason);
    }
    this.#waiting.clear();
  }
}
