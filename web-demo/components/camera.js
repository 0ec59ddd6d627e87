import { h, roundButton, setButton } from "./dom.js";

const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** What a person can do about a camera that does not open. */
const TROUBLE = {
  NotAllowedError: "Camera or microphone is blocked. Allow it in the address bar, then try again.",
  NotFoundError: "No camera or microphone was found.",
  NotReadableError: "Another program is using the camera.",
  OverconstrainedError: "This camera cannot do what was asked.",
};

/** @param {any} error */
export function cameraTrouble(error) {
  if (!navigator.mediaDevices) return "Cameras need a secure page (https or localhost).";
  return TROUBLE[error?.name] ?? error?.message ?? "The camera could not be opened.";
}

/** Own camera and microphone: opened once, switched in place, muted before and during the show. */
export class Camera {
  constructor() {
    this.stream = null;
    this.mirror = true;
    this.facing = "user";
    /** Told when a track was replaced, so that a running publication can follow. @type {(track: MediaStreamTrack) => any} */
    this.onTrack = () => {};
  }

  /** @param {{video?: boolean, audio?: boolean}} [wanted] */
  async open({ video = true, audio = true } = {}) {
    if (!navigator.mediaDevices) throw new Error(cameraTrouble());
    this.close();
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: audio && AUDIO,
      video: video && { ...VIDEO, facingMode: this.facing },
    });
    return this.stream;
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }

  /** @param {"audio" | "video"} kind */
  track(kind) {
    return this.stream?.getTracks().find((t) => t.kind === kind) ?? null;
  }

  /** @param {"audio" | "video"} kind @param {boolean} on */
  enable(kind, on) {
    const track = this.track(kind);
    if (track) track.enabled = on;
  }

  /** @param {"audio" | "video"} kind */
  enabled(kind) {
    return this.track(kind)?.enabled ?? false;
  }

  /** Front or back. */
  async flip() {
    this.facing = this.facing === "user" ? "environment" : "user";
    this.mirror = this.facing === "user";
    await this.#replace("video", { ...VIDEO, facingMode: this.facing });
  }

  /** @param {"audio" | "video"} kind @param {string} deviceId */
  choose(kind, deviceId) {
    const base = kind === "video" ? VIDEO : AUDIO;
    return this.#replace(kind, { ...base, deviceId: { exact: deviceId } });
  }

  async #replace(kind, constraints) {
    const old = this.track(kind);
    const enabled = old?.enabled ?? true;
    // A phone opens one camera at a time: the old one has to go first.
    if (kind === "video") old?.stop();
    const fresh = (await navigator.mediaDevices.getUserMedia({ [kind]: constraints })).getTracks()[0];
    fresh.enabled = enabled;
    await this.onTrack(fresh);
    if (this.stream.getTracks().includes(fresh)) return;
    if (old) {
      this.stream.removeTrack(old);
      old.stop();
    }
    this.stream.addTrack(fresh);
  }
}

/** A preview of a camera with its switches. @param {Camera} camera */
export function cameraPreview(camera) {
  const video = h("video", { muted: true, autoplay: true, playsInline: true });
  const placeholder = h("div", { class: "placeholder", hidden: true });
  const mic = roundButton("mic", "Mute microphone", () => toggle("audio"));
  const cam = roundButton("cam", "Turn camera off", () => toggle("video"));
  const flip = roundButton("flip", "Switch camera", () => camera.flip().then(refresh, (error) => trouble(error)));
  const mirror = roundButton("mirror", "Mirror", () => {
    camera.mirror = !camera.mirror;
    refresh();
  });
  const tools = h("div", { class: "preview-tools" }, mic, cam, flip, mirror);
  const element = h("div", { class: "preview" }, video, placeholder, tools);

  function toggle(kind) {
    camera.enable(kind, !camera.enabled(kind));
    refresh();
  }

  function refresh() {
    if (video.srcObject !== camera.stream) video.srcObject = camera.stream;
    placeholder.hidden = true;
    setButton(mic, camera.enabled("audio") ? "mic" : "mic-off", camera.enabled("audio") ? "Mute microphone" : "Unmute microphone", !camera.enabled("audio"));
    setButton(cam, camera.enabled("video") ? "cam" : "cam-off", camera.enabled("video") ? "Turn camera off" : "Turn camera on", !camera.enabled("video"));
    cam.hidden = !camera.track("video");
    flip.hidden = mirror.hidden = !camera.track("video");
    element.classList.toggle("mirror", camera.mirror);
  }

  function trouble(error) {
    placeholder.textContent = cameraTrouble(error);
    placeholder.hidden = false;
  }

  return { element, refresh, trouble };
}

/** Menus of cameras and microphones; empty until permission was given. @param {Camera} camera */
export function deviceMenus(camera, onChange, onError) {
  const menus = { video: menu("Camera"), audio: menu("Microphone") };

  function menu(name) {
    const select = h("select");
    return { select, field: h("label", { class: "field" }, name, select) };
  }

  async function refresh() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    for (const kind of ["video", "audio"]) {
      const found = devices.filter((d) => d.kind === `${kind}input` && d.deviceId);
      const current = camera.track(kind)?.getSettings().deviceId;
      menus[kind].select.replaceChildren(...found.map((d, i) => h("option", { value: d.deviceId, selected: d.deviceId === current }, d.label || `${kind} ${i + 1}`)));
      menus[kind].field.hidden = found.length === 0;
    }
  }

  for (const kind of ["video", "audio"]) {
    menus[kind].select.addEventListener("change", (e) => camera.choose(kind, e.target.value).then(onChange, onError));
  }
  return { elements: [menus.video.field, menus.audio.field], refresh };
}
