import "../sdk/timings.js";
import { Camera, cameraPreview, deviceMenus } from "../components/camera.js";
import { h, icon, textButton } from "../components/dom.js";
import { explain, guarded, notice } from "../components/notices.js";
import { roomUrl, share } from "../components/share.js";
import { keepAwake } from "../components/wake.js";
import { GreenroomClient } from "../sdk/index.js";
import { NoDevLogin, randomName, randomRoom, rememberedName, rememberName, tokenFromFragment, tokenSource } from "./identity.js";
import { OnAir } from "./on-air.js";

const COUNTDOWN_S = 3;
/** The show of this browser, so that a closed studio finds back to it. */
const SHOW_KEY = "greenroom.show";

const app = document.querySelector("#app");
const given = tokenFromFragment();
const query = new URLSearchParams(location.search);
const show = JSON.parse(localStorage.getItem(SHOW_KEY) ?? "null");
const room = query.get("room") ?? show?.room ?? randomRoom();
const camera = new Camera();
const preview = cameraPreview(camera);
const devices = deviceMenus(camera, () => preview.refresh(), explain);

const nameInput = h("input", { type: "text", maxLength: 40, value: rememberedName() || randomName(), autocomplete: "nickname" });
const titleInput = h("input", { type: "text", maxLength: 64, value: show?.title ?? "", placeholder: "What is it about?" });
const goLive = h("button", { class: "button live wide", type: "button", disabled: true, on: { click: guarded(start) } }, "Go live");
const retry = textButton("Try the camera again", openCamera, "wide");

prepare();
openCamera();

function prepare() {
  retry.hidden = true;
  app.replaceChildren(
    h("header", { class: "home-head" }, h("a", { class: "brand grow", href: "/" }, h("img", { src: "/assets/favicon.svg", alt: "" }), "Greenroom"), h("span", { class: "muted" }, "Studio")),
    h(
      "div",
      { class: "studio-prep" },
      preview.element,
      h(
        "section",
        { class: "stack" },
        h("h1", {}, "Ready when you are"),
        given ? null : h("label", { class: "field" }, "Your name", nameInput),
        h("label", { class: "field" }, "Title", titleInput),
        ...devices.elements,
        h("div", { class: "field" }, "Link for your viewers", linkRow()),
        goLive,
        retry,
        h("p", { class: "muted small" }, "Nobody sees you before the countdown is over."),
      ),
    ),
  );
}

function linkRow() {
  const url = roomUrl(room);
  return h("div", { class: "link-row" }, h("span", { class: "ellipsis grow" }, url.replace(/^https?:\/\//, "")), h("button", { class: "button small", type: "button", on: { click: () => share(url, titleInput.value || "Live show") } }, icon("copy"), "Copy"));
}

async function openCamera() {
  retry.hidden = true;
  try {
    await camera.open();
    preview.refresh();
    goLive.disabled = false;
    await devices.refresh();
  } catch (error) {
    if (await openMicrophoneOnly(error)) return;
    preview.trouble(error);
    retry.hidden = false;
  }
}

/** No camera in this machine is no reason not to go live. */
async function openMicrophoneOnly(error) {
  if (error?.name !== "NotFoundError") return false;
  try {
    await camera.open({ video: false });
  } catch {
    return false;
  }
  preview.refresh();
  goLive.disabled = false;
  notice("No camera found: this will be a sound-only show.");
  return true;
}

/** Join and publish while the countdown runs, so that the picture is there when it ends. */
async function start() {
  const name = nameInput.value.trim() || randomName();
  rememberName(name);
  const title = titleInput.value.trim() || `${name}'s show`;
  const client = new GreenroomClient({ room, token: tokenSource({ room, role: "host", name: () => name, given }) });
  window.greenroom = client;
  try {
    const counted = countdown();
    const state = await client.connect();
    await client.publishing.start(camera.stream, 0);
    for (const kind of ["audio", "video"]) if (camera.track(kind) && !camera.enabled(kind)) await client.publishing.mute(kind, true);
    await counted.done;
    if (state.room.state === "preview" || state.room.state === "scheduled") await client.room.start(title);
    localStorage.setItem(SHOW_KEY, JSON.stringify({ room, title }));
    onAir(client, title);
  } catch (error) {
    client.close();
    document.querySelector(".countdown-layer")?.remove();
    throw error instanceof NoDevLogin ? Object.assign(error, { code: "no_dev_login" }) : error;
  }
}

function countdown() {
  const number = h("div", { class: "count" }, String(COUNTDOWN_S));
  const layer = h("div", { class: "countdown-layer" }, number);
  preview.element.append(layer);
  preview.element.scrollIntoView({ block: "center" });
  const done = new Promise((resolve) => {
    let left = COUNTDOWN_S;
    const timer = setInterval(() => {
      left -= 1;
      number.textContent = left > 0 ? String(left) : "…";
      if (left > 0) return;
      clearInterval(timer);
      resolve(undefined);
    }, 1000);
  });
  return { done };
}

function onAir(client, title) {
  document.querySelector(".countdown-layer")?.remove();
  document.body.classList.add("show");
  keepAwake();
  const view = new OnAir(client, { camera, room, title, onEnd: finished });
  app.className = "show-grid studio";
  app.replaceChildren(...view.elements);
  window.addEventListener("pagehide", () => client.close());
}

function finished(rows) {
  localStorage.removeItem(SHOW_KEY);
  camera.close();
  document.body.classList.remove("show");
  app.className = "home";
  app.replaceChildren(
    h(
      "section",
      { class: "summary stack" },
      h("h1", {}, "That was your show"),
      h("dl", {}, ...rows.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)))),
      h("a", { class: "button primary", href: "/studio" }, "Go live again"),
      h("a", { class: "button", href: "/" }, "Home"),
    ),
  );
}
