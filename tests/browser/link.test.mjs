import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Network, OTHER_ADDRESS, SERVER_ADDRESS, skipWithoutLink, VIEWER_ADDRESS } from "./harness/link.mjs";

const PROBE = join(dirname(fileURLToPath(import.meta.url)), "harness/probe.mjs");
const PORT = "4000";
/** Of IPv4 and UDP: the rate counts whole IP packets. */
const HEADERS = 28;
const skip = skipWithoutLink();

let network;
let echo;
before(async () => {
  if (skip) return;
  network = await Network.start();
  const [command, ...words] = network.server.command(process.execPath, PROBE, "echo", SERVER_ADDRESS, PORT);
  echo = spawn(command, words, { stdio: ["pipe", "pipe", "inherit"] });
  await createInterface({ input: echo.stdout })[Symbol.asyncIterator]().next();
});
after(async () => {
  echo?.stdin.end();
  await network?.stop();
});

/** Datagrams from the viewer's side that come back: their round trip times and arrivals. */
async function ask({ count, bytes = 100, everyMs = 10, atOnce = 1 }) {
  const [command, ...words] = network.viewer.command(process.execPath, PROBE, "ask", SERVER_ADDRESS, PORT, ...[count, bytes, everyMs, atOnce].map(String));
  const { stdout } = await promisify(execFile)(command, words, { maxBuffer: 16 << 20 });
  return JSON.parse(stdout);
}

const CLEAN = "rate=none queue=300ms delay=0ms jitter=0ms loss=0 duplicate=0 burst=none reorder=none mtu=none";

test("a clean link loses nothing, and a delay is as long as said", { skip }, async () => {
  await network.set("both", CLEAN);
  const near = await ask({ count: 20 });
  await network.set("both", "delay=50ms");
  const far = await ask({ count: 20 });
  assert.equal(near.rtts.length, 20);
  assert.equal(far.rtts.length, 20);
  // The shortest: the others also wait for this machine.
  const shortest = Math.min(...far.rtts);
  assert.ok(shortest >= 100 && shortest < 110, `${shortest} ms`);
});

test("what does not arrive has a name", { skip }, async () => {
  await network.set("both", CLEAN);
  await network.set("down", "loss=0.5");
  await network.stats();
  const { rtts } = await ask({ count: 100, everyMs: 2 });
  const { up, down } = await network.stats();
  assert.equal(up.delivered, 100);
  assert.equal(down.lost.random, 100 - rtts.length);
  assert.ok(rtts.length > 20 && rtts.length < 80, `${rtts.length} of 100`);

  await network.set("both", "loss=0 mtu=600");
  await network.outage("up", 200);
  assert.equal((await ask({ count: 10, everyMs: 1 })).rtts.length, 0);
  assert.equal((await ask({ count: 5, bytes: 600 - HEADERS + 1 })).rtts.length, 0);
  assert.equal((await ask({ count: 5, bytes: 600 - HEADERS })).rtts.length, 5);
  const { lost } = (await network.stats()).up;
  assert.deepEqual([lost.outage, lost.mtu], [10, 5]);
});

test("UDP can be blocked", { skip }, async () => {
  await network.set("both", CLEAN);
  await network.stats();
  await network.blockUdp(true);
  assert.equal((await ask({ count: 5 })).rtts.length, 0);
  assert.equal((await network.stats()).up.lost.blocked, 5);
  await network.blockUdp(false);
  assert.equal((await ask({ count: 5 })).rtts.length, 5);
});

test("the bottleneck holds its rate, and its queue is as long as said", { skip }, async () => {
  await network.set("both", CLEAN);
  await network.set("down", "rate=1m queue=2s");
  // 10 ms each on the wire.
  const { arrivals } = await ask({ count: 100, bytes: 1250 - HEADERS, everyMs: 1, atOnce: 100 });
  const span = arrivals.at(-1) - arrivals[0];
  assert.equal(arrivals.length, 100);
  assert.ok(Math.abs(span - 990) < 50, `${span} ms for 990`);
  const { waitMs } = (await network.stats()).down;
  assert.ok(waitMs.longest > 900 && waitMs.longest < 1100, JSON.stringify(waitMs));

  await network.set("down", "queue=300ms");
  const short = await ask({ count: 100, bytes: 1250 - HEADERS, everyMs: 1, atOnce: 100 });
  assert.ok(Math.abs(short.rtts.length - 31) <= 2, `${short.rtts.length} fit into 300 ms and the wire`);
  assert.equal((await network.stats()).down.lost.queue, 100 - short.rtts.length);
});

test("20 Mbit/s pass both ways", { skip }, async (t) => {
  await network.set("both", CLEAN);
  const cpu = () => readFileSync(`/proc/${network.pid}/stat`, "utf8").split(" ").slice(13, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * 10;
  await network.stats();
  const before = cpu();
  const { arrivals } = await ask({ count: 4000, bytes: 1250 - HEADERS, everyMs: 2, atOnce: 4 });
  const seconds = (arrivals.at(-1) - arrivals[0]) / 1000;
  t.diagnostic(`${((arrivals.length * 0.01) / seconds).toFixed(1)} Mbit/s each way for ${seconds.toFixed(1)} s took ${cpu() - before} ms of CPU`);
  assert.equal(arrivals.length, 4000);
  const { up, down } = await network.stats();
  assert.deepEqual([up.delivered, down.delivered, up.refused, down.refused], [4000, 4000, 0, 0]);
});

test("the viewer's side can change its address", { skip }, async () => {
  await network.set("both", CLEAN);
  network.moveViewer(OTHER_ADDRESS);
  assert.equal((await ask({ count: 5 })).rtts.length, 5);
  network.moveViewer(VIEWER_ADDRESS);
  assert.equal((await ask({ count: 5 })).rtts.length, 5);
});
