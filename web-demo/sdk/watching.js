import { answerWithin, laterStats, pathStats, Silence } from "./path.js";
import { LOOK_EVERY_MS, RepairWait, seatWait } from "./repairs.js";
import { SCREEN_SEAT, WatchLink } from "./watch.js";

const CHECK_EVERY_MS = 200;
/**
 * A live stage without a byte for this long is asked about: its path may be broken, or nobody sends. The random
 * part keeps the viewers of a host who falls silent from asking in the same instant.
 */
const SILENT_MS = 600;
const SILENT_JITTER_MS = 300;
/** Where there is no data channel to ask over, silence itself must do. */
const SILENT_UNASKED_MS = 2000;
/** A path that answered is asked again after this long, then twice as long, and so on. */
const ASK_AGAIN_MS = 2000;
const ASK_AGAIN_MOST_MS = 16_000;
/** Time for an ICE restart to bring media back before everything is made anew. */
const RESTART_WITHIN_MS = 2500;
/** An old connection stays until the new one shows something, but not longer than this. */
const OLD_LINK_MS = 4000;

/**
 * Keeps one watch connection alive: prepares it before the join reply, replaces it after a rejoin,
 * finds out why nothing arrives, restarts ICE, and gives up towards `onDead` when that does not help.
 */
export class Watching {
  #options;
  #link = null;
  #prepared = null;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  #grown = false;
  #timer = 0;
  #silence = new Silence(0);
  #repairs = new RepairWait();
  #repairsAt = 0;
  /** `repairMs` by seat. @type {number[]} */
  #seatRepairs = [];
  #patience = SILENT_MS;
  #askAt = 0;
  #askAgainMs = ASK_AGAIN_MS;
  #checking = false;
  #asking = false;
  #restartedAt = 0;
  #closed = false;

  /**
   * @param {{
   *   request: (type: string, data: object, timeoutMs?: number) => Promise<any>,
   *   askSocket: (withinMs: number) => Promise<boolean>,
   *   socketInUse: () => object | null,
   *   askChannel: (withinMs: number) => Promise<boolean | null>,
   *   stage: import("./stage.js").StageMedia,
   *   dataChannels: boolean,
   *   onChannel: (name: string, channel: RTCDataChannel) => void,
   *   onMessage: (name: string, text: string) => void,
   *   onDead: (asked?: object | null) => void,
   *   expectsMedia: () => boolean,
   * }} options whether a ping is answered in time; `null` = there is no channel
   */
  constructor(options) {
    this.#options = options;
  }

  /** The connection in use, for statistics. @returns {RTCPeerConnection | null} */
  get pc() {
    return this.#link?.pc ?? null;
  }

  /** The server's name for the connection in use. @returns {string | null} */
  get transport() {
    return this.#link?.transport ?? null;
  }

  /** A data channel of the connection in use. @param {"gifts" | "ev" | "fx"} name */
  channel(name) {
    return this.#link?.channels[name] ?? null;
  }

  /** Make the next connection now: its certificate and channels cost time that the join has anyway. */
  prepare() {
    this.#prepared ??= this.#makeLink();
  }

  /**
   * Every connection made from now on uses them, and the present ones for their next gathering.
   *
   * @param {RTCIceServer[]} [servers] as in the reply to `hello`; none there changes nothing
   */
  useIceServers(servers) {
    if (!servers?.length) return;
    this.#iceServers = servers;
    this.#prepared?.useIceServers(servers);
    this.#link?.useIceServers(servers);
  }

  /** Use the offer of a join reply. @param {{transport: string, sdp: string}} offer */
  async start(offer) {
    this.prepare();
    const old = this.#link;
    this.#link = this.#prepared;
    this.#prepared = null;
    this.#grown = false;
    this.#silence = new Silence(performance.now());
    this.#repairs = new RepairWait();
    this.#alive();
    if (old) setTimeout(() => old.close(), OLD_LINK_MS);
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#check(), CHECK_EVERY_MS);
    await this.#accept(offer);
    this.#waitForRepairs();
  }

  /** How late packets of each seat come that were lost on their way to the server. @param {{seat: number, repairMs?: number}[]} seats */
  followRepairs(seats) {
    const repairs = seats.map(({ repairMs = 0 }) => repairMs);
    // The screen comes the host's way.
    repairs[SCREEN_SEAT] = repairs[0];
    if (repairs.join() === this.#seatRepairs.join()) return;
    this.#seatRepairs = repairs;
    this.#waitForRepairs();
  }

  /** Slots for all seats of the room, asked for once and when nobody is waiting for a picture. */
  growWhenIdle() {
    if (this.#grown) return;
    this.#grown = true;
    const link = this.#link;
    const idle = globalThis.requestIdleCallback ?? ((run) => setTimeout(run, 500));
    idle(() => this.#grow(link), { timeout: 3000 });
  }

  /**
   * The path may be broken: ask over it and over the socket. What answers is left alone, so a host who is
   * silent costs two small messages; else ICE is restarted, or everything made anew if nothing answers.
   */
  async suspect() {
    if (this.#asking || this.#closed) return;
    this.#asking = true;
    try {
      await (this.#link ? this.#ask(this.#link) : this.#askSocketOnly());
    } finally {
      this.#asking = false;
    }
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
    if (this.#iceServers.length) link.useIceServers(this.#iceServers);
    return link;
  }

  #accept(offer) {
    return this.#link.accept(offer, (answer) => this.#options.request("media.answer", answer));
  }

  async #grow(link) {
    if (this.#closed || this.#link !== link) return;
    try {
      const offer = await this.#options.request("media.grow");
      if (!offer.transport || this.#link !== link) return;
      await this.#accept(offer);
      this.#waitForRepairs();
    } catch (error) {
      // The slots at hand go on working; the next join brings enough for the seats on air.
      console.warn("greenroom: growing the stage failed", error);
    }
  }

  #pathState(state) {
    if (state === "disconnected" || state === "failed") this.suspect();
    if (state === "closed") this.#options.onDead();
  }

  async #check() {
    if (this.#checking) return;
    this.#checking = true;
    try {
      await this.#look();
      await this.#followLosses();
    } finally {
      this.#checking = false;
    }
  }

  async #look() {
    const link = this.#link;
    const now = performance.now();
    if (!link || !this.#options.expectsMedia()) {
      this.#silence.reset(now);
      return;
    }
    const { lastFrameAt } = this.#options.stage;
    if (now - lastFrameAt < SILENT_MS / 2) {
      this.#silence.reset(lastFrameAt);
      this.#alive();
      return;
    }
    const { received } = await pathStats(link.pc);
    if (link !== this.#link) return;
    const lasts = this.#silence.lasts(performance.now(), received);
    if (lasts === 0) this.#alive();
    else if (this.#restartedAt) this.#giveUpLate(now);
    else if (lasts >= this.#patience && now >= this.#askAt) this.suspect();
  }

  async #followLosses() {
    const [link, now] = [this.#link, performance.now()];
    if (!link || now < this.#repairsAt) return;
    this.#repairsAt = now + LOOK_EVERY_MS;
    const stats = await pathStats(link.pc);
    if (link === this.#link && this.#repairs.look(stats)) this.#waitForRepairs();
  }

  #waitForRepairs() {
    this.#link?.waitForRepairs((seat) => seatWait(this.#repairs.ms, this.#seatRepairs[seat]));
  }

  #alive() {
    this.#restartedAt = 0;
    this.#askAt = 0;
    this.#askAgainMs = ASK_AGAIN_MS;
    this.#patience = SILENT_MS + Math.random() * SILENT_JITTER_MS;
  }

  #giveUpLate(now) {
    if (now - this.#restartedAt > RESTART_WITHIN_MS) this.#options.onDead();
  }

  async #ask(link) {
    const within = answerWithin((await pathStats(link.pc)).rttMs);
    const { askChannel, askSocket } = this.#options;
    const answers = [askChannel(within), askSocket(within), laterStats(link.pc, within / 2)];
    const [path, socket, before] = await Promise.all(answers);
    const { received } = await pathStats(link.pc);
    if (link !== this.#link || this.#closed) return;
    const now = performance.now();
    if (path || received !== before.received) {
      this.#askAt = now + this.#askAgainMs;
      this.#askAgainMs = Math.min(2 * this.#askAgainMs, ASK_AGAIN_MOST_MS);
    } else if (!socket) {
      this.#options.onDead();
    } else if (path === false || this.#silence.lasts(now, received) >= SILENT_UNASKED_MS) {
      await this.#restart(link);
    }
  }

  async #askSocketOnly() {
    const asked = this.#options.socketInUse();
    if (!(await this.#options.askSocket(answerWithin(null))) && !this.#closed) this.#options.onDead(asked);
  }

  /** First an ICE restart; if that brings nothing in its time, a new join. */
  async #restart(link) {
    if (this.#restartedAt) return;
    this.#restartedAt = performance.now();
    try {
      const offer = await this.#options.request("media.restart", { transport: link.transport }, RESTART_WITHIN_MS);
      if (link === this.#link) await this.#accept({ transport: link.transport, ...offer });
    } catch {
      if (link === this.#link && !this.#closed) this.#options.onDead();
    }
  }
}
