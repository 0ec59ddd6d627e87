import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchChromium, person } from "./harness/browsers.mjs";
import { frames, received } from "./harness/measure.mjs";
import { startServer } from "./harness/server.mjs";
import { acceptInvite, goLive, guestButton, invite, state, waitSeat, watch } from "./harness/show.mjs";

let server;
let chromium;
let host;
let guest;
let viewer;
let room;

before(async () => {
  server = await startServer();
  chromium = await launchChromium();
  host = await person(chromium, "Hanna");
  guest = await person(chromium, "Gus");
  viewer = await person(chromium, "Vera");
  room = await goLive(host, server.url);
  await watch(guest, server.url, room);
  await watch(viewer, server.url, room);
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

/** Growing the stage is one planned offer in idle time; it must be over before we count. */
async function negotiationsAtRest(page) {
  await page.waitForFunction(() => globalThis.greenroom.watching.pc.getTransceivers().length >= 19, null, { timeout: 10_000 });
  return page.evaluate(() => ({ ...globalThis.negotiations }));
}

/** Looks this often: the first second of a picture, or a busy machine, may fall short once. */
const LOOKS = 4;

/** Decoded frames of a seat over `ms`, at least `fps` of the camera's 30. */
async function assertSeen(page, seat, what, fps = 15, ms = 2500) {
  let picture;
  for (let look = 0; look < LOOKS; look += 1) {
    picture = await frames(page, seat, ms);
    if (picture.frames >= (fps * ms) / 1000) return;
  }
  assert.fail(`${what}: ${JSON.stringify(picture)} in ${ms} ms, ${LOOKS} times`);
}

/** Nothing arrives any more, once what was under way before the mute has been read and counted. */
async function assertSilent(page, seat, what) {
  for (let look = 0; look < LOOKS; look += 1) {
    if ((await received(page, seat, "audio", 500)).packets === 0) break;
  }
  assert.equal((await received(page, seat, "audio", 2000)).packets, 0, what);
}

test("an invited viewer goes on air, and nobody renegotiates", async () => {
  const before = await negotiationsAtRest(viewer);
  await invite(host, "Gus");
  await acceptInvite(guest);
  await waitSeat(viewer, 1, "live");
  await waitSeat(host, 1, "live");
  await assertSeen(viewer, 1, "the viewer sees the guest");
  await assertSeen(host, 1, "the host sees the guest");
  await assertSeen(guest, 0, "the guest sees the host");
  assert.ok((await received(viewer, 1, "audio", 2500)).energy > 0, "the viewer hears the guest");
  assert.deepEqual(await viewer.evaluate(() => ({ ...globalThis.negotiations })), before, "offers and negotiationneeded at the viewer");
});

test("a hard mute holds for what the viewer receives, until the host allows and the guest unmutes", async () => {
  const sound = await received(viewer, 1, "audio", 1500);
  assert.ok(sound.packets > 20, `sound flows before: ${JSON.stringify(sound)}`);
  await guestButton(host, "Gus", "Mute microphone").click();
  await guest.getByText("Muted by the host").waitFor();
  await assertSilent(viewer, 1, "not one packet of sound after the mute");
  // A guest's client that unmutes by itself changes nothing.
  await guest.evaluate(() => globalThis.greenroom.publishing.mute("audio", false).catch(() => {}));
  assert.equal((await received(viewer, 1, "audio", 1500)).packets, 0, "still nothing");
  await guestButton(host, "Gus", "Allow microphone").click();
  await guest.getByRole("button", { name: "Unmute microphone" }).click();
  await viewer.waitForFunction(() => globalThis.greenroom.state.seats[1].audio, null, { timeout: 5000 });
  assert.ok((await received(viewer, 1, "audio", 1500)).packets > 20, "sound flows again");
});

test("the host removes the guest and the tile goes away at once", async () => {
  await guestButton(host, "Gus", "Remove from stage").click();
  await waitSeat(viewer, 1, "empty");
  await viewer.waitForSelector('.tile[data-seat="1"]', { state: "detached" });
  assert.equal((await received(viewer, 1, "video", 1500)).packets, 0);
  await guest.waitForFunction(() => !globalThis.greenroom.publishing.active);
});

test("a viewer requests a seat, the host approves, the guest leaves", async () => {
  await viewer.getByRole("button", { name: "Request a seat" }).click();
  await viewer.getByRole("button", { name: "Send request" }).click();
  await guestButton(host, "Vera", "Approve").click();
  await waitSeat(guest, 1, "live");
  await assertSeen(guest, 1, "another guest in the same seat is seen");
  await viewer.getByRole("button", { name: "Leave the stage" }).click();
  await viewer.locator("dialog").getByRole("button", { name: "Leave" }).click();
  await waitSeat(guest, 1, "empty");
});

test("a denied request and a declined invite leave no trace", async () => {
  await guest.getByRole("button", { name: "Request a seat" }).click();
  await guest.getByRole("button", { name: "Send request" }).click();
  await guestButton(host, "Gus", "Deny").click();
  await guest.waitForFunction(() => globalThis.greenroom.state.you.guest === null);
  await invite(host, "Vera");
  await viewer.getByRole("button", { name: "Decline" }).click();
  await viewer.waitForFunction(() => globalThis.greenroom.state.you.guest === null);
  const { staff } = await state(host);
  assert.deepEqual(staff.seats, []);
  for (const page of [host, guest, viewer]) assert.deepEqual(page.problems, []);
});
