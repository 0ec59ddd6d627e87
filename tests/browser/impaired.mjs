/**
 * What a Chromium viewer sees over bad networks, by the server, by a direct call between two browsers and by Janus,
 * side by side: `scripts/impaired [scenario...] [column...] [option=value...]`. Prints a table; nothing is judged here.
 */
import { cpus } from "node:os";
import { setTimeout } from "node:timers/promises";
import { now, Theatre } from "./harness/calls.mjs";
import { janusVersion } from "./harness/janus.mjs";
import { linkMissing, OTHER_ADDRESS, VIEWER_ADDRESS } from "./harness/link.mjs";
import { median } from "./harness/measure.mjs";

/** Start-up and bandwidth estimation are measured elsewhere. */
const SETTLE_MS = 6000;
const RUN_MS = 20_000;
/** Losses in a row decide, and are rare. */
const LISTEN_MS = 60_000;
const BURST_MS = 300;
const BURSTS = 5;
const MOVES = 4;
/** What a host's way up has left, kbit/s: a little more, and less than sound in RED and the floor of `sdk/uplink.js`. */
const NARROW = [400, 250];
/** A gap that a viewer notices as a stop: three frames more than the jitter of a loaded machine. */
const STOP_MS = 200;

const FAR = "rate=5m queue=300ms delay=50ms jitter=0ms loss=0 mtu=none";
const ms = (value) => `${Math.round(value)} ms`;
const percent = (share) => `${(share * 100).toFixed(1)} %`;

async function steady(call) {
  await setTimeout(SETTLE_MS);
  const seen = await call.observe(RUN_MS);
  return `${seen.fps.toFixed(1)} fps, longest gap ${ms(seen.maxGapMs)}, ${Math.round(seen.kbps)} kbit/s, ${seen.nacks} NACK, ${seen.plis} PLI`;
}

async function sound(call) {
  await setTimeout(SETTLE_MS);
  const { concealed, silent, kbps, delayMs } = await call.listen(LISTEN_MS);
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

/** Queueing delay of one way, mean of each half second. */
async function queues(network, during, way = "down") {
  await network.stats();
  const means = [];
  for (let spent = 0; spent < during; spent += 500) {
    await setTimeout(500);
    means.push((await network.stats())[way].waitMs.mean);
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

/** The host's way up becomes narrow and then narrower, from the change on; the queue and what is lost are those of the rate alone. */
async function narrow(call, network) {
  await setTimeout(SETTLE_MS);
  const cells = [];
  for (const rate of NARROW) {
    await network.set("up", `rate=${rate}k`);
    const [seen, heard, waits] = await Promise.all([call.observe(RUN_MS), call.listen(RUN_MS), queues(network, RUN_MS, "up")]);
    cells.push(
      `at ${rate} kbit/s: ${seen.fps.toFixed(1)} fps, ${seen.height} lines, longest gap ${ms(seen.maxGapMs)}, ` +
        `${percent(heard.concealed)} of the sound made up, queue at last ${ms(mean(waits.slice(-10)))}, ${seen.plis} PLI`,
    );
  }
  return cells.join("; ");
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
  narrow: ["the host's way up has 400, then 250 kbit/s", "", FAR, narrow, true],
  sound: ["10 % loss both ways, the sound", "", "rate=none queue=300ms delay=50ms jitter=0ms loss=0.1 mtu=none", sound],
  bloat: ["1 Mbit/s, 1 s of queue", "queue settles < 150 ms", `${FAR} rate=1m queue=1s`, bloat],
};

/** The same picture another way. Janus is asked for by name: it makes a run half as long again. */
const COLUMNS = {
  greenroom: { title: "by Greenroom", call: (theatre) => theatre.watch() },
  direct: { title: "browser to browser", call: (theatre) => theatre.callDirectly() },
  janus: { title: "by Janus", call: (theatre) => theatre.callByJanus() },
};
const USUAL = ["greenroom", "direct"];
/** Its ICE-TCP and an ICE restart are not set up here, and each call has a publisher of its own. */
const NOT_BY_JANUS = ["move", "tcp", "share"];

async function cell(name, column, theatre) {
  if (column === "janus" && NOT_BY_JANUS.includes(name)) return "not measured";
  const [, , conditions, measure, far = false] = SCENARIOS[name];
  const { network } = theatre;
  network.moveViewer(VIEWER_ADDRESS);
  await network.set("both", FAR);
  await theatre.playFrom(far);
  await network.set("both", conditions);
  await network.blockUdp(name === "tcp");
  const makeCall = () => COLUMNS[column].call(theatre);
  let call;
  try {
    call = await makeCall();
    return await measure(call, network, makeCall);
  } catch (error) {
    return `no call: ${error.message.split("\n")[0]}`;
  } finally {
    await call?.close();
  }
}

/** All scenarios of one column. */
async function run(names, column, theatre) {
  const cells = {};
  if (column === "greenroom") await theatre.goLive();
  for (const name of names) {
    cells[name] = await cell(name, column, theatre);
    console.error(`${name}, ${COLUMNS[column].title}: ${cells[name]}`);
  }
  if (column === "greenroom") await theatre.endShow();
  return cells;
}

const missing = linkMissing();
if (missing) throw new Error(`no bad network on this machine: ${missing}`);
const words = process.argv.slice(2);
const isOption = (word) => word.includes("=");
const options = words.filter(isOption).flatMap((option) => ["--set", option]);
const chosen = words.filter((word) => !isOption(word));
const unknown = chosen.filter((word) => !SCENARIOS[word] && !COLUMNS[word]);
if (unknown.length) throw new Error(`${unknown.join(", ")}: there are ${Object.keys({ ...SCENARIOS, ...COLUMNS }).join(", ")}`);
const orAll = (some, all) => (some.length ? some : all);
const names = orAll(chosen.filter((word) => SCENARIOS[word]), Object.keys(SCENARIOS));
const columns = orAll(Object.keys(COLUMNS).filter((column) => chosen.includes(column)), USUAL);
const janus = columns.includes("janus") ? janusVersion() : null;
if (columns.includes("janus") && !janus) {
  console.error("Janus is not installed: its column is left out (benches/peers/run installs the package, and keeps its service from starting)");
  columns.splice(columns.indexOf("janus"), 1);
}

const theatre = await Theatre.open({}, options);
try {
  const cells = {};
  for (const column of columns) cells[column] = await run(names, column, theatre);
  const servers = janus ? `, Janus ${janus}` : "";
  console.log(`${cpus().length} x ${cpus()[0].model}, Chromium ${theatre.viewerBrowser.version()}${servers}, 640x360 at 30 fps\n`);
  const row = (...texts) => console.log(`| ${texts.join(" | ")} |`);
  row("network of the viewer", "target", ...columns.map((column) => COLUMNS[column].title));
  row("---", "---", ...columns.map(() => "---"));
  for (const name of names) row(SCENARIOS[name][0], SCENARIOS[name][1], ...columns.map((column) => cells[column][name]));
} finally {
  await theatre.close();
}
