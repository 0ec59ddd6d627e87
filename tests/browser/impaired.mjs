/**
 * What a Chromium viewer sees over bad networks, by the server and by a direct call between two
 * browsers, side by side: `scripts/impaired [scenario...] [option=value...]`. Prints a table; nothing is judged here.
 */
import { cpus } from "node:os";
import { setTimeout } from "node:timers/promises";
import { now, Theatre } from "./harness/calls.mjs";
import { linkMissing, VIEWER_ADDRESS } from "./harness/link.mjs";
import { median } from "./harness/measure.mjs";

/** Start-up and bandwidth estimation are measured elsewhere. */
const SETTLE_MS = 6000;
const RUN_MS = 20_000;
/** Losses in a row decide, and are rare. */
const LISTEN_MS = 60_000;
const BURST_MS = 300;
const BURSTS = 5;
const MOVES = 4;
const OTHER_ADDRESS = "10.77.1.2";
/** A gap that a viewer notices as a stop: three frames more than the jitter of a loaded machine. */
const STOP_MS = 200;

const FAR = "rate=5m queue=300ms delay=50ms jitter=0ms loss=0 mtu=none";
const ms = (value) => `${Math.round(value)} ms`;

async function steady(call) {
  await setTimeout(SETTLE_MS);
  const seen = await call.observe(RUN_MS);
  return `${seen.fps.toFixed(1)} fps, longest gap ${ms(seen.maxGapMs)}, ${Math.round(seen.kbps)} kbit/s, ${seen.nacks} NACK, ${seen.plis} PLI`;
}

async function sound(call) {
  await setTimeout(SETTLE_MS);
  const { concealed, silent, kbps, delayMs } = await call.listen(LISTEN_MS);
  const percent = (share) => `${(share * 100).toFixed(1)} %`;
  return `${percent(concealed)} of the sound made up, ${percent(silent)} silent, ${Math.round(kbps)} kbit/s, ${ms(delayMs)} in the jitter buffer`;
}

/** When the picture was back for good: the end of the last stop that began within two seconds. */
function backAfter(seen, at) {
  const stops = seen.gaps.filter((gap) => gap.ms > STOP_MS && gap.to > at && gap.from < at + 2000);
  const last = stops.at(-1);
  if (!last) return 0;
  return last.to >= seen.end ? Infinity : last.to - at;
}

const worstAndMedian = (values) => `worst ${ms(Math.max(...values))}, median ${ms(median(values))} (${values.length} times)`;

async function bursts(call, network) {
  await setTimeout(SETTLE_MS);
  const back = [];
  for (let i = 0; i < BURSTS; i += 1) {
    const watching = call.observe(BURST_MS + 4000);
    await network.outage("both", BURST_MS);
    const end = now() + BURST_MS;
    back.push(backAfter(await watching, end));
  }
  return `picture back after: ${worstAndMedian(back)}`;
}

async function moves(call, network) {
  await setTimeout(SETTLE_MS);
  const gaps = [];
  for (let i = 0; i < MOVES; i += 1) {
    const watching = call.observe(12_000);
    network.moveViewer(i % 2 ? VIEWER_ADDRESS : OTHER_ADDRESS);
    gaps.push((await watching).maxGapMs);
  }
  return `gap: ${worstAndMedian(gaps)}`;
}

/** Queueing delay, mean of each half second. */
async function queues(network, during) {
  await network.stats();
  const means = [];
  for (let spent = 0; spent < during; spent += 500) {
    await setTimeout(500);
    means.push((await network.stats()).down.waitMs.mean);
  }
  return means;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

async function drop(call, network) {
  await setTimeout(SETTLE_MS);
  const good = await call.observe(4000);
  const watching = call.observe(10_000);
  await network.set("down", "rate=800k");
  const waits = await queues(network, 9000);
  const narrow = await watching;
  await network.set("down", "rate=5m");
  const again = await call.observe(8000);
  const last = await call.observe(4000);
  return (
    `at 0.8 Mbit/s: ${narrow.fps.toFixed(1)} fps, longest gap ${ms(narrow.maxGapMs)}, ${Math.round(narrow.kbps)} kbit/s, ` +
    `queue at last ${ms(mean(waits.slice(-6)))}; back at 5: longest gap ${ms(again.maxGapMs)}, after 8 s ` +
    `${Math.round(last.kbps)} of ${Math.round(good.kbps)} kbit/s`
  );
}

async function bloat(call, network) {
  await setTimeout(SETTLE_MS);
  const waits = await queues(network, 15_000);
  const seen = await call.observe(4000);
  return `queue at last ${ms(mean(waits.slice(-10)))}, ${seen.fps.toFixed(1)} fps, longest gap ${ms(seen.maxGapMs)}`;
}

/** A second viewer comes to the same link a little later. */
async function share(first, network, another) {
  await setTimeout(SETTLE_MS / 2);
  const second = await another();
  await setTimeout(SETTLE_MS);
  const both = await Promise.all([first, second].map((call) => call.observe(RUN_MS)));
  await second.close();
  const rates = both.map(({ kbps }) => kbps);
  const mean = (rates[0] + rates[1]) / 2;
  const each = both.map(({ kbps, fps }) => `${Math.round(kbps)} kbit/s, ${fps.toFixed(1)} fps`);
  return `${each.join(" and ")}: ${Math.round((Math.abs(rates[0] - mean) / mean) * 100)} % from the mean`;
}

async function uplink(call, network) {
  await setTimeout(SETTLE_MS);
  await network.set("up", "loss=0.3");
  await setTimeout(SETTLE_MS);
  const seen = await call.observe(RUN_MS);
  return `${seen.fps.toFixed(1)} fps, ${seen.height} lines, longest gap ${ms(seen.maxGapMs)}, ${Math.round(seen.kbps)} kbit/s, ${seen.plis} PLI`;
}

/** The first picture is there when this is called. */
async function joined(call) {
  const seen = await call.observe(5000);
  return `picture after ${ms(call.joinMs)}, then ${seen.fps.toFixed(1)} fps`;
}

const SCENARIOS = {
  clean: ["5 Mbit/s, 100 ms RTT", "", FAR, steady],
  loss: ["5 % loss both ways, 5 Mbit/s, 100 ms RTT", ">= 29 fps, no gap > 500 ms", `${FAR} loss=0.05`, steady],
  burst: ["everything lost for 300 ms", "picture back <= 500 ms after", FAR, bursts],
  move: ["the viewer's address changes", "gap <= 2 s", FAR, moves],
  drop: ["5 -> 0.8 -> 5 Mbit/s", "no gap > 700 ms, all of it again <= 8 s", FAR, drop],
  tcp: ["no UDP, 5 Mbit/s, 100 ms RTT", "picture <= 2 s", FAR, joined],
  share: ["two viewers behind 5 Mbit/s", "fair within 25 %", FAR, share],
  uplink: ["the host loses 30 % on the way up", ">= 20 fps or a lower layer", FAR, uplink, true],
  sound: ["10 % loss both ways, the sound", "", "rate=none queue=300ms delay=50ms jitter=0ms loss=0.1 mtu=none", sound],
  bloat: ["1 Mbit/s, 1 s of queue", "queue settles < 150 ms", `${FAR} rate=1m queue=1s`, bloat],
};

async function run(names, theatre, makeCall) {
  const cells = {};
  for (const name of names) {
    const [, , conditions, measure, far = false] = SCENARIOS[name];
    theatre.network.moveViewer(VIEWER_ADDRESS);
    await theatre.network.set("both", FAR);
    await theatre.playFrom(far);
    await theatre.network.set("both", conditions);
    await theatre.network.blockUdp(name === "tcp");
    let call;
    try {
      call = await makeCall();
      cells[name] = await measure(call, theatre.network, makeCall);
    } catch (error) {
      cells[name] = `no call: ${error.message.split("\n")[0]}`;
    }
    await call?.close();
    console.error(`${name}: ${cells[name]}`);
  }
  return cells;
}

const missing = linkMissing();
if (missing) throw new Error(`no bad network on this machine: ${missing}`);
const words = process.argv.slice(2);
const isOption = (word) => word.includes("=");
const options = words.filter(isOption).flatMap((option) => ["--set", option]);
const chosen = words.filter((word) => !isOption(word));
const names = chosen.length ? chosen : Object.keys(SCENARIOS);
const unknown = names.filter((name) => !SCENARIOS[name]);
if (unknown.length) throw new Error(`${unknown.join(", ")}: there are ${Object.keys(SCENARIOS).join(", ")}`);

const theatre = await Theatre.open({}, options);
try {
  await theatre.goLive();
  const served = await run(names, theatre, () => theatre.watch());
  await theatre.endShow();
  const direct = await run(names, theatre, () => theatre.callDirectly());
  console.log(`${cpus().length} x ${cpus()[0].model}, Chromium ${theatre.viewerBrowser.version()}, 640x360 at 30 fps\n`);
  console.log("| network of the viewer | target | by Greenroom | browser to browser |\n|---|---|---|---|");
  for (const name of names) console.log(`| ${SCENARIOS[name][0]} | ${SCENARIOS[name][1]} | ${served[name]} | ${direct[name]} |`);
} finally {
  await theatre.close();
}
