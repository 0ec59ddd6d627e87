/** Networks that change in the middle of a show: another address, UDP that stops passing. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { person } from "./harness/browsers.mjs";
import { Theatre } from "./harness/calls.mjs";
import { OTHER_ADDRESS, skipWithoutLink, VIEWER_ADDRESS } from "./harness/link.mjs";
import { frames, received } from "./harness/measure.mjs";
import { acceptInvite, guestButton, invite, waitSeat, watch } from "./harness/show.mjs";

const FAR = "rate=5m queue=300ms delay=50ms";
/** The target is 2 s, which a quiet machine reaches; this one may be busy. */
const MOVED_WITHIN_MS = 4000;
/** Without help a guest is lost after 5 s, and the browser says so after 6. */
const GUEST_MOVED_WITHIN_MS = 7000;
/** Without the server's help Chromium changes to TCP after 3.5 s, and has its picture after 6. */
const BLOCKED_WITHIN_MS = 6000;
/** Estimation and key frames of the join are over. */
const SETTLE_MS = 3000;
const WATCH_MS = 12_000;

const skip = skipWithoutLink();
let theatre;
before(async () => {
  if (skip) return;
  theatre = await Theatre.open({ up: FAR, down: FAR });
  await theatre.goLive();
});
after(() => theatre?.close());

test("a viewer whose address changes sees the show again at once", { skip }, async (t) => {
  const call = await theatre.watch();
  await setTimeout(SETTLE_MS);
  for (const address of [OTHER_ADDRESS, VIEWER_ADDRESS]) {
    const watching = call.observe(WATCH_MS);
    theatre.network.moveViewer(address);
    const { maxGapMs, gaps } = await watching;
    t.diagnostic(`MEASURED gap after a viewer's address changed: ${Math.round(maxGapMs)} ms`);
    assert.ok(maxGapMs <= MOVED_WITHIN_MS, JSON.stringify(gaps.filter(({ ms }) => ms > 300)));
  }
  await call.close();
});

test("a viewer whose UDP stops passing goes on over TCP", { skip }, async (t) => {
  const call = await theatre.watch();
  await setTimeout(SETTLE_MS);
  const watching = call.observe(WATCH_MS);
  await theatre.network.blockUdp(true);
  const { maxGapMs, gaps } = await watching;
  t.diagnostic(`MEASURED gap after UDP was blocked: ${Math.round(maxGapMs)} ms`);
  assert.ok(maxGapMs <= BLOCKED_WITHIN_MS, JSON.stringify(gaps.filter(({ ms }) => ms > 300)));
  await theatre.network.blockUdp(false);
  await call.close();
});

test("a guest whose address changes keeps the seat and the mute", { skip }, async (t) => {
  const { host, room, network, viewerUrl } = theatre;
  const guest = await person(theatre.viewerBrowser, "Gus");
  await watch(guest, viewerUrl, room);
  await invite(host, "Gus");
  await acceptInvite(guest);
  await waitSeat(host, 1, "live");
  await guestButton(host, "Gus", "Mute microphone").click();
  await guest.getByText("Muted by the host").waitFor();
  await setTimeout(SETTLE_MS);
  await host.evaluate(() => {
    globalThis.seatStates = [];
    globalThis.greenroom.on("seat.updated", ({ seat, state }) => seat === 1 && globalThis.seatStates.push(state));
  });

  const watching = frames(host, 1, WATCH_MS);
  network.moveViewer(OTHER_ADDRESS);
  const seen = await watching;
  t.diagnostic(`MEASURED gap after a guest's address changed: ${Math.round(seen.maxGapMs)} ms`);
  assert.ok(seen.frames > 30 && seen.maxGapMs <= GUEST_MOVED_WITHIN_MS, JSON.stringify(seen));
  const states = await host.evaluate(() => globalThis.seatStates);
  assert.ok(states.every((state) => state === "live" || state === "reconnecting"), states.join());
  assert.equal((await received(host, 1, "audio", 1500)).packets, 0, "muted before, muted after");
  const you = await guest.evaluate(() => globalThis.greenroom.state.you.guest);
  assert.deepEqual([you?.state, you?.seat, you?.locked], ["live", 1, ["audio"]]);
  network.moveViewer(VIEWER_ADDRESS);
  await guest.context().close();
});
