import { layout, SCREEN_SEAT } from "../sdk/index.js";
import { h } from "./dom.js";
import { Tile } from "./tile.js";

const GAP = 6;

/** The stage: a tile per taken seat, placed by the one layout function. */
export class StageGrid {
  #tiles = new Map();
  #placed = "";

  /**
   * @param {any} client GreenroomClient
   * @param {{showReserved?: boolean, onCount?: (n: number) => void}} [options]
   */
  constructor(client, { showReserved = false, onCount = () => {} } = {}) {
    this.client = client;
    this.showReserved = showReserved;
    this.onCount = onCount;
    /** Own camera and whether to mirror it. */
    this.own = { seat: -1, stream: null, mirror: true };
    this.element = h("div", { class: "stage" });
    this.observer = new ResizeObserver(() => this.#place(true));
    this.observer.observe(this.element);
  }

  /** Show own seat from the local camera. @param {number} seat @param {MediaStream | null} stream */
  setOwn(seat, stream, mirror = true) {
    this.own = { seat, stream, mirror };
  }

  /** @param {any} state the client's state */
  update(state) {
    const shown = state.seats.filter((seat) => this.#visible(seat));
    const numbers = new Set(shown.map((s) => s.seat));
    for (const [seat, tile] of this.#tiles) {
      if (numbers.has(seat)) continue;
      tile.remove();
      this.#tiles.delete(seat);
    }
    for (const seat of shown) {
      const own = seat.seat === this.own.seat;
      const shownSeat = own && !seat.name ? { ...seat, name: state.you?.name } : seat;
      const speaks = state.speaking.includes(seat.seat);
      this.#tile(seat.seat).update(shownSeat, own ? { local: this.own.stream, mirror: this.own.mirror, speaks } : { speaks });
    }
    this.#place(false);
  }

  close() {
    this.observer.disconnect();
    for (const tile of this.#tiles.values()) tile.remove();
    this.#tiles.clear();
  }

  #visible(seat) {
    if (seat.state === "live" || seat.state === "reconnecting") return true;
    return seat.state === "reserved" && (this.showReserved || seat.seat === this.own.seat);
  }

  #tile(seat) {
    if (!this.#tiles.has(seat)) {
      const tile = new Tile(seat, this.client);
      this.#tiles.set(seat, tile);
      this.element.append(tile.element);
    }
    return this.#tiles.get(seat);
  }

  /** The screen first, then the host, then guests by seat. */
  #order() {
    const rank = (seat) => (seat === SCREEN_SEAT ? -1 : seat);
    return [...this.#tiles.keys()].sort((a, b) => rank(a) - rank(b));
  }

  #place(resized) {
    const order = this.#order();
    const { clientWidth: w, clientHeight: height } = this.element;
    const key = `${order.join()}|${w}|${height}`;
    if (key === this.#placed) return;
    const changed = order.join() !== this.#placed.split("|")[0];
    this.#placed = key;
    this.element.classList.toggle("several", order.length > 1);
    layout(order.length, w, height, order.length > 1 ? GAP : 0).forEach((rect, i) => this.#tiles.get(order[i]).place(rect));
    if (changed && !resized) this.onCount(order.length);
  }
}
