import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FIREFOX = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

/**
 * Chromium with a fake camera (a moving picture and a beep every second) and no questions asked.
 *
 * @param {{wrap?: (path: string) => string, args?: string[]}} [options] `wrap` gives the executable
 *   that starts the browser elsewhere; further arguments
 */
export function launchChromium({ wrap = (path) => path, args = [] } = {}) {
  return chromium.launch({
    executablePath: wrap(CHROMIUM),
    args: [
      "--use-fake-device-for-media-stream=fps=30",
      "--use-fake-ui-for-media-stream",
      "--allow-loopback-in-peer-connection",
      "--autoplay-policy=no-user-gesture-required",
      "--no-sandbox",
      "--disable-gpu",
      ...args,
    ],
  });
}

/**
 * Firefox over WebDriver BiDi; stock Firefox cannot be driven by Playwright.
 *
 * @param {{wrap?: (path: string) => string, port?: number, prefs?: object}} [options] `wrap` gives the executable that
 *   starts the browser elsewhere; `port`: where it listens to us, else any; further preferences
 */
export function launchFirefox({ wrap = (path) => path, port, prefs = {} } = {}) {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: wrap(FIREFOX),
    headless: true,
    debuggingPort: port,
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true,
      "media.peerconnection.ice.loopback": true,
      "media.autoplay.default": 0,
      ...prefs,
    },
  });
}

/** Counts what must not happen at a viewer: later offers and `negotiationneeded`. */
function countNegotiations() {
  globalThis.negotiations = { offers: 0, needed: 0, errors: [] };
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function counted(description) {
    if (description?.type === "offer") globalThis.negotiations.offers += 1;
    return setRemoteDescription.apply(this, arguments);
  };
  const Original = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Original {
    constructor(...args) {
      super(...args);
      this.addEventListener("negotiationneeded", () => {
        globalThis.negotiations.needed += 1;
      });
    }
  };
}

/** Keeps the page's WebSockets in reach, to cut them. */
function keepSockets() {
  globalThis.sockets = [];
  const Original = WebSocket;
  globalThis.WebSocket = class extends Original {
    constructor(...args) {
      super(...args);
      globalThis.sockets.push(this);
    }
  };
}

/** Five 720p pages do not fit on two cores without a GPU: the machine would be under test. */
function smallCamera() {
  const { mediaDevices } = navigator;
  if (!mediaDevices) return;
  const open = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = (constraints) =>
    open({ ...constraints, video: constraints.video && { ...constraints.video, width: 640, height: 360 } });
}

/**
 * A small camera whose picture says when it was made. The milliseconds since the epoch, modulo 2^16, are sixteen
 * squares along the upper edge, the lowest bit first; white is 1.
 */
export const STAMPED = { width: 320, height: 180, fps: 30, stamped: true };
/** A camera that is sent in layers, and drawn no oftener than two cores can encode them. */
export const LARGE = { width: 960, height: 540, fps: 10, stamped: false };

/** Init script of a host: a drawn camera, `STAMPED` or `LARGE`. */
export function drawnCamera({ width, height, fps, stamped }) {
  const { mediaDevices } = navigator;
  if (!mediaDevices) return;
  const open = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async ({ audio, video }) => {
    const sound = audio ? (await open({ audio })).getTracks() : [];
    if (!video) return new MediaStream(sound);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const picture = canvas.getContext("2d");
    const square = width / 16;
    let frame = 0;
    setInterval(() => {
      frame += 1;
      picture.fillStyle = `hsl(${frame % 360} 60% 50%)`;
      picture.fillRect(0, 0, width, height);
      picture.fillStyle = "white";
      picture.fillRect((frame * 7) % (width - square), 2 * square + ((frame * 3) % (height - 4 * square)), square, square);
      if (!stamped) return;
      const made = Math.round(performance.timeOrigin + performance.now());
      for (let bit = 0; bit < 16; bit += 1) {
        picture.fillStyle = (made >> bit) & 1 ? "white" : "black";
        picture.fillRect(bit * square, 0, square, square);
      }
    }, 1000 / fps);
    return new MediaStream([...sound, ...canvas.captureStream(fps).getVideoTracks()]);
  };
}

/**
 * A person: a browser profile of their own with one page, named before the page asks.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {string} name
 * @param {{width: number, height: number}} [viewport]
 */
export async function person(browser, name, viewport = { width: 1280, height: 800 }) {
  const context = await browser.newContext({ viewport, permissions: ["camera", "microphone"] });
  await context.addInitScript((n) => localStorage.setItem("greenroom.name", n), name);
  await context.addInitScript(countNegotiations);
  await context.addInitScript(smallCamera);
  await context.addInitScript(keepSockets);
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()));
  return page;
}

/** The same in Firefox. @param {import("puppeteer-core").Browser} browser @param {string} url */
export async function firefoxPerson(browser, url, name) {
  const page = await browser.newPage();
  await page.goto(url);
  await page.evaluate((n) => localStorage.setItem("greenroom.name", n), name);
  return page;
}
