/**
 * Two network namespaces with a bad network between them: the server and whoever publishes live in
 * one, the viewer's browser in the other, and every IP packet between them goes through
 * `examples/link`. What a page sees of the network is the kernel's: addresses, routes, sockets.
 */
import { spawn, spawnSync } from "node:child_process";
import { accessSync, chmodSync, constants, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "../../..");
const ANSWER_WITHIN_MS = 10_000;

export const SERVER_ADDRESS = "10.77.0.1";
export const VIEWER_ADDRESS = "10.77.0.2";
/** Where `moveViewer` may take it. */
export const OTHER_ADDRESS = "10.77.1.2";

/** Why there can be no link on this machine, or null. A test that skips for it says so loudly. */
export function linkMissing() {
  if (process.getuid() !== 0) return "network namespaces need root";
  if (spawnSync("ip", ["-V"]).status !== 0) return "iproute2 is not installed";
  if (spawnSync("nsenter", ["-V"]).status !== 0) return "nsenter (util-linux) is not installed";
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    return "there is no /dev/net/tun";
  }
  return null;
}

/** For `test(..., { skip })`: false where links work; elsewhere the reason, shouted on the way. */
export function skipWithoutLink() {
  const reason = linkMissing();
  if (reason) console.error(`\n!!! NOT TESTED: no bad network on this machine: ${reason} !!!\n`);
  return reason ?? false;
}

function program() {
  const candidates = [process.env.GREENROOM_LINK, join(ROOT, "target/release/greenroom-link"), join(ROOT, "target/debug/greenroom-link")];
  const found = candidates.find((path) => path && existsSync(path));
  if (!found) throw new Error("no link: run `cargo build --release -p greenroom-link` or set GREENROOM_LINK");
  return found;
}

function ip(...words) {
  const done = spawnSync("ip", words, { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`ip ${words.join(" ")}: ${done.stderr}`);
}

/** Namespaces of test runs that were killed. */
function removeOrphans() {
  for (const name of existsSync("/run/netns") ? readdirSync("/run/netns") : []) {
    const pid = /^gr-(?:server|viewer)-(\d+)$/.exec(name)?.[1];
    if (pid && !existsSync(`/proc/${pid}`)) spawnSync("ip", ["netns", "del", name]);
  }
}

/** One end: a namespace with a device. */
class Side {
  constructor(namespace, device) {
    this.namespace = namespace;
    this.device = device;
    this.address = null;
  }

  /** This command, run inside. @returns {string[]} */
  command(...words) {
    return ["nsenter", `--net=/run/netns/${this.namespace}`, ...words];
  }

  join(address) {
    ip("netns", "add", this.namespace);
    ip("link", "set", this.device, "netns", this.namespace);
    ip("-n", this.namespace, "link", "set", "lo", "up");
    // The kernel would look for IPv6 routers and groups over the link now and then.
    const off = `echo 1 > /proc/sys/net/ipv6/conf/${this.device}/disable_ipv6`;
    const [command, ...words] = this.command("sh", "-c", off);
    if (spawnSync(command, words).status !== 0) throw new Error(`${this.namespace}: IPv6 cannot be switched off`);
    ip("-n", this.namespace, "link", "set", this.device, "up");
    this.move(address);
  }

  /** Another address, as of another network: the old one is gone at once, and all routes by it. */
  move(address) {
    if (this.address) ip("-n", this.namespace, "addr", "del", `${this.address}/32`, "dev", this.device);
    ip("-n", this.namespace, "addr", "add", `${address}/32`, "dev", this.device);
    ip("-n", this.namespace, "route", "add", "default", "dev", this.device);
    this.address = address;
  }
}

/** The network of a test; `stop()` leaves nothing behind, nor does the end of this process. */
export class Network {
  #link;
  #answers;
  #folder = mkdtempSync(join(tmpdir(), "greenroom-link-"));
  #children = [];
  #listeners = [];
  #leave = () => this.#removeNamespaces();

  /**
   * @param {{up?: string, down?: string, seed?: number}} [conditions] words of `Conditions::changed`;
   *   up is from the viewer to the server
   */
  static async start({ up = "", down = "", seed = 1 } = {}) {
    const network = new Network();
    try {
      await network.#start(up, down, seed);
    } catch (error) {
      await network.stop();
      throw error;
    }
    return network;
  }

  constructor() {
    // A device's name has at most 15 bytes, and tests may run side by side.
    this.server = new Side(`gr-server-${process.pid}`, `gr-s${process.pid}`);
    this.viewer = new Side(`gr-viewer-${process.pid}`, `gr-v${process.pid}`);
  }

  async #start(up, down, seed) {
    removeOrphans();
    const words = ["--server", this.server.device, "--client", this.viewer.device, "--up", up, "--down", down, "--seed", String(seed)];
    this.#link = spawn(program(), words, { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: this.#link.stdout });
    this.#answers = lines[Symbol.asyncIterator]();
    process.on("exit", this.#leave);
    await this.#answer("start");
    this.server.join(SERVER_ADDRESS);
    this.viewer.join(VIEWER_ADDRESS);
  }

  /** Of the process that carries the packets. */
  get pid() {
    return this.#link.pid;
  }

  async #answer(command) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the link does not answer: ${command}`)), ANSWER_WITHIN_MS);
    });
    const { value, done } = await Promise.race([this.#answers.next(), late]).finally(() => clearTimeout(timer));
    if (done) throw new Error(`the link ended: ${command}`);
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`${command}: ${answer.error}`);
    return answer;
  }

  #ask(command) {
    this.#link.stdin.write(`${command}\n`);
    return this.#answer(command);
  }

  /** Change conditions now. @param {"up" | "down" | "both"} way @param {string} words */
  set(way, words) {
    return this.#ask(`${way} ${words}`);
  }

  /** Lose everything from now on for this long. @param {"up" | "down" | "both"} way */
  outage(way, ms) {
    return this.#ask(`outage ${way} ${ms}ms`);
  }

  /** Drop UDP both ways, as some firewalls do, or no more. @param {boolean} blocked */
  blockUdp(blocked) {
    return this.#ask(blocked ? "block udp" : "allow udp");
  }

  /** Packets by fate and waiting times, both ways, since the last call. */
  stats() {
    return this.#ask("stats");
  }

  /** Give the viewer another address, as when a phone changes from Wi-Fi to mobile. */
  moveViewer(address) {
    this.viewer.move(address);
  }

  /**
   * Make a server's loopback port reachable over the link, as the proxy in front of it would.
   *
   * @param {string} url the page's address on the server's side, as http://127.0.0.1:8080
   * @returns {Promise<string>} its address for the viewer
   */
  async expose(url) {
    const { port } = new URL(url);
    const [command, ...words] = this.server.command(process.execPath, join(HERE, "forward.mjs"), SERVER_ADDRESS, port);
    const child = spawn(command, words, { stdio: ["pipe", "pipe", "inherit"] });
    this.#children.push(child);
    const first = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    if (first.done) throw new Error("the forwarder did not start");
    return `http://${SERVER_ADDRESS}:${port}`;
  }

  /**
   * A loopback port of one side that can be reached from here under the same number, for a browser that is driven over TCP.
   *
   * @param {Side} side
   * @returns {Promise<number>} free on both sides
   */
  async reach(side) {
    const listener = createServer((connection) => {
      const [command, ...words] = side.command(process.execPath, join(HERE, "forward.mjs"), "-", String(port));
      const child = spawn(command, words, { stdio: ["pipe", "pipe", "inherit"] });
      connection.pipe(child.stdin).on("error", () => {});
      child.stdout.pipe(connection).on("error", () => child.kill());
    });
    this.#listeners.push(listener);
    await new Promise((resolve, reject) => {
      listener.on("error", reject).listen(0, "127.0.0.1", resolve);
    });
    const { port } = listener.address();
    return port;
  }

  /** A path that goes with the network. @param {string} name */
  file(name) {
    return join(this.#folder, name);
  }

  /** An executable that starts `path` on this side. @param {Side} side @param {string} path */
  wrapper(side, path) {
    const file = this.file(`${side.namespace}-${path.replaceAll("/", "-")}`);
    writeFileSync(file, `#!/bin/sh\nexec ${side.command(path).join(" ")} "$@"\n`);
    chmodSync(file, 0o755);
    return file;
  }

  async stop() {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const listener of this.#listeners) listener.close();
    if (this.#link && this.#link.exitCode === null) {
      const ended = new Promise((resolve) => {
        this.#link.on("exit", resolve);
      });
      this.#link.stdin.end();
      await ended;
    }
    this.#removeNamespaces();
    process.off("exit", this.#leave);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #removeNamespaces() {
    for (const { namespace } of [this.server, this.viewer]) {
      if (existsSync(`/run/netns/${namespace}`)) spawnSync("ip", ["netns", "del", namespace]);
    }
  }
}
