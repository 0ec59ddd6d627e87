import assert from "node:assert/strict";
import { test } from "node:test";
import { OwnSize, shownSize } from "./views.js";

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

/** What is looked at one after the other: [width of the element, width of its picture]. */
function looks(own, ...sizes) {
  return sizes.map(([clientWidth, videoWidth]) => own.look({ clientWidth, clientHeight: clientWidth === 300 ? 150 : 180, videoWidth }));
}

test("an element that takes the size of its picture says nothing of what is wanted, for good", () => {
  const own = new OwnSize();
  assert.deepEqual(looks(own, [300, 0], [320, 320]), [false, true]);
  assert.ok(own.follows);
  looks(own, [640, 640], [500, 640]);
  assert.ok(own.follows);
});

test("an element with a size of its own may have that of its picture", () => {
  for (const sizes of [[[320, 0], [320, 320], [320, 640], [320, 320]], [[0, 0], [320, 0], [320, 320]], [[640, 320], [320, 320]]]) {
    const own = new OwnSize();
    looks(own, ...sizes);
    assert.ok(!own.follows, JSON.stringify(sizes));
  }
});
