import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
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

/** Leave and join again in the same page, as a person who comes back does. */
function rejoin() {
  return new Promise((resolve, reject) => {
    const old = globalThis.greenroom;
    const { room: slug } = JSON.parse(sessionStorage.getItem("rejoin"));
    old.close();
    import("/sdk/index.js").then(({ GreenroomClient }) => {
      const token = JSON.parse(sessionStorage.getItem(`greenroom.identity.viewer.${slug}`)).token;
      const start = performance.now();
      const client = new GreenroomClient({ room: slug, token });
      globalThis.greenroom = client;
      const video = document.createElement("video");
      document.body.append(video);
      client.attach(0, video);
      client.on("firstFrame", () => {
        video.remove();
        resolve(performance.now() - start);
      });
      client.connect().catch(reject);
      globalThis.setTimeout(() => reject(new Error("no frame after a rejoin")), 10_000);
    }, reject);
  });
}

async function measure(t, name, makePage) {
  const cold = [];
  const steps = {};
  for (let i = 0; i < JOINS; i += 1) {
    const page = await makePage(i);
    await page.goto(`${server.url}/r/${room}`);
    await firstFrame(page);
    const timings = await page.evaluate(() => globalThis.greenroomTimings);
    for (const [step, ms] of Object.entries(timings)) (steps[step] ??= []).push(ms);
    cold.push(timings.firstFrame);
    await (page.context?.() ?? page).close();
  }
  const page = await makePage("again");
  await page.goto(`${server.url}/r/${room}`);
  await firstFrame(page);
  await page.evaluate((slug) => sessionStorage.setItem("rejoin", JSON.stringify({ room: slug })), room);
  const warm = [];
  for (let i = 0; i < JOINS; i += 1) {
    await setTimeout(BETWEEN_MS);
    warm.push(await page.evaluate(rejoin));
  }
  await (page.context?.() ?? page).close();
  const round = (values) => `${Math.round(median(values))} ms (worst ${Math.round(Math.max(...values))})`;
  t.diagnostic(`${name}: script start to first frame, ${JOINS} joins: cold median ${round(cold)}, rejoin median ${round(warm)}`);
  t.diagnostic(`${name}: ${Object.entries(steps).map(([step, values]) => `${step} ${Math.round(median(values))}`).join(", ")}`);
  assert.equal(cold.length + warm.length, 2 * JOINS);
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
