/**
 * Sound of the seats. It plays from elements of its own and the pictures stay muted: a muted
 * picture may always start by itself, and a seat without a camera is still heard. (The browser
 * keeps lips in step per msid, not per element.)
 */
export class SeatAudio {
  #elements = new Map();
  #muted = false;

  /** @param {{onBlocked: (blocked: boolean) => void}} handlers */
  constructor({ onBlocked }) {
    this.onBlocked = onBlocked;
    /** The browser wants a gesture first; call `unlock()` from one. */
    this.blocked = false;
  }

  /** @param {number} seat @param {MediaStreamTrack} track */
  setTrack(seat, track) {
    const element = this.#elements.get(seat) ?? new Audio();
    this.#elements.set(seat, element);
    element.muted = this.#muted;
    element.srcObject = new MediaStream([track]);
  }

  /** Start a seat's sound, or stop it when the seat is empty. @param {number} seat */
  setPlaying(seat, playing) {
    const element = this.#elements.get(seat);
    if (!element) return;
    if (playing) this.#play(element);
    else element.pause();
  }

  /** From a click or a tap. */
  unlock() {
    this.setMuted(false);
    this.#setBlocked(false);
    for (const element of this.#elements.values()) this.#play(element);
  }

  setMuted(muted) {
    this.#muted = muted;
    for (const element of this.#elements.values()) element.muted = muted;
  }

  get muted() {
    return this.#muted;
  }

  close() {
    for (const element of this.#elements.values()) {
      element.pause();
      element.srcObject = null;
    }
    this.#elements.clear();
  }

  #play(element) {
    element.play().catch((error) => {
      if (error.name === "NotAllowedError") this.#setBlocked(true);
    });
  }

  #setBlocked(blocked) {
    if (this.blocked === blocked) return;
    this.blocked = blocked;
    this.onBlocked(blocked);
  }
}
