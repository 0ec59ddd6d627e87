import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "./backoff.js";
import { Combos, comboOfEntry } from "./combos.js";
import { fold, foldFx, fromSnapshot } from "./state.js";
import { slotOfMid } from "./watch.js";

const SNAPSHOT = {
  room: { id: "r", title: "T", state: "live", reasons: [] },
  seq: 4,
  seats: [{ seat: 0, user: "h", name: "Host", state: "live", audio: true, video: true }],
  viewers: { now: 3, total: 5 },
  you: { user: "v", name: "Vera", role: "viewer", guest: null },
  chat: [{ n: 1, user: "h", name: "Host", text: "hi" }],
  staff: null,
};
const folded = (...events) => events.reduce(fold, fromSnapshot(SNAPSHOT));

test("a guest goes on air and leaves: the slot fills and empties", () => {
  const live = folded({ type: "seat.updated", data: { seat: 2, user: "g", name: "Gus", state: "live", audio: true, video: true } });
  assert.equal(live.seats[2].name, "Gus");
  const gone = fold(live, { type: "seat.updated", data: { seat: 2, state: "empty" } });
  assert.equal(gone.seats[2].name, null);
  assert.equal(gone.seats[0].name, "Host");
});

test("a seat outside the table changes nothing", () => {
  const state = folded();
  assert.equal(fold(state, { type: "seat.updated", data: { seat: 77, state: "live" } }), state);
  assert.equal(fold(state, { type: "seat.updated", data: {} }), state);
});

test("my own way to the stage: invited, granted, on air, muted, ended", () => {
  let s = folded({ type: "guest.invited", data: { guestId: "a", expiresAt: 9 } });
  assert.equal(s.you.guest.state, "invited");
  s = fold(s, { type: "guest.granted", data: { guestId: "a", seat: 1, resumeToken: "x" } });
  assert.equal(s.you.guest.state, "connecting");
  s = fold(s, { type: "seat.updated", data: { seat: 1, user: "v", name: "Vera", state: "live", audio: true, video: true } });
  assert.equal(s.you.guest.state, "live");
  s = fold(s, { type: "guest.muted", data: { kinds: ["audio"], locked: ["audio"] } });
  assert.deepEqual(s.you.guest.locked, ["audio"]);
  assert.equal(fold(s, { type: "guest.ended", data: { guestId: "older", reason: "left" } }).you.guest.guestId, "a");
  assert.equal(fold(s, { type: "guest.ended", data: { guestId: "a", reason: "removed" } }).you.guest, null);
});

test("chat is ordered by number, without duplicates, and bounded", () => {
  const batch = Array.from({ length: 500 }, (_, i) => ({ n: 500 - i, user: "u", text: "x" }));
  const s = folded({ type: "chat.batch", data: { msgs: batch } }, { type: "chat.batch", data: { msgs: batch } });
  assert.equal(s.chat.length, 200);
  assert.equal(s.chat.at(-1).n, 500);
  assert.equal(fold(s, { type: "chat.deleted", data: { user: "u" } }).chat.length, 0);
});

test("room states", () => {
  const paused = folded({ type: "room.paused", data: { reasons: ["host_lost"], until: 5 } });
  assert.deepEqual(paused.room.reasons, ["host_lost"]);
  assert.equal(fold(paused, { type: "room.resumed", data: {} }).room.state, "live");
  const ended = fold(paused, { type: "room.ended", data: { reason: "host", summary: { coins: 7 } } });
  assert.equal(ended.room.state, "ended");
  assert.equal(ended.summary.coins, 7);
  assert.equal(ended.seats[0].state, "empty");
});

test("unknown events are ignored", () => {
  const s = folded();
  assert.equal(fold(s, { type: "weather.changed", data: {} }), s);
  assert.equal(fold(s, { type: "toString" }), s);
});

test("fx frames: absolute totals, likes never fall", () => {
  let s = foldFx(folded(), { q: 4, e: [], l: 10, v: 8 });
  assert.equal(s.likes, 10);
  assert.equal(s.viewers.now, 8);
  s = foldFx(s, { l: 4 });
  assert.equal(s.likes, 10);
});

test("fx frames say who speaks, a frame that does not leaves it", () => {
  const s = foldFx(folded(), { s: [3, 0] });
  assert.deepEqual(s.speaking, [3, 0]);
  assert.equal(foldFx(s, { s: [3, 0] }), s);
  assert.deepEqual(foldFx(s, { v: 99 }).speaking, [3, 0]);
  assert.deepEqual(foldFx(s, { s: [0, 3] }).speaking, [0, 3], "the first is the dominant speaker");
  assert.deepEqual(foldFx(s, { s: [] }).speaking, []);
});

test("combos: the largest n wins and each tap counts once", () => {
  const combos = new Combos();
  assert.equal(combos.update({ comboId: 7, n: 3 }).added, 3);
  assert.equal(combos.update({ comboId: 7, n: 2 }), null);
  assert.equal(combos.update({ comboId: 7, n: 3 }), null);
  assert.equal(combos.update({ comboId: 7, n: 5 }).added, 2);
  assert.equal(combos.update({ comboId: "7", n: 5, end: true }).end, true);
  assert.equal(combos.update({ comboId: 7, n: 5, end: true }), null);
});

test("fx entries name their seat, gift and total", () => {
  const combo = comboOfEntry(["c7411", "maria", 17, 3, "rose", 48, 1]);
  assert.deepEqual(combo, { comboId: "c7411", from: { name: "maria", level: 17 }, to: { seat: 3 }, giftId: "rose", n: 48, end: true });
});

test("you.updated keeps who invited, but only for the same attempt", () => {
  const invited = folded({ type: "guest.invited", data: { guestId: "a", by: { name: "Host" }, expiresAt: 9 } });
  const you = { user: "v", name: "Vera", role: "viewer", guest: { guestId: "a", state: "invited", media: "av" } };
  assert.equal(fold(invited, { type: "you.updated", data: you }).you.guest.by.name, "Host");
  const other = { ...you, guest: { ...you.guest, guestId: "b" } };
  assert.equal(fold(invited, { type: "you.updated", data: other }).you.guest.by, undefined);
  assert.equal(fold(invited, { type: "you.updated", data: { ...you, guest: null } }).you.guest, null);
});

test("mids name their slot", () => {
  assert.deepEqual(slotOfMid("a0"), { seat: 0, kind: "audio" });
  assert.deepEqual(slotOfMid("v8"), { seat: 8, kind: "video" });
  assert.deepEqual(slotOfMid("s"), { seat: 9, kind: "video" });
  assert.equal(slotOfMid("d"), null);
  assert.equal(slotOfMid(null), null);
});

test("back-off doubles, is capped, and half of it is random", () => {
  assert.equal(backoff(0, () => 1), 300);
  assert.equal(backoff(0, () => 0), 150);
  assert.equal(backoff(3, () => 1), 2400);
  assert.equal(backoff(60, () => 1), 8000);
});
