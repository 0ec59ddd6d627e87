/** What a viewer looks at decides what it is sent. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { drawnCamera, LARGE, launchChromium, person } from "./harness/browsers.mjs";
import { frames, received } from "./harness/measure.mjs";
import { PLENTY, startServer } from "./harness/server.mjs";
import { goLive, watch, WITHIN_MS } from "./harness/show.mjs";

const WINDOW_MS = 2000;
/** From the moment it is hidden: two seconds that the SDK waits, and a round trip on a loaded machine. */
const QUIET_WITHIN_MS = 6000;
const BACK_WITHIN_MS = 2000;
/** Fifty packets of sound a second. */
const MIN_SOUND = (WINDOW_MS / 1000) * 40;

let server;
let chromium;
let room;
let host;

before(async () => {
  server = await startServer(PLENTY);
  chromium = await launchChromium();
  host = await person(chromium, "Hanna");
  await host.addInitScript(drawnCamera, LARGE);
  room = await goLive(host, server.url, "Views");
});

after(async () => {
  await chromium?.close();
  await server?.stop();
});

/** A viewer whose page can be told that its tab is in the background, which a headless browser never says. */
async function viewer(name, viewport) {
  const page = await person(chromium, name, viewport);
  await page.addInitScript(() => {
    let state = "visible";
    Object.defineProperty(document, "visibilityState", { get: () => state });
    globalThis.setVisibility = (next) => {
      state = next;
      document.dispatchEvent(new Event("visibilitychange"));
    };
  });
  return watch(page, server.url, room);
}

const width = (page) => page.evaluate(() => document.querySelector('.tile[data-seat="0"] video').videoWidth);

function hasWidth(page, wanted) {
  const is = (value) => document.querySelector('.tile[data-seat="0"] video').videoWidth === value;
  return page.waitForFunction(is, wanted, { timeout: WITHIN_MS });
}

/** Video bytes of the host that have come so far. */
function videoBytes(page) {
  return page.evaluate(async () => {
    for (const report of (await globalThis.greenroom.watching.pc.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.mid === "v0") return report.bytesReceived;
    }
    return 0;
  });
}

/** Wait until no video comes for a whole window. */
async function quiet(page) {
  const until = Date.now() + QUIET_WITHIN_MS;
  let bytes = await videoBytes(page);
  while (Date.now() < until) {
    const sound = await received(page, 0, "audio", WINDOW_MS);
    const now = await videoBytes(page);
    if (now === bytes) {
      assert.ok(sound.packets >= MIN_SOUND && sound.energy > 0, `sound goes on: ${JSON.stringify(sound)}`);
      return;
    }
    bytes = now;
  }
  assert.fail("video still comes");
}

/** Run `show` in the page; the milliseconds until the host's picture moves again. */
function backAfter(page, show) {
  return page.evaluate(
    ([code, within]) =>
      new Promise((resolve, reject) => {
        const video = document.querySelector('.tile[data-seat="0"] video');
        const begin = performance.now();
        setTimeout(() => reject(new Error("the picture did not come back")), within);
        new Function(code)();
        // The first may be the old picture, drawn again.
        let left = 3;
        const next = () => {
          left -= 1;
          if (left === 0) resolve(performance.now() - begin);
          else video.requestVideoFrameCallback(next);
        };
        video.requestVideoFrameCallback(next);
      }),
    [show, WITHIN_MS],
  );
}

test("a small tile is sent the small layer of a large host, and a large one the best", async () => {
  const page = await viewer("Sven", { width: 320, height: 200 });
  await hasWidth(page, 480);
  await page.setViewportSize({ width: 960, height: 540 });
  await hasWidth(page, 960);
  await page.setViewportSize({ width: 200, height: 120 });
  await hasWidth(page, 240);
  const seen = await frames(page, 0, WINDOW_MS);
  assert.ok(seen.frames >= 5 * (WINDOW_MS / 1000), JSON.stringify(seen));
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

for (const [what, hide, show] of [
  ["hidden tab", 'setVisibility("hidden")', 'setVisibility("visible")'],
  ["hidden tile", 'document.querySelector(".tile video").style.display = "none"', 'document.querySelector(".tile video").style.display = ""'],
]) {
  test(`a ${what} gets no video, hears on, and is back at once`, async () => {
    const page = await viewer("Hilde", { width: 1280, height: 800 });
    await page.evaluate(hide);
    await quiet(page);
    const took = await backAfter(page, show);
    assert.ok(took < BACK_WITHIN_MS, `${took} ms`);
    const seen = await frames(page, 0, WINDOW_MS);
    assert.ok(seen.frames >= 5 * (WINDOW_MS / 1000), JSON.stringify(seen));
    assert.equal(await page.evaluate(() => globalThis.greenroom.connection), "connected");
    assert.deepEqual(page.problems, []);
    await page.context().close();
  });
}

test("who only listens is sent no video, also after joining again, and sees when they want to", async () => {
  const page = await viewer("Ohr", { width: 390, height: 844 });
  await page.click(".listen");
  await page.getByText("Sound only", { exact: true }).waitFor({ timeout: WITHIN_MS });
  await quiet(page);
  const transport = await page.evaluate(() => globalThis.greenroom.watching.transport);
  await page.evaluate(() => globalThis.sockets.at(-1).close());
  const again = (old) => globalThis.greenroom.connection === "connected" && globalThis.greenroom.watching.transport !== old;
  await page.waitForFunction(again, transport, { timeout: WITHIN_MS });
  await quiet(page);
  assert.equal(await videoBytes(page), 0, "not even at first");
  const took = await backAfter(page, 'document.querySelector(".listen").click()');
  assert.ok(took < BACK_WITHIN_MS, `${took} ms`);
  assert.ok((await width(page)) > 0);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

/** Names of the layers whose encoder makes frames, over a window. */
function layersSent(page) {
  return page.evaluate(async (during) => {
    const read = async () => {
      const frames = new Map();
      for (const report of (await globalThis.greenroom.publishing.pc.getStats()).values()) {
        if (report.type === "outbound-rtp" && report.kind === "video") frames.set(report.rid, report.framesEncoded ?? 0);
      }
      return frames;
    };
    const before = await read();
    await new Promise((resolve) => {
      setTimeout(resolve, during);
    });
    const after = await read();
    return [...after.keys()].filter((rid) => after.get(rid) > (before.get(rid) ?? 0)).sort();
  }, 500);
}

async function sends(wanted, withinMs) {
  const until = Date.now() + withinMs;
  let sent = [];
  while (Date.now() < until) {
    sent = await layersSent(host);
    if (sent.join() === wanted) return;
  }
  assert.fail(`the host sends ${sent.join()} and not ${wanted}`);
}

test("a host's browser does not encode what nobody takes, and does again for who wants it", async () => {
  await sends("l", WITHIN_MS);
  const page = await viewer("Mara", { width: 320, height: 200 });
  await hasWidth(page, 480);
  await sends("l,m", WITHIN_MS);
  await page.setViewportSize({ width: 960, height: 540 });
  await hasWidth(page, 960);
  await sends("h,l", WITHIN_MS);
  const health = await host.evaluate(() => globalThis.greenroom.publishing.stats());
  assert.equal(health.width, 960);
  const seen = await frames(page, 0, WINDOW_MS);
  assert.ok(seen.frames >= 5 * (WINDOW_MS / 1000), JSON.stringify(seen));
  await page.context().close();
  await sends("l", WITHIN_MS);
  const small = await host.evaluate(() => globalThis.greenroom.publishing.stats());
  assert.equal(small.width, 240, "the studio judges what it sends");
  assert.deepEqual(host.problems, []);
});
