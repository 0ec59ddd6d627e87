import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { bare, joinAndNote, notedFrames, videoReceiver, viewerToken } from "./harness/bare.mjs";
import { drawnCamera, firefoxPerson, launchChromium, launchFirefox, person, STAMPED } from "./harness/browsers.mjs";
import { median } from "./harness/measure.mjs";
import { metric } from "./harness/metrics.mjs";
import { startServer } from "./harness/server.mjs";
import { goLive } from "./harness/show.mjs";

/** When a viewer joins, in ms after somebody else's key frame came; getting there takes some 60 more. */
const MOMENTS_MS = [0, 150, 300];
/** The server keeps a key frame for 600 ms; whoever comes later asks for one. */
const STALE_MS = 1000;
const WATCH_MS = 3000;
const LAG_WINDOW_MS = 600;
/** Above what a picture needs to go on from a replay, below what it takes to ask for a key frame because one cannot. */
const MAX_GAP_MS = 250;
/** A browser calls an interval 150 ms above the mean a freeze; if others had one too, it is the machine's. */
const STALL_MS = 150;
/** How much later than an earlier viewer: two frames. */
const MAX_LAG_DIFFERENCE_MS = 70;
/** Frames that come while one viewer after the other is counted. */
const UNDER_WAY = 12;
/** A loaded machine may spoil some. */
const TRIES = 6;

let server;
let chromium;
let host;
let room;
let waker;
before(async () => {
  // Two shards on every machine.
  server = await startServer(["--set", "media.shards=2"]);
  chromium = await launchChromium();
  host = await person(chromium, "Hanna");
  await host.addInitScript(drawnCamera, STAMPED);
  room = await goLive(host, server.url);
  waker = await bare(await person(chromium, "Wanda"), server.url);
  // A shard keeps what its viewers watch: with one on each, wherever somebody joins there is a cache.
  await join(waker, "first resident");
  await join(waker, "second resident");
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

const join = async (page, name) => page.evaluate(joinAndNote, { ...(await viewerToken(server.url, room)), name });

/** Key frames that the host was asked for, and that it made. */
const hostKeyFrames = () =>
  host.evaluate(async () => {
    for (const report of (await globalThis.greenroom.publishing.pc.getStats()).values()) {
      if (report.type === "outbound-rtp" && report.kind === "video") return { asked: report.pliCount + report.firCount, made: report.keyFramesEncoded };
    }
    return null;
  });
const replays = () => metric(server.url, "greenroom_replays_total");

/** Frames shown to a viewer from `from` on, and the largest time between two of them. */
async function shown(page, name, from = 0) {
  const { begun, frames } = await page.evaluate(notedFrames, name);
  const since = frames.filter((frame) => frame.shown >= from);
  const gaps = since.slice(1).map((frame, i) => frame.shown - since[i].shown);
  return { begun, frames: since, gap: Math.max(...gaps) };
}

/** How late the picture is at the end of what was watched. */
const lagAtEnd = ({ frames }, since) => median(frames.filter((frame) => frame.shown >= since + WATCH_MS).map((frame) => frame.lag));

/**
 * Somebody causes a key frame, and `moment` ms later another viewer joins in the midst of what follows it, in a
 * page that has an earlier viewer too. Everything that was counted.
 */
async function joinMidGop(page, moment) {
  await join(page, "earlier");
  await setTimeout(STALE_MS);
  const before = { ...(await hostKeyFrames()), replays: await replays() };
  await join(waker, "waker");
  const woken = await hostKeyFrames();
  await setTimeout(moment);
  await join(page, "joiner");
  await setTimeout(WATCH_MS + LAG_WINDOW_MS);
  const joined = await page.evaluate(videoReceiver, "joiner");
  const woke = await waker.evaluate(videoReceiver, "waker");
  const after = { ...(await hostKeyFrames()), replays: await replays() };
  const joiner = await shown(page, "joiner");
  const since = joiner.frames[0].shown;
  return { moment, since, joined, woke, before, woken, after, joiner, earlier: await shown(page, "earlier", since) };
}

/** Why there is nothing to judge, if so: what the server had no part in. */
function spoiled({ before, woken, after }) {
  if (woken.made !== before.made + 1) return "the other's join did not make one key frame";
  if (after.replays === before.replays) return "came too late for the cache";
  if (after.made - woken.made > after.asked - woken.asked) return "the host made a key frame that nobody asked for";
  return null;
}

/** The same for times. */
function stalled({ since, joiner, earlier }) {
  const noted = [joiner, earlier].every((viewer) => lagAtEnd(viewer, since) !== undefined);
  return earlier.gap > STALL_MS || !noted ? "the earlier viewer's picture stood too" : null;
}

/**
 * Firefox loses what comes right behind the handshake when it is busy, here the key frame and all that was kept; it
 * then asks for another. Seen twice in some sixty joins beside several compilers; a replay it cannot use fails every try.
 */
function missedBeginning({ joined, woke }) {
  const missed = joined.pliCount > 0 && woke.framesReceived - joined.framesReceived > UNDER_WAY;
  return missed ? "Firefox was not ready for the first packets" : null;
}

function assertDecoded({ joined, woke, before, woken, after }) {
  assert.equal(after.replays - before.replays, 1, "one viewer began from the cache");
  assert.equal(after.asked, woken.asked, "the host was asked for no other key frame");
  assert.equal(joined.pliCount, 0, "the viewer asked for no key frame");
  assert.equal(joined.packetsLost, 0);
  assert.equal(joined.keyFramesDecoded ?? 1, 1, "the cached key frame was all it needed");
  const missing = Math.abs(joined.framesReceived - woke.framesReceived);
  assert.ok(missing <= UNDER_WAY, `${joined.framesReceived} frames, of ${woke.framesReceived} since the key frame`);
  assert.ok(joined.framesDecoded >= joined.framesReceived - UNDER_WAY, `${joined.framesDecoded} of ${joined.framesReceived} decoded`);
}

/** What a viewer would see of the hand-over, or `null`. */
function visible({ since, joined, joiner, earlier }) {
  if (joined.nackCount > 0) return `${joined.nackCount} numbers were missing`;
  if (joined.freezeCount > 0) return `froze for ${joined.totalFreezesDuration} s`;
  if (joiner.gap > MAX_GAP_MS) return `a gap of ${Math.round(joiner.gap)} ms`;
  const [lag, before] = [joiner, earlier].map((viewer) => lagAtEnd(viewer, since));
  return lag > before + MAX_LAG_DIFFERENCE_MS ? `${lag} ms behind the host, an earlier viewer ${before}` : null;
}

function describe({ moment, since, joined, woke, joiner, earlier }) {
  const [lag, before] = [joiner, earlier].map((viewer) => lagAtEnd(viewer, since));
  const { begun, gap, frames } = joiner;
  return (
    `${moment} ms after a key frame: first frame after ${Math.round(since - begun)} ms; received ${joined.framesReceived} frames (since the key frame ${woke.framesReceived}), ` +
    `decoded ${joined.framesDecoded}, dropped ${joined.framesDropped}, shown ${frames.length}; PLI ${joined.pliCount}, freezes ${joined.freezeCount}; ` +
    `largest gap ${Math.round(gap)} ms (earlier viewer ${Math.round(earlier.gap)}); lag ${frames[0].lag} ms at first, then ${lag} (earlier viewer ${before})`
  );
}

/** Join at every moment, again where there is nothing to judge; what was counted must be right at once. */
async function handOver(t, page, troubles) {
  for (const moment of MOMENTS_MS) {
    let trouble = null;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const result = await joinMidGop(page, moment);
      const excuse = spoiled(result) ?? troubles.excuse(result);
      if (!excuse) assertDecoded(result);
      trouble = excuse ?? troubles.visible(result);
      t.diagnostic(`${describe(result)}${trouble ? `; again: ${trouble}` : ""}`);
      if (!trouble) break;
    }
    assert.equal(trouble, null, `${TRIES} times`);
  }
  await page.close();
}

/** A freeze of the hand-over's comes every time; the machine's does not. */
test("Chromium joins between two key frames and goes on live without a freeze", async (t) => {
  await handOver(t, await bare(await person(chromium, "Mia"), server.url), { excuse: stalled, visible });
});

/** Counts only: two Firefox viewers and a Chromium host do not run fluently on two cores. */
test("Firefox joins between two key frames and decodes all of it", async (t) => {
  const firefox = await launchFirefox();
  try {
    const page = await bare(await firefoxPerson(firefox, server.url, "Fiona"), server.url);
    await handOver(t, page, { excuse: missedBeginning, visible: () => null });
  } finally {
    await firefox.close();
  }
});
