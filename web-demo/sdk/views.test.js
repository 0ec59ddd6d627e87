import assert from "node:assert/strict";
import { test } from "node:test";
import { shownSize } from "./views.js";

const element = (clientWidth, clientHeight, videoWidth = 0, videoHeight = 0) => ({ clientWidth, clientHeight, videoWidth, videoHeight });

test("a picture that is cropped takes all of its element, in device pixels", () => {
  assert.deepEqual(shownSize(element(195, 400, 1280, 720), 2, "cover"), { w: 390, h: 800 });
  assert.deepEqual(shownSize(element(333, 101), 1.5, "cover"), { w: 500, h: 152 });
});

test("a picture between bars takes less", () => {
  assert.deepEqual(shownSize(element(400, 700, 1280, 720), 1, "contain"), { w: 400, h: 225 });
  assert.deepEqual(shownSize(element(400, 700), 1, "contain"), { w: 400, h: 700 }, "before it is known");
});

test("nothing is larger than the protocol takes", () => {
  assert.deepEqual(shownSize(element(20_000, 10), 2, "cover"), { w: 16_384, h: 20 });
});
