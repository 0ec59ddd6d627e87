import assert from "node:assert/strict";
import { test } from "node:test";
import { SeqGate } from "./seq.js";

const seqs = (events) => events.map((e) => e.seq);

test("in order, each is passed on at once", () => {
  const gate = new SeqGate(10);
  assert.deepEqual(seqs(gate.accept({ seq: 11 })), [11]);
  assert.deepEqual(seqs(gate.accept({ seq: 12 })), [12]);
  assert.equal(gate.gap, false);
});

test("what came over the other carrier already is ignored", () => {
  const gate = new SeqGate(10);
  gate.accept({ seq: 11 });
  assert.deepEqual(gate.accept({ seq: 11 }), []);
  assert.deepEqual(gate.accept({ seq: 3 }), []);
});

test("a hole holds later events back until it closes", () => {
  const gate = new SeqGate(0);
  assert.deepEqual(gate.accept({ seq: 2 }), []);
  assert.deepEqual(gate.accept({ seq: 3 }), []);
  assert.equal(gate.gap, true);
  assert.deepEqual(seqs(gate.accept({ seq: 1 })), [1, 2, 3]);
  assert.equal(gate.gap, false);
});

test("an fx frame can reveal a missing tail", () => {
  const gate = new SeqGate(5);
  gate.observe(6);
  assert.equal(gate.gap, true);
  gate.accept({ seq: 6 });
  assert.equal(gate.gap, false);
});

test("any order and any duplicates give every event once, in order", () => {
  for (let round = 0; round < 200; round += 1) {
    const gate = new SeqGate(100);
    const all = Array.from({ length: 20 }, (_, i) => 101 + i);
    const sent = [...all, ...all.slice(0, round % 20)].sort(() => Math.random() - 0.5);
    const got = sent.flatMap((seq) => seqs(gate.accept({ seq })));
    assert.deepEqual(got, all);
  }
});

test("held events are bounded", () => {
  const gate = new SeqGate(0);
  for (let seq = 2; seq < 5000; seq += 1) gate.accept({ seq });
  assert.ok(gate.held.size <= SeqGate.MAX_HELD);
  assert.equal(gate.gap, true);
});
