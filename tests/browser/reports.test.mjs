/** A viewer whose browser does not tell what arrives when, only what it estimates (REMB) and what it lost. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Theatre } from "./harness/calls.mjs";
import { skipWithoutLink } from "./harness/link.mjs";

const FAR = "rate=5m queue=300ms delay=50ms";
/** The layers of the host: 640x360, and half of it. */
const BEST = 360;
const SMALL = 180;
const BEST_WITHIN_MS = 20_000;
const SMALL_WITHIN_MS = 10_000;
/** The first wait after a failure, the time to reach it again, and a slow machine. */
const AGAIN_WITHIN_MS = 60_000;

const skip = skipWithoutLink();
let theatre;
before(async () => {
  if (skip) return;
  theatre = await Theatre.open({ up: FAR, down: FAR });
  await theatre.goLive();
});
after(() => theatre?.close());

/** In the page: answers decline transport-wide feedback, so that libwebrtc sends REMB. */
function withoutNumbers() {
  const { createAnswer } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.createAnswer = async function answered(...options) {
    const { type, sdp } = await createAnswer.apply(this, options);
    const lines = sdp.split("\r\n").filter((line) => !/^a=rtcp-fb:\d+ transport-cc|^a=extmap:.*transport-wide-cc/.test(line));
    globalThis.answered = lines.join("\r\n");
    return { type, sdp: globalThis.answered };
  };
}

/** How long it takes until a picture of this height runs; several seconds in a row, as a trial may fail. */
async function until(call, height, withinMs) {
  const begun = performance.now();
  const seen = [];
  for (;;) {
    const { height: now, fps } = await call.observe(3000);
    seen.push(`${now} at ${fps.toFixed(0)} fps`);
    if (now === height && fps > 20) return performance.now() - begun;
    assert.ok(performance.now() - begun < withinMs, `not ${height}: ${seen.join(", ")}`);
  }
}

test("a viewer without transport-wide feedback gets what its network takes", { skip, timeout: 180_000 }, async (t) => {
  const call = await theatre.watch(withoutNumbers);
  const answer = await call.page.evaluate(() => globalThis.answered);
  assert.ok(answer.includes("goog-remb") && !answer.includes("transport-cc"), answer);
  const best = await until(call, BEST, BEST_WITHIN_MS);
  await setTimeout(3000);
  await theatre.network.set("down", "rate=700k");
  const small = await until(call, SMALL, SMALL_WITHIN_MS);
  await theatre.network.set("down", "rate=5m");
  const again = await until(call, BEST, AGAIN_WITHIN_MS);
  const said = [best, small, again].map((ms) => `${Math.round(ms)} ms`);
  t.diagnostic(`MEASURED without transport-wide feedback: best after ${said[0]}, smaller after ${said[1]}, best again after ${said[2]}`);
  await call.close();
});
