import { h } from "./dom.js";

const SHOWN_MS = 4000;
let box = null;

/** Tell the person something, briefly. @param {string} text @param {"info" | "error"} [kind] */
export function notice(text, kind = "info") {
  box ??= document.body.appendChild(h("div", { class: "notices", attrs: { role: "status", "aria-live": "polite" } }));
  const item = h("div", { class: `notice ${kind}` }, text);
  box.append(item);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(() => item.remove(), SHOWN_MS);
}

/** What a refusal means to a person; its own sentence where there is nothing better. */
const WORDS = {
  client_offline: "You are offline. We keep trying.",
  client_timeout: "That took too long. Please try again.",
  rate_limited: "A little slower, please.",
  slow_mode: "A little slower, please.",
  insufficient_funds: "Not enough coins for this gift.",
  recipient_gone: "They have just left the stage.",
  seats_full: "All seats are taken right now.",
  cooldown: "Please wait a little before asking again.",
};

/** Show why something did not work. @param {any} error */
export function explain(error) {
  notice(WORDS[error?.code] ?? error?.message ?? "That did not work.", "error");
  if (!error?.code) console.error(error);
}

/**
 * A click handler around something that may be refused: disables its button meanwhile.
 *
 * @param {(button: HTMLButtonElement) => Promise<any>} action
 */
export function guarded(action) {
  return async (event) => {
    const button = event?.currentTarget;
    if (button) button.disabled = true;
    try {
      await action(button);
    } catch (error) {
      explain(error);
    } finally {
      if (button) button.disabled = false;
    }
  };
}
