import { Publisher } from "./publish.js";

/** How long the seat may take to show up as live again after a rejoin before we offer anew. */
const SEAT_BACK_MS = 3000;
const RESTART_TRIES = 2;

/** Own camera and microphone on the way to the server, kept there over network changes. */
export class Publishing {
  #options;
  #publisher = null;
  #restarts = 0;

  /**
   * @param {{
   *   request: (type: string, data: object) => Promise<any>,
   *   emit: (type: string, detail: any) => void,
   * }} options
   */
  constructor(options) {
    this.#options = options;
  }

  /** Own seat while publishing, otherwise -1. */
  get seat() {
    return this.#publisher?.seat ?? -1;
  }

  /** The connection in use, for statistics. @returns {RTCPeerConnection | null} */
  get pc() {
    return this.#publisher?.pc ?? null;
  }

  get active() {
    return this.#publisher !== null;
  }

  /** @returns {MediaStream | null} */
  get stream() {
    return this.#publisher?.stream ?? null;
  }

  /**
   * Send this stream. The host may at any time, a guest after the seat was granted.
   *
   * @param {MediaStream} stream
   * @param {number} [seat] 0 for the host
   */
  async start(stream, seat = 0) {
    this.#publisher?.close();
    const publisher = new Publisher({
      request: this.#options.request,
      stream,
      seat,
      onState: (state) => this.#pathState(publisher, state),
    });
    this.#publisher = publisher;
    await publisher.start();
  }

  /** @param {"audio" | "video"} kind @param {boolean} on muted */
  mute(kind, on) {
    return this.#publisher?.mute(kind, on) ?? Promise.resolve();
  }

  /** Staff changed our mutes; the server's gate counts, this only spares the uplink. */
  followMutes(guest) {
    if (!guest || !this.#publisher) return;
    const muted = new Set([...(guest.selfMuted ?? []), ...(guest.locked ?? [])]);
    for (const kind of ["audio", "video"]) this.#publisher.followMute(kind, muted.has(kind));
  }

  /** Another camera or microphone. @param {MediaStreamTrack} track */
  replaceTrack(track) {
    return this.#publisher?.replaceTrack(track) ?? Promise.resolve();
  }

  stats() {
    return this.#publisher?.stats() ?? Promise.resolve(null);
  }

  /** Stop sending; the stream stays the caller's. */
  stop() {
    this.#publisher?.close();
    this.#publisher = null;
  }

  /** After a rejoin: media that still flows goes on; otherwise it is offered anew. */
  afterRejoin(stateNow) {
    const publisher = this.#publisher;
    if (!publisher) return;
    this.#restarts = 0;
    if (publisher.pc.connectionState !== "connected") {
      this.#again(publisher);
      return;
    }
    setTimeout(() => {
      if (this.#publisher === publisher && stateNow()?.seats[publisher.seat]?.state !== "live") this.#again(publisher);
    }, SEAT_BACK_MS);
  }

  async #pathState(publisher, state) {
    if (publisher !== this.#publisher) return;
    this.#options.emit("publishState", state);
    if (state === "connected") this.#restarts = 0;
    if (state !== "disconnected" && state !== "failed") return;
    if (this.#restarts >= RESTART_TRIES) {
      this.#again(publisher);
      return;
    }
    this.#restarts += 1;
    // Offline, or the transport is gone: the rejoin or the next state offers anew.
    await publisher.restart().catch(() => state === "failed" && this.#again(publisher));
  }

  #again(publisher) {
    if (publisher !== this.#publisher) return;
    this.#restarts = 0;
    this.start(publisher.stream, publisher.seat).catch((error) => this.#options.emit("publishError", error));
  }
}
