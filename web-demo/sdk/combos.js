/**
 * Running gift combos. The server sends cumulative counts over a lossy and a reliable carrier;
 * the largest `n` wins, so loss, duplicates and reordering do no harm.
 */
export class Combos {
  /** Remembered after their end, to recognise late frames; more than a room shows in a minute. */
  static KEPT = 256;

  #combos = new Map();

  /**
   * @param {{comboId: string | number, n: number, end?: boolean}} combo the rest is passed through
   * @returns {object | null} the combo as it is now, with `added` since the last time, or null if nothing is new
   */
  update(combo) {
    const key = String(combo.comboId);
    const old = this.#combos.get(key);
    const news = !old || combo.n > old.n || (combo.end && !old.end);
    if (!news) return null;
    const now = { ...old, ...combo, comboId: key, n: Math.max(combo.n, old?.n ?? 0), end: Boolean(combo.end || old?.end) };
    this.#combos.delete(key);
    this.#combos.set(key, now);
    if (this.#combos.size > Combos.KEPT) this.#combos.delete(this.#combos.keys().next().value);
    return { ...now, added: now.n - (old?.n ?? 0) };
  }
}

/**
 * One entry of an `fx` frame: `[combo, name, level, seat, giftId, n, end]`.
 *
 * @param {any[]} entry
 */
export function comboOfEntry(entry) {
  const [comboId, name, level, seat, giftId, n, end] = entry;
  return { comboId, from: { name, level }, to: { seat }, giftId, n, end: Boolean(end) };
}
