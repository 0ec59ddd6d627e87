import "../sdk/timings.js";
import { ChatPanel } from "../components/chat-panel.js";
import { avatar, compact, duration, h, icon, roundButton, setButton, textButton } from "../components/dom.js";
import { GiftShow } from "../components/gift-show.js";
import { GiftTray } from "../components/gift-tray.js";
import { GuestFlow } from "../components/guest-flow.js";
import { hearts } from "../components/hearts.js";
import { notice } from "../components/notices.js";
import { roomUrl, share } from "../components/share.js";
import { StageGrid } from "../components/stage-grid.js";
import { keepAwake } from "../components/wake.js";
import { GreenroomClient } from "../sdk/index.js";
import { askName, NoDevLogin, tokenFromFragment, tokenSource } from "./identity.js";

const room = decodeURIComponent(location.pathname.split("/").filter(Boolean)[1] ?? "");
const resumeKey = `greenroom.resume.${room}`;

/** What a viewer reads while there is no picture. */
const BYE = {
  replaced: ["Opened elsewhere", "This show is now open in another tab or device of yours."],
  kicked: ["You were sent out", "You can come back in a few minutes."],
  banned: ["You cannot take part", "The host has closed this room to you."],
};

const given = tokenFromFragment();
const name = given ? "" : await askName("Join the show", "Watch");
/** `?audioTop=3`: hear the three loudest only. */
const audioTop = Number(new URLSearchParams(location.search).get("audioTop")) || undefined;
const client = new GreenroomClient({
  room,
  audioTop,
  waitForRoom: true,
  token: tokenSource({ room, role: "viewer", name: () => name, given }),
  resumeToken: sessionStorage.getItem(resumeKey),
});
// For the browser tests and for a curious developer's console.
window.greenroom = client;

client.on("resumeToken", (token) => {
  if (token) sessionStorage.setItem(resumeKey, token);
  else sessionStorage.removeItem(resumeKey);
});

const stage = new StageGrid(client, { onCount: (n) => theatre.classList.toggle("with-guests", n > 1) });
const card = h("div", { class: "state-card", attrs: { role: "status" } });
const banner = h("div", { class: "banner", hidden: true, attrs: { role: "status" } });
const unmute = h("button", { class: "button unmute", type: "button", hidden: true, on: { click: () => client.unlockAudio() } }, icon("sound-off"), "Tap for sound");
const theatre = h("section", { class: "theatre", attrs: { "aria-label": "Stage" } }, stage.element);
const love = hearts(theatre, () => client.like());
const tray = new GiftTray(client);
const gifts = new GiftShow((id) => tray.find(id));
const flow = new GuestFlow(client, theatre, {
  onOwn: (seat, stream, mirror) => {
    stage.setOwn(seat, stream, mirror);
    if (client.state) stage.update(client.state);
  },
});
const chat = new ChatPanel((text) => client.chat(text));
const top = topbar();
theatre.append(card, banner, unmute, love.element, gifts.lanes, gifts.effects, flow.controls, top.element);
const sound = roundButton("sound", "Mute the show", () => {
  client.stage.audio.setMuted(!client.stage.audio.muted);
  showSound();
}, "sound");
const listen = roundButton("headphones", "", () => {
  client.setAudioOnly(!client.audioOnly);
  showListen();
  if (client.state) stage.update(client.state);
  showState();
}, "listen");
showListen();
const dock = h(
  "footer",
  { class: "dock" },
  chat.composer(),
  flow.button,
  roundButton("gift", "Send a gift", () => tray.open()),
  roundButton("heart", "Like", () => love.burst()),
  sound,
  listen,
  roundButton("share", "Share", () => share(roomUrl(room), client.state?.room.title || "A live show")),
);
const side = h("aside", { class: "side", attrs: { "aria-label": "Chat" } }, h("div", { class: "panel-head" }, "Chat"), chat.element, chat.composer());
document.querySelector("#app").append(theatre, side, dock);

function topbar() {
  const who = h("div", { class: "hostchip" });
  const badge = h("span", { class: "pill live", hidden: true }, "LIVE");
  const viewers = h("span", { class: "pill" });
  const close = h("a", { class: "round", href: "/", attrs: { "aria-label": "Close" } }, icon("close"));
  const element = h("header", { class: "topbar" }, who, h("span", { class: "spacer" }), badge, viewers, close);
  let key = "";
  function update({ room: info, viewers: count }) {
    const host = info.host?.name ?? "Host";
    badge.hidden = info.state !== "live" && info.state !== "paused";
    badge.textContent = info.state === "paused" ? "PAUSED" : "LIVE";
    badge.className = `pill ${info.state === "paused" ? "paused" : "live"}`;
    viewers.replaceChildren(icon("eye"), compact(count.now));
    if (key === `${host}|${info.title}`) return;
    key = `${host}|${info.title}`;
    who.replaceChildren(avatar(host), h("div", {}, h("strong", { class: "ellipsis" }, host), h("span", { class: "ellipsis" }, info.title || "Live show")));
    document.title = `${info.title || host} · Greenroom`;
  }
  return { element, update };
}

function showSound() {
  const { muted, blocked } = client.stage.audio;
  unmute.hidden = !blocked;
  setButton(sound, muted ? "sound-off" : "sound", muted ? "Sound on" : "Mute the show", muted);
}

function showListen() {
  const on = client.audioOnly;
  setButton(listen, "headphones", on ? "Show the picture" : "Sound only, saves data");
  listen.setAttribute("aria-pressed", String(on));
}

// ---- What is there instead of a picture --------------------------------------------------------

let firstFrame = false;
let last = "";

function showCard(key, title, text, extra = []) {
  if (last === key) return;
  last = key;
  card.hidden = false;
  card.replaceChildren(...[title && h("h2", {}, title), text && h("p", {}, text), ...extra].filter(Boolean));
}

function hideCard() {
  last = "";
  card.hidden = true;
}

const spinner = () => h("div", { class: "spinner" });

function showState() {
  const { state, connection } = client;
  const over = state?.room.state === "ended";
  banner.hidden = over || (connection !== "reconnecting" && !(connection === "waiting" && state));
  if (!banner.hidden) banner.replaceChildren(spinner(), "Reconnecting…");
  if (connection === "closed") return;
  if (connection === "waiting" && !state) return waiting();
  if (!state) return showCard("connecting", "", "Connecting…", [spinner()]);
  const info = state.room;
  if (over) return ended(state);
  if (info.state === "suspended") return showCard("suspended", "Not available", "This show is not available at the moment.");
  if (info.state === "preview" || info.state === "scheduled") return waiting();
  const pictures = state.seats.some((s) => s.state === "live");
  if (info.state === "paused" && !pictures) return paused(info);
  if (!pictures) return showCard("starting", "", "Almost there…", [spinner()]);
  const seesNothing = !firstFrame && !client.audioOnly && state.seats.some((s) => s.state === "live" && s.video && s.user !== state.you?.user);
  if (seesNothing) return showCard("picture", "", "", [spinner()]);
  return hideCard();
}

function waiting() {
  const host = client.state?.room.host?.name;
  showCard(`waiting${host ?? ""}`, "Not live yet", host ? `${host} is getting ready. The show starts here by itself.` : "The show starts here by itself. You can keep this page open.", [spinner()]);
}

function paused(info) {
  const lost = info.reasons?.includes("host_lost");
  const back = info.until ? ` Back at ${new Date(info.until).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}.` : "";
  showCard(`paused${lost}${back}`, lost ? "The host is reconnecting" : "A short break", lost ? "Stay here, the show goes on in a moment." : `The show goes on soon.${back}`, lost ? [spinner()] : []);
}

function ended({ room: info, summary }) {
  const facts = summary?.durationMs ? `${duration(summary.durationMs)} with ${info.host?.name ?? "the host"} and up to ${compact(summary.peakViewers)} ${summary.peakViewers === 1 ? "viewer" : "viewers"}.` : "Thank you for watching.";
  showCard("ended", "The show has ended", facts, [h("a", { class: "button primary", href: "/" }, "See what else is live")]);
}

// ---- Events ------------------------------------------------------------------------------------

client.on("state", ({ state, previous }) => {
  top.update(state);
  stage.update(state);
  chat.update(state.chat);
  if (previous && state.likes > previous.likes) love.rain(state.likes - previous.likes);
  showState();
  announce(state, previous);
});

/** Lines in the chat about who comes and goes. */
function announce(state, previous) {
  if (!previous) return;
  for (const seat of state.seats.slice(1, 9)) {
    const before = previous.seats[seat.seat];
    if (seat.state === "live" && before.state !== "live" && before.state !== "reconnecting" && seat.name) chat.system(`${seat.name} is on stage`);
  }
}

client.on("connection", showState);
client.on("firstFrame", () => {
  firstFrame = true;
  showState();
});
client.on("soundBlocked", showSound);
client.on("gift", async (combo) => {
  await tray.load().catch(() => {});
  const seat = client.state?.seats[combo.to?.seat];
  gifts.show(combo, seat?.name ?? "");
});
client.on("bye", ({ reason, retry }) => {
  if (retry || reason === "room_ended") return;
  const [title, text] = BYE[reason] ?? ["Disconnected", "The connection was closed by the server."];
  showCard(`bye${reason}`, title, text, [textButton("Come back", () => location.reload(), "primary")]);
});
client.on("error", (error) => {
  if (client.connection !== "closed") return console.error(error);
  const known = error instanceof NoDevLogin || error.code;
  return showCard("error", known ? "You cannot join" : "Something went wrong", error.message, [textButton("Try again", () => location.reload(), "primary")]);
});
window.addEventListener("pagehide", () => client.close());

showState();
keepAwake();
client.connect().catch((error) => notice(error.message, "error"));
