import assert from "node:assert/strict";
import { test } from "node:test";
import { withLeastRate } from "./uplink.js";

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
  const lines = withLeastRate(ANSWER.join("\r\n")).split("\r\n");
  assert.deepEqual(lines.filter((line) => !ANSWER.includes(line)), [
    "a=fmtp:96 x-google-min-bitrate=300",
    "a=fmtp:109 packetization-mode=1;x-google-min-bitrate=300",
  ]);
  assert.equal(lines.length, ANSWER.length + 1);
  assert.equal(lines[lines.indexOf("a=rtpmap:96 VP8/90000") + 1], "a=fmtp:96 x-google-min-bitrate=300");
});

test("an answer without video stays as it is", () => {
  const audio = ANSWER.slice(0, 4).join("\r\n");
  assert.equal(withLeastRate(audio), audio);
});
