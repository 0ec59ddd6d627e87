import { newKey } from "../sdk/index.js";
import { avatar, compact, giftArt, h, icon } from "./dom.js";
import { explain } from "./notices.js";
import { confirm, openSheet } from "./sheet.js";

/** A combo runs this long after the last tap (the server's window). */
const COMBO_MS = 3000;
/** From this price on, ask first. */
const CONFIRM_COINS = 1000;

/** The bottom sheet to choose a gift and a recipient, and the sending of it. */
export class GiftTray {
  #sheet = null;
  #selected = null;
  #to = null;
  #count = 0;
  #comboTimer = 0;
  #confirmed = new Set();

  /** @param {any} client GreenroomClient */
  constructor(client) {
    this.client = client;
    this.gifts = [];
    client.on("state", () => this.#refresh());
  }

  /** Catalogue, once. */
  async load() {
    if (!this.gifts.length) this.gifts = (await this.client.giftCatalogue()).gifts ?? [];
    return this.gifts;
  }

  /** @param {string} id */
  find(id) {
    return this.gifts.find((gift) => gift.id === id);
  }

  /** @param {number | null} [seat] preselected recipient */
  async open(seat = null) {
    try {
      await this.load();
    } catch (error) {
      explain(error);
      return;
    }
    this.#selected ??= this.gifts[0] ?? null;
    this.#to = seat ?? this.#to;
    this.recipients = h("div", { class: "recipients", attrs: { role: "group", "aria-label": "Recipient" } });
    this.grid = h("div", { class: "tray-grid", attrs: { role: "group", "aria-label": "Gifts" } }, ...this.gifts.map((gift) => this.#item(gift)));
    this.balance = h("span", { class: "price grow" });
    this.button = h("button", { class: "button primary", type: "button", on: { click: () => this.#tap() } }, "Send");
    this.#sheet = openSheet("Send a gift", [this.recipients, this.grid, h("div", { class: "tray-foot" }, this.balance, this.button)], {
      className: "clear",
      onClose: () => {
        this.#sheet = null;
      },
    });
    this.client.wallet().catch(() => {});
    this.#refresh();
  }

  #item(gift) {
    const select = () => {
      if (this.#selected !== gift) this.#endCombo();
      this.#selected = gift;
      this.#refresh();
    };
    return h(
      "button",
      { class: "gift-item", type: "button", dataset: { gift: gift.id }, on: { click: select } },
      giftArt(gift.id),
      h("span", {}, gift.name),
      h("span", { class: "price" }, icon("coin"), compact(gift.coins)),
    );
  }

  #people() {
    const { state } = this.client;
    return (state?.seats ?? []).filter((s) => s.seat <= 8 && s.user && s.user !== state.you?.user && s.state !== "empty" && s.state !== "reserved");
  }

  #refresh() {
    if (!this.#sheet) return;
    const people = this.#people();
    if (!people.some((p) => p.seat === this.#to)) this.#to = people[0]?.seat ?? null;
    this.recipients.replaceChildren(...people.map((p) => this.#recipient(p)));
    for (const item of this.grid.children) item.setAttribute("aria-pressed", String(item.dataset.gift === this.#selected?.id));
    const { wallet } = this.client.state ?? {};
    const coins = wallet?.coins ?? 0;
    this.balance.replaceChildren(icon("coin"), wallet ? coins.toLocaleString("en") : "–");
    this.button.disabled = this.#to === null || !this.#selected;
  }

  #recipient(person) {
    const choose = () => {
      if (this.#to !== person.seat) this.#endCombo();
      this.#to = person.seat;
      this.#refresh();
    };
    const attrs = { "aria-pressed": String(person.seat === this.#to) };
    return h("button", { class: "recipient", type: "button", attrs, on: { click: choose } }, avatar(person.name), person.name ?? "Guest");
  }

  async #tap() {
    const gift = this.#selected;
    const to = this.#to;
    if (!gift || to === null) return;
    if (gift.coins >= CONFIRM_COINS && !this.#confirmed.has(gift.id)) {
      const yes = await confirm(`Send ${gift.name}?`, `This gift costs ${gift.coins.toLocaleString("en")} coins.`, "Send it");
      if (!yes) return;
      this.#confirmed.add(gift.id);
    }
    this.#runCombo(gift);
    try {
      await this.client.sendGift({ giftId: gift.id, price: gift.coins, count: 1, to, key: newKey() });
    } catch (error) {
      this.#endCombo();
      explain(error);
    }
  }

  #runCombo(gift) {
    if (gift.kind !== "combo") return;
    this.#count += 1;
    this.button.replaceChildren("Send ", h("span", { class: "combo" }, `×${this.#count + 1}`));
    this.button.classList.remove("running");
    requestAnimationFrame(() => this.button.classList.add("running"));
    clearTimeout(this.#comboTimer);
    this.#comboTimer = setTimeout(() => this.#endCombo(), COMBO_MS);
  }

  #endCombo() {
    clearTimeout(this.#comboTimer);
    this.#count = 0;
    if (!this.#sheet) return;
    this.button.replaceChildren("Send");
    this.button.classList.remove("running");
  }
}
