/**
 * A tile that changes is told when it has kept its size for this long. Trade: dragging a window or an animation costs
 * one message and one key frame, and the sharper picture comes this much later.
 */
const SETTLE_MS = 250;
/**
 * A seat counts as hidden after this long. Trade: who looks at another tab for a moment comes back to a moving picture
 * and nobody is asked for a key frame; who stays away longer is sent this much video for nothing.
 */
const HIDDEN_MS = 2000;
/** What was refused, because of a rate limit above all, is said again after this long. */
const AGAIN_MS = 1000;
/**
 * Device pixels per CSS pixel that count. Trade: nobody sees in a moving picture what a phone with three has more,
 * and its viewer is sent half of the pixels.
 */
const RATIO = 2;
const SEATS = Array.from({ length: 10 }, (_, seat) => seat);
/** What a browser lays out for a video without a size of its own, before there is a picture. */
const UNSIZED = { width: 300, height: 150 };
/** The largest side that the protocol takes. */
const LARGEST = 16_384;
const BEST = { w: LARGEST, h: LARGEST };

/**
 * Tells the server how large each seat is shown and which ones are not, so that nothing is sent that nobody looks at:
 * `layer.prefer` and `media.pause`. Seats without an element are sent whole, as it is not known what they are for.
 */
export class Views {
  #request;
  /** @type {Map<HTMLVideoElement, {seat: number, shown: boolean, own: OwnSize, unwatch: () => void}>} */
  #elements = new Map();
  /** What the server knows: sizes by seat as text, and paused seats. */
  #sizes = new Map();
  #paused = new Set();
  #hiddenSince = new Map();
  #audioOnly = false;
  /** Counts connections: what one of them did not take is nothing to the next. */
  #connection = 0;
  #joined = false;
  #settle = 0;
  #later = 0;
  #observers = null;

  /** @param {(type: string, data: object) => Promise<any>} request */
  constructor(request) {
    this.#request = request;
    this.changed = () => this.#update();
    globalThis.document?.addEventListener("visibilitychange", this.changed);
  }

  get audioOnly() {
    return this.#audioOnly;
  }

  /** @param {boolean} on */
  setAudioOnly(on) {
    this.#audioOnly = on;
    this.#update();
  }

  /** Whether no video of this seat is sent. @param {number} seat */
  paused(seat) {
    return this.#paused.has(seat);
  }

  /** This element shows a seat. @param {number} seat @param {HTMLVideoElement} element */
  add(seat, element) {
    this.remove(element);
    this.#observers ??= this.#observe();
    const own = new OwnSize();
    const changed = () => {
      own.look(element);
      this.#changed();
    };
    element.addEventListener("resize", changed);
    this.#elements.set(element, { seat, shown: true, own, unwatch: () => element.removeEventListener("resize", changed) });
    observeSize(this.#observers.size, element);
    this.#observers.sight.observe(element);
    this.#update();
  }

  /** @param {HTMLVideoElement} element */
  remove(element) {
    const view = this.#elements.get(element);
    if (!view) return;
    view.unwatch();
    this.#elements.delete(element);
    this.#observers.size.unobserve(element);
    this.#observers.sight.unobserve(element);
    this.#update();
  }

  /** There is a new watch connection, of which the server knows nothing. */
  begin() {
    this.#connection += 1;
    this.#sizes.clear();
    this.#paused.clear();
    this.#joined = true;
    this.#update();
  }

  /** There is none. */
  end() {
    this.#joined = false;
  }

  close() {
    this.end();
    clearTimeout(this.#settle);
    clearTimeout(this.#later);
    globalThis.document?.removeEventListener("visibilitychange", this.changed);
    for (const element of [...this.#elements.keys()]) this.remove(element);
  }

  #observe() {
    const size = new ResizeObserver(() => this.#changed());
    const sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const view = this.#elements.get(target);
        // An element outside of the document may be drawn from.
        if (view) view.shown = isIntersecting || !target.isConnected;
      }
      this.#update();
    });
    return { size, sight };
  }

  /** The first size of a seat is told at once, later ones when they have settled. */
  #changed() {
    clearTimeout(this.#settle);
    if ([...this.#elements.values()].some(({ seat }) => !this.#sizes.has(seat))) this.#update();
    this.#settle = setTimeout(() => this.#update(true), SETTLE_MS);
  }

  #update(settled = false) {
    const now = performance.now();
    const paused = this.#hidden(now);
    if (!this.#joined) return;
    const resumed = [...this.#paused].filter((seat) => !paused.has(seat));
    for (const [seat, size] of this.#shownSizes()) {
      // The size before the picture, so that it begins with the right one.
      if (settled || !this.#sizes.has(seat) || resumed.includes(seat)) this.#prefer(seat, size);
    }
    this.#pause(resumed, false);
    this.#pause([...paused].filter((seat) => !this.#paused.has(seat)), true);
  }

  /** The seats that are hidden for long enough; looks again when the next one will be. */
  #hidden(now) {
    const page = globalThis.document?.visibilityState === "hidden" && !globalThis.document.pictureInPictureElement;
    const sights = new Map();
    for (const { seat, shown } of this.#elements.values()) sights.set(seat, shown || sights.get(seat) === true);
    let next = Infinity;
    const hidden = SEATS.filter((seat) => {
      if (!page && sights.get(seat) !== false) {
        this.#hiddenSince.delete(seat);
        return this.#audioOnly;
      }
      const since = this.#hiddenSince.get(seat) ?? now;
      this.#hiddenSince.set(seat, since);
      const left = since + HIDDEN_MS - now;
      if (left > 0) next = Math.min(next, left);
      return this.#audioOnly || left <= 0;
    });
    if (Number.isFinite(next)) this.#lookIn(next);
    return new Set(hidden);
  }

  #lookIn(ms) {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.#update(), ms);
  }

  /** The largest of the elements of each seat, in device pixels. */
  #shownSizes() {
    const sizes = new Map();
    for (const [element, { seat, shown, own }] of this.#elements) {
      if (!own.look(element)) continue;
      const { w, h } = own.follows ? BEST : shownSize(element, Math.min(globalThis.devicePixelRatio ?? 1, RATIO));
      if (!shown || !w || !h) continue;
      const other = sizes.get(seat) ?? { w: 0, h: 0 };
      sizes.set(seat, { w: Math.max(w, other.w), h: Math.max(h, other.h) });
    }
    return sizes;
  }

  #prefer(seat, { w, h }) {
    const size = `${w}x${h}`;
    if (this.#sizes.get(seat) === size) return;
    this.#sizes.set(seat, size);
    this.#tell("layer.prefer", { seat, w, h }, () => this.#sizes.delete(seat));
  }

  #pause(seats, on) {
    if (seats.length === 0) return;
    const note = (paused) => seats.forEach((seat) => (paused ? this.#paused.add(seat) : this.#paused.delete(seat)));
    note(on);
    this.#tell("media.pause", { seats, on }, () => note(!on));
  }

  #tell(type, data, undo) {
    const connection = this.#connection;
    this.#request(type, data).catch(() => {
      if (connection !== this.#connection || !this.#joined) return;
      undo();
      this.#lookIn(AGAIN_MS);
    });
  }
}

/**
 * Whether an element has a size by its page, or takes that of its picture. The latter says nothing of what is wanted:
 * a small picture would make a small element, which asks for a small picture.
 */
export class OwnSize {
  #width = UNSIZED.width;
  #picture = 0;
  /** It takes the size of its picture. */
  follows = false;

  /**
   * Look at the element; whether its size says something, which it does not while nothing gave it one.
   *
   * @param {{clientWidth: number, clientHeight: number, videoWidth: number}} element
   */
  look({ clientWidth, clientHeight, videoWidth }) {
    if (videoWidth !== this.#picture && clientWidth === videoWidth && clientWidth !== this.#width) this.follows = true;
    this.#picture = videoWidth;
    if (videoWidth === 0 && clientWidth === UNSIZED.width && clientHeight === UNSIZED.height) return false;
    this.#width = clientWidth;
    return true;
  }
}

/**
 * How large an element shows its picture, in device pixels: all of the element where the picture is cropped to it, less
 * where it is shown whole between bars.
 *
 * @param {{clientWidth: number, clientHeight: number, videoWidth: number, videoHeight: number}} element
 * @param {number} ratio device pixels per CSS pixel
 * @param {string} [fit] CSS `object-fit`
 */
export function shownSize(element, ratio, fit = getComputedStyle(element).objectFit) {
  let { clientWidth: w, clientHeight: h } = element;
  const { videoWidth, videoHeight } = element;
  if (fit === "contain" && videoWidth && videoHeight) {
    const scale = Math.min(w / videoWidth, h / videoHeight);
    [w, h] = [videoWidth * scale, videoHeight * scale];
  }
  const device = (side) => Math.min(LARGEST, Math.round(side * ratio));
  return { w: device(w), h: device(h) };
}

/** Also when the window moves to a screen with other pixels, where the browser tells that. */
function observeSize(observer, element) {
  try {
    observer.observe(element, { box: "device-pixel-content-box" });
  } catch {
    observer.observe(element);
  }
}
