import { LeastRate, LOOK_EVERY_MS, UplinkStats, withLeastRate } from "./uplink.js";

/** Uplink ceilings of the best layer: what it needs, not what the camera could produce. */
const HOST_VIDEO_BPS = 2_500_000;
const GUEST_VIDEO_BPS = 1_200_000;
const AUDIO_BPS = 64_000;
const RESTART_ANSWER_MS = 2500;
/** A change of layers that the browser refuses is tried so often, and again after this long. */
const LAYER_TRIES = 4;
const LAYER_AGAIN_MS = 500;
/** A picture of at least so many pixels goes out in layers, if nobody says otherwise: the camera of a 720p host. */
const LAYERED_PIXELS = 960 * 540;

/**
 * Simulcast: the same picture several times, so that the server can give each viewer what its network
 * takes. The cheapest first; a browser under pressure gives up the best first. Chromium sends no more
 * layers than a picture's size is worth to it, and would leave out the best of too many.
 *
 * @param {MediaStreamTrack} track @param {number} bestBps
 * @param {boolean} [wanted] without it only a large picture is worth the encoder's work
 * @returns {RTCRtpEncodingParameters[]}
 */
function layers(track, bestBps, wanted) {
  const { width = 0, height = 0 } = track.getSettings();
  const pixels = width * height;
  const best = { rid: "h", scaleResolutionDownBy: 1, maxBitrate: bestBps };
  if (!(wanted ?? pixels >= LAYERED_PIXELS)) return [{ maxBitrate: bestBps }];
  const middle = { rid: "m", scaleResolutionDownBy: 2, maxBitrate: Math.min(500_000, bestBps / 2) };
  if (pixels < LAYERED_PIXELS) return [{ ...middle, maxBitrate: 200_000 }, best];
  return [{ rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150_000 }, middle, best];
}

/**
 * The connection that sends camera and microphone. We offer, the server answers, and it accepts
 * the media only while the seat state says so.
 */
export class Publisher {
  #request;
  #senders = {};
  #closed = false;
  #restarting = false;
  /** What the server answered last. */
  #answer = "";
  #floor = new LeastRate();
  #uplink = new UplinkStats();
  #looks = 0;
  /** Offers and answers are one exchange at a time. */
  #exchange = Promise.resolve();
  #last = { bytes: 0, at: 0 };
  #simulcast;
  /** Names of the layers that nobody takes, and the change to them that is under way. */
  #resting = new Set();
  /** @type {boolean[]} */
  #wanted = [];
  #changing = Promise.resolve();

  /**
   * @param {{
   *   request: (type: string, data: object, timeoutMs?: number) => Promise<any>,
   *   stream: MediaStream,
   *   seat: number,
   *   simulcast?: boolean,
   *   iceServers?: RTCIceServer[],
   *   onState?: (state: RTCPeerConnectionState) => void,
   * }} options
   */
  constructor({ request, stream, seat, simulcast, iceServers = [], onState = () => {} }) {
    this.#simulcast = simulcast;
    this.#request = request;
    this.stream = stream;
    this.seat = seat;
    this.transport = null;
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers });
    this.pc.addEventListener("connectionstatechange", () => {
      if (!this.#closed) onState(this.pc.connectionState);
    });
    this.#addTracks();
  }

  /** For the next gathering, that of an ICE restart. @param {RTCIceServer[]} servers */
  useIceServers(servers) {
    this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers: servers });
  }

  /** Offer, wait for the answer, apply it. */
  async start() {
    await this.pc.setLocalDescription(await this.pc.createOffer());
    const answer = await this.#request("media.offer", { sdp: this.pc.localDescription.sdp });
    if (this.#closed) return;
    this.transport = answer.transport;
    await this.#accept(answer.sdp);
    await this.#limitSound();
    this.#looks = setInterval(() => this.#lookAtUplink(), LOOK_EVERY_MS);
  }

  #accept(sdp) {
    this.#answer = sdp;
    return this.pc.setRemoteDescription({ type: "answer", sdp: withLeastRate(sdp, this.#floor.kbps) });
  }

  #inTurn(exchange) {
    const done = this.#exchange.then(exchange);
    this.#exchange = done.catch(() => {});
    return done;
  }

  /** The estimate's floor comes and goes with an exchange of our own: the server's last answer is applied again. */
  async #lookAtUplink() {
    const seen = await this.#uplink.read(this.pc);
    if (this.#closed || !this.#floor.look(seen)) return;
    await this.#inTurn(async () => {
      if (this.#closed) return;
      await this.pc.setLocalDescription(await this.pc.createOffer());
      await this.#accept(this.#answer);
    }).catch((error) => this.#closed || console.warn("greenroom: the floor of the estimate could not be changed", error));
  }

  /** New ICE on the same session, after a network change; one at a time. */
  async restart() {
    if (this.#restarting) return;
    this.#restarting = true;
    try {
      await this.#inTurn(() => this.#restartNow());
    } finally {
      this.#restarting = false;
    }
  }

  async #restartNow() {
    await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: true }));
    const data = { transport: this.transport, sdp: this.pc.localDescription.sdp };
    const answer = await this.#request("media.restart", data, RESTART_ANSWER_MS);
    if (!this.#closed) await this.#accept(answer.sdp);
  }

  /** Whether there is a source that produces: a track that is only switched off is sent as silence, or in black. */
  get hasMedia() {
    return this.stream.getTracks().some((track) => track.readyState === "live" && !track.muted);
  }

  /**
   * Mute or unmute here and at the server, which is the one that counts.
   *
   * @param {"audio" | "video"} kind
   * @param {boolean} on muted
   */
  async mute(kind, on) {
    this.#enable(kind, !on);
    await this.#request("media.mute", { kinds: [kind], on });
  }

  /** Staff muted us: stop sending as well. @param {"audio" | "video"} kind @param {boolean} muted */
  followMute(kind, muted) {
    this.#enable(kind, !muted);
  }

  /** Send only the layers that somebody takes, in the order of the offer. @param {boolean[]} wanted */
  followLayers(wanted) {
    this.#wanted = wanted;
    this.#changing = this.#changing.then(() => this.#setLayers(LAYER_TRIES));
  }

  async #setLayers(tries) {
    const sender = this.#senders.video;
    const parameters = sender?.getParameters();
    if (this.#closed || parameters?.encodings?.length !== this.#wanted.length) return;
    parameters.encodings.forEach((encoding, i) => {
      encoding.active = this.#wanted[i];
    });
    try {
      await sender.setParameters(parameters);
    } catch (error) {
      // A negotiation came between, as with an ICE restart.
      if (tries > 1) return void setTimeout(() => this.#setLayers(tries - 1), LAYER_AGAIN_MS);
      console.warn("greenroom: layers could not be changed", error);
      return;
    }
    this.#resting = new Set(parameters.encodings.filter((encoding) => !encoding.active).map(({ rid }) => rid));
  }

  /** Another camera or microphone without a new negotiation. @param {MediaStreamTrack} track */
  async replaceTrack(track) {
    const old = this.stream.getTracks().find((t) => t.kind === track.kind);
    track.enabled = old?.enabled ?? true;
    hint(track);
    await this.#senders[track.kind]?.replaceTrack(track);
    if (old) {
      this.stream.removeTrack(old);
      old.stop();
    }
    this.stream.addTrack(track);
  }

  /** What leaves this machine: `{kbps, fps, width, height, rttMs, limitedBy}`; kbps since the last call, `null` at the first. */
  async stats() {
    const health = { kbps: null, fps: 0, width: 0, height: 0, rttMs: null, limitedBy: "none" };
    let bytes = 0;
    for (const report of (await this.pc.getStats()).values()) {
      if (report.type === "outbound-rtp") bytes += report.bytesSent ?? 0;
      // Of the layers the largest is what the best network sees. One that rests keeps its last numbers.
      const layer = report.type === "outbound-rtp" && report.kind === "video" && !this.#resting.has(report.rid);
      if (layer && (report.frameWidth ?? 0) >= health.width) {
        health.fps = Math.round(report.framesPerSecond ?? 0);
        health.width = report.frameWidth ?? 0;
        health.height = report.frameHeight ?? 0;
        health.limitedBy = report.qualityLimitationReason ?? "none";
      }
      if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined) {
        health.rttMs = Math.round(report.currentRoundTripTime * 1000);
      }
    }
    const now = performance.now();
    if (this.#last.at) health.kbps = Math.round(((bytes - this.#last.bytes) * 8) / (now - this.#last.at));
    this.#last = { bytes, at: now };
    return health;
  }

  /** Stop sending; the camera itself belongs to the caller. */
  close() {
    this.#closed = true;
    clearInterval(this.#looks);
    this.pc.close();
  }

  #addTracks() {
    for (const kind of ["audio", "video"]) {
      const track = this.stream.getTracks().find((t) => t.kind === kind);
      if (!track) continue;
      hint(track);
      const init = { direction: "sendonly", streams: [this.stream] };
      const best = this.seat === 0 ? HOST_VIDEO_BPS : GUEST_VIDEO_BPS;
      if (kind === "video") init.sendEncodings = layers(track, best, this.#simulcast);
      const transceiver = this.pc.addTransceiver(track, init);
      if (kind === "video") preferVp8(transceiver);
      this.#senders[kind] = transceiver.sender;
    }
  }

  #enable(kind, on) {
    for (const track of this.stream.getTracks()) if (track.kind === kind) track.enabled = on;
  }

  /** After the answer, because Firefox has no encodings before it. */
  async #limitSound() {
    const parameters = this.#senders.audio?.getParameters();
    if (!parameters?.encodings?.length) return;
    parameters.encodings[0].maxBitrate = AUDIO_BPS;
    // A browser that refuses a ceiling still sends; its own estimate then limits it.
    await this.#senders.audio.setParameters(parameters).catch(() => {});
  }
}

function hint(track) {
  if (track.kind === "video" && "contentHint" in track) track.contentHint = "motion";
}

/** VP8 is what every browser here decodes; the others stay in the offer behind it. */
function preferVp8(transceiver) {
  const codecs = RTCRtpSender.getCapabilities?.("video")?.codecs;
  if (!codecs || !transceiver.setCodecPreferences) return;
  const rank = ({ mimeType }) => (mimeType === "video/VP8" ? 0 : 1);
  transceiver.setCodecPreferences([...codecs].sort((a, b) => rank(a) - rank(b)));
}
