import assert from "node:assert/strict";
import { test } from "node:test";
import { answerWithin, Silence } from "./path.js";

test("a far peer has more time to answer, but not for ever", () => {
  assert.equal(answerWithin(0), 300);
  assert.equal(answerWithin(100), 400);
  assert.equal(answerWithin(5000), 1000);
  assert.equal(answerWithin(null), answerWithin(150));
});

test("silence lasts from the last byte that came, or from when something was expected", () => {
  const silence = new Silence(1000);
  assert.equal(silence.lasts(1200, 10), 0, "the first reading is news");
  assert.equal(silence.lasts(1400, 10), 200);
  assert.equal(silence.lasts(1600, 10), 400);
  assert.equal(silence.lasts(1700, 11), 0);
  assert.equal(silence.lasts(1800, 11), 100);
  silence.reset(5000);
  assert.equal(silence.lasts(5100, 11), 100);
  assert.equal(silence.lasts(5200, 4), 0, "another connection begins to count anew");
  silence.reset(6000);
  assert.equal(silence.lasts(6300, 90), 300, "what came before the reset is not told apart");
  assert.equal(silence.lasts(6500, 90), 500);
  silence.reset(7000);
  silence.lasts(7300, 120);
  assert.equal(silence.lasts(7500, 130), 0, "it goes on to come");
});
