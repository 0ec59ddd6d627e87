import { ChatPanel } from "../components/chat-panel.js";
import { avatar, compact, duration, giftArt, h, icon, roundButton, setButton } from "../components/dom.js";
import { GiftShow } from "../components/gift-show.js";
import { GuestsPanel } from "../components/guests-panel.js";
import { explain, guarded, notice } from "../components/notices.js";
import { confirm } from "../components/sheet.js";
import { roomUrl, share } from "../components/share.js";
import { StageGrid } from "../components/stage-grid.js";
import { health, STARTING } from "./health.js";

const HEALTH_EVERY_MS = 2000;
const GIFTS_SHOWN = 100;

/** The studio while the show runs: stage, bar, tabs. */
export class OnAir {
  #coins = 0;
  #combos = new Map();
  #gifts = [];

  /**
   * @param {any} client GreenroomClient, connected and publishing
   * @param {{camera: import("../components/camera.js").Camera, room: string, title: string, onEnd: (rows: [string, string][]) => void}} options
   */
  constructor(client, { camera, room, title, onEnd }) {
    this.client = client;
    this.camera = camera;
    this.room = room;
    this.title = title;
    this.onEnd = onEnd;
    this.stage = new StageGrid(client, { showReserved: true, onCount: (n) => this.theatre.classList.toggle("with-guests", n > 1) });
    this.stage.setOwn(0, camera.stream, camera.mirror);
    this.chat = new ChatPanel((text) => client.chat(text));
    this.guests = new GuestsPanel(client);
    this.show = new GiftShow((id) => this.#gifts.find((g) => g.id === id));
    this.giftList = h("ul", { class: "people", attrs: { "aria-label": "Gifts received" } }, h("li", { class: "muted small" }, "Gifts appear here."));
    camera.onTrack = (track) => client.publishing.replaceTrack(track);
    this.#build();
    this.#listen();
    this.timers = [setInterval(() => this.#clock(), 1000), setInterval(() => this.#health(), HEALTH_EVERY_MS)];
    // What counts is the difference to this reading.
    this.#health();
    client.giftCatalogue().then((c) => (this.#gifts = c.gifts ?? []), () => {});
    this.#update(client.state, null);
  }

  #build() {
    this.badge = h("span", { class: "pill live" }, "LIVE");
    this.viewers = h("span", { class: "pill" });
    this.time = h("span", { class: "pill" });
    this.coins = h("span", { class: "pill" });
    this.health = h("span", { class: "pill" });
    this.#showHealth(STARTING);
    this.banner = h("div", { class: "banner", hidden: true, attrs: { role: "status" } });
    const bar = h("header", { class: "topbar studio-bar" }, this.badge, this.viewers, this.time, this.coins, this.health);
    this.theatre = h("section", { class: "theatre", attrs: { "aria-label": "Stage" } }, this.stage.element, this.banner, this.show.lanes, this.show.effects, bar);
    this.dock = h("footer", { class: "dock" }, this.chat.composer(), ...this.#controls());
    this.side = h("aside", { class: "side tabs" }, ...this.#tabs());
    this.elements = [this.theatre, this.side, this.dock];
  }

  #controls() {
    this.mic = roundButton("mic", "Mute microphone", () => this.#toggle("audio"));
    this.cam = roundButton("cam", "Turn camera off", () => this.#toggle("video"));
    this.cam.hidden = !this.camera.track("video");
    const flip = roundButton("flip", "Switch camera", () => this.camera.flip().then(() => this.#own(), explain));
    flip.hidden = this.cam.hidden;
    this.break = roundButton("pause", "Take a break", guarded(() => this.#pause()));
    const link = roundButton("share", "Share the link", () => share(roomUrl(this.room), this.title));
    const end = roundButton("stop", "End the show", () => this.#end(), "off");
    this.#muteButtons();
    return [this.mic, this.cam, flip, this.break, link, end];
  }

  #tabs() {
    const tabs = [
      ["chat", "Chat", h("div", { class: "tab-body" }, this.chat.element, this.chat.composer())],
      ["guests", "Guests", h("div", { class: "tab-body scroll" }, this.guests.element)],
      ["gifts", "Gifts", h("div", { class: "tab-body scroll" }, this.giftList)],
    ];
    this.badges = {};
    const buttons = tabs.map(([id, label]) => {
      this.badges[id] = h("span", { class: "count-badge", hidden: true });
      return h("button", { class: "tab", type: "button", id: `tab-${id}`, attrs: { role: "tab", "aria-controls": `panel-${id}` }, on: { click: () => select(id) } }, label, this.badges[id]);
    });
    const select = (chosen) => {
      this.side.dataset.tab = chosen;
      tabs.forEach(([id, , body], i) => {
        body.hidden = id !== chosen;
        buttons[i].setAttribute("aria-selected", String(id === chosen));
      });
    };
    for (const [id, , body] of tabs) {
      body.id = `panel-${id}`;
      body.setAttribute("role", "tabpanel");
      body.setAttribute("aria-labelledby", `tab-${id}`);
    }
    queueMicrotask(() => select("chat"));
    const head = h("div", { class: "tab-head", attrs: { role: "tablist" } }, ...buttons);
    head.addEventListener("keydown", (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (step) buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length].focus();
    });
    return [head, ...tabs.map(([, , body]) => body)];
  }

  #listen() {
    const { client } = this;
    client.on("state", ({ state, previous }) => this.#update(state, previous));
    client.on("connection", () => this.#update(client.state, null));
    client.on("gift", (combo) => this.#gift(combo));
    client.on("guest.unmuteAsked", ({ guestId }) => {
      const seat = client.state.staff?.seats?.find((s) => s.guestId === guestId);
      notice(`${seat?.name ?? "A guest"} would like to be unmuted.`);
    });
    client.on("room.ended", (data) => this.#finished(data.summary ?? {}));
    client.on("publishError", explain);
    client.on("bye", ({ reason, retry }) => {
      if (retry || reason === "room_ended") return;
      notice(reason === "replaced" ? "Your studio is open in another tab." : "The connection was closed.", "error");
      this.#stopTimers();
    });
  }

  #update(state, previous) {
    const info = state.room;
    this.stage.update(state);
    this.chat.update(state.chat);
    this.guests.update(state);
    this.viewers.replaceChildren(icon("eye"), compact(state.viewers.now));
    this.coins.replaceChildren(icon("coin"), compact(this.#coins));
    const paused = info.state === "paused";
    this.badge.className = `pill ${paused ? "paused" : info.state === "live" ? "live" : ""}`;
    this.badge.textContent = paused ? "PAUSED" : info.state === "live" ? "LIVE" : "STARTING";
    const onBreak = paused && info.reasons?.includes("break");
    setButton(this.break, "pause", onBreak ? "End the break" : "Take a break", onBreak);
    const trouble = this.client.connection !== "connected" ? "Reconnecting…" : onBreak ? "You are on a break. Press pause again to go on." : "";
    this.banner.hidden = !trouble;
    this.banner.textContent = trouble;
    const waiting = GuestsPanel.waiting(state);
    this.badges.guests.hidden = waiting === 0;
    this.badges.guests.textContent = String(waiting);
    if (previous && waiting > (previous.staff?.queue?.length ?? 0)) notice(`${state.staff.queue.at(-1).name} asks for a seat.`);
    this.#clock();
  }

  #clock() {
    const { startedAt } = this.client.state.room;
    this.time.replaceChildren(icon("clock"), startedAt ? duration(this.client.serverNow() - startedAt) : "0:00");
  }

  async #health() {
    const stats = await this.client.publishing.stats();
    if (!stats) return;
    this.#showHealth(health(stats, Boolean(this.camera.track("video")) && this.camera.enabled("video")));
  }

  #showHealth({ level, text, title }) {
    this.health.className = `pill health ${level}`;
    this.health.replaceChildren(icon("pulse"), text);
    this.health.title = title;
  }

  #gift(combo) {
    const gift = this.#gifts.find((g) => g.id === combo.giftId);
    const to = this.client.state.seats[combo.to?.seat]?.name ?? "";
    this.#coins += combo.added * (gift?.coins ?? 0);
    this.coins.replaceChildren(icon("coin"), compact(this.#coins));
    this.show.show(combo, combo.to?.seat === 0 ? "" : to);
    const name = combo.from?.name ?? "Someone";
    const row = h("li", { class: "person" }, avatar(name), h("div", { class: "grow" }, h("div", { class: "ellipsis" }, name), h("div", { class: "muted small ellipsis" }, `${gift?.name ?? combo.giftId}${to ? ` for ${to}` : ""}`)), giftArt(combo.giftId), h("b", { class: "price" }, `×${combo.n}`));
    const old = this.#combos.get(combo.comboId);
    if (old?.isConnected) old.replaceWith(row);
    else {
      if (this.#combos.size === 0) this.giftList.replaceChildren();
      this.giftList.prepend(row);
    }
    this.#combos.set(combo.comboId, row);
    while (this.giftList.children.length > GIFTS_SHOWN) this.giftList.lastChild.remove();
  }

  async #toggle(kind) {
    const muted = this.camera.enabled(kind);
    this.camera.enable(kind, !muted);
    this.#muteButtons();
    this.#own();
    await this.client.publishing.mute(kind, muted).catch(explain);
  }

  #muteButtons() {
    const audio = this.camera.enabled("audio");
    const video = this.camera.enabled("video");
    setButton(this.mic, audio ? "mic" : "mic-off", audio ? "Mute microphone" : "Unmute microphone", !audio);
    setButton(this.cam, video ? "cam" : "cam-off", video ? "Turn camera off" : "Turn camera on", !video);
  }

  #own() {
    this.stage.setOwn(0, this.camera.stream, this.camera.mirror);
    this.stage.update(this.client.state);
  }

  #pause() {
    return this.client.state.room.reasons?.includes("break") ? this.client.room.resume() : this.client.room.pause();
  }

  async #end() {
    const { now } = this.client.state.viewers;
    const yes = await confirm("End the show?", now ? `${now} ${now === 1 ? "viewer is" : "viewers are"} watching.` : "Nobody is watching right now.", "End the show", { danger: true });
    if (!yes) return;
    // `room.ended` closes this client, perhaps before the reply is here.
    await this.client.room.end().catch((error) => this.client.connection !== "closed" && explain(error));
  }

  #finished(summary) {
    this.#stopTimers();
    const started = this.client.state.room.startedAt ?? this.client.serverNow();
    const rows = [
      ["On air", duration(summary.durationMs ?? this.client.serverNow() - started)],
      ["Most viewers at once", compact(summary.peakViewers ?? this.client.state.viewers.now)],
      ["People who came", compact(summary.totalViewers ?? this.client.state.viewers.total)],
      ["Guests on stage", compact(summary.guests ?? 0)],
      ["Messages", compact(summary.messages ?? this.client.state.chat.length)],
      ["Likes", compact(summary.likes ?? this.client.state.likes)],
      ["Coins received", compact(summary.coins ?? this.#coins)],
    ];
    this.stage.close();
    this.client.close();
    this.onEnd(rows);
  }

  #stopTimers() {
    for (const timer of this.timers) clearInterval(timer);
  }
}
