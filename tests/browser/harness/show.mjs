/** What people do, through the real pages. */

export const WITHIN_MS = 15_000;

/** Open the studio and go live; resolves when the room is live. */
export async function goLive(page, url, title = "Test show") {
  await page.goto(`${url}/studio`);
  await page.waitForSelector(".button.live:not([disabled])");
  await page.getByLabel("Title").fill(title);
  const link = await page.textContent(".link-row span");
  await page.click(".button.live");
  await waitState(page, "live");
  await page.waitForSelector(".show-grid.studio");
  return decodeURIComponent(link.split("/r/")[1]);
}

/** Open a room as a viewer and wait for the first decoded frame. */
export async function watch(page, url, room) {
  await page.goto(`${url}/r/${room}`);
  await firstFrame(page);
  return page;
}

export function firstFrame(page) {
  return page.waitForFunction(() => globalThis.greenroomTimings?.firstFrame > 0, ...options(page));
}

/** Wait until the client's room is in this state. */
export function waitState(page, state) {
  return page.waitForFunction((s) => globalThis.greenroom?.state?.room.state === s, ...options(page, state));
}

/** Wait until a seat is in this state at this participant. */
export function waitSeat(page, seat, state) {
  return page.waitForFunction(([k, s]) => globalThis.greenroom?.state?.seats[k].state === s, ...options(page, [seat, state]));
}

/** Playwright takes one argument before the options, Puppeteer takes them after. */
function options(page, argument) {
  const limits = { timeout: WITHIN_MS };
  return typeof page.getByLabel === "function" ? [argument, limits] : [limits, argument];
}

/** In the studio: invite somebody by name. */
export async function invite(host, name) {
  await host.click("#tab-guests");
  await host.locator(".person", { hasText: name }).getByRole("button", { name: "Invite" }).click();
}

/** At the viewer: from the card over the preview to the stage. */
export async function acceptInvite(viewer) {
  await viewer.getByRole("button", { name: "Preview & join" }).click();
  await viewer.getByRole("button", { name: "Go on stage" }).click();
}

/** A show with somebody on the stage: the host invites the guest, and the viewer sees both; the room. */
export async function goLiveWithGuest(url, { host, guest, viewer }, name) {
  const room = await goLive(host, url);
  await watch(guest, url, room);
  await watch(viewer, url, room);
  await invite(host, name);
  await acceptInvite(guest);
  await waitSeat(viewer, 1, "live");
  return room;
}

/** The host's button for a guest. */
export function guestButton(host, name, label) {
  return host.locator(".person", { hasText: name }).getByRole("button", { name: label });
}

/** What a participant knows of the room. */
export function state(page) {
  return page.evaluate(() => globalThis.greenroom.state);
}
