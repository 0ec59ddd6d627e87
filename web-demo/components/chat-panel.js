import { avatar, h, hue, icon } from "./dom.js";
import { explain } from "./notices.js";

/** Messages in the page; the client keeps more. */
const SHOWN = 120;
/** A screen reader hears at most this often, so that a fast chat stays bearable. */
const SPEAK_EVERY_MS = 3000;

/** Chat list and its input line. The input may stand elsewhere (`composer`). */
export class ChatPanel {
  #shown = 0;
  #spokenAt = 0;

  /** @param {(text: string) => Promise<any>} send @param {number} maxLength */
  constructor(send, maxLength = 200) {
    this.send = send;
    this.maxLength = maxLength;
    this.list = h("div", { class: "chat-list", tabIndex: 0, attrs: { role: "log", "aria-label": "Chat", "aria-live": "off" } });
    this.speaker = h("div", { class: "visually-hidden", attrs: { "aria-live": "polite" } });
    this.element = h("div", { class: "chat" }, this.list, this.speaker);
  }

  /** An input line; each page may have one per place. */
  composer() {
    const input = h("input", { type: "text", placeholder: "Say something…", maxLength: this.maxLength, autocomplete: "off", enterKeyHint: "send", attrs: { "aria-label": "Chat message" } });
    const button = h("button", { class: "round", type: "submit", attrs: { "aria-label": "Send" } }, icon("send"));
    const form = h("form", { class: "composer" }, input, button);
    input.addEventListener("input", () => form.classList.toggle("filled", input.value.trim() !== ""));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (!text) return;
      input.value = "";
      form.classList.remove("filled");
      try {
        await this.send(text);
      } catch (error) {
        if (!input.value) input.value = text;
        explain(error);
      }
    });
    return form;
  }

  /** @param {{n: number, user: string, name: string, role?: string, text: string}[]} messages all that the client knows */
  update(messages) {
    const kept = new Set(messages.map((m) => String(m.n)));
    for (const row of [...this.list.children]) if (row.dataset.n && !kept.has(row.dataset.n)) row.remove();
    const fresh = messages.filter((m) => m.n > this.#shown);
    if (!fresh.length) return;
    this.#shown = fresh.at(-1).n;
    this.#append(...fresh.slice(-SHOWN).map(messageRow));
    this.#speak(fresh.at(-1));
  }

  /** A line of the room itself ("Gus joined the stage"). @param {string} text */
  system(text) {
    this.#append(h("div", { class: "message system" }, text));
  }

  #append(...rows) {
    const { list } = this;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    list.append(...rows);
    while (list.children.length > SHOWN) list.firstChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  #speak(message) {
    const now = Date.now();
    if (now - this.#spokenAt < SPEAK_EVERY_MS) return;
    this.#spokenAt = now;
    this.speaker.textContent = `${message.name}: ${message.text}`;
  }
}

function messageRow({ n, name, role, text }) {
  const tag = role === "host" || role === "moderator" || role === "guest" ? h("span", { class: "tag" }, role) : null;
  return h(
    "div",
    { class: "message", dataset: { n: String(n) }, vars: { "--hue": hue(name) } },
    avatar(name),
    h("div", {}, h("b", {}, name), tag, text),
  );
}
