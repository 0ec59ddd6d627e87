import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const START_WITHIN_MS = 15_000;
const STOP_WITHIN_MS = 10_000;

/** Server options: what is known of a viewer's network at first, and at most, bit/s. */
export const estimate = (start, max) => ["--set", `media.downlink_start_bps=${start}`, "--set", `media.downlink_max_bps=${max}`];
/** A viewer's network takes every layer at once. */
export const PLENTY = estimate(5_000_000, 20_000_000);

/** The binary under test: `GREENROOM_BIN`, or the release build, or the debug build. */
export function binary() {
  const candidates = [process.env.GREENROOM_BIN, join(ROOT, "target/release/greenroom"), join(ROOT, "target/debug/greenroom")];
  const found = candidates.find((path) => path && existsSync(path));
  if (!found) throw new Error("no greenroom binary: run `cargo build --release` or set GREENROOM_BIN");
  return found;
}

/**
 * A server of its own on free ports with an empty data folder.
 *
 * @param {string[]} [options] further command line options
 * @param {(...words: string[]) => string[]} [inside] puts a command into a network namespace
 * @returns {Promise<{url: string, log: string[], stop: () => Promise<number | null>}>}
 */
export async function startServer(options = [], inside = (...words) => words) {
  const data = mkdtempSync(join(tmpdir(), "greenroom-test-"));
  const [command, ...words] = inside(binary(), "--http-bind", "127.0.0.1:0", "--media-port", "0", "--data-dir", data, ...options);
  const child = spawn(command, words, {
    cwd: data,
    env: { PATH: process.env.PATH, GREENROOM_LOG: process.env.GREENROOM_LOG ?? "info" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const log = [];
  const ended = new Promise((resolve) => {
    child.on("exit", resolve);
  });
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`server did not start:\n${log.join("\n")}`)), START_WITHIN_MS);
    ended.then((code) => reject(new Error(`server ended with ${code}:\n${log.join("\n")}`)));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        log.push(line);
        const page = /Page\s+(http:\/\/\S+)/.exec(line);
        if (!page) return;
        clearTimeout(timer);
        resolve(page[1]);
      });
    }
  });
  return { url, log, pid: child.pid, stop: () => stop(child, ended, data) };
}

async function stop(child, ended, data) {
  child.kill("SIGINT");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_WITHIN_MS);
  const code = await ended;
  clearTimeout(timer);
  rmSync(data, { recursive: true, force: true });
  return code;
}
