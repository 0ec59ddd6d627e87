import { compact, h, hue, icon } from "../components/dom.js";

const REFRESH_MS = 5000;

const grid = document.querySelector("#rooms");

function card({ room, title, host, viewers, paused }) {
  return h(
    "a",
    { class: "live-card", href: `/r/${encodeURIComponent(room)}`, dataset: { initial: [...(title || host.name || room)][0] ?? "" }, vars: { "--hue": hue(room) } },
    h("div", { class: "pills" }, h("span", { class: `pill ${paused ? "paused" : "live"}` }, paused ? "PAUSED" : "LIVE"), h("span", { class: "pill" }, icon("eye"), compact(viewers))),
    h("h2", { class: "ellipsis" }, title || room),
    h("p", { class: "ellipsis" }, host.name),
  );
}

function empty() {
  return h(
    "div",
    { class: "empty" },
    icon("leaf"),
    h("h2", {}, "Nobody is live right now"),
    h("p", {}, "Open the studio, press Go live, and send the link to a friend (or to a second tab)."),
    h("a", { class: "button primary", href: "/studio" }, "Start a demo room"),
  );
}

async function refresh() {
  try {
    const response = await fetch("/v1/live", { headers: { accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    const { rooms } = await response.json();
    grid.replaceChildren(...(rooms.length ? rooms.map(card) : [empty()]));
    grid.classList.toggle("live-grid", rooms.length > 0);
  } catch {
    grid.replaceChildren(h("p", { class: "empty" }, "The list of shows is not available. Trying again…"));
    grid.classList.remove("live-grid");
  }
}

refresh();
setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH_MS);
