import { avatar, h, icon } from "./dom.js";

/** Beyond this ratio between picture and tile, cropping would cut faces: show the whole picture.
 * On an upright phone tiles are so narrow that a whole wide picture would be a stripe: always crop. */
const CROP_LIMIT = 3.2;

const PLACEHOLDER = {
  reserved: "Joining the stage…",
  connecting: "Joining the stage…",
  reconnecting: "Reconnecting…",
  live: "Camera is off",
};

/** One seat on the stage: picture or placeholder, name, mute sign. */
export class Tile {
  /**
   * @param {number} seat
   * @param {{attach: (seat: number, video: HTMLVideoElement) => void, detach: (video: HTMLVideoElement) => void, audioOnly: boolean}} client
   */
  constructor(seat, client) {
    this.seat = seat;
    this.client = client;
    this.video = h("video", { muted: true, autoplay: true, playsInline: true, attrs: { "aria-hidden": "true", disablepictureinpicture: "" } });
    this.placeholder = h("div", { class: "placeholder" });
    this.label = h("div", { class: "label" });
    this.element = h("div", { class: "tile no-picture", dataset: { seat: String(seat) } }, this.video, this.placeholder, this.label);
    this.video.addEventListener("resize", () => this.#fit());
    this.source = null;
  }

  /**
   * @param {{name: string | null, state: string, audio: boolean, video: boolean}} seat
   * @param {{local?: MediaStream | null, mirror?: boolean, speaks?: boolean}} [look] the first two are set on the own seat
   */
  update(seat, { local = null, mirror = false, speaks = false } = {}) {
    const name = seat.name ?? "Guest";
    const picture = local ? seat.state !== "reconnecting" && local.getVideoTracks().some((t) => t.enabled) : seat.state === "live" && seat.video && !this.client.audioOnly;
    this.#source(local);
    this.element.classList.toggle("no-picture", !picture);
    this.element.classList.toggle("mirror", Boolean(local && mirror));
    this.element.classList.toggle("waiting", seat.state !== "live");
    this.element.classList.toggle("speaks", speaks);
    this.element.setAttribute("aria-label", `${name}, ${seat.state}`);
    const listening = seat.state === "live" && seat.video && !local && !picture;
    const key = `${name}|${seat.state}|${seat.audio}|${picture}|${listening}`;
    if (this.key === key) return;
    this.key = key;
    this.placeholder.replaceChildren(avatar(name, "large"), h("span", {}, listening ? "Sound only" : (PLACEHOLDER[seat.state] ?? "")));
    const muted = seat.state === "live" && !seat.audio;
    this.label.replaceChildren(...[muted && icon("mic-off"), h("span", { class: "ellipsis" }, name)].filter(Boolean));
  }

  /** Place it. @param {{x: number, y: number, w: number, h: number}} rect */
  place({ x, y, w, h: height }) {
    const style = this.element.style;
    style.left = `${x}px`;
    style.top = `${y}px`;
    style.width = `${w}px`;
    style.height = `${height}px`;
    this.rect = { w, h: height };
    this.#fit();
  }

  remove() {
    this.client.detach(this.video);
    this.video.srcObject = null;
    this.element.remove();
  }

  #source(local) {
    const source = local ?? this.client;
    if (this.source === source) return;
    this.source = source;
    if (local) {
      this.client.detach(this.video);
      this.video.srcObject = local;
      this.video.play().catch(() => {});
    } else {
      this.video.srcObject = null;
      this.client.attach(this.seat, this.video);
    }
  }

  #fit() {
    const { videoWidth: vw, videoHeight: vh } = this.video;
    if (!vw || !this.rect) return;
    const ratio = vw / vh / (this.rect.w / this.rect.h);
    const upright = this.rect.w < this.rect.h && window.innerWidth < window.innerHeight;
    const limit = upright ? Infinity : CROP_LIMIT;
    this.element.classList.toggle("contain", Math.max(ratio, 1 / ratio) > limit);
  }
}
