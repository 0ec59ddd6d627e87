import { answerWithin, laterStats, pathStats, Silence } from "./path.js";
import { Publisher } from "./publish.js";
import { OFFLINE, TIMEOUT } from "./refusal.js";

/** How long the seat may take to show up as live again after a rejoin before we offer anew. */
const SEAT_BACK_MS = 3000;
const RESTART_TRIES = 2;
const CHECK_EVERY_MS = 200;
/** The server reports twenty times a second what it got; a path without a report for this long is asked about. */
const SILENT_MS = 600;
/** After a rejoin a path without a report for this long, four of them, broke with the socket. */
const SILENT_AT_REJOIN_MS = 200;
/** Time for an ICE restart to bring reports back. */
const RESTART_WITHIN_MS = 2500;

/** Own camera and microphone on the way to the server, kept there over network changes. */
export class Publishing {
  #options;
  #publisher = null;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  #restarts = 0;
  #restartedAt = 0;
  #timer = 0;
  #silence = new Silence(0);
  #silentMs = 0;
  #busy = false;

  /**
   * @param {{
   *   request: (type: string, data: object, timeoutMs?: number) => Promise<any>,
   *   askSocket: (withinMs: number) => Promise<boolean>,
   *   socketInUse: () => object | null,
   *   onDead: (asked?: object | null) => void,
   *   emit: (type: string, detail: any) => void,
   * }} options
   */
  constructor(options) {
    this.#options = options;
  }

  /** As `Watching.useIceServers`. @param {RTCIceServer[]} [servers] */
  useIceServers(servers) {
    if (!servers?.length) return;
    this.#iceServers = servers;
    this.#publisher?.useIceServers(servers);
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
   * @param {{simulcast?: boolean}} [how] `simulcast`: in layers or not, whatever the picture's size
   */
  async start(stream, seat = 0, { simulcast } = {}) {
    this.#publisher?.close();
    const publisher = new Publisher({
      request: this.#options.request,
      stream,
      seat,
      simulcast,
      iceServers: this.#iceServers,
      onState: (state) => this.#pathState(publisher, state),
    });
    this.#publisher = publisher;
    this.#silence = new Silence(performance.now());
    this.#silentMs = 0;
    this.#restartedAt = 0;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#check(publisher), CHECK_EVERY_MS);
    await publisher.start();
  }

  /** The path may be broken: if the server is there but says nothing about our media, restart ICE. */
  async suspect() {
    const publisher = this.#publisher;
    if (!publisher || this.#busy || publisher.pc.connectionState !== "connected") return;
    this.#busy = true;
    try {
      const within = answerWithin((await pathStats(publisher.pc)).rttMs);
      // Another may be in use by the time this one is known to be dead.
      const asked = this.#options.socketInUse();
      const answers = [this.#options.askSocket(within), laterStats(publisher.pc, within / 2)];
      const [socket, before] = await Promise.all(answers);
      const { received } = await laterStats(publisher.pc, within / 2);
      if (publisher !== this.#publisher) return;
      this.#silentMs = this.#silence.lasts(performance.now(), received);
      if (received !== before.received) return;
      if (!socket) this.#options.onDead(asked);
      else if (!this.#restartedAt) await this.#restart(publisher);
    } finally {
      this.#busy = false;
    }
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

  /** Some of our layers nobody takes, or takes again. @param {{transport: string, layers: boolean[]}} told */
  followLayers({ transport, layers }) {
    if (this.#publisher?.transport === transport) this.#publisher.followLayers(layers);
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
    clearInterval(this.#timer);
    this.#publisher?.close();
    this.#publisher = null;
  }

  /** After a rejoin: media that still flows goes on, a broken path is restarted; else it is offered anew. */
  afterRejoin(stateNow) {
    const publisher = this.#publisher;
    if (!publisher) return;
    this.#restarts = 0;
    const state = publisher.pc.connectionState;
    if (state === "disconnected") this.#restart(publisher);
    else if (state === "connected") this.#restartIfSilent(publisher);
    else {
      this.#again(publisher);
      return;
    }
    setTimeout(() => {
      if (this.#publisher === publisher && stateNow()?.seats[publisher.seat]?.state !== "live") this.#again(publisher);
    }, SEAT_BACK_MS);
  }

  async #restartIfSilent(publisher) {
    if (this.#silentMs < SILENT_AT_REJOIN_MS) {
      const { received } = await pathStats(publisher.pc);
      const later = await laterStats(publisher.pc, SILENT_AT_REJOIN_MS);
      if (later.received !== received || !publisher.hasMedia) return;
    }
    if (publisher === this.#publisher && !this.#restartedAt) await this.#restart(publisher);
  }

  async #check(publisher) {
    if (this.#busy || publisher.pc.connectionState !== "connected") return;
    const { received } = await pathStats(publisher.pc);
    if (publisher !== this.#publisher) return;
    const now = performance.now();
    // Nobody reports on what is not sent. Bytes sent tell nothing: without reports a browser soon stops.
    if (!publisher.hasMedia || received === 0) this.#silence.reset(now);
    this.#silentMs = this.#silence.lasts(now, received);
    if (this.#silentMs === 0) {
      this.#restartedAt = 0;
      this.#restarts = 0;
    } else if (this.#restartedAt && now - this.#restartedAt > RESTART_WITHIN_MS) {
      this.#again(publisher);
    } else if (!this.#restartedAt && this.#silentMs >= SILENT_MS) {
      this.suspect();
    }
  }

  async #pathState(publisher, state) {
    if (publisher !== this.#publisher) return;
    this.#options.emit("publishState", state);
    if (state === "connected") this.#restarts = 0;
    if (state === "disconnected" || state === "failed") await this.#restart(publisher);
  }

  async #restart(publisher) {
    if (this.#restarts >= RESTART_TRIES) {
      this.#again(publisher);
      return;
    }
    this.#restarts += 1;
    this.#restartedAt = performance.now();
    try {
      await publisher.restart();
    } catch (error) {
      // Offline: the rejoin tries again. Refused: the transport is gone, and the next one is offered.
      const refused = error.code !== OFFLINE && error.code !== TIMEOUT;
      if (refused || publisher.pc.connectionState === "failed") this.#again(publisher);
    }
  }

  #again(publisher) {
    if (publisher !== this.#publisher) return;
    this.#restarts = 0;
    this.start(publisher.stream, publisher.seat).catch((error) => this.#options.emit("publishError", error));
  }
}
