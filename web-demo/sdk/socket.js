import { OFFLINE, Refusal } from "./refusal.js";

/** A connection that is silent for this long after a ping is dead, whatever the browser thinks. */
const PING_EVERY_MS = 15_000;
const PONG_WITHIN_MS = 6_000;
const OPEN_WITHIN_MS = 10_000;

/** One WebSocket: opens once, carries JSON text, tells when it is gone. Never reconnects by itself. */
export class Socket {
  #ws;
  #pingTimer = 0;
  #closed = false;

  /**
   * @param {string} url
   * @param {import("./requests.js").Requests} requests
   * @param {{onEvent: (event: any) => void, onClose: () => void}} handlers
   */
  constructor(url, requests, handlers) {
    this.requests = requests;
    this.handlers = handlers;
    this.#ws = new WebSocket(url);
    /** Resolves when open; rejects when it never does. */
    this.opened = new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.close(), OPEN_WITHIN_MS);
      this.#ws.addEventListener("open", () => {
        clearTimeout(timer);
        this.#keepAlive();
        resolve(undefined);
      });
      this.#ws.addEventListener("close", () => {
        clearTimeout(timer);
        reject(new Refusal({ code: OFFLINE, message: "No connection to the server." }));
        this.#gone();
      });
    });
    this.opened.catch(() => {});
    this.#ws.addEventListener("message", (e) => this.#receive(e.data));
  }

  get open() {
    return this.#ws.readyState === WebSocket.OPEN;
  }

  /**
   * Send a command and wait for its reply.
   *
   * @param {string} type
   * @param {object} [data]
   * @param {number} [timeoutMs]
   */
  request(type, data = {}, timeoutMs = 10_000) {
    if (!this.open) return Promise.reject(new Refusal({ code: OFFLINE, message: "No connection to the server." }));
    const { text, reply } = this.requests.create(type, data, timeoutMs);
    this.#ws.send(text);
    return reply;
  }

  close() {
    this.#ws.close();
    this.#gone();
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message && message.id !== undefined) this.requests.settle(message);
    else if (message?.type) this.handlers.onEvent(message);
  }

  #keepAlive() {
    this.#pingTimer = setInterval(() => {
      this.request("ping", {}, PONG_WITHIN_MS).catch((refusal) => {
        if (refusal.code === "client_timeout") this.close();
      });
    }, PING_EVERY_MS);
  }

  #gone() {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#pingTimer);
    this.requests.failAll(new Refusal({ code: OFFLINE, message: "The connection was lost." }));
    this.handlers.onClose();
  }
}
