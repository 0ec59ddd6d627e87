import assert from "node:assert/strict";
import { test } from "node:test";
import { LeastRate, UplinkStats, withLeastRate } from "./uplink.js";

const ANSWER = [
  "v=0",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111",
  "a=rtpmap:111 opus/48000/2",
  "a=fmtp:111 minptime=10",
  "m=video 9 UDP/TLS/RTP/SAVPF 96 97 109",
  "a=rtpmap:96 VP8/90000",
  "a=rtcp-fb:96 nack",
  "a=rtpmap:97 rtx/90000",
  "a=fmtp:97 apt=96",
  "a=rtpmap:109 H264/90000",
  "a=fmtp:109 packetization-mode=1",
  "",
];

test("every video codec of an answer gets a floor, and nothing else changes", () => {
  const lines = withLeastRate(ANSWER.join("\r\n"), 300).split("\r\n");
  assert.deepEqual(lines.filter((line) => !ANSWER.includes(line)), [
    "a=fmtp:96 x-google-min-bitrate=300",
    "a=fmtp:109 packetization-mode=1;x-google-min-bitrate=300",
  ]);
  assert.equal(lines.length, ANSWER.length + 1);
  assert.equal(lines[lines.indexOf("a=rtpmap:96 VP8/90000") + 1], "a=fmtp:96 x-google-min-bitrate=300");
});

test("an answer without video stays as it is", () => {
  const audio = ANSWER.slice(0, 4).join("\r\n");
  assert.equal(withLeastRate(audio, 300), audio);
});

test("without a floor an answer stays as it is", () => {
  assert.equal(withLeastRate(ANSWER.join("\r\n"), null), ANSWER.join("\r\n"));
});

/** What is seen of a path of 100 ms; `change` says what is different. */
const seen = (change) => ({ path: "a", rttMs: 100, estimateKbps: 2500, lost: 0, ...change });
const LOST_BY_CHANCE = { estimateKbps: 299, lost: 0.3 };

/** The floor after so many looks each, in turn. */
function after(floor, ...turns) {
  for (const [looks, change] of turns) for (let i = 0; i < looks; i += 1) floor.look(seen(change));
  return floor.kbps;
}

test("a floor where packets go on being lost below it, and no sooner", () => {
  const floor = new LeastRate();
  assert.equal(after(floor, [1, {}], [20, { estimateKbps: 301, lost: 0.3 }]), null);
  assert.equal(after(floor, [1, LOST_BY_CHANCE]), null);
  assert.equal(after(floor, [1, { ...LOST_BY_CHANCE, lost: 0.09 }], [1, LOST_BY_CHANCE]), null);
  assert.equal(floor.look(seen(LOST_BY_CHANCE)), true);
  assert.equal(floor.kbps, 300);
  assert.equal(floor.look(seen({ estimateKbps: 300, lost: 0.3 })), false);
});

test("none where a queue is what loses them", () => {
  assert.equal(after(new LeastRate(), [1, {}], [60, { ...LOST_BY_CHANCE, rttMs: 251 }]), null);
  assert.equal(after(new LeastRate(), [1, {}], [2, { ...LOST_BY_CHANCE, rttMs: 250 }]), 300);
});

test("a longer path is no queue", () => {
  assert.equal(after(new LeastRate(), [1, {}], [2, { ...LOST_BY_CHANCE, path: "b", rttMs: 600 }]), 300);
});

test("a queue takes the floor away, and none comes for a minute", () => {
  const floor = new LeastRate();
  const queue = { estimateKbps: 300, lost: 0.2, rttMs: 400 };
  assert.equal(after(floor, [1, {}], [2, LOST_BY_CHANCE], [3, queue], [1, LOST_BY_CHANCE], [3, queue]), 300);
  assert.equal(floor.look(seen(queue)), true);
  assert.equal(floor.kbps, null);
  assert.equal(after(floor, [59, LOST_BY_CHANCE]), null);
  assert.equal(after(floor, [1, LOST_BY_CHANCE]), 300);
});

test("ten seconds with hardly a loss take it away as well", () => {
  const floor = new LeastRate();
  assert.equal(after(floor, [1, {}], [2, LOST_BY_CHANCE], [9, { lost: 0.04 }], [1, { lost: 0.05 }], [9, {}]), 300);
  assert.equal(after(floor, [1, {}]), null);
});

test("a browser that does not tell its estimate has none", () => {
  assert.equal(after(new LeastRate(), [60, { lost: 0.3, estimateKbps: null }], [60, { ...LOST_BY_CHANCE, rttMs: null }]), null);
});

test("losses are those of sound, or what was repeated of video, whichever is more", async () => {
  const stats = new UplinkStats();
  const read = (...reports) => stats.read({ getStats: async () => new Map(reports.map((report, i) => [i, report])) });
  const pair = { id: "p", type: "candidate-pair", nominated: true, availableOutgoingBitrate: 280_000, currentRoundTripTime: 0.12 };
  const video = (packetsSent, retransmittedPacketsSent) => ({ type: "outbound-rtp", kind: "video", packetsSent, retransmittedPacketsSent });
  const lost = (fractionLost) => ({ type: "remote-inbound-rtp", fractionLost });
  assert.deepEqual(await read(pair, video(100, 10), lost(0.2)), { path: "p", rttMs: 120, estimateKbps: 280, lost: 0.2 });
  assert.equal((await read(pair, video(200, 40), lost(0.2))).lost, 0.3);
  // An encoder that was made anew counts from the start.
  assert.equal((await read(pair, video(20, 0), lost(0))).lost, 0);
  assert.deepEqual(await read(video(30, 1)), { path: "", rttMs: null, estimateKbps: null, lost: 0.1 });
});
