import assert from "node:assert/strict";
import { test } from "node:test";
import { layout } from "./layout.js";

const BOXES = [
  [390, 844],
  [360, 640],
  [390, 480],
  [1280, 800],
  [1920, 1080],
  [700, 700],
];

const area = ({ w, h }) => w * h;
const overlap = (a, b) =>
  Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));

test("tiles stay inside the box, never overlap and waste nothing without a gap", () => {
  for (const [w, h] of BOXES) {
    for (let n = 1; n <= 9; n += 1) {
      const tiles = layout(n, w, h);
      assert.equal(tiles.length, n);
      for (const [i, t] of tiles.entries()) {
        assert.ok(t.w > 0 && t.h > 0, `${n} in ${w}x${h}`);
        assert.ok(t.x >= -1e-6 && t.y >= -1e-6 && t.x + t.w <= w + 1e-6 && t.y + t.h <= h + 1e-6);
        for (const other of tiles.slice(i + 1)) assert.ok(overlap(t, other) < 1e-6);
      }
      const covered = tiles.reduce((sum, t) => sum + area(t), 0);
      assert.ok(Math.abs(covered - w * h) < 1, `${n} in ${w}x${h} covers ${covered}`);
    }
  }
});

test("the host is never smaller than a guest", () => {
  for (const [w, h] of BOXES) {
    for (const n of [3, 5, 6]) {
      const [host, ...guests] = layout(n, w, h, 4);
      for (const guest of guests) assert.ok(area(host) >= area(guest), `${n} in ${w}x${h}`);
    }
  }
});

test("with a gap, neighbours are that far apart", () => {
  const [left, right] = layout(2, 1000, 500, 8);
  assert.equal(right.x - (left.x + left.w), 8);
});

test("two tiles are stacked in a tall box and side by side in a wide one", () => {
  assert.equal(layout(2, 390, 844)[1].x, 0);
  assert.equal(layout(2, 1280, 800)[1].y, 0);
});

test("nothing, too much and no room", () => {
  assert.deepEqual(layout(0, 100, 100), []);
  assert.deepEqual(layout(3, 0, 100), []);
  assert.equal(layout(12, 900, 900).length, 9);
});
