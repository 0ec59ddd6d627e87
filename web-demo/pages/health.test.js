import assert from "node:assert/strict";
import { test } from "node:test";
import { health, STARTING } from "./health.js";

const SENDING = { kbps: 900, fps: 30, width: 1280, height: 720, rttMs: 20, limitedBy: "none" };

test("nothing is judged before it was measured", () => {
  assert.equal(health({ ...SENDING, kbps: null, fps: 0 }, true), STARTING);
});

test("levels at their limits", () => {
  const level = (change, pictured = true) => health({ ...SENDING, ...change }, pictured).level;
  assert.equal(level({}), "good");
  assert.equal(level({ kbps: 40 }), "good");
  assert.equal(level({ kbps: 39 }), "poor");
  assert.equal(level({ kbps: 0 }), "poor");
  assert.equal(level({ fps: 10 }), "good");
  assert.equal(level({ fps: 9 }), "poor");
  assert.equal(level({ fps: 0 }, false), "good");
  assert.equal(level({ rttMs: 250 }), "good");
  assert.equal(level({ rttMs: 251 }), "fair");
  assert.equal(level({ rttMs: null }), "good");
  assert.equal(level({ limitedBy: "bandwidth" }), "fair");
  assert.equal(level({ limitedBy: "bandwidth", kbps: 39 }), "poor");
});

test("what the pill says", () => {
  assert.equal(health(SENDING, true).text, "900 kbit/s");
  assert.equal(health({ ...SENDING, kbps: 1550 }, true).text, "1.6 Mbit/s");
  assert.equal(health(SENDING, true).title, "1280×720, 30 fps, 20 ms");
  assert.equal(health({ ...SENDING, rttMs: null }, true).title, "1280×720, 30 fps");
});
