/**
 * DOM in one function. Text always becomes a text node and style values go through the CSSOM, so
 * that nothing a person typed can become markup and the page needs no inline style or script.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `props`: `class`, `dataset`, `vars` (CSS custom properties), `on` (listeners),
 * `attrs` (attributes); anything else is set as a property.
 *
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node | string | number | null | false | undefined)} children
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "vars") setVars(element, value);
    else if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name === "attrs") for (const [key, v] of Object.entries(value)) element.setAttribute(key, v);
    else element[name] = value;
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false).map(nodeOf));
  return element;
}

function nodeOf(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/** @param {HTMLElement} element @param {Record<string, string | number>} vars */
export function setVars(element, vars) {
  for (const [name, value] of Object.entries(vars)) element.style.setProperty(name, String(value));
}

function use(file, id, className, box) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("viewBox", box);
  svg.setAttribute("aria-hidden", "true");
  const reference = document.createElementNS(SVG, "use");
  reference.setAttribute("href", `/assets/${file}.svg#${id}`);
  svg.append(reference);
  return svg;
}

/** A line icon of assets/icons.svg. @param {string} id */
export const icon = (id) => use("icons", id, "icon", "0 0 24 24");

const ART = new Set(
  ("firefly clover tea_cup paper_plane high_five sunflower donut balloon maraca lantern confetti disco_ball bouquet hot_mic " +
    "hammock carousel koi_pond food_truck glasshouse fireworks hot_air aurora comet evergreen").split(" "),
);

/** The picture of a gift; unknown ids show a parcel. @param {string} giftId */
export const giftArt = (giftId) => use("gifts", ART.has(giftId) ? giftId : "gift", "art", "0 0 64 64");

/**
 * A button with an icon and an accessible name.
 *
 * @param {string} iconId
 * @param {string} label
 * @param {() => void} onClick
 * @param {string} [className]
 */
export function roundButton(iconId, label, onClick, className = "") {
  return h("button", { class: `round ${className}`.trim(), type: "button", title: label, attrs: { "aria-label": label }, on: { click: onClick } }, icon(iconId));
}

/** Change the icon and name of a round button. */
export function setButton(button, iconId, label, off = false) {
  button.replaceChildren(icon(iconId));
  button.title = label;
  button.setAttribute("aria-label", label);
  button.classList.toggle("off", off);
}

/** @param {string} text @param {() => void} onClick @param {string} [className] */
export function textButton(text, onClick, className = "") {
  return h("button", { class: `button ${className}`.trim(), type: "button", on: { click: onClick } }, text);
}

/** A colour that belongs to a name. @param {string} name */
export function hue(name) {
  let hash = 0;
  for (const c of name ?? "") hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  return hash % 360;
}

/** @param {string} name @param {string} [className] */
export function avatar(name, className = "") {
  const initial = [...(name ?? "").trim()][0] ?? "?";
  return h("span", { class: `avatar ${className}`.trim(), vars: { "--hue": hue(name) }, attrs: { "aria-hidden": "true" } }, initial);
}

/** 12 345 -> "12.3K". @param {number} n */
export function compact(n) {
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(n ?? 0);
}

/** 3 725 000 ms -> "1:02:05". @param {number} ms */
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const pad = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600);
  const rest = `${hours ? pad(Math.floor(s / 60) % 60) : Math.floor(s / 60) % 60}:${pad(s % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}
