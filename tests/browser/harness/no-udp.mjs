/** A network without UDP, for a whole test file: it runs again inside a network namespace of its own. */

import { spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";

const INSIDE = "GREENROOM_TEST_WITHOUT_UDP";

/**
 * UDP leaves by a device that nobody reads: sent without an error and never received, as behind a firewall
 * that drops. 10.9.0.1 is the LAN address that the machine has.
 */
const SETUP = `set -e
ip link set lo up
ip addr add 10.9.0.1/24 dev lo
ip tuntap add dev hole mode tun
ip link set hole up
for family in -4 -6; do
  ip $family route add default dev hole table 100
  ip $family rule add pref 10 ipproto udp lookup 100
  ip $family rule add pref 20 lookup local
  ip $family rule del pref 0
done
`;

const namespace = (script, ...more) => ["--user", "--map-root-user", "--net", "sh", "-c", script, ...more];

/** Whether this process is in that network. */
export const inside = process.env[INSIDE] === "1";

/** Whether this machine lets us make one: needs unshare, ip, a TUN device, and the right to use them. */
export function possible() {
  return spawnSync("unshare", namespace(SETUP), { stdio: "ignore" }).status === 0;
}

/**
 * Run a test file inside; what it reports as diagnostics is given to `diagnostic`.
 *
 * @param {string} file
 * @param {(line: string) => void} diagnostic
 * @returns {Promise<{code: number | null, said: string}>}
 */
export async function runInside(file, diagnostic) {
  const env = { ...process.env, [INSIDE]: "1" };
  // The inner run reports as text, not to our runner.
  delete env.NODE_TEST_CONTEXT;
  const args = namespace(`${SETUP}exec "$0" "$@"`, process.execPath, "--test-reporter=tap", file);
  const child = spawn("unshare", args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      said.push(line);
      const note = /^\s*# MEASURED (.*)/.exec(line);
      if (note) diagnostic(note[1]);
    });
  }
  const code = await new Promise((resolve) => {
    child.on("close", resolve);
  });
  return { code, said: said.join("\n") };
}
