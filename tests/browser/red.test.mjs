/**
 * Sound in RED (RFC 2198): Chromium sends each packet's sound again with the next one because our answer lists RED first.
 * No report says so by name: a codec is reported as Opus either way. But libwebrtc takes the blocks of RED for packets, and
 * counts those among `packetsDiscarded` whose sound it has already: on a good network every repeat.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { firefoxPerson, launchChromium, launchFirefox, person } from "./harness/browsers.mjs";
import { received } from "./harness/measure.mjs";
import { startServer } from "./harness/server.mjs";
import { firstFrame, goLive, watch } from "./harness/show.mjs";

const SAMPLE_MS = 3000;
/** Of 50 packets a second, on a busy machine. */
const MIN_PACKETS = 100;

let chromium;
before(async () => {
  chromium = await launchChromium();
});
after(async () => {
  await chromium?.close();
});

/** A show on a server with these options; `act` is done with the server and the room. */
async function show(options, act) {
  const server = await startServer(options);
  const host = await person(chromium, "Hanna");
  try {
    await act(server, await goLive(host, server.url));
    assert.deepEqual(host.problems, []);
  } finally {
    await host.context().close();
    await server.stop();
  }
}

async function sound(page) {
  const heard = await received(page, 0, "audio", SAMPLE_MS);
  assert.ok(heard.packets > MIN_PACKETS && heard.energy > 0, `sound flows: ${JSON.stringify(heard)}`);
  return heard;
}

test("Chromium repeats its sound, a Chromium viewer reads it, and Firefox hears it without", () =>
  show([], async (server, room) => {
    const viewer = await watch(await person(chromium, "Vera"), server.url, room);
    const twice = await sound(viewer);
    assert.ok(twice.discarded > twice.packets / 2, `repeats are read: ${JSON.stringify(twice)}`);
    const firefox = await launchFirefox();
    try {
      const fiona = await firefoxPerson(firefox, server.url, "Fiona");
      await fiona.goto(`${server.url}/r/${room}`);
      await firstFrame(fiona);
      const [once, same] = await Promise.all([sound(fiona), sound(viewer)]);
      const ratio = same.bytes / same.packets / (once.bytes / once.packets);
      assert.ok(ratio > 1.5, `${ratio} times the bytes a packet: ${JSON.stringify({ once, same })}`);
    } finally {
      await firefox.close();
    }
    assert.deepEqual(viewer.problems, []);
    await viewer.context().close();
  }));

test("an operator who does not want it gets each sound once", () =>
  show(["--set", "media.audio_red=false"], async (server, room) => {
    const viewer = await watch(await person(chromium, "Vera"), server.url, room);
    const once = await sound(viewer);
    assert.ok(once.discarded < once.packets / 10, JSON.stringify(once));
    assert.deepEqual(viewer.problems, []);
    await viewer.context().close();
  }));
