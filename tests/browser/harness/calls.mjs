/**
 * Calls over a bad network, and what a viewer sees of them: by the server, and for comparison by Janus and
 * directly from browser to browser. All send the same camera with the same ceiling in VP8.
 */
import { setTimeout } from "node:timers/promises";
import { launchChromium, launchFirefox, person } from "./browsers.mjs";
import { writeFilm } from "./camera.mjs";
import { publishToJanus, speakJanus, startJanus, watchJanus } from "./janus.mjs";
import { Network, SERVER_ADDRESS } from "./link.mjs";
import { startServer } from "./server.mjs";
import { goLive } from "./show.mjs";

const FIRST_FRAME_WITHIN_MS = 20_000;
/** The SDK's ceiling for a host (`sdk/publish.js`). */
const HOST_VIDEO_BPS = 2_500_000;
/** Two layers, as the SDK makes of a larger camera than two cores can encode here. */
const SMALL = { rid: "l", scaleResolutionDownBy: 2, maxBitrate: 400_000 };
const LARGE = { rid: "h", scaleResolutionDownBy: 1, maxBitrate: HOST_VIDEO_BPS };

/** A server and two browsers on the two sides of a link; shows are watched over it, or come over it. */
export class Theatre {
  #far = false;
  /** Once somebody calls by it. */
  #janus = null;
  #janusRooms = 0;

  /**
   * @param {object} [conditions] of the link
   * @param {string[]} [options] of the server
   * @param {{firefox?: boolean}} [how] `firefox`: the viewer's browser, driven by Puppeteer; `watch` is for Chromium
   */
  static async open(conditions, options = [], { firefox = false } = {}) {
    const theatre = new Theatre();
    try {
      await theatre.#open(conditions, options, firefox);
    } catch (error) {
      await theatre.close();
      throw error;
    }
    return theatre;
  }

  async #open(conditions, options, firefox) {
    this.network = await Network.start(conditions);
    const { server, viewer } = this.network;
    this.server = await startServer(options, (...words) => server.command(...words));
    this.viewerUrl = await this.network.expose(this.server.url);
    const film = this.network.file("film.y4m");
    writeFilm(film);
    const browser = (side) =>
      launchChromium({
        wrap: (path) => this.network.wrapper(side, path),
        args: [
          `--use-file-for-fake-video-capture=${film}`,
          // The viewer's page is what it would be under HTTPS.
          `--unsafely-treat-insecure-origin-as-secure=${this.viewerUrl}`,
          // Nobody answers multicast DNS in a namespace; only the direct call needs the addresses.
          "--disable-features=WebRtcHideLocalIpsWithMdns",
        ],
      });
    this.stageBrowser = await browser(server);
    this.viewerBrowser = await (firefox ? this.#firefox(viewer) : browser(viewer));
  }

  async #firefox(side) {
    const port = await this.network.reach(side);
    return launchFirefox({ wrap: (path) => this.network.wrapper(side, path), port });
  }

  async close() {
    await this.stageBrowser?.close();
    await this.viewerBrowser?.close();
    await this.#janus?.stop();
    await this.server?.stop();
    await this.network?.stop();
  }

  /** Where the show comes from, and where it is watched: a browser each, and the server's address there. */
  get #sides() {
    const near = { browser: this.stageBrowser, url: this.server.url };
    const far = { browser: this.viewerBrowser, url: this.viewerUrl };
    return this.#far ? { stage: far, audience: near } : { stage: near, audience: far };
  }

  /** From now on the show comes over the link and is watched beside the server, or the other way round. @param {boolean} far */
  async playFrom(far) {
    if (this.#far === far) return;
    const live = Boolean(this.host);
    await this.endShow();
    this.#far = far;
    if (live) await this.goLive();
  }

  /** A page of somebody who only watches: no camera permission, as most viewers. */
  async #viewerPage() {
    const { browser, url } = this.#sides.audience;
    const context = await browser.newContext({ viewport: { width: 800, height: 600 } });
    const page = await context.newPage();
    await page.goto(`${url}/healthz`);
    await page.evaluate(hangPicture);
    return page;
  }

  /** Somebody goes live; the room. */
  async goLive() {
    const { browser, url } = this.#sides.stage;
    this.host = await person(browser, "Hanna");
    await this.host.addInitScript(sendInLayers, SMALL);
    this.room = await goLive(this.host, url);
  }

  async endShow() {
    await this.host?.context().close();
    this.host = null;
  }

  /** A viewer with nothing on the page but the picture. @param {() => void} [prepare] runs in the page before it joins */
  async watch(prepare = () => {}) {
    const token = await this.host.evaluate(async (room) => {
      const body = JSON.stringify({ room, role: "viewer", name: "Vera" });
      const reply = await fetch("/v1/tokens", { method: "POST", headers: { "content-type": "application/json" }, body });
      return (await reply.json()).token;
    }, this.room);
    const page = await this.#viewerPage();
    await page.evaluate(prepare);
    await page.evaluate(joinBare, { room: this.room, token });
    return new Call(page).begin();
  }

  /** The same picture without a server. */
  async callDirectly() {
    const { browser, url } = this.#sides.stage;
    const sender = await person(browser, "Hanna");
    await sender.goto(`${url}/healthz`);
    const page = await this.#viewerPage();
    const offer = await sender.evaluate(offerDirectly, HOST_VIDEO_BPS);
    await sender.evaluate(acceptDirectly, await page.evaluate(answerDirectly, offer));
    return new Call(page, sender).begin();
  }

  /** The same picture by Janus, in the same layers as ours. */
  async callByJanus() {
    const { network } = this;
    if (!this.#janus) {
      this.#janus = await startJanus(SERVER_ADDRESS, network.file("janus"), (...words) => network.server.command(...words));
      this.#janus.farUrl = await network.expose(this.#janus.url);
    }
    const { url: near, farUrl } = this.#janus;
    const [stageUrl, audienceUrl] = this.#far ? [farUrl, near] : [near, farUrl];
    this.#janusRooms += 1;
    const room = this.#janusRooms;
    const { browser, url } = this.#sides.stage;
    const sender = await person(browser, "Hanna");
    await sender.goto(`${url}/healthz`);
    await sender.evaluate(speakJanus);
    const feed = await sender.evaluate(publishToJanus, { url: stageUrl, room, encodings: [SMALL, LARGE] });
    const page = await this.#viewerPage();
    await page.evaluate(speakJanus);
    await page.evaluate(watchJanus, { url: audienceUrl, room, feed, substream: 1 });
    return new Call(page, sender).begin();
  }
}

/** A running call at its viewer. */
export class Call {
  constructor(page, sender = null) {
    this.page = page;
    this.sender = sender;
  }

  /** Resolves with the first picture; `joinMs` is how long it took from the first line of our script. */
  async begin() {
    await this.page.waitForFunction(() => globalThis.frameTimes.length > 0, null, { timeout: FIRST_FRAME_WITHIN_MS });
    this.joinMs = await this.page.evaluate(() => globalThis.frameTimes[0] - globalThis.joinedAt);
    return this;
  }

  /** Let it run; what the viewer heard meanwhile. */
  async listen(ms) {
    const before = await this.page.evaluate(inbound, "audio");
    await setTimeout(ms);
    const after = await this.page.evaluate(inbound, "audio");
    const growth = (name) => (after[name] ?? 0) - (before[name] ?? 0);
    const samples = growth("totalSamplesReceived");
    return {
      kbps: (growth("bytesReceived") * 8) / (after.timestamp - before.timestamp),
      packets: growth("packetsReceived"),
      /** Shares of what was played: made up by the decoder, and that in which the gap was long enough to be silent. */
      concealed: growth("concealedSamples") / samples,
      silent: growth("silentConcealedSamples") / samples,
      delayMs: (growth("jitterBufferDelay") / growth("jitterBufferEmittedCount")) * 1000,
    };
  }

  /** Let it run; what the viewer saw meanwhile. */
  async observe(ms) {
    const before = await this.page.evaluate(inbound, "video");
    await this.page.evaluate(() => globalThis.frameTimes.splice(0));
    const start = now();
    await setTimeout(ms);
    const [times, after] = [await this.page.evaluate(() => globalThis.frameTimes.splice(0)), await this.page.evaluate(inbound, "video")];
    return summary(start, now(), times, before, after);
  }

  async close() {
    await this.page.context().close();
    await this.sender?.context().close();
  }
}

/** On the clock of the pages, in milliseconds. */
export const now = () => performance.timeOrigin + performance.now();

function summary(start, end, times, before, after) {
  const growth = (name) => (after[name] ?? 0) - (before[name] ?? 0);
  const edges = [start, ...times, end];
  const gaps = edges.slice(1).map((time, i) => ({ from: edges[i], to: time, ms: time - edges[i] }));
  return {
    start,
    end,
    gaps,
    fps: growth("framesDecoded") / ((after.timestamp - before.timestamp) / 1000),
    kbps: (growth("bytesReceived") * 8) / (after.timestamp - before.timestamp),
    maxGapMs: Math.max(...gaps.map((gap) => gap.ms)),
    keyFrames: growth("keyFramesDecoded"),
    plis: growth("pliCount"),
    nacks: growth("nackCount"),
    packetsLost: growth("packetsLost"),
    height: after.frameHeight ?? 0,
  };
}

// What follows runs in pages.

/** Init script of the host: a smaller layer beside the SDK's. */
function sendInLayers(small) {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function layered(track, init = {}) {
    const [best] = init.sendEncodings ?? [];
    if (track.kind !== "video" || !best) return addTransceiver.call(this, track, init);
    return addTransceiver.call(this, track, { ...init, sendEncodings: [small, { ...best, rid: "h" }] });
  };
}

async function joinBare({ room, token }) {
  const { GreenroomClient } = await import("/sdk/index.js");
  globalThis.joinedAt = performance.timeOrigin + performance.now();
  const client = new GreenroomClient({ room, token });
  globalThis.greenroom = client;
  globalThis.connection = () => client.watching.pc;
  client.attach(0, document.querySelector("video"));
  await client.connect();
}

async function offerDirectly(maxBitrate) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { frameRate: 30 } });
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  globalThis.pc = pc;
  for (const track of stream.getTracks()) {
    if (track.kind === "video") track.contentHint = "motion";
    const encodings = [{ maxBitrate: track.kind === "video" ? maxBitrate : 64_000 }];
    const transceiver = pc.addTransceiver(track, { direction: "sendonly", streams: [stream], sendEncodings: encodings });
    if (track.kind !== "video") continue;
    const rank = ({ mimeType }) => (mimeType === "video/VP8" ? 0 : 1);
    transceiver.setCodecPreferences([...RTCRtpSender.getCapabilities("video").codecs].sort((a, b) => rank(a) - rank(b)));
  }
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      pc.addEventListener("icegatheringstatechange", resolve, { once: true });
    });
  }
  return pc.localDescription.sdp;
}

async function answerDirectly(sdp) {
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  globalThis.connection = () => pc;
  pc.addEventListener("track", ({ streams }) => {
    document.querySelector("video").srcObject = streams[0];
  });
  await pc.setRemoteDescription({ type: "offer", sdp });
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      pc.addEventListener("icegatheringstatechange", resolve, { once: true });
    });
  }
  return pc.localDescription.sdp;
}

function acceptDirectly(sdp) {
  return globalThis.pc.setRemoteDescription({ type: "answer", sdp });
}

/** The page's only element; each of its frames is noted from the first on. */
function hangPicture() {
  const video = document.createElement("video");
  video.autoplay = true;
  document.body.append(video);
  globalThis.frameTimes = [];
  const next = () => {
    globalThis.frameTimes.push(performance.timeOrigin + performance.now());
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}

/** The counters of the seat's sound or video; the connection may be another one than before, then they begin anew. */
async function inbound(kind) {
  const found = [];
  for (const report of (await globalThis.connection().getStats()).values()) {
    if (report.type === "inbound-rtp" && report.kind === kind) found.push(report);
  }
  const report = found.sort((a, b) => (b.packetsReceived ?? 0) - (a.packetsReceived ?? 0))[0];
  return { ...report, timestamp: performance.now() };
}
