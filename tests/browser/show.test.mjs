import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { firefoxPerson, launchChromium, launchFirefox, person } from "./harness/browsers.mjs";
import { frames, received } from "./harness/measure.mjs";
import { startServer } from "./harness/server.mjs";
import { firstFrame, goLive, waitState, watch } from "./harness/show.mjs";

const SAMPLE_MS = 4000;
/** The fake camera makes 30; a loaded two-core machine may lose some. */
const MIN_FPS = 20;
const MAX_GAP_MS = 500;

let server;
let chromium;
before(async () => {
  server = await startServer();
  chromium = await launchChromium();
});
after(async () => {
  await chromium?.close();
  assert.equal(await server?.stop(), 0, "Ctrl-C drains and exits 0");
});

async function assertPicture(page, seat = 0) {
  const picture = await frames(page, seat, SAMPLE_MS);
  assert.ok(picture.frames >= (MIN_FPS * SAMPLE_MS) / 1000, `${picture.frames} frames in ${SAMPLE_MS} ms`);
  assert.ok(picture.maxGapMs < MAX_GAP_MS, `largest gap ${Math.round(picture.maxGapMs)} ms`);
}

test("a viewer sees and hears the host", async () => {
  const host = await person(chromium, "Hanna");
  const room = await goLive(host, server.url, "First show");
  const viewer = await watch(await person(chromium, "Vera"), server.url, room);
  await assertPicture(viewer);
  const sound = await received(viewer, 0, "audio", 2500);
  assert.ok(sound.energy > 0, "sound energy");
  assert.ok(sound.packets > 80, `${sound.packets} sound packets in 2.5 s`);
  assert.deepEqual(host.problems, []);
  assert.deepEqual(viewer.problems, []);
  await viewer.goto(server.url);
  const card = viewer.locator(`.live-card[href="/r/${room}"]`);
  await card.getByText("LIVE").waitFor();
  assert.match(await card.innerText(), /First show[^]*Hanna/);
  await host.context().close();
  await card.getByText("PAUSED").waitFor();
  await viewer.context().close();
});

test("the studio judges what it sends only once it was measured", async () => {
  const host = await person(chromium, "Hanna");
  await host.addInitScript(() => {
    const said = (globalThis.healthSaid = []);
    new MutationObserver(() => {
      const pill = document.querySelector(".pill.health");
      const now = pill && `${pill.className}: ${pill.textContent}`;
      if (now && now !== said.at(-1)) said.push(now);
    }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  });
  await goLive(host, server.url);
  await host.locator(".pill.health", { hasText: /bit\/s/ }).waitFor();
  const [first, second] = await host.evaluate(() => globalThis.healthSaid);
  assert.equal(first, "pill health starting: Starting…");
  assert.match(second, /^pill health (good|fair|poor): [1-9][\d.]* [kM]bit\/s$/);
  await host.context().close();
});

test("a viewer who is early sees the show start by itself", async () => {
  const host = await person(chromium, "Hanna");
  await host.goto(`${server.url}/studio?room=early-show`);
  const viewer = await person(chromium, "Vera");
  await viewer.goto(`${server.url}/r/early-show`);
  await viewer.getByText("Not live yet").waitFor();
  await host.click(".button.live:not([disabled])");
  await firstFrame(viewer);
  await host.getByRole("button", { name: "End the show" }).click();
  await host.locator("dialog").getByRole("button", { name: "End the show" }).click();
  await viewer.getByText("The show has ended").waitFor();
  await host.getByText("That was your show").waitFor();
  await host.context().close();
  await viewer.context().close();
});

test("the host reloads the studio and the viewers get the picture back", async () => {
  const host = await person(chromium, "Hanna");
  const room = await goLive(host, server.url);
  const viewer = await watch(await person(chromium, "Vera"), server.url, room);
  await host.reload();
  await waitState(viewer, "paused");
  await host.click(".button.live:not([disabled])");
  await waitState(viewer, "live");
  await assertPicture(viewer);
  await host.context().close();
  await viewer.context().close();
});

test("Firefox watches what Chromium sends", async () => {
  const host = await person(chromium, "Hanna");
  const room = await goLive(host, server.url);
  const firefox = await launchFirefox();
  try {
    const viewer = await firefoxPerson(firefox, server.url, "Fiona");
    await viewer.goto(`${server.url}/r/${room}`);
    await firstFrame(viewer);
    const picture = await frames(viewer, 0, SAMPLE_MS);
    assert.ok(picture.frames >= (MIN_FPS * SAMPLE_MS) / 1000 / 2, `${picture.frames} frames in ${SAMPLE_MS} ms`);
    const sound = await received(viewer, 0, "audio", 2500);
    assert.ok(sound.packets > 80, `${sound.packets} sound packets in 2.5 s`);
  } finally {
    await firefox.close();
    await host.context().close();
  }
});

test("Chromium watches what Firefox sends", async () => {
  const firefox = await launchFirefox();
  try {
    const host = await firefoxPerson(firefox, server.url, "Fritz");
    await host.goto(`${server.url}/studio?room=from-firefox`);
    await host.waitForSelector(".button.live:not([disabled])");
    await host.click(".button.live");
    await waitState(host, "live");
    const viewer = await watch(await person(chromium, "Vera"), server.url, "from-firefox");
    const picture = await frames(viewer, 0, SAMPLE_MS);
    assert.ok(picture.frames >= (MIN_FPS * SAMPLE_MS) / 1000 / 2, JSON.stringify(picture));
    assert.ok((await received(viewer, 0, "audio", 2500)).energy > 0, "sound energy");
    await viewer.context().close();
  } finally {
    await firefox.close();
  }
});

test("what a person types stays text", async () => {
  const attack = '<img src=x onerror="globalThis.owned=1"><script>globalThis.owned=1</script>';
  const host = await person(chromium, attack.slice(0, 40));
  const room = await goLive(host, server.url, attack.slice(0, 60));
  const viewer = await watch(await person(chromium, attack.slice(0, 40)), server.url, room);
  await viewer.evaluate((text) => globalThis.greenroom.chat(text), attack);
  for (const page of [host, viewer]) {
    await page.getByText(attack).first().waitFor();
    assert.equal(await page.evaluate(() => globalThis.owned), undefined);
    assert.equal(await page.evaluate(() => document.querySelectorAll('img[src="x"]').length), 0);
    await page.context().close();
  }
});
