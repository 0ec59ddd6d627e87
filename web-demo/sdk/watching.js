import { WatchLink } from "./watch.js";

/** A live stage without a byte for this long is a broken path; do not wait for the browser to say so. */
const SILENT_AFTER_MS = 2000;
/** Time for an ICE restart to bring media back before everything is made anew. */
const RESTART_WITHIN_MS = 3000;
const CHECK_EVERY_MS = 1000;
/** An old connection stays until the new one shows something, but not longer than this. */
const OLD_LINK_MS = 4000;

/**
 * Keeps one watch connection alive: prepares it before the join reply, replaces it after a rejoin,
 * restarts ICE when nothing arrives, and gives up towards `onDead` when that does not help.
 */
export class Watching {
  #options;
  #link = null;
  #prepared = null;
  #grown = false;
  #timer = 0;
  #seen = { bytes: 0, at: 0 };
  #restartedAt = 0;
  #closed = false;

  /**
   * @param {{
   *   request: (type: string, data: object, timeoutMs?: number) => Promise<any>,
   *   stage: import("./stage.js").StageMedia,
   *   dataChannels: boolean,
   *   onChannel: (name: string, channel: RTCDataChannel) => void,
   *   onMessage: (name: string, text: string) => void,
   *   onDead: () => void,
   *   expectsMedia: () => boolean,
   * }} options
   */
  constructor(options) {
    this.#options = options;
  }

  /** The connection in use, for statistics. @returns {RTCPeerConnection | null} */
  get pc() {
    return this.#link?.pc ?? null;
  }

  /** A data channel of the connection in use. @param {"gifts" | "ev" | "fx"} name */
  channel(name) {
    return this.#link?.channels[name] ?? null;
  }

  /** Make the next connection now: its certificate and channels cost time that the join has anyway. */
  prepare() {
    this.#prepared ??= this.#makeLink();
  }

  useIceServers(servers) {
    this.#prepared?.useIceServers(servers);
  }

  /** Use the offer of a join reply. @param {{transport: string, sdp: string}} offer */
  async start(offer) {
    this.prepare();
    const old = this.#link;
    this.#link = this.#prepared;
    this.#prepared = null;
    this.#grown = false;
    this.#restartedAt = 0;
    this.#seen = { bytes: 0, at: performance.now() };
    if (old) setTimeout(() => old.close(), OLD_LINK_MS);
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#check(), CHECK_EVERY_MS);
    await this.#accept(offer);
  }

  /** Slots for all seats of the room, asked for once and when nobody is waiting for a picture. */
  growWhenIdle() {
    if (this.#grown) return;
    this.#grown = true;
    const link = this.#link;
    const idle = globalThis.requestIdleCallback ?? ((run) => setTimeout(run, 500));
    idle(() => this.#grow(link), { timeout: 3000 });
  }

  close() {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#link?.close();
    this.#prepared?.close();
  }

  #makeLink() {
    const link = new WatchLink({
      dataChannels: this.#options.dataChannels,
      onTrack: (seat, kind, track) => this.#options.stage.addTrack(seat, kind, track),
      onChannel: (name, channel) => this.#link === link && this.#options.onChannel(name, channel),
      onMessage: (name, text) => this.#link === link && this.#options.onMessage(name, text),
      onState: (state) => this.#link === link && this.#pathState(state),
    });
    return link;
  }

  #accept(offer) {
    return this.#link.accept(offer, (answer) => this.#options.request("media.answer", answer));
  }

  async #grow(link) {
    if (this.#closed || this.#link !== link) return;
    try {
      const offer = await this.#options.request("media.grow");
      if (offer.transport && this.#link === link) await this.#accept(offer);
    } catch (error) {
      // The slots at hand go on working; the next join brings enough for the seats on air.
      console.warn("greenroom: growing the stage failed", error);
    }
  }

  #pathState(state) {
    if (state === "failed") this.#heal();
    if (state === "closed") this.#options.onDead();
  }

  async #check() {
    const link = this.#link;
    if (!link || !this.#options.expectsMedia()) {
      this.#seen.at = performance.now();
      return;
    }
    const now = performance.now();
    if (now - this.#options.stage.lastFrameAt < SILENT_AFTER_MS / 2) {
      this.#alive(now);
      return;
    }
    const bytes = await link.bytesReceived();
    if (link !== this.#link) return;
    if (bytes !== this.#seen.bytes) {
      this.#seen.bytes = bytes;
      this.#alive(now);
    } else if (now - this.#seen.at > SILENT_AFTER_MS) {
      this.#heal();
    }
  }

  #alive(now) {
    this.#seen.at = now;
    this.#restartedAt = 0;
  }

  /** First an ICE restart; if that brought nothing in its time, a new join. */
  async #heal() {
    const now = performance.now();
    if (this.#restartedAt) {
      if (now - this.#restartedAt > RESTART_WITHIN_MS) this.#options.onDead();
      return;
    }
    this.#restartedAt = now;
    const link = this.#link;
    try {
      const offer = await this.#options.request("media.restart", { transport: link.transport }, RESTART_WITHIN_MS);
      if (link === this.#link) await this.#accept({ transport: link.transport, ...offer });
    } catch {
      if (link === this.#link && !this.#closed) this.#options.onDead();
    }
  }
}
