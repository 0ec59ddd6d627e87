import { backoff } from "./backoff.js";
import { Combos, comboOfEntry } from "./combos.js";
import { Emitter } from "./emitter.js";
import { GiftCarrier, newKey } from "./gifts.js";
import { guestCommands, moderationCommands, roomCommands } from "./commands.js";
import { Publishing } from "./publishing.js";
import { OFFLINE, Refusal, TIMEOUT } from "./refusal.js";
import { beforeExpiry } from "./renewal.js";
import { Requests } from "./requests.js";
import { SeqGate } from "./seq.js";
import { Socket } from "./socket.js";
import { StageMedia } from "./stage.js";
import { fold, foldFx, fromSnapshot } from "./state.js";
import { mark } from "./timings.js";
import { Views } from "./views.js";
import { Watching } from "./watching.js";

/** Time for a late event to arrive over the other carrier before the server is asked. */
const GAP_WAIT_MS = 1000;
/** The first try after a path broke, at most: nobody else waits for the same server to come back. */
const REJOIN_WITHIN_MS = 100;
/** How often a viewer of a room that is not there yet knocks. */
const KNOCK_EVERY_MS = 2500;
/** These say that trying again with the same token can never help. */
const FINAL = new Set(["banned", "blocked", "forbidden", "audience_restricted", "unsupported_version", "room_suspended"]);
/** These say that the token is the problem: one more try with a fresh one. */
const STALE_TOKEN = new Set(["unauthenticated", "token_expired"]);
const NOT_YET = new Set(["room_not_found", "room_ended", "room_full", "overloaded", "rate_limited"]);

/**
 * One participant in one room: connection, state, stage media, chat, gifts and guests.
 *
 * `connect()` joins; after that everything is kept alive until `close()`. `state` is always the
 * room as the server last described it, and every change is told by the event `state`.
 * The full list of events and methods is in greenroom.d.ts.
 */
export class GreenroomClient extends Emitter {
  #options;
  #socket = null;
  #requests = new Requests();
  #gate = new SeqGate(0);
  #gapTimer = 0;
  #knockTimer = 0;
  #retryTimer = 0;
  #attempts = 0;
  #clockOffset = -Infinity;
  #combos = new Combos();
  #resumeToken = null;
  #likesWaiting = 0;
  #likeTimer = 0;
  #settle = null;
  #stopRenewal = () => {};

  /**
   * @param {{
   *   room: string,
   *   token: string | ((again: boolean) => Promise<string>),
   *   url?: string,
   *   maxSeats?: number,
   *   audioTop?: number,
   *   dataChannels?: boolean,
   *   waitForRoom?: boolean,
   *   resumeToken?: string | null,
   * }} options
   */
  constructor(options) {
    super();
    this.#options = { dataChannels: true, waitForRoom: false, url: defaultUrl(), ...options };
    this.#resumeToken = options.resumeToken ?? null;
    /** `idle`, `connecting`, `waiting` (no such room yet), `connected`, `reconnecting` or `closed`. */
    this.connection = "idle";
    this.state = null;
    this.stage = new StageMedia({
      onBlocked: (blocked) => this.emit("soundBlocked", blocked),
      onTrack: (seat) => this.emit("track", seat),
      onFirstFrame: (seat) => {
        this.emit("firstFrame", seat);
        this.watching.growWhenIdle();
      },
    });
    const request = (type, data, timeoutMs) => this.request(type, data, timeoutMs);
    this.views = new Views(request);
    const askSocket = (withinMs) => answers(this.request("ping", {}, withinMs));
    const socketInUse = () => this.#socket;
    const onDead = (asked = this.#socket) => asked === this.#socket && this.#rejoin();
    this.watching = new Watching({
      request,
      askSocket,
      socketInUse,
      askChannel: async (withinMs) => (this.carrier.channelOpen ? answers(this.carrier.ping(withinMs)) : null),
      stage: this.stage,
      dataChannels: this.#options.dataChannels,
      onChannel: (name, channel) => name === "gifts" && this.carrier.useChannel(channel),
      onMessage: (name, text) => this.#channelMessage(name, text),
      onDead,
      expectsMedia: () => this.#expectsMedia(),
    });
    this.publishing = new Publishing({ request, askSocket, socketInUse, onDead, emit: (type, detail) => this.emit(type, detail) });
    this.carrier = new GiftCarrier({
      requests: () => this.#requests,
      overSocket: (type, data, timeoutMs) => this.request(type, data, timeoutMs),
    });
    this.room = roomCommands(this);
    this.guests = guestCommands(this);
    this.moderation = moderationCommands(this);
    this.networkChanged = () => this.#networkChanged();
    globalThis.addEventListener?.("online", this.networkChanged);
    globalThis.navigator?.connection?.addEventListener?.("change", this.networkChanged);
  }

  /**
   * Join the room. Resolves with the state; rejects with the `Refusal` that cannot be waited for.
   *
   * @returns {Promise<any>}
   */
  connect() {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#setConnection("connecting");
      this.#attempt(false);
    });
  }

  /** Leave and free everything. */
  close() {
    if (this.connection === "closed") return;
    for (const timer of [this.#gapTimer, this.#knockTimer, this.#retryTimer, this.#likeTimer]) clearTimeout(timer);
    this.#stopRenewal();
    globalThis.removeEventListener?.("online", this.networkChanged);
    globalThis.navigator?.connection?.removeEventListener?.("change", this.networkChanged);
    this.#setConnection("closed");
    this.publishing.stop();
    this.watching.close();
    this.views.close();
    this.stage.close();
    this.#socket?.close();
  }

  /**
   * Any command of the protocol; resolves with the reply's data.
   *
   * @param {string} type
   * @param {object} [data]
   * @param {number} [timeoutMs]
   * @returns {Promise<any>}
   */
  request(type, data = {}, timeoutMs) {
    if (!this.#socket) return Promise.reject(new Refusal({ code: OFFLINE, message: "Not connected." }));
    return this.#socket.request(type, data, timeoutMs);
  }

  /** The server's clock, for countdowns. */
  serverNow() {
    return Date.now() + (Number.isFinite(this.#clockOffset) ? this.#clockOffset : 0);
  }

  /** Show a seat (0 host, 1-8 guests, 9 screen). @param {number} seat @param {HTMLVideoElement} element */
  attach(seat, element) {
    this.stage.attach(seat, element);
    this.views.add(seat, element);
  }

  /** @param {HTMLVideoElement} element */
  detach(element) {
    this.stage.detach(element);
    this.views.remove(element);
  }

  /** No video is sent at all; sound goes on. */
  get audioOnly() {
    return this.views.audioOnly;
  }

  /** Listen only, to save data, or see again. @param {boolean} on */
  setAudioOnly(on) {
    this.views.setAudioOnly(on);
  }

  /** Sound on, from a click or a tap. */
  unlockAudio() {
    this.stage.audio.unlock();
  }

  /** @param {string} text */
  chat(text) {
    return this.request("chat.send", { key: newKey(), text });
  }

  /** @param {{before?: number, limit?: number}} [page] */
  chatHistory(page = {}) {
    return this.request("chat.history", { limit: 50, ...page });
  }

  /** The gifts that can be sent here. */
  giftCatalogue() {
    return this.request("gift.catalog");
  }

  /**
   * Send a gift, once, however often and over whichever carrier it has to be tried.
   *
   * @param {{giftId: string, price: number, count?: number, to: string | number, key?: string}} gift
   */
  async sendGift({ giftId, price, count = 1, to, key = newKey() }) {
    const receipt = await this.carrier.send("gift.send", { key, giftId, price, count, to });
    if (receipt.balance !== undefined) this.#apply({ type: "wallet.updated", data: walletOf(receipt) });
    return receipt;
  }

  /** Own balance. */
  async wallet() {
    const wallet = await this.carrier.send("wallet.get", {});
    this.#apply({ type: "wallet.updated", data: wallet });
    return wallet;
  }

  /** A heart; taps are collected and sent twice a second. */
  like() {
    this.#likesWaiting = Math.min(this.#likesWaiting + 1, 15);
    if (this.#likeTimer) return;
    this.#likeTimer = setTimeout(() => {
      const n = this.#likesWaiting;
      this.#likesWaiting = 0;
      this.#likeTimer = 0;
      this.request("like", { n }).catch(() => {});
    }, 500);
  }

  /** Remember how to come back to a seat; `null` forgets. @param {string | null} token */
  setResumeToken(token) {
    this.#resumeToken = token;
    this.emit("resumeToken", token);
  }

  async #attempt(freshToken) {
    if (this.connection === "closed") return;
    const requests = new Requests();
    this.#requests = requests;
    const socket = new Socket(this.#options.url, requests, {
      onEvent: (event) => this.#socket === socket && this.#receive(event),
      onClose: () => this.#socket === socket && this.#lost(),
    });
    this.#socket = socket;
    this.watching.prepare();
    try {
      const [token] = await Promise.all([this.#token(freshToken), socket.opened]);
      mark("wsOpen");
      // Both leave in one go; the server takes them in order.
      const hello = socket.request("hello", { token, v: 1, client: "sdk/0.1" });
      const joined = this.#join(socket);
      joined.catch(() => {});
      for (const side of [this.watching, this.publishing]) side.useIceServers((await hello).iceServers);
      this.#renewLater(token);
      await this.#joined(await joined);
    } catch (refusal) {
      if (this.#socket === socket) this.#refused(refusal, freshToken);
    }
  }

  async #token(again) {
    const { token } = this.#options;
    return typeof token === "function" ? token(again) : token;
  }

  #renewLater(token) {
    this.#stopRenewal();
    if (typeof this.#options.token !== "function") return;
    this.#stopRenewal = beforeExpiry(token, async () => {
      try {
        const fresh = await this.#token(true);
        await this.request("token.refresh", { token: fresh });
        this.#renewLater(fresh);
      } catch (error) {
        // The server will end the connection when the token does; the rejoin asks again.
        this.emit("error", error);
      }
    });
  }

  #join(socket) {
    const { room, maxSeats, audioTop, dataChannels } = this.#options;
    const resume = this.#resumeToken ?? undefined;
    const replaces = this.watching.transport ?? undefined;
    return socket.request("room.join", { room, maxSeats, audioTop, dc: dataChannels, media: true, resume, replaces });
  }

  async #joined(snapshot) {
    mark("joinReply");
    if (snapshot.resumeToken) this.setResumeToken(snapshot.resumeToken);
    this.#attempts = 0;
    this.#gate.reset(snapshot.seq ?? 0);
    this.carrier.useChannel(null);
    if (snapshot.media) this.views.begin();
    // Media first: the browser negotiates while the page draws.
    const media = snapshot.media ? this.watching.start(snapshot.media) : Promise.resolve();
    this.#setState(fromSnapshot(snapshot, this.state));
    this.#setConnection("connected");
    this.#settle?.resolve(this.state);
    this.#settle = null;
    media.catch((error) => this.emit("error", error));
    this.publishing.afterRejoin(() => this.state);
    this.wallet().catch(() => {});
  }

  #refused(refusal, hadFreshToken) {
    if (!(refusal instanceof Refusal)) return this.#fail(refusal);
    if (STALE_TOKEN.has(refusal.code) && !hadFreshToken && typeof this.#options.token === "function") {
      this.#dropSocket();
      return this.#attempt(true);
    }
    if (refusal.code === "resume_invalid" || refusal.code === "guest_ended") {
      this.setResumeToken(null);
      return this.#knock(0);
    }
    if (NOT_YET.has(refusal.code) && (this.#options.waitForRoom || this.state)) {
      // It ended while this client was away; the next show under its name is waited for.
      const over = refusal.code === "room_ended" && this.state && this.state.room.state !== "ended";
      if (over) this.#apply({ type: "room.ended", data: {} });
      this.#setConnection("waiting", refusal);
      return this.#knock(Math.max(refusal.retryAfterMs, KNOCK_EVERY_MS * (0.75 + Math.random() / 2)));
    }
    // A lost socket retries from its close event.
    if (refusal.code === OFFLINE) return undefined;
    if (this.state && !FINAL.has(refusal.code) && !STALE_TOKEN.has(refusal.code)) return this.#dropAndRetry();
    return this.#fail(refusal);
  }

  /** The socket is fine, the room is not there yet: ask again on the same socket. */
  #knock(waitMs) {
    const socket = this.#socket;
    clearTimeout(this.#knockTimer);
    this.#knockTimer = setTimeout(async () => {
      if (this.#socket !== socket || !socket.open) return;
      try {
        await this.#joined(await this.#join(socket));
      } catch (refusal) {
        if (this.#socket === socket) this.#refused(refusal, false);
      }
    }, waitMs);
  }

  #fail(error) {
    this.#settle?.reject(error);
    this.#settle = null;
    this.emit("error", error);
    this.close();
  }

  #dropSocket() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#knockTimer);
    socket?.close();
  }

  #dropAndRetry() {
    this.#dropSocket();
    this.#lost();
  }

  /** Nothing answers, or a connection cannot be healed: a new socket and a new join, at once. */
  #rejoin() {
    if (this.connection !== "connected") return;
    this.#dropSocket();
    this.#lost(Math.random() * REJOIN_WITHIN_MS);
  }

  /** Another network, or one again: find out what of ours still works. */
  #networkChanged() {
    if (this.connection !== "connected") {
      this.#retryNow();
      return;
    }
    this.watching.suspect();
    this.publishing.suspect();
  }

  #lost(wait = backoff(this.#attempts)) {
    if (this.connection === "closed") return;
    this.views.end();
    clearTimeout(this.#knockTimer);
    this.#setConnection(this.state ? "reconnecting" : "connecting");
    this.#attempts += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#attempt(false), wait);
  }

  #retryNow() {
    if (this.connection !== "reconnecting" && !(this.connection === "connecting" && this.#attempts > 0)) return;
    clearTimeout(this.#retryTimer);
    this.#dropSocket();
    this.#attempt(false);
  }

  #channelMessage(name, text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (name === "fx") this.#fx(message);
    else for (const one of [message].flat()) {
      if (one?.id !== undefined) this.#requests.settle(one);
      else if (one?.type) this.#receive(one);
    }
  }

  #receive(event) {
    if (event.ts) this.#clockOffset = Math.max(this.#clockOffset, event.ts - Date.now());
    if (event.type === "fx") return this.#fx(event.data);
    if (event.type === "room.snapshot") return this.#snapshot(event.data);
    if (event.type === "bye") return this.#bye(event.data ?? {});
    // What did not come before the last event will not come any more.
    if (event.type === "room.ended") this.#gate.reset(event.seq - 1);
    if (event.seq === undefined) return this.#apply(event);
    for (const ready of this.#gate.accept(event)) this.#apply(ready);
    return this.#watchGap();
  }

  #fx(frame) {
    if (!frame || !this.state) return;
    for (const entry of frame.e ?? []) this.#combo(comboOfEntry(entry));
    if (frame.q !== undefined) this.#gate.observe(frame.q);
    this.#watchGap();
    const next = foldFx(this.state, frame);
    if (next !== this.state) this.#setState(next);
  }

  #combo(combo) {
    const news = this.#combos.update(combo);
    if (news) this.emit("gift", news);
  }

  #apply(event) {
    if (event.type === "gift.combo") this.#combo(event.data);
    if (event.data?.resumeToken) this.setResumeToken(event.data.resumeToken);
    if (event.type === "guest.ended") this.#guestEnded(event.data);
    if (event.type === "publish.layers") this.publishing.followLayers(event.data);
    const before = this.state;
    if (before) {
      const next = fold(before, event);
      if (next !== before) this.#setState(next);
    }
    this.emit(event.type, event.data ?? {});
    if (event.type === "guest.muted") this.publishing.followMutes(this.state?.you?.guest);
  }

  #guestEnded(data) {
    const guest = this.state?.you?.guest;
    if (guest && data?.guestId && guest.guestId !== data.guestId) return;
    this.setResumeToken(null);
    if (this.publishing.seat > 0) this.publishing.stop();
  }

  #watchGap() {
    if (!this.#gate.gap || this.#gapTimer) return;
    this.#gapTimer = setTimeout(async () => {
      this.#gapTimer = 0;
      if (!this.#gate.gap || this.connection !== "connected") return;
      await this.#resync().catch(() => {});
      this.#watchGap();
    }, GAP_WAIT_MS);
  }

  async #resync() {
    const reply = await this.request("room.resync", { fromSeq: this.#gate.last });
    if (reply.snapshot) return this.#snapshot(reply.snapshot);
    for (const event of reply.events ?? []) this.#receive(event);
    // The server has told all it knows: what is still missing does not exist any more.
    if (this.#gate.gap) this.#gate.reset(this.#gate.highest);
    return undefined;
  }

  #snapshot(snapshot) {
    this.#gate.reset(snapshot.seq ?? this.#gate.last);
    this.#setState(fromSnapshot(snapshot, this.state));
  }

  #bye({ reason, retry }) {
    this.emit("bye", { reason, retry });
    if (retry) return this.#dropAndRetry();
    return this.close();
  }

  #expectsMedia() {
    const { state } = this;
    if (!state || this.connection !== "connected") return false;
    return state.seats.some((s) => s.state === "live" && s.user !== state.you?.user && (s.audio || (s.video && !this.views.paused(s.seat))));
  }

  #setState(next) {
    const previous = this.state;
    this.state = next;
    this.stage.follow(next.seats, this.publishing.seat);
    this.watching.followRepairs(next.seats);
    this.emit("state", { state: next, previous });
  }

  #setConnection(connection, refusal = null) {
    if (this.connection === connection && !refusal) return;
    this.connection = connection;
    this.emit("connection", { connection, refusal });
  }
}

/** Whether a request is answered in time; a refusal is an answer. @param {Promise<any>} reply */
function answers(reply) {
  return reply.then(
    () => true,
    (refusal) => refusal.code !== TIMEOUT && refusal.code !== OFFLINE,
  );
}

function walletOf(receipt) {
  return typeof receipt.balance === "object" ? receipt.balance : { coins: receipt.balance };
}

function defaultUrl() {
  const { protocol, host } = globalThis.location ?? { protocol: "http:", host: "localhost:8080" };
  return `${protocol === "https:" ? "wss" : "ws"}://${host}/ws`;
}
