import { h, icon } from "./dom.js";

const DOUBLE_TAP_MS = 320;
/** Hearts on screen at once; more would only cost frames. */
const MOST = 14;

/** Floating hearts. @param {HTMLElement} place what is double-tapped @param {() => void} onLike */
export function hearts(place, onLike) {
  const layer = h("div", { class: "hearts" });
  let lastTap = 0;

  function show(x, y) {
    if (layer.children.length >= MOST) return;
    const heart = h("span", { class: "heart", vars: { left: `${x}px`, top: `${y}px`, "--tilt": `${Math.round(Math.random() * 40 - 20)}deg` } }, icon("heart"));
    heart.addEventListener("animationend", () => heart.remove());
    layer.append(heart);
  }

  place.addEventListener("pointerup", (event) => {
    if (event.target.closest("button, a, input, dialog")) return;
    const now = performance.now();
    if (now - lastTap < DOUBLE_TAP_MS) {
      const box = place.getBoundingClientRect();
      show(event.clientX - box.left, event.clientY - box.top);
      onLike();
    }
    lastTap = now;
  });

  return {
    element: layer,
    /** Hearts of other people, by the growth of the total. @param {number} n */
    rain(n) {
      const { clientWidth: w, clientHeight: height } = place;
      for (let i = 0; i < Math.min(n, 5); i += 1) show(w - 40 - Math.random() * 60, height - 110 - Math.random() * 60);
    },
    burst() {
      const { clientWidth: w, clientHeight: height } = place;
      show(w - 60 - Math.random() * 40, height - 120);
      onLike();
    },
  };
}
