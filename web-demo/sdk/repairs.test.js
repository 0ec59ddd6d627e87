import assert from "node:assert/strict";
import { test } from "node:test";
import { nextWait, RepairWait, seatWait } from "./repairs.js";

/** What it waits after each look, given the NACKs in between. */
function waits(wait, growth, rttMs = 100) {
  let nacks = 0;
  return growth.map((n) => {
    nacks += n;
    wait.look({ nacks, rttMs });
    return wait.ms;
  });
}

test("losses that go on are waited for, twice around", () => {
  assert.deepEqual(waits(new RepairWait(), [7, 3, 1, 4, 2]), [null, null, null, 260, 260]);
  assert.equal(waits(new RepairWait(), [0, 1, 1, 1], 20).at(-1), 180, "a near one is asked again no sooner");
});

test("a longer wait is taken step by step, a shorter one and none at once", () => {
  const steps = [null];
  while (steps.at(-1) !== 60) steps.push(nextWait(steps.at(-1), 60));
  assert.deepEqual(steps, [null, 25, 50, 60]);
  assert.equal(nextWait(60, 60), 60);
  assert.equal(nextWait(260, 200), 200);
  assert.equal(nextWait(260, null), null);
});

test("what was lost before the first look does not count, nor does a single burst", () => {
  assert.deepEqual(waits(new RepairWait(), [90, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 20, 0]), Array(14).fill(null));
});

test("it ends when nothing was lost for ten seconds", () => {
  const quiet = Array(9).fill(0);
  const begins = [null, null, null, 260];
  assert.deepEqual(waits(new RepairWait(), [0, 1, 1, 1, ...quiet, 1, ...quiet, 0]), [...begins, ...Array(19).fill(260), null]);
});

test("a far server is not waited for without end, and not at all while its distance is unknown", () => {
  assert.equal(waits(new RepairWait(), [0, 1, 1, 1], 900).at(-1), 500);
  assert.equal(waits(new RepairWait(), [0, 1, 1, 1], null).at(-1), null);
});

test("a nearer server later does not make the picture jump", () => {
  const wait = new RepairWait();
  waits(wait, [0, 1, 1, 1], 100);
  wait.look({ nacks: 4, rttMs: 20 });
  assert.equal(wait.ms, 260);
});

test("a seat waits for what is lost on either way, whichever takes longer", () => {
  assert.equal(seatWait(null), null);
  assert.equal(seatWait(260), 260);
  assert.equal(seatWait(null, 150), 210);
  assert.equal(seatWait(260, 150), 260);
  assert.equal(seatWait(260, 300), 360);
  assert.equal(seatWait(null, 500), 500);
});
