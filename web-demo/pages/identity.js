import { h } from "../components/dom.js";
import { openSheet } from "../components/sheet.js";
import { expiryOf } from "../sdk/renewal.js";

/**
 * Who this person is. In development mode the server hands out tokens; otherwise the page that
 * links here puts one into the fragment (`#token=...`), which is never sent to a server by itself.
 *
 * A viewer is one person per tab (so that one browser can play a whole room); a host stays the
 * same person over tabs, or a closed studio could not come back to its show.
 */

const NAME_KEY = "greenroom.name";
/** A token is replaced when it has less than this left. */
const MARGIN_MS = 120_000;

const ADJECTIVES = ["Amber", "Brisk", "Cosmic", "Dandy", "Easy", "Fern", "Golden", "Happy", "Indigo", "Jolly", "Keen", "Lucky", "Mellow", "Nimble"];
const NOUNS = ["Otter", "Fox", "Wren", "Maple", "Comet", "Lynx", "Robin", "Willow", "Badger", "Heron", "Clover", "Sparrow"];

const pick = (list) => list[Math.floor(Math.random() * list.length)];

/** A pleasant name for somebody who does not care. */
export function randomName() {
  return `${pick(ADJECTIVES)} ${pick(NOUNS)}`;
}

/** A room id that can be read out. */
export function randomRoom() {
  return `${pick(ADJECTIVES)}-${pick(NOUNS)}-${Math.floor(1000 + Math.random() * 9000)}`.toLowerCase();
}

export function rememberedName() {
  return localStorage.getItem(NAME_KEY) ?? "";
}

export function rememberName(name) {
  localStorage.setItem(NAME_KEY, name);
}

/** A token given by the linking page, taken out of the address bar. */
export function tokenFromFragment() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** The server has no development login. */
export class NoDevLogin extends Error {}

/**
 * A token source for `GreenroomClient`: keeps a token while it is good, asks for a new one before
 * it ends or when the server says so.
 *
 * @param {{room: string, role: "host" | "viewer", name: () => string, given?: string | null}} options
 * @returns {(again: boolean) => Promise<string>}
 */
export function tokenSource({ room, role, name, given = null }) {
  const store = role === "host" ? localStorage : sessionStorage;
  const key = `greenroom.identity.${role}.${room}`;
  let fromLink = given;
  return async (again) => {
    if (fromLink && !again) return fromLink;
    if (fromLink) throw new NoDevLogin("The link to this show has expired. Ask for a new one.");
    const known = JSON.parse(store.getItem(key) ?? "null");
    if (known && !again && known.name === name() && (expiryOf(known.token) ?? 0) - Date.now() > MARGIN_MS) return known.token;
    const identity = await login({ room, role, name: name(), user: known?.user });
    store.setItem(key, JSON.stringify({ ...identity, name: name() }));
    fromLink = null;
    return identity.token;
  };
}

async function login(body) {
  const response = await fetch("/v1/tokens", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (response.ok) return response.json();
  if (response.status === 404 || response.status === 401 || response.status === 403) {
    throw new NoDevLogin("This server needs an invitation link: it does not hand out demo logins.");
  }
  const detail = await response.json().catch(() => ({}));
  throw new Error(detail.refusal?.message ?? detail.message ?? `The server refused the login (${response.status}).`);
}

/** Ask for a display name once. @param {string} title @param {string} button @returns {Promise<string>} */
export function askName(title, button) {
  const known = rememberedName();
  if (known) return Promise.resolve(known);
  return new Promise((resolve) => {
    const input = h("input", { type: "text", value: randomName(), maxLength: 40, required: true, autocomplete: "nickname" });
    const form = h(
      "form",
      { class: "stack" },
      h("label", { class: "field" }, "Your name in the chat", input),
      h("button", { class: "button primary wide", type: "submit" }, button),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      rememberName(input.value.trim() || randomName());
      sheet.close();
      resolve(rememberedName());
    });
    const sheet = openSheet(title, [form], { sticky: true });
    input.select();
  });
}
