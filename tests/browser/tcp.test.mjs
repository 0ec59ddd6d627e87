import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { firefoxPerson, launchChromium, launchFirefox, person } from "./harness/browsers.mjs";
import { frames, median, received } from "./harness/measure.mjs";
import { metric } from "./harness/metrics.mjs";
import { inside, possible, runInside } from "./harness/no-udp.mjs";
import { startServer } from "./harness/server.mjs";
import { WITHIN_MS, acceptInvite, firstFrame, goLive, invite, waitSeat, watch } from "./harness/show.mjs";

/** What is promised where UDP is blocked, from opening the page to the first decoded frame. */
const PICTURE_WITHIN_MS = 2000;
const JOINS = 5;
/** `media.tcp_idle_ms`, the next look, and a slow machine. */
const GIVEN_BACK_WITHIN_MS = 15_000;

/** The pairs of a Chromium page's connection, "watching" or "publishing", the one in use first. */
const pairs = (page, connection) =>
  page.evaluate(async (name) => {
    const reports = await globalThis.greenroom[name].pc.getStats();
    const of = (type) => [...reports.values()].filter((report) => report.type === type);
    const selected = of("transport")[0]?.selectedCandidatePairId;
    return of("candidate-pair")
      .map(({ id, localCandidateId, remoteCandidateId, state, requestsSent, responsesReceived }) => ({
        used: id === selected,
        protocol: reports.get(localCandidateId)?.protocol,
        remote: `${reports.get(remoteCandidateId)?.address}:${reports.get(remoteCandidateId)?.port}`,
        // Ours is "tcp" for pseudo-TLS too.
        theirs: reports.get(remoteCandidateId)?.protocol,
        state,
        checks: `${responsesReceived} of ${requestsSent}`,
      }))
      .sort((one, other) => other.used - one.used);
  }, connection);

/** It goes by this protocol, or will in a moment: a browser changes to the better pair. */
async function goesBy(page, connection, protocol, theirs = protocol) {
  const until = performance.now() + WITHIN_MS;
  for (;;) {
    const found = await pairs(page, connection);
    if (found[0]?.used && found[0].protocol === protocol && found[0].theirs === theirs) return;
    assert.ok(performance.now() < until, `${connection}: ${JSON.stringify(found, null, 1)}`);
    await setTimeout(100);
  }
}

/** Init script of somebody whose firewall lets pass what begins like TLS: no other candidate comes to the browser. */
function onlyPseudoTls() {
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function passed({ type, sdp }) {
    const left = sdp.replace(/^a=candidate:\S+ \d+ (?:udp|tcp) .*\r\n/gm, "");
    return setRemoteDescription.call(this, { type, sdp: left });
  };
}

async function behindFirewall(browser, name) {
  const page = await person(browser, name);
  await page.addInitScript(onlyPseudoTls);
  return page;
}

/** Picture and sound of a seat arrive. */
async function flows(page, seat) {
  const picture = await frames(page, seat, 2500);
  assert.ok(picture.frames > 30, JSON.stringify(picture));
  const sound = await received(page, seat, "audio", 1500);
  assert.ok(sound.packets > 30, JSON.stringify(sound));
}

if (inside) {
  insideTests();
} else {
  test("where no UDP passes, everything goes over TCP", { timeout: 300_000 }, async (t) => {
    if (!possible()) {
      t.skip("needs unshare, ip and a TUN device, and the right to make a network namespace");
      return;
    }
    const { code, said } = await runInside(fileURLToPath(import.meta.url), (line) => t.diagnostic(line));
    assert.equal(code, 0, said);
  });
  test("where UDP passes it is used, and what was tried by TCP is given back", outsideTest);
}

async function outsideTest() {
  const server = await startServer();
  const chromium = await launchChromium();
  try {
    const host = await person(chromium, "Hanna");
    const room = await goLive(host, server.url);
    const viewer = await watch(await person(chromium, "Vera"), server.url, room);
    await flows(viewer, 0);
    await goesBy(viewer, "watching", "udp");
    await goesBy(host, "publishing", "udp");
    const until = performance.now() + GIVEN_BACK_WITHIN_MS;
    while ((await metric(server.url, "greenroom_tcp_connections")) > 0) {
      assert.ok(performance.now() < until, "TCP connections stay");
      await setTimeout(100);
    }
    await flows(viewer, 0);
    assert.equal(await metric(server.url, "greenroom_tcp_connections"), 0, "and stay away");
  } finally {
    await chromium.close();
    await server.stop();
  }
}

function insideTests() {
  let server;
  let chromium;
  let host;
  let room;
  before(async () => {
    server = await startServer();
    chromium = await launchChromium();
    host = await person(chromium, "Hanna");
    room = await goLive(host, server.url);
  });
  after(async () => {
    await chromium?.close();
    await server?.stop();
  });

  /** The median of some joins: a busy machine may spoil one. */
  async function seesInTime(t, page, name, show = `${server.url}/r/${room}`) {
    const times = [];
    for (let join = 0; join < JOINS; join += 1) {
      await page.goto(show);
      await firstFrame(page);
      times.push(await page.evaluate(() => globalThis.greenroomTimings));
    }
    const ms = median(times.map((steps) => steps.firstFrame));
    const steps = Object.entries(times.find((one) => one.firstFrame === ms));
    const said = steps.map(([step, at]) => `${step} ${Math.round(at)}`).join(", ");
    t.diagnostic(`MEASURED ${name}, picture over TCP, median of ${JOINS} joins, ms: ${said}`);
    assert.ok(ms <= PICTURE_WITHIN_MS, `${ms} ms`);
  }

  test("Chromium hosts and watches", async (t) => {
    const viewer = await person(chromium, "Vera");
    await seesInTime(t, viewer, "Chromium");
    await flows(viewer, 0);
    await goesBy(viewer, "watching", "tcp");
    await goesBy(host, "publishing", "tcp");
    await viewer.context().close();
  });

  test("a guest comes on stage", async () => {
    const guest = await person(chromium, "Gus");
    await watch(guest, server.url, room);
    await invite(host, "Gus");
    await acceptInvite(guest);
    await waitSeat(host, 1, "live");
    await flows(host, 1);
    await guest.context().close();
  });

  test("Firefox watches", async (t) => {
    const firefox = await launchFirefox();
    try {
      const viewer = await firefoxPerson(firefox, server.url, "Fritz");
      await seesInTime(t, viewer, "Firefox");
      await flows(viewer, 0);
    } finally {
      await firefox.close();
    }
  });

  test("where only what begins like TLS passes, Chromium hosts and watches by pseudo-TLS, if that is on", async (t) => {
    const greeting = await startServer(["--set", "media.tcp_hello=true"]);
    const firefox = await launchFirefox();
    try {
      const hidden = await behindFirewall(chromium, "Hilde");
      const show = `${greeting.url}/r/${await goLive(hidden, greeting.url)}`;
      const viewer = await behindFirewall(chromium, "Viktor");
      await seesInTime(t, viewer, "Chromium, pseudo-TLS", show);
      await flows(viewer, 0);
      await goesBy(viewer, "watching", "tcp", "ssltcp");
      await goesBy(hidden, "publishing", "tcp", "ssltcp");
      const hellos = await metric(greeting.url, "greenroom_tcp_hellos_total");
      assert.ok(hellos >= JOINS + 1, `${hellos} hellos`);
      assert.equal(await metric(greeting.url, 'greenroom_tcp_refused_total{reason="not_hello"}'), 0);
      assert.equal(await metric(greeting.url, "greenroom_datagrams_out_total"), 0);
      // Who has the choice takes plain TCP, and a browser that does not know the other is not disturbed.
      const free = await person(chromium, "Frida");
      await seesInTime(t, free, "Chromium, both", show);
      await goesBy(free, "watching", "tcp");
      const fritz = await firefoxPerson(firefox, greeting.url, "Fritz");
      await seesInTime(t, fritz, "Firefox, both", show);
      await flows(fritz, 0);
      assert.deepEqual([...hidden.problems, ...viewer.problems, ...free.problems], []);
      for (const page of [hidden, viewer, free]) await page.context().close();
    } finally {
      await firefox.close();
      await greeting.stop();
    }
  });

  test("no datagram left the server by UDP, and none was dropped", async () => {
    assert.equal(await metric(server.url, "greenroom_datagrams_out_total"), 0);
    assert.ok((await metric(server.url, "greenroom_tcp_messages_total")) > 100);
    assert.equal(await metric(server.url, 'greenroom_dropped_total{reason="tcp_buffer_full"}'), 0);
    assert.deepEqual(host.problems, []);
  });
}
