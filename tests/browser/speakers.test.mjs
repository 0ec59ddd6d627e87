/** Who speaks is seen by everybody: what Chromium says of its own sound, through the server's meters, to a frame around a tile. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchChromium, person } from "./harness/browsers.mjs";
import { received } from "./harness/measure.mjs";
import { startServer } from "./harness/server.mjs";
import { goLiveWithGuest, watch, WITHIN_MS } from "./harness/show.mjs";

const SILENCE = 0;
/** -14 and -4 dBov of a sine. */
const VOICE = 0.3;
const LOUD_VOICE = 0.9;

let server;
let chromium;
let host;
let guest;
let viewer;

/** Init script: a microphone that hums as loudly as `voice.gain` says. */
function hum() {
  const { mediaDevices } = navigator;
  if (!mediaDevices) return;
  const open = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async ({ audio, video }) => {
    const tracks = video ? (await open({ video })).getTracks() : [];
    if (audio) {
      const context = new AudioContext();
      const out = context.createMediaStreamDestination();
      globalThis.voice = context.createGain();
      globalThis.voice.gain.value = 0;
      const tone = context.createOscillator();
      tone.connect(globalThis.voice).connect(out);
      tone.start();
      tracks.push(...out.stream.getAudioTracks());
    }
    return new MediaStream(tracks);
  };
}

function speak(page, gain) {
  return page.evaluate((value) => {
    globalThis.voice.gain.value = value;
  }, gain);
}

/** Wait until exactly these seats speak at this participant, the dominant one first, and their tiles show it. */
function speaking(page, seats) {
  const shown = (wanted) => {
    const told = globalThis.greenroom.state.speaking.join();
    const tiles = [...document.querySelectorAll(".tile.speaks")].map((tile) => Number(tile.dataset.seat)).sort();
    return told === wanted.join() && tiles.join() === [...wanted].sort().join();
  };
  return page.waitForFunction(shown, seats, { timeout: WITHIN_MS });
}

before(async () => {
  server = await startServer();
  chromium = await launchChromium();
  [host, guest, viewer] = await Promise.all(["Hanna", "Gus", "Vera"].map((name) => person(chromium, name)));
  await host.addInitScript(hum);
  await guest.addInitScript(hum);
  await goLiveWithGuest(server.url, { host, guest, viewer }, "Gus");
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

test("a frame goes round who speaks, and the floor to who insists", async () => {
  await speaking(viewer, []);
  await speak(host, VOICE);
  for (const page of [viewer, guest, host]) await speaking(page, [0]);
  await speak(guest, LOUD_VOICE);
  await speaking(viewer, [1, 0]);
  await speak(host, SILENCE);
  await speaking(viewer, [1]);
  await speak(guest, SILENCE);
  for (const page of [viewer, guest, host]) await speaking(page, []);
});

test("who is muted does not speak, and who joins sees at once who does", async () => {
  await speak(host, VOICE);
  await speak(guest, VOICE);
  await viewer.waitForFunction(() => globalThis.greenroom.state.speaking.length === 2, null, { timeout: WITHIN_MS });
  await guest.getByRole("button", { name: "Mute microphone" }).click();
  await speaking(viewer, [0]);
  const late = await person(chromium, "Lena");
  const { room } = await viewer.evaluate(() => globalThis.greenroom.state);
  await watch(late, server.url, room.id);
  await speaking(late, [0]);
  assert.deepEqual([...viewer.problems, ...late.problems], []);
});

test("who asked for one voice hears the host, who asked for two whoever speaks as well", async () => {
  const { room } = await viewer.evaluate(() => globalThis.greenroom.state);
  await guest.getByRole("button", { name: "Unmute microphone" }).click();
  await speak(guest, VOICE);
  await speaking(viewer, [0, 1]);
  const sound = async (page, seat) => (await received(page, seat, "audio", 1500)).packets;
  for (const { top, guests } of [{ top: 1, guests: 0 }, { top: 2, guests: 30 }]) {
    const page = await person(chromium, `Top ${top}`);
    await watch(page, server.url, `${room.id}?audioTop=${top}`);
    await page.waitForFunction(() => globalThis.greenroom.state.seats.some(({ seat, state }) => seat === 1 && state === "live"));
    assert.ok((await sound(page, 0)) > 30);
    const packets = await sound(page, 1);
    assert.ok(guests ? packets > guests : packets === 0, `${packets} packets of the guest for ${top}`);
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
  assert.ok((await sound(viewer, 1)) > 30);
});
