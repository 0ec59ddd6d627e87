/** A real TURN server: coturn on loopback, with the shared secret that Greenroom signs credentials with. */
import { spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const START_WITHIN_MS = 10_000;
const STOP_WITHIN_MS = 5000;
const PROGRAM = process.env.TURNSERVER ?? "turnserver";

/** Whether there is one to start. */
export const coturnInstalled = () => spawnSync(PROGRAM, ["--version"]).status !== null;

/** A UDP port that was free a moment ago; coturn cannot choose one itself. */
async function freePort() {
  const socket = createSocket("udp4");
  await new Promise((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

/**
 * @param {string} secret as `media.turn_secret`
 * @returns {Promise<{url: string, log: string[], stop: () => Promise<void>}>} `url` is for `media.turn_urls`
 */
export async function startCoturn(secret) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "greenroom-coturn-"));
  const options = {
    "listening-ip": "127.0.0.1",
    "listening-port": port,
    "relay-ip": "127.0.0.1",
    realm: "greenroom.test",
    "static-auth-secret": secret,
    "log-file": "stdout",
    userdb: join(folder, "turn.db"),
    pidfile: join(folder, "turn.pid"),
  };
  // The server under test may have no address but loopback, which coturn does not relay to unless told, and
  // then only with a password for its console, or none.
  const flags = ["-n", "--use-auth-secret", "--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls", "--simple-log", "--verbose"];
  const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(PROGRAM, [...flags, ...words], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const log = [];
  const ended = new Promise((resolve) => {
    child.on("exit", resolve).on("error", resolve);
  });
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`coturn did not start:\n${log.join("\n")}`)), START_WITHIN_MS);
    ended.then((code) => reject(new Error(`coturn ended with ${code}:\n${log.join("\n")}`)));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        log.push(line);
        if (!/IPv4. UDP listener opened on/i.test(line)) return;
        clearTimeout(timer);
        resolve();
      });
    }
  });
  return {
    url: `turn:127.0.0.1:${port}`,
    log,
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_WITHIN_MS);
      await ended;
      clearTimeout(timer);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
