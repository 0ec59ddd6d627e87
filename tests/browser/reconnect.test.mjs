import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchChromium, person } from "./harness/browsers.mjs";
import { frames, received } from "./harness/measure.mjs";
import { startServer } from "./harness/server.mjs";
import { goLiveWithGuest, guestButton, waitSeat, waitState } from "./harness/show.mjs";

let server;
let chromium;
let host;
let guest;
let viewer;

before(async () => {
  server = await startServer();
  chromium = await launchChromium();
  host = await person(chromium, "Hanna");
  guest = await person(chromium, "Gus");
  viewer = await person(chromium, "Vera");
  await goLiveWithGuest(server.url, { host, guest, viewer }, "Gus");
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

/** Cut the WebSocket and wait until the page is back. */
async function cut(page) {
  await page.evaluate(() => {
    globalThis.joined = globalThis.sockets.length;
    globalThis.sockets.at(-1).close();
  });
  await page.waitForFunction(() => globalThis.sockets.length > globalThis.joined && globalThis.greenroom.connection === "connected");
}

test("a viewer whose WebSocket breaks is back by itself, chat included", async () => {
  await cut(viewer);
  await host.evaluate(() => globalThis.greenroom.chat("Are you still there?"));
  await viewer.getByText("Are you still there?").first().waitFor();
  const picture = await frames(viewer, 0, 2500);
  assert.ok(picture.frames > 30, JSON.stringify(picture));
});

test("a guest whose WebSocket breaks keeps the seat, the picture and the mute", async () => {
  await guestButton(host, "Gus", "Mute microphone").click();
  await guest.getByText("Muted by the host").waitFor();
  await cut(guest);
  await waitSeat(viewer, 1, "live");
  const picture = await frames(viewer, 1, 2500);
  assert.ok(picture.frames > 30, JSON.stringify(picture));
  assert.equal((await received(viewer, 1, "audio", 1500)).packets, 0, "muted before, muted after");
  assert.deepEqual(await guest.evaluate(() => globalThis.greenroom.state.you.guest?.locked), ["audio"]);
});

test("a guest who reloads the page is back in the same seat", async () => {
  await guest.reload();
  await guest.waitForFunction(() => globalThis.greenroom?.state?.you.guest?.state === "live", null, { timeout: 15_000 });
  await waitSeat(viewer, 1, "live");
  const picture = await frames(viewer, 1, 2500);
  assert.ok(picture.frames > 30, JSON.stringify(picture));
});

test("a host whose WebSocket breaks stays live", async () => {
  await cut(host);
  await waitState(viewer, "live");
  const picture = await frames(viewer, 0, 3000);
  assert.ok(picture.frames > 40, JSON.stringify(picture));
  for (const page of [host, guest, viewer]) assert.deepEqual(page.problems, []);
});

test("who was away when the show ended reads that it is over", async () => {
  await viewer.evaluate(() => {
    const Original = globalThis.WebSocket;
    globalThis.WebSocket = class extends Original {
      constructor() {
        super("ws://127.0.0.1:9/");
      }
    };
    globalThis.comeBack = () => (globalThis.WebSocket = Original);
    globalThis.sockets.at(-1).close();
  });
  await viewer.getByText("Reconnecting…").waitFor();
  await host.getByRole("button", { name: "End the show" }).click();
  await host.locator("dialog").getByRole("button", { name: "End the show" }).click();
  await guest.getByText("The show has ended").first().waitFor();
  await viewer.evaluate(() => globalThis.comeBack() && undefined);
  await viewer.getByText("The show has ended").first().waitFor();
  await viewer.getByText("Reconnecting…").waitFor({ state: "hidden" });
});
