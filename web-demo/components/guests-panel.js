import { avatar, h, icon, textButton } from "./dom.js";
import { explain, guarded } from "./notices.js";

/** The host's view of requests, the stage and the audience. */
export class GuestsPanel {
  /** @param {any} client GreenroomClient */
  constructor(client) {
    this.client = client;
    this.requests = section("Requests");
    this.stage = section("On stage");
    this.members = section("In the room");
    this.element = h("div", { class: "guests-panel" }, this.requests.element, this.stage.element, this.members.element);
  }

  /** How many people want something: for the tab's badge. */
  static waiting(state) {
    return state.staff?.queue?.length ?? 0;
  }

  update(state) {
    const staff = state.staff ?? {};
    this.requests.fill((staff.queue ?? []).map((r) => this.#request(r)), "Nobody is asking for a seat.");
    this.stage.fill((staff.seats ?? []).filter((s) => s.seat > 0).map((s) => this.#seated(s)), "Invite somebody from below.");
    const people = (staff.members ?? []).filter((m) => m.user !== state.you?.user);
    this.members.fill(people.map((m) => this.#member(m, staff)), "Share the link: viewers appear here.");
  }

  #request({ guestId, user, name, media, note }) {
    const { guests } = this.client;
    return line(user, name, note || (media === "audio" ? "voice only" : "wants to join"), [
      action("Approve", () => guests.approve(guestId), "primary"),
      action("Deny", () => guests.deny(guestId)),
    ]);
  }

  #seated({ guestId, user, name, state, selfMuted = [], locked = [] }) {
    const { guests } = this.client;
    const mute = (kind, iconId, label) => {
      const on = locked.includes(kind);
      const run = () => (on ? guests.allowUnmute(guestId, [kind]) : guests.mute(guestId, [kind], true));
      return iconAction(on ? `${iconId}-off` : iconId, on ? `Allow ${label}` : `Mute ${label}`, run, on);
    };
    const sub = state === "live" ? (selfMuted.length ? `muted own ${selfMuted.join(", ")}` : "on air") : state;
    const tools = [mute("audio", "mic", "microphone"), mute("video", "cam", "camera"), iconAction("close", "Remove from stage", () => guests.remove(guestId))];
    if (state === "backstage") tools.unshift(action("Go live", () => guests.goLive(guestId), "primary"));
    return line(user, name, sub, tools);
  }

  #member({ user, name, role, guest }, staff) {
    const { guests } = this.client;
    const invited = (staff.invited ?? []).find((i) => i.user === user);
    if (invited) return line(user, name, "invited…", [action("Take back", () => guests.revoke(invited.guestId))]);
    const free = !guest || guest === "none";
    return line(user, name, free ? role : guest, free ? [action("Invite", () => guests.invite(user, { media: "av" }))] : []);
  }
}

function section(title) {
  const list = h("ul", { class: "people" });
  const count = h("span", { class: "muted" });
  const element = h("section", {}, h("h3", {}, title, " ", count), list);
  let keys = "";
  return {
    element,
    fill(rows, empty) {
      count.textContent = rows.length ? String(rows.length) : "";
      // Rebuilding under a finger loses the tap: only when something changed.
      const fresh = rows.map((r) => r.dataset.key).join("\n");
      if (fresh === keys && list.children.length) return;
      keys = fresh;
      list.replaceChildren(...(rows.length ? rows : [h("li", { class: "muted small" }, empty)]));
    },
  };
}

function line(user, name, sub, tools) {
  const key = `${user}|${name}|${sub}|${tools.map((t) => t.textContent + t.title).join()}`;
  return h(
    "li",
    { class: "person", dataset: { key, user } },
    avatar(name),
    h("div", { class: "grow" }, h("div", { class: "ellipsis" }, name), h("div", { class: "muted small ellipsis" }, sub)),
    h("div", { class: "row tools" }, ...tools),
  );
}

function action(text, run, className = "") {
  const button = textButton(text, () => {}, `small ${className}`);
  button.addEventListener("click", guarded(run));
  return button;
}

function iconAction(iconId, label, run, off = false) {
  const click = () => run().catch(explain);
  return h("button", { class: `round ${off ? "off" : ""}`, type: "button", title: label, attrs: { "aria-label": label }, on: { click } }, icon(iconId));
}
