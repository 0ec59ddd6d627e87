import { h, roundButton } from "./dom.js";

/**
 * A bottom sheet (a dialog on wide screens). Closes by its cross, Escape or a tap outside.
 *
 * @param {string} title
 * @param {(Node | string)[]} content
 * @param {{onClose?: () => void, className?: string, sticky?: boolean}} [options] `sticky`: only its own buttons close it
 */
export function openSheet(title, content, { onClose = () => {}, className = "", sticky = false } = {}) {
  const close = () => dialog.open && dialog.close();
  const cross = sticky ? null : roundButton("close", "Close", close);
  const dialog = h(
    "dialog",
    { class: `sheet ${className}`.trim(), attrs: { "aria-label": title } },
    h("div", { class: "sheet-head" }, h("h2", {}, title), cross),
    ...content,
  );
  dialog.addEventListener("click", (e) => e.target === dialog && !sticky && outside(e, dialog) && close());
  dialog.addEventListener("cancel", (e) => sticky && e.preventDefault());
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close };
}

/** Padding belongs to the dialog as well, so the place counts, not only the target. */
function outside(event, dialog) {
  const box = dialog.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}

/** A question with two answers. @returns {Promise<boolean>} */
export function confirm(title, text, yes, { danger = false } = {}) {
  return new Promise((resolve) => {
    let answer = false;
    const { close } = openSheet(
      title,
      [
        h("p", { class: "muted" }, text),
        h(
          "div",
          { class: "actions", vars: { "margin-top": "18px" } },
          h("button", { class: "button", type: "button", on: { click: () => close() } }, "Cancel"),
          h("button", { class: `button ${danger ? "danger" : "primary"}`, type: "button", on: { click: () => { answer = true; close(); } } }, yes),
        ),
      ],
      { onClose: () => resolve(answer) },
    );
  });
}
