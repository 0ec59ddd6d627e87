import { avatar, giftArt, h } from "./dom.js";

/** Two lanes of toasts; what comes while both are busy waits, and an old backlog is dropped. */
const LANES = 2;
const TOAST_MS = 3500;
const BACKLOG = 12;
/** How long an effect stays, by tier. */
const STAY_MS = { medium: 1600, large: 2400, legendary: 3400 };
const SPARKS = 22;

/** Shows what people give: toasts for all gifts, an effect in the picture for larger ones. */
export class GiftShow {
  #lanes = new Map();
  #queue = [];
  #effects = [];
  #playing = false;

  /** @param {(giftId: string) => {name: string, tier: string} | undefined} lookup */
  constructor(lookup) {
    this.lookup = lookup;
    this.lanes = h("div", { class: "gift-lanes", attrs: { "aria-live": "polite" } });
    this.effects = h("div", { class: "effects", attrs: { "aria-hidden": "true" } });
  }

  /** @param {any} combo as the client's `gift` event gives it @param {string} toName */
  show(combo, toName) {
    const gift = this.lookup(combo.giftId) ?? { name: "a gift", tier: "small" };
    this.#toast(combo, gift, toName);
    if (gift.tier !== "small" && combo.added > 0) this.#effect(combo, gift);
  }

  #toast(combo, gift, toName) {
    const running = this.#lanes.get(combo.comboId);
    if (running) return running.bump(combo.n);
    if (combo.added <= 0) return undefined;
    if (this.#lanes.size >= LANES) {
      const waiting = this.#queue.find((q) => q.combo.comboId === combo.comboId);
      if (waiting) waiting.combo = combo;
      else this.#queue.push({ combo, gift, toName });
      if (this.#queue.length > BACKLOG) this.#queue.shift();
      return undefined;
    }
    return this.#openLane(combo, gift, toName);
  }

  #openLane(combo, gift, toName) {
    const times = h("span", { class: "times" }, `×${combo.n}`);
    const name = combo.from?.name ?? "Someone";
    const row = h(
      "div",
      { class: "gift-toast" },
      avatar(name),
      h("span", { class: "who" }, h("b", {}, name), h("span", {}, toName ? `${gift.name} for ${toName}` : gift.name)),
      giftArt(combo.giftId),
      times,
    );
    this.lanes.append(row);
    const lane = { timer: 0, bump: (n) => this.#bump(lane, combo.comboId, row, times, n) };
    this.#lanes.set(combo.comboId, lane);
    lane.bump(combo.n);
  }

  #bump(lane, comboId, row, times, n) {
    clearTimeout(lane.timer);
    times.textContent = `×${n}`;
    times.classList.remove("bump");
    requestAnimationFrame(() => times.classList.add("bump"));
    lane.timer = setTimeout(() => {
      row.classList.add("leaving");
      setTimeout(() => row.remove(), 300);
      this.#lanes.delete(comboId);
      const next = this.#queue.shift();
      if (next) this.#openLane(next.combo, next.gift, next.toName);
    }, TOAST_MS);
  }

  #effect(combo, gift) {
    if (this.#effects.length >= BACKLOG) return;
    this.#effects.push({ combo, gift });
    if (!this.#playing) this.#playNext();
  }

  /** One at a time: two large gifts on top of each other honour neither. */
  #playNext() {
    const next = this.#effects.shift();
    this.#playing = Boolean(next);
    if (!next) return;
    const { combo, gift } = next;
    const stay = STAY_MS[gift.tier] ?? STAY_MS.medium;
    const caption = h("p", {}, `${combo.from?.name ?? "Someone"} · ${gift.name}`);
    const effect = h("div", { class: `effect ${gift.tier}`, vars: { "--stay": `${stay}ms` } }, giftArt(combo.giftId), caption);
    this.effects.append(effect);
    if (gift.tier !== "medium") this.#sparks(effect);
    setTimeout(() => {
      effect.remove();
      this.#playNext();
    }, stay + 500);
  }

  #sparks(effect) {
    for (let i = 0; i < SPARKS; i += 1) {
      const angle = (i / SPARKS) * 2 * Math.PI;
      const reach = 140 + Math.random() * 160;
      const vars = { "--hue": Math.round(Math.random() * 360), "--dx": `${Math.cos(angle) * reach}px`, "--dy": `${Math.sin(angle) * reach}px` };
      effect.append(h("span", { class: "spark", vars }));
    }
  }
}
