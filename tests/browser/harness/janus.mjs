/** Janus with its videoroom plugin, for comparison: the packaged server, and the little of its WebSocket API that a call needs. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const START_WITHIN_MS = 15_000;
const STOP_WITHIN_MS = 5000;
/** In a network namespace of its own. */
const PORT = 8188;

/** `1.1.2`, or null where there is none. It says so and ends with 1. */
export function janusVersion() {
  return /\(([\d.]+)\)/.exec(spawnSync("janus", ["--version"], { encoding: "utf8" }).stdout ?? "")?.[1] ?? null;
}

/** The package's own settings, but for the address, and for what nobody uses here. */
function writeSettings(folder, address) {
  mkdirSync(folder);
  const others = (kind, names) => `${kind}: { disable = "${names.map((name) => `libjanus_${name}.so`).join(",")}" }`;
  const settings = {
    "janus.jcfg": `general: { configs_folder = "${folder}" debug_level = 4 }
nat: { ice_enforce_list = "${address}" }
${others("plugins", ["audiobridge", "duktape", "echotest", "lua", "nosip", "recordplay", "sip", "streaming", "textroom", "videocall", "voicemail"])}
${others("transports", ["http", "mqtt", "nanomsg", "pfunix", "rabbitmq"])}
`,
    "janus.transport.websockets.jcfg": `general: { ws = true ws_port = ${PORT} ws_ip = "127.0.0.1" wss = false }
admin: { admin_ws = false }
`,
    "janus.plugin.videoroom.jcfg": "general: {}\n",
  };
  for (const [name, text] of Object.entries(settings)) writeFileSync(join(folder, name), text);
}

/**
 * @param {string} address its media goes out by
 * @param {string} folder for its settings; made here
 * @param {(...words: string[]) => string[]} inside puts a command into a network namespace
 * @returns {Promise<{url: string, stop: () => Promise<void>}>} `url` is HTTP's name of the WebSocket's address there
 */
export async function startJanus(address, folder, inside) {
  writeSettings(folder, address);
  const [command, ...words] = inside("janus", "-F", folder, "-C", join(folder, "janus.jcfg"), "--disable-colors");
  const child = spawn(command, words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const log = [];
  const ended = new Promise((resolve) => {
    child.on("exit", resolve).on("error", resolve);
  });
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`Janus did not start:\n${log.join("\n")}`)), START_WITHIN_MS);
    ended.then((code) => reject(new Error(`Janus ended with ${code}:\n${log.join("\n")}`)));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        log.push(line);
        if (!/websockets server started/i.test(line)) return;
        clearTimeout(timer);
        resolve();
      });
    }
  });
  return {
    url: `http://127.0.0.1:${PORT}`,
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_WITHIN_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}

// What follows runs in pages.

/** Makes `videoroom(url)`: a session with a handle of the plugin, whose `ask` resolves with the plugin's answer. */
export function speakJanus() {
  const KEEP_ALIVE_MS = 25_000;
  globalThis.videoroom = async (url) => {
    const socket = new WebSocket(url.replace(/^http/, "ws"), "janus-protocol");
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", () => reject(new Error("Janus does not take our WebSocket")));
    });
    const ids = {};
    const waiting = new Map();
    socket.addEventListener("message", ({ data }) => {
      const reply = JSON.parse(data);
      // The plugin's own answer comes later, with the same transaction.
      if (reply.janus === "ack" || !waiting.has(reply.transaction)) return;
      const { resolve, reject } = waiting.get(reply.transaction);
      waiting.delete(reply.transaction);
      const error = reply.error?.reason ?? reply.plugindata?.data?.error;
      if (error) reject(new Error(`Janus says: ${error}`));
      else resolve({ ...(reply.plugindata ?? reply).data, jsep: reply.jsep });
    });
    let asked = 0;
    const send = (message) => socket.send(JSON.stringify({ ...ids, ...message, transaction: String((asked += 1)) }));
    const ask = (message) =>
      new Promise((resolve, reject) => {
        send(message);
        waiting.set(String(asked), { resolve, reject });
      });
    ids.session_id = (await ask({ janus: "create" })).id;
    setInterval(() => send({ janus: "keepalive" }), KEEP_ALIVE_MS);
    ids.handle_id = (await ask({ janus: "attach", plugin: "janus.plugin.videoroom" })).id;
    return { ask: (body, jsep) => ask({ janus: "message", body, jsep }) };
  };
  globalThis.gathered = async (pc) => {
    while (pc.iceGatheringState !== "complete") {
      await new Promise((resolve) => {
        pc.addEventListener("icegatheringstatechange", resolve, { once: true });
      });
    }
    return pc.localDescription.sdp;
  };
}

/**
 * The host's camera in the layers of `encodings`, cheapest first. Resolves with the publisher's id once the best is
 * sent at nearly its ceiling: whoever watches comes to a show that is running, as with us.
 */
export async function publishToJanus({ url, room, encodings }) {
  const RAMP_WITHIN_MS = 30_000;
  const LOOK_EVERY_MS = 200;

  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { frameRate: 30 } });
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  for (const track of stream.getTracks()) {
    const video = track.kind === "video";
    if (video) track.contentHint = "motion";
    const sendEncodings = video ? encodings : [{ maxBitrate: 64_000 }];
    const transceiver = pc.addTransceiver(track, { direction: "sendonly", streams: [stream], sendEncodings });
    if (!video) continue;
    const rank = ({ mimeType }) => (mimeType === "video/VP8" ? 0 : 1);
    transceiver.setCodecPreferences([...RTCRtpSender.getCapabilities("video").codecs].sort((a, b) => rank(a) - rank(b)));
  }
  const handle = await globalThis.videoroom(url);
  await handle.ask({ request: "create", room, publishers: 1, bitrate: 0, videocodec: "vp8", audiocodec: "opus" });
  await pc.setLocalDescription();
  const offer = { type: "offer", sdp: await globalThis.gathered(pc), rid_order: "lmh" };
  const { id, jsep } = await handle.ask({ request: "joinandconfigure", ptype: "publisher", room }, offer);
  await pc.setRemoteDescription(jsep);
  const best = encodings.at(-1);
  const ramped = async () => [...(await pc.getStats()).values()].some(({ rid, targetBitrate }) => rid === best.rid && targetBitrate > 0.9 * best.maxBitrate);
  const until = performance.now() + RAMP_WITHIN_MS;
  while (!(await ramped())) {
    if (performance.now() > until) throw new Error("the host does not get to send its best layer to Janus");
    await new Promise((resolve) => {
      setTimeout(resolve, LOOK_EVERY_MS);
    });
  }
  return id;
}

/** Watches that publisher's layer `substream`, which Janus leaves to its applications to choose. */
export async function watchJanus({ url, room, feed, substream }) {
  globalThis.joinedAt = performance.timeOrigin + performance.now();
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  globalThis.connection = () => pc;
  pc.addEventListener("track", ({ streams }) => {
    document.querySelector("video").srcObject = streams[0];
  });
  const handle = await globalThis.videoroom(url);
  const { jsep } = await handle.ask({ request: "join", ptype: "subscriber", room, streams: [{ feed, substream }] });
  await pc.setRemoteDescription(jsep);
  await pc.setLocalDescription();
  await handle.ask({ request: "start" }, { type: "answer", sdp: await globalThis.gathered(pc) });
}
