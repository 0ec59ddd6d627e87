/**
 * Order for room-wide events. They carry `seq` 1, 2, 3, ... and may arrive over the WebSocket and
 * over the `ev` data channel, twice or out of order; each is handed on exactly once and in order.
 * A hole that does not close is a gap: the owner then asks for `room.resync`.
 */
export class SeqGate {
  /** Events held back while waiting for an earlier one; past this a snapshot is cheaper. */
  static MAX_HELD = 512;

  /** @param {number} last the `seq` that the snapshot already contains */
  constructor(last) {
    this.reset(last);
  }

  /** Start again from a snapshot. @param {number} last */
  reset(last) {
    this.last = last;
    /** Highest `seq` known to exist, from events and from `fx` frames. */
    this.highest = last;
    this.held = new Map();
  }

  /**
   * Take one event in; returns the events that are now in order (often just this one).
   *
   * @template {{seq: number}} E
   * @param {E} event
   * @returns {E[]}
   */
  accept(event) {
    if (event.seq <= this.last) return [];
    this.observe(event.seq);
    if (this.held.size < SeqGate.MAX_HELD) this.held.set(event.seq, event);
    const ready = [];
    while (this.held.has(this.last + 1)) {
      this.last += 1;
      ready.push(this.held.get(this.last));
      this.held.delete(this.last);
    }
    return ready;
  }

  /** Something else (an `fx` frame) says that events up to `seq` exist. @param {number} seq */
  observe(seq) {
    if (seq > this.highest) this.highest = seq;
  }

  /** Is something missing that is known to exist? */
  get gap() {
    return this.highest > this.last;
  }
}
