import { SeatAudio } from "./audio.js";
import { mark } from "./timings.js";

/**
 * The received media of all seats: one stream per seat, the elements that show them, and when each
 * last showed a frame. Tracks of a new connection replace old ones only once their media flows, so
 * that a rejoin does not go through black.
 */
export class StageMedia {
  #slots = new Map();
  #elements = new Map();
  #seats = [];

  /**
   * @param {{
   *   onBlocked: (blocked: boolean) => void,
   *   onFirstFrame: (seat: number) => void,
   *   onTrack: (seat: number) => void,
   * }} handlers
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.audio = new SeatAudio({ onBlocked: handlers.onBlocked });
    /** When any seat last showed a frame, `performance.now()`. */
    this.lastFrameAt = 0;
  }

  /** A track of seat `seat` from the current watch connection. */
  addTrack(seat, kind, track) {
    const slot = this.#slot(seat);
    const old = slot[kind];
    const use = () => {
      if (slot.pending[kind] !== track) return;
      this.#use(seat, kind, track);
    };
    slot.pending[kind] = track;
    if (!old || old.readyState === "ended" || !track.muted) use();
    else track.addEventListener("unmute", use, { once: true });
  }

  /** The stream of a seat; its tracks change, the stream does not. @param {number} seat */
  stream(seat) {
    return this.#slot(seat).stream;
  }

  /**
   * Show a seat in a `<video>`; stays right over rejoins until `detach`.
   *
   * @param {number} seat
   * @param {HTMLVideoElement} element
   */
  attach(seat, element) {
    this.detach(element);
    element.muted = true;
    element.playsInline = true;
    element.autoplay = true;
    this.#elements.set(element, { seat, frames: 0 });
    this.#show(element, seat);
    this.#watchFrames(element);
  }

  /** @param {HTMLVideoElement} element */
  detach(element) {
    if (!this.#elements.delete(element)) return;
    element.srcObject = null;
  }

  /** Follow the seats: sound plays for the live ones only. `own` is never played back. */
  follow(seats, own) {
    this.#seats = seats;
    for (const { seat, state, audio } of seats) {
      this.audio.setPlaying(seat, state === "live" && audio && seat !== own);
    }
    this.own = own;
  }

  close() {
    for (const element of [...this.#elements.keys()]) this.detach(element);
    this.audio.close();
  }

  #slot(seat) {
    if (!this.#slots.has(seat)) this.#slots.set(seat, { stream: new MediaStream(), pending: {} });
    return this.#slots.get(seat);
  }

  #use(seat, kind, track) {
    const slot = this.#slot(seat);
    if (slot[kind]) slot.stream.removeTrack(slot[kind]);
    slot[kind] = track;
    slot.stream.addTrack(track);
    if (kind === "audio") {
      this.audio.setTrack(seat, track);
      this.follow(this.#seats, this.own);
    } else {
      for (const [element, shown] of this.#elements) if (shown.seat === seat) this.#show(element, seat);
    }
    this.handlers.onTrack(seat);
  }

  #show(element, seat) {
    const track = this.#slot(seat).video;
    if (!track || element.srcObject?.getVideoTracks()[0] === track) return;
    element.srcObject = new MediaStream([track]);
    // Interrupted by the next srcObject, or refused in a background tab: autoplay tries again.
    element.play().catch(() => {});
  }

  #watchFrames(element) {
    if (!element.requestVideoFrameCallback) {
      element.addEventListener("timeupdate", () => this.#frame(element));
      return;
    }
    const next = () => {
      if (!this.#elements.has(element)) return;
      this.#frame(element);
      element.requestVideoFrameCallback(next);
    };
    element.requestVideoFrameCallback(next);
  }

  #frame(element) {
    const shown = this.#elements.get(element);
    if (!shown) return;
    this.lastFrameAt = performance.now();
    shown.frames += 1;
    if (shown.frames > 1) return;
    mark("firstFrame");
    this.handlers.onFirstFrame(shown.seat);
  }
}
