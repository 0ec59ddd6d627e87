import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { viewerToken } from "./harness/bare.mjs";
import { firefoxPerson, launchChromium, launchFirefox, person } from "./harness/browsers.mjs";
import { median } from "./harness/measure.mjs";
import { startServer } from "./harness/server.mjs";
import { firstFrame, goLive } from "./harness/show.mjs";

/** Printed, not asserted: a benchmark is never a timed test. */
const JOINS = Number(process.env.GREENROOM_JOINS ?? 20);

/** One person who comes back, not a storm: joins closer together share a key frame and wait for it. */
const BETWEEN_MS = 1000;

let server;
let chromium;
let room;
before(async () => {
  server = await startServer();
  chromium = await launchChromium();
  room = await goLive(await person(chromium, "Hanna"), server.url);
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

/** Join once with nothing on the page but a picture; time from the first line of script to the first frame. */
async function joinBare({ room: slug, token }) {
  globalThis.greenroom?.close();
  const start = performance.now();
  const { GreenroomClient } = await import("/sdk/index.js");
  const client = new GreenroomClient({ room: slug, token });
  globalThis.greenroom = client;
  const video = document.createElement("video");
  document.body.append(video);
  client.attach(0, video);
  await new Promise((resolve, reject) => {
    client.on("firstFrame", resolve);
    client.connect().catch(reject);
    globalThis.setTimeout(() => reject(new Error("no frame")), 10_000);
  });
  const ms = performance.now() - start;
  video.remove();
  return ms;
}

const closePage = (page) => (page.context?.() ?? page).close();
const times = async (run) => {
  const values = [];
  for (let i = 0; i < JOINS; i += 1) values.push(await run(i));
  return values;
};

/** The steps of a join (`sdk/timings.js`), collected over the pages. */
class Steps {
  #of = {};

  async add(page) {
    const timings = await page.evaluate(() => globalThis.greenroomTimings);
    for (const [step, ms] of Object.entries(timings)) (this.#of[step] ??= []).push(ms);
  }

  toString() {
    return Object.entries(this.#of).map(([step, values]) => `${step} ${Math.round(median(values))}`).join(", ");
  }
}

async function measure(t, name, makePage) {
  const show = new Steps();
  await times(async (i) => {
    const page = await makePage(i);
    await page.goto(`${server.url}/r/${room}`);
    await firstFrame(page);
    await show.add(page);
    await closePage(page);
  });
  const sdk = new Steps();
  const bare = await times(async (i) => {
    const page = await makePage(i);
    await page.goto(`${server.url}/healthz`);
    const ms = await page.evaluate(joinBare, await viewerToken(server.url, room));
    await sdk.add(page);
    await closePage(page);
    return ms;
  });
  const page = await makePage("again");
  await page.goto(`${server.url}/healthz`);
  const identity = await viewerToken(server.url, room);
  await page.evaluate(joinBare, identity);
  const again = await times(async () => {
    await setTimeout(BETWEEN_MS);
    return page.evaluate(joinBare, identity);
  });
  await closePage(page);
  const round = (values) => `${Math.round(median(values))} ms (worst ${Math.round(Math.max(...values))})`;
  t.diagnostic(`${name}, medians of ${JOINS} joins, ms`);
  t.diagnostic(`cold, the whole show page: ${show}`);
  t.diagnostic(`cold, the SDK and a <video> only: ${sdk}; with the loading of its modules ${round(bare)}`);
  t.diagnostic(`rejoin: ${round(again)}`);
  assert.equal(bare.length + again.length, 2 * JOINS);
}

test("time to first frame in Chromium", (t) => measure(t, "Chromium", (i) => person(chromium, `Viewer ${i}`)));

test("time to first frame in Firefox", async (t) => {
  const firefox = await launchFirefox();
  try {
    await measure(t, "Firefox", (i) => firefoxPerson(firefox, server.url, `Viewer ${i}`));
  } finally {
    await firefox.close();
  }
});
