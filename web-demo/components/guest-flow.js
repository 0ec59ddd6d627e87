import { Camera, cameraPreview, cameraTrouble } from "./camera.js";
import { avatar, h, roundButton, setButton, setVars, textButton } from "./dom.js";
import { explain, guarded, notice } from "./notices.js";
import { confirm, openSheet } from "./sheet.js";

const NOTE_LENGTH = 80;
const TICK_MS = 200;
/** Goes up with every change of the text in `houseRules`. */
const RULES_VERSION = "1";

/** What the end of an attempt means to the person it happened to. */
const ENDED = {
  denied: "Not this time. You can ask again later.",
  revoked: "The invite was taken back.",
  request_expired: "Your request has expired.",
  invite_expired: "The invite has expired.",
  first_frame_timeout: "Your camera did not get through in time.",
  removed: "The host took you off the stage.",
  removed_all: "The host cleared the stage.",
  lost_connection: "Your connection to the stage was lost.",
  banned: "You cannot take part in this room.",
  room_ended: "The show has ended.",
  seat_count_reduced: "The stage became smaller.",
  policy: "You were taken off the stage.",
  age_restricted: "The stage is for adults now.",
};

/**
 * A viewer's way to the stage and back: Request or Invite, preview, countdown, on-air controls.
 * The server decides every step; this shows where one is.
 */
export class GuestFlow {
  #card = null;
  #cardFor = null;
  #timer = 0;
  #starting = null;

  /**
   * @param {any} client GreenroomClient
   * @param {HTMLElement} theatre where cards and countdown appear
   * @param {{onOwn: (seat: number, stream: MediaStream | null, mirror: boolean) => void}} handlers
   */
  constructor(client, theatre, { onOwn }) {
    this.client = client;
    this.theatre = theatre;
    this.onOwn = onOwn;
    this.camera = new Camera();
    this.button = roundButton("seat", "Request a seat", () => this.#seatButton());
    this.controls = h("div", { class: "onair", hidden: true });
    this.countdown = h("div", { class: "countdown-layer", hidden: true });
    theatre.append(this.countdown);
    this.#buildControls();
    client.on("state", ({ state, previous }) => this.#update(state, previous));
    client.on("guest.granted", (data) => this.#granted(data).catch((e) => this.#failed(e)));
    client.on("guest.ended", (data) => this.#ended(data));
    client.on("publishError", (error) => this.#failed(error));
  }

  get guest() {
    return this.client.state?.you?.guest ?? null;
  }

  #update(state, previous) {
    const guest = state.you?.guest ?? null;
    const before = previous?.you?.guest ?? null;
    const open = state.room.state === "live" || state.room.state === "paused";
    const seated = guest && ["connecting", "backstage", "live", "reconnecting"].includes(guest.state);
    this.button.hidden = state.you?.role === "host" || Boolean(seated) || !open;
    setButton(this.button, guest?.state === "requested" ? "clock" : "seat", guest?.state === "requested" ? "Your request is pending" : "Request a seat");
    this.button.classList.toggle("pending", guest?.state === "requested");
    this.controls.hidden = !seated;
    if (seated) this.#refreshControls(guest);
    if (guest?.state === "invited") this.#inviteCard(guest);
    else this.#closeCard();
    if (guest?.state === "live" && before?.state !== "live") this.#onAir();
    if (seated && !before && !this.client.publishing.active) this.#granted(guest).catch((e) => this.#failed(e));
  }

  // ---- Request -------------------------------------------------------------------------------

  #seatButton() {
    if (this.guest?.state === "requested") return this.#pendingSheet();
    if (this.guest?.state === "invited") return undefined;
    return this.#requestSheet();
  }

  #requestSheet() {
    const policy = this.client.state.room.policy ?? {};
    const preview = cameraPreview(this.camera);
    const note = h("input", { type: "text", maxLength: NOTE_LENGTH, placeholder: "Why you? (optional)" });
    const share = policy.guestGiftShareBps ? `The host gets ${policy.guestGiftShareBps / 100} % of gifts sent to you.` : "Gifts sent to you are yours.";
    const send = guarded(async () => {
      const media = this.camera.track("video") ? "av" : "audio";
      await this.#withRules(() => this.client.guests.request(media, note.value.trim() || undefined));
      const state = this.client.state.you.guest;
      if (!state) this.#remember({ state: "requested", media });
      sheet.close();
      notice("Your request is with the host.");
    });
    const sheet = openSheet("Request a seat", [
      h(
        "div",
        { class: "stack" },
        preview.element,
        h("label", { class: "field" }, "A note for the host", note),
        h("p", { class: "muted small" }, `If the host agrees, a short countdown runs and then you are on air. ${share}`),
        houseRules(),
        h("button", { class: "button primary wide", type: "button", on: { click: send } }, "Send request"),
      ),
    ], { onClose: () => !this.client.publishing.active && !this.#starting && this.camera.close() });
    this.#openCamera(preview, policy.media);
  }

  #pendingSheet() {
    const cancel = guarded(async () => {
      await this.client.guests.cancel(this.guest.guestId);
      this.#remember(null);
      sheet.close();
    });
    const sheet = openSheet("Waiting for the host", [
      h("div", { class: "stack" }, h("p", { class: "muted" }, "The host sees your request. You can go on watching meanwhile."), h("button", { class: "button danger wide", type: "button", on: { click: cancel } }, "Cancel request")),
    ]);
  }

  /** The reply is faster than the event that confirms it. */
  #remember(guest) {
    const { state } = this.client;
    state.you.guest = guest;
    this.client.emit("state", { state, previous: state });
  }

  // ---- Invite --------------------------------------------------------------------------------

  #inviteCard(guest) {
    if (this.#cardFor === guest.guestId) return;
    this.#closeCard();
    this.#cardFor = guest.guestId;
    const by = guest.by?.name ?? "The host";
    const left = h("span");
    const ring = h("div", { class: "ring", attrs: { "aria-hidden": "true" } }, left);
    const total = Math.max(1, guest.expiresAt - this.client.serverNow());
    const decline = guarded(() => this.client.guests.decline(guest.guestId));
    this.#card = h(
      "section",
      { class: "invite", attrs: { role: "alertdialog", "aria-label": `${by} invites you on stage` } },
      h("div", { class: "row" }, avatar(by), h("div", { class: "grow" }, h("h2", {}, `${by} invites you on stage`), h("p", { class: "muted small" }, guest.message ?? "Nobody sees you before the countdown is over.")), ring),
      h("div", { class: "actions" }, h("button", { class: "button", type: "button", on: { click: decline } }, "Decline"), textButton("Preview & join", () => this.#acceptSheet(guest), "primary")),
    );
    this.theatre.append(this.#card);
    const tick = () => {
      const ms = Math.max(0, guest.expiresAt - this.client.serverNow());
      left.textContent = String(Math.ceil(ms / 1000));
      setVars(ring, { "--left-part": (ms / total).toFixed(3) });
      if (ms <= 0) this.#closeCard();
    };
    tick();
    this.#timer = setInterval(tick, TICK_MS);
  }

  #closeCard() {
    clearInterval(this.#timer);
    this.#card?.remove();
    this.#card = null;
    if (this.guest?.state !== "invited") this.#cardFor = null;
  }

  #acceptSheet(guest) {
    const preview = cameraPreview(this.camera);
    const audioOnly = guest.media === "audio";
    let accepted = false;
    const accept = guarded(async () => {
      if (!this.camera.stream) await this.#openCamera(preview, guest.media);
      if (!this.camera.stream) return;
      accepted = true;
      const media = this.camera.track("video") ? "av" : "audio";
      try {
        const granted = await this.#withRules(() => this.client.guests.accept(guest.guestId, media));
        sheet.close();
        await this.#granted({ ...guest, ...granted });
      } catch (error) {
        accepted = false;
        throw error;
      }
    });
    const sheet = openSheet("Ready?", [
      h("div", { class: "stack" }, preview.element, h("p", { class: "muted small" }, audioOnly ? "The host asks for your voice only." : "This is how everybody will see you."), houseRules(), h("button", { class: "button primary wide", type: "button", on: { click: accept } }, "Go on stage")),
    ], { onClose: () => !accepted && !this.client.publishing.active && this.camera.close() });
    this.#openCamera(preview, guest.media);
  }

  // ---- On the way and on air -----------------------------------------------------------------

  /** A seat is ours: send media at once, the server lets it out when the countdown is over. */
  #granted(granted) {
    this.#starting ??= this.#start(granted).finally(() => {
      this.#starting = null;
    });
    return this.#starting;
  }

  async #start({ seat, media, airAt }) {
    if (this.client.publishing.active || seat === undefined || seat === null) return;
    if (!this.camera.stream) await this.camera.open({ video: media !== "audio" });
    this.camera.onTrack = (track) => this.client.publishing.replaceTrack(track);
    this.onOwn(seat, this.camera.stream, this.camera.mirror);
    if (airAt) this.client.state.you.guest.airAt = airAt;
    this.#runCountdown();
    await this.client.publishing.start(this.camera.stream, seat);
    for (const kind of ["audio", "video"]) {
      if (this.camera.track(kind) && !this.camera.enabled(kind)) await this.client.publishing.mute(kind, true);
    }
  }

  #runCountdown() {
    const number = h("div", { class: "count" });
    this.countdown.replaceChildren(h("p", {}, "You are on air in"), number, textButton("Leave", () => this.#leave(), "danger"));
    const tick = () => {
      const { guest } = this;
      const ms = (guest?.airAt ?? 0) - this.client.serverNow();
      const waiting = guest && (guest.state === "connecting" || ms > 0) && guest.state !== "live";
      this.countdown.hidden = !waiting;
      const text = ms > 0 ? String(Math.ceil(ms / 1000)) : "…";
      if (number.textContent !== text) number.textContent = text;
      if (waiting) setTimeout(tick, TICK_MS);
    };
    tick();
  }

  #onAir() {
    this.countdown.hidden = true;
    notice("You are on air.");
  }

  async #leave() {
    if (!(await confirm("Leave the stage?", "You go on watching as a viewer.", "Leave", { danger: true }))) return;
    await this.client.guests.leave().catch(explain);
    this.#offStage();
  }

  #ended({ reason } = {}) {
    if (ENDED[reason]) notice(ENDED[reason], reason === "removed" ? "error" : "info");
    this.#offStage();
  }

  #offStage() {
    this.client.publishing.stop();
    this.camera.close();
    this.countdown.hidden = true;
    this.#closeCard();
    this.onOwn(-1, null, true);
  }

  #failed(error) {
    notice(error?.code ? error.message : cameraTrouble(error), "error");
    this.client.guests.leave().catch(() => {});
    this.#offStage();
  }

  #buildControls() {
    this.mic = roundButton("mic", "Mute microphone", () => this.#toggle("audio"));
    this.cam = roundButton("cam", "Turn camera off", () => this.#toggle("video"));
    this.flip = roundButton("flip", "Switch camera", () => this.camera.flip().then(() => this.onOwn(this.guest?.seat ?? -1, this.camera.stream, this.camera.mirror), explain));
    this.exit = roundButton("leave", "Leave the stage", () => this.#leave(), "off");
    this.lockNote = h("span", { class: "pill note", hidden: true }, "Muted by the host");
    this.controls.append(this.lockNote, this.mic, this.cam, this.flip, this.exit);
  }

  #refreshControls(guest) {
    const muted = (kind) => (guest.selfMuted ?? []).includes(kind) || (guest.locked ?? []).includes(kind);
    const locked = (kind) => (guest.locked ?? []).includes(kind);
    for (const kind of ["audio", "video"]) if (this.camera.track(kind)) this.camera.enable(kind, !muted(kind));
    setButton(this.mic, locked("audio") ? "lock" : muted("audio") ? "mic-off" : "mic", muted("audio") ? "Unmute microphone" : "Mute microphone", muted("audio"));
    setButton(this.cam, locked("video") ? "lock" : muted("video") ? "cam-off" : "cam", muted("video") ? "Turn camera on" : "Turn camera off", muted("video"));
    this.cam.hidden = this.flip.hidden = !this.camera.track("video");
    this.lockNote.hidden = !locked("audio") && !locked("video");
    this.lockNote.textContent = locked("audio") ? "Muted by the host" : "Camera turned off by the host";
  }

  async #toggle(kind) {
    const { guest } = this;
    if (!guest) return;
    if ((guest.locked ?? []).includes(kind)) {
      await this.client.guests.requestUnmute([kind]).then(() => notice("The host was asked to unmute you."), explain);
      return;
    }
    const on = !(guest.selfMuted ?? []).includes(kind);
    try {
      await this.client.publishing.mute(kind, on);
      const rest = (guest.selfMuted ?? []).filter((k) => k !== kind);
      this.#remember({ ...this.guest, selfMuted: on ? [...rest, kind] : rest });
    } catch (error) {
      explain(error);
    }
  }

  // ---- Shared --------------------------------------------------------------------------------

  async #openCamera(preview, media) {
    try {
      if (!this.camera.stream) await this.camera.open({ video: media !== "audio" });
      preview.refresh();
    } catch (error) {
      preview.trouble(error);
    }
  }

  /** The sheets show the house rules above their button, so pressing it accepts them. */
  async #withRules(action) {
    try {
      return await action();
    } catch (refusal) {
      if (refusal.code !== "rules_not_accepted") throw refusal;
      await this.client.room.acceptRules(RULES_VERSION);
      return action();
    }
  }
}

const houseRules = () =>
  h("p", { class: "muted small" }, "House rules: be kind, stay lawful, show only what is yours to show. The host can mute or remove you at any time. Going on accepts them.");
