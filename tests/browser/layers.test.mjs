import assert from "node:assert/strict";
import { test } from "node:test";
import { drawnCamera, LARGE, launchChromium, person } from "./harness/browsers.mjs";
import { Theatre } from "./harness/calls.mjs";
import { skipWithoutLink } from "./harness/link.mjs";
import { shown } from "./harness/measure.mjs";
import { metric } from "./harness/metrics.mjs";
import { estimate, PLENTY, startServer } from "./harness/server.mjs";
import { goLive, goLiveWithGuest, waitSeat, watch } from "./harness/show.mjs";

const WITHIN_MS = 20_000;
const SAMPLE_MS = 3000;
/** Samples until one is as expected: pages that start take a core each. */
const SAMPLES = 4;
/** The same after a network changed: twenty seconds. */
const ADAPTS_WITHIN = 7;
/** Less than any layer takes: what is left is the cheapest. */
const LITTLE = estimate(100_000, 100_000);
/** The fake camera makes 30; a loaded two-core machine may lose some. */
const MIN_FPS = 20;
/** A second without a picture is none any more. */
const MAX_GAP_MS = 700;

/** Init script of a host: video goes out in this scalability mode. */
function sendLayered(mode) {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function layered(track, options = {}) {
    const layers = track.kind === "video" ? { sendEncodings: [{ scalabilityMode: mode }] } : {};
    return addTransceiver.call(this, track, { ...options, ...layers });
  };
}

/** Init script of a host: each of the simulcast layers goes out in this scalability mode. */
function modeOfEach(mode) {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function layered(track, options = {}) {
    for (const encoding of options.sendEncodings ?? []) encoding.scalabilityMode = mode;
    return addTransceiver.call(this, track, options);
  };
}

/** Init script of a host: video goes out in this codec. */
function sendIn(codec) {
  const { setCodecPreferences } = RTCRtpTransceiver.prototype;
  RTCRtpTransceiver.prototype.setCodecPreferences = function preferring(codecs) {
    const rank = ({ mimeType }) => (mimeType === `video/${codec}` ? 0 : 1);
    return setCodecPreferences.call(this, [...codecs].sort((a, b) => rank(a) - rank(b)));
  };
}

/** What the host's encoder says it does: `{codec, mode, width}`, once it does. */
async function sent(host) {
  const found = await host.waitForFunction(
    async () => {
      const stats = await globalThis.greenroom.publishing.pc.getStats();
      for (const report of stats.values()) {
        if (report.type !== "outbound-rtp" || report.kind !== "video" || !report.scalabilityMode) continue;
        const codec = stats.get(report.codecId)?.mimeType;
        return { codec, mode: report.scalabilityMode, width: report.frameWidth };
      }
    },
    undefined,
    { timeout: WITHIN_MS },
  );
  return found.jsonValue();
}

/** A show of one host who sends in layers, and one viewer of it on a server with these options. */
async function show(layers, options, look) {
  const server = await startServer(options);
  const chromium = await launchChromium();
  try {
    const host = await person(chromium, "Hanna");
    await host.context().addInitScript(sendLayered, layers.mode);
    await host.context().addInitScript(sendIn, layers.codec);
    const room = await goLive(host, server.url, "Layers");
    const sending = await sent(host);
    assert.equal(sending.codec, `video/${layers.codec}`);
    assert.equal(sending.mode, layers.mode);
    const viewer = await watch(await person(chromium, "Vera"), server.url, room);
    await look({ server, host, viewer, sending });
  } finally {
    await chromium.close();
    await server.stop();
  }
}

/** What a viewer's browser says of a slot: `{codec, nacks, pictureLosses}`. */
function inbound(viewer, slot = "v0") {
  return viewer.evaluate(async (mid) => {
    const stats = await globalThis.greenroom.watching.pc.getStats();
    for (const report of stats.values()) {
      if (report.type !== "inbound-rtp" || report.mid !== mid) continue;
      return { codec: stats.get(report.codecId)?.mimeType, nacks: report.nackCount, pictureLosses: report.pliCount };
    }
    return {};
  }, slot);
}

/** Look at the host's picture until it is as it should be. */
const eventually = (viewer, expected) => shown(viewer, SAMPLE_MS, SAMPLES, expected);

/**
 * What Chromium encodes from a camera of 640 by 360, and what is left of it: frames a second, and the width.
 * A picture of this size has no third spatial layer.
 */
const CASES = [
  { codec: "VP8", mode: "L1T3", fps: 7.5, width: 640 },
  { codec: "VP9", mode: "L1T3", fps: 7.5, width: 640 },
  { codec: "VP9", mode: "L2T2", fps: 15, width: 320 },
  { codec: "VP9", mode: "L2T3_KEY", fps: 7.5, width: 320 },
  { codec: "AV1", mode: "L1T3", fps: 7.5, width: 640 },
  { codec: "AV1", mode: "L2T2", fps: 15, width: 320 },
  { codec: "AV1", mode: "L2T3_KEY", fps: 7.5, width: 320 },
];

for (const { codec, mode, fps, width } of CASES) {
  test(`${codec} ${mode}: who may have plenty sees all of it`, async () => {
    await show({ codec, mode }, PLENTY, async ({ server, viewer, sending }) => {
      await eventually(viewer, (seen) => seen.width === sending.width && seen.frames >= (MIN_FPS * SAMPLE_MS) / 1000);
      assert.equal(await metric(server.url, "greenroom_layers_distrusted_total"), 0);
    });
  });

  test(`${codec} ${mode}: who may have little sees its lowest layers, and they move`, async () => {
    await show({ codec, mode }, LITTLE, async ({ server, viewer }) => {
      const expected = (fps * SAMPLE_MS) / 1000;
      const moves = ({ frames, maxGapMs }) => frames <= expected * 1.2 && frames >= expected * 0.7 && maxGapMs < MAX_GAP_MS;
      await eventually(viewer, (seen) => seen.width === width && moves(seen));
      assert.ok((await metric(server.url, 'greenroom_dropped_total{reason="layer_not_taken"}')) > 0);
      assert.equal(await metric(server.url, "greenroom_layers_distrusted_total"), 0);
      // Nothing that was left out is missed.
      const { nacks, pictureLosses } = await inbound(viewer);
      assert.deepEqual({ nacks, pictureLosses }, { nacks: 0, pictureLosses: 0 });
    });
  });
}

/** A host with a large camera and one viewer, who comes to see one of these widths. */
async function seesWidth(options, widths) {
  const server = await startServer(options);
  const chromium = await launchChromium();
  try {
    const host = await person(chromium, "Hanna");
    await host.addInitScript(drawnCamera, LARGE);
    const viewer = await watch(await person(chromium, "Vera"), server.url, await goLive(host, server.url, "Large"));
    const is = (wanted) => wanted.includes(document.querySelector('.tile[data-seat="0"] video').videoWidth);
    await viewer.waitForFunction(is, widths, { timeout: WITHIN_MS });
    await eventually(viewer, (seen) => widths.includes(seen.width) && seen.frames >= 5 * (SAMPLE_MS / 1000));
  } finally {
    await chromium.close();
    await server.stop();
  }
}

test("the SDK sends a large picture in layers: who may have plenty sees the best", () => seesWidth(PLENTY, [960]));

test("the SDK sends a large picture in layers: who may have little sees a cheaper one", () => seesWidth(LITTLE, [240, 480]));

/** A viewer of a large camera, whose page gets smaller, larger and smaller again, is sent the picture that fits the tile. */
async function fitsTile(codec, prepare) {
  const server = await startServer(PLENTY);
  const chromium = await launchChromium();
  try {
    const host = await person(chromium, "Hanna");
    await host.addInitScript(drawnCamera, LARGE);
    await host.addInitScript(sendIn, codec);
    await prepare(host);
    const page = await person(chromium, "Vera", { width: 320, height: 200 });
    const viewer = await watch(page, server.url, await goLive(host, server.url, codec));
    for (const [width, height, layer] of [[320, 200, 480], [960, 540, 960], [320, 200, 480]]) {
      await viewer.setViewportSize({ width, height });
      await eventually(viewer, (seen) => seen.width === layer && seen.frames >= 5 * (SAMPLE_MS / 1000) && seen.maxGapMs < MAX_GAP_MS);
    }
    assert.equal((await inbound(viewer)).codec, `video/${codec}`);
    assert.equal(await metric(server.url, "greenroom_layers_distrusted_total"), 0);
  } finally {
    await chromium.close();
    await server.stop();
  }
}

test("H.264 in layers: a viewer is sent the one that fits the tile", () => fitsTile("H264", () => {}));

/** Each simulcast layer numbers its frames for itself. Chromium sends one alone where the modes are not named. */
test("AV1 in three simulcast layers: a viewer is sent the one that fits the tile", () => fitsTile("AV1", (host) => host.addInitScript(modeOfEach, "L1T3")));

for (const mode of ["L3T3", "L3T3_KEY", "S2T3"]) {
  test(`AV1 ${mode}: a viewer is sent the spatial layers that fit the tile`, () => fitsTile("AV1", (host) => host.addInitScript(sendLayered, mode)));
}

test("AV1 L2T2: a viewer is sent the lower picture while the network is narrow", { skip: skipWithoutLink() }, async () => {
  const over = (rate) => `rate=${rate} queue=300ms delay=50ms`;
  const theatre = await Theatre.open({ up: over("5m"), down: over("5m") });
  try {
    const host = await person(theatre.stageBrowser, "Hanna");
    await host.addInitScript(sendLayered, "L2T2");
    await host.addInitScript(sendIn, "AV1");
    const room = await goLive(host, theatre.server.url, "Narrow");
    const viewer = await watch(await person(theatre.viewerBrowser, "Vera"), theatre.viewerUrl, room);
    const moves = ({ frames, maxGapMs }) => frames >= 5 * (SAMPLE_MS / 1000) && maxGapMs < MAX_GAP_MS;
    for (const [rate, width] of [["5m", 640], ["700k", 320], ["5m", 640]]) {
      await theatre.network.set("down", over(rate));
      await shown(viewer, SAMPLE_MS, ADAPTS_WITHIN, (seen) => seen.width === width && moves(seen));
    }
  } finally {
    await theatre.close();
  }
});

test("AV1 L2T2: a guest who reloads the page is seen again, by the same descriptors", async () => {
  const server = await startServer(PLENTY);
  const chromium = await launchChromium();
  try {
    const [host, guest, viewer] = [await person(chromium, "Hanna"), await person(chromium, "Gus"), await person(chromium, "Vera")];
    await guest.context().addInitScript(sendLayered, "L2T2");
    await guest.context().addInitScript(sendIn, "AV1");
    const room = await goLiveWithGuest(server.url, { host, guest, viewer }, "Gus");
    // Two browsers encode here.
    const sees = () => shown(viewer, SAMPLE_MS, SAMPLES, ({ width, frames }) => width === 640 && frames >= (MIN_FPS / 2) * (SAMPLE_MS / 1000), 1);
    await sees();
    // Who comes later begins with a key frame far from the first; the guest's browser then numbers frames from the beginning again.
    await watch(viewer, server.url, room);
    await sees();
    await guest.reload();
    await guest.waitForFunction(() => globalThis.greenroom?.state?.you.guest?.state === "live", null, { timeout: WITHIN_MS });
    await waitSeat(viewer, 1, "live");
    await sees();
    assert.equal((await inbound(viewer, "v1")).codec, "video/AV1");
  } finally {
    await chromium.close();
    await server.stop();
  }
});
