import assert from "node:assert/strict";
import { test } from "node:test";
import { launchChromium, person } from "./harness/browsers.mjs";
import { frames } from "./harness/measure.mjs";
import { startServer } from "./harness/server.mjs";
import { goLive, watch } from "./harness/show.mjs";

const WITHIN_MS = 15_000;
const SAMPLE_MS = 3000;
/** The fake camera makes 30; a loaded two-core machine may lose some. */
const MIN_FPS = 20;

/** A show of one host, and one viewer of it on a server with these options. */
async function show(options, look) {
  const server = await startServer(options);
  const chromium = await launchChromium();
  try {
    const host = await person(chromium, "Hanna");
    const room = await goLive(host, server.url, "Layers");
    const viewer = await watch(await person(chromium, "Vera"), server.url, room);
    await look({ server, host, viewer, sizes: await sizes(host) });
  } finally {
    await chromium.close();
    await server.stop();
  }
}

/** Widths that the host sends at the same time, once all its layers have begun; the smallest first. */
async function sizes(host) {
  const widths = await host.waitForFunction(
    async () => {
      const found = [];
      for (const report of (await globalThis.greenroom.publishing.pc.getStats()).values()) {
        if (report.type === "outbound-rtp" && report.kind === "video") found.push(report.frameWidth ?? 0);
      }
      return found.length > 1 && found.every((width) => width > 0) && found.sort((a, b) => a - b);
    },
    undefined,
    { timeout: WITHIN_MS },
  );
  return widths.jsonValue();
}

function seesWidth(viewer, width) {
  const is = (wanted) => document.querySelector('.tile[data-seat="0"] video').videoWidth === wanted;
  return viewer.waitForFunction(is, width, { timeout: WITHIN_MS });
}

async function assertPicture(viewer, width) {
  const picture = await frames(viewer, 0, SAMPLE_MS);
  assert.equal(picture.width, width);
  assert.ok(picture.frames >= (MIN_FPS * SAMPLE_MS) / 1000, `${picture.frames} frames in ${SAMPLE_MS} ms`);
}

test("a host sends its picture in layers, and a viewer with a good network sees the best", async () => {
  await show([], async ({ viewer, sizes }) => {
    await seesWidth(viewer, sizes.at(-1));
    await assertPicture(viewer, sizes.at(-1));
  });
});

test("a viewer that may have little sees the cheapest layer, and it moves", async () => {
  const little = ["--set", "media.downlink_start_bps=300000", "--set", "media.downlink_max_bps=300000"];
  await show(little, async ({ server, viewer, sizes }) => {
    await seesWidth(viewer, sizes[0]);
    await assertPicture(viewer, sizes[0]);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    const probes = Number(/^greenroom_probe_packets_total (\d+)$/m.exec(metrics)[1]);
    assert.equal(probes, 0, "what may not be sent is not probed for");
  });
});
