import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchChromium, person } from "./harness/browsers.mjs";
import { coturnInstalled, startCoturn } from "./harness/coturn.mjs";
import { frames } from "./harness/measure.mjs";
import { startServer } from "./harness/server.mjs";
import { WITHIN_MS, goLive, watch } from "./harness/show.mjs";

const SECRET = "a secret of coturn and Greenroom";

/** Init script of somebody whose network lets nothing through but TURN; what its gathering failed with is kept. */
function onlyRelayed() {
  globalThis.iceErrors = [];
  const Original = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Original {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: "relay" });
      this.addEventListener("icecandidateerror", ({ errorCode, errorText, url }) => {
        globalThis.iceErrors.push({ errorCode, errorText, url });
      });
    }
  };
}

async function relayed(browser, name) {
  const page = await person(browser, name);
  await page.addInitScript(onlyRelayed);
  return page;
}

/** The candidates of the pair in use of a page's connection, "watching" or "publishing". */
const pairInUse = (page, connection) =>
  page.evaluate(async (name) => {
    const reports = await globalThis.greenroom[name].pc.getStats();
    const transport = [...reports.values()].find(({ type }) => type === "transport");
    const pair = reports.get(transport.selectedCandidatePairId);
    return { local: reports.get(pair.localCandidateId).candidateType, remote: reports.get(pair.remoteCandidateId).candidateType };
  }, connection);

// Missing only where `scripts/test` did not run: it installs it.
const skip = !coturnInstalled() && "coturn is not installed";
if (skip) console.error(`\n!!! NOT TESTED: ${skip} !!!\n`);

let coturn;
let chromium;
before(async () => {
  if (skip) return;
  coturn = await startCoturn(SECRET);
  chromium = await launchChromium();
});
after(async () => {
  await chromium?.close();
  await coturn?.stop();
});

/** A server that hands out our coturn with credentials made of this secret. */
const serverWith = (secret) => startServer(["--set", `media.turn_urls=${coturn.url}`, "--set", `media.turn_secret=${secret}`]);

test("host and viewer who reach nothing but a TURN server have picture and sound", { skip, timeout: 120_000 }, async () => {
  const server = await serverWith(SECRET);
  try {
    const host = await relayed(chromium, "Hanna");
    const room = await goLive(host, server.url);
    const viewer = await watch(await relayed(chromium, "Vera"), server.url, room);
    const picture = await frames(viewer, 0, 2500);
    assert.ok(picture.frames > 30, JSON.stringify(picture));
    for (const [page, connection] of [[viewer, "watching"], [host, "publishing"], [host, "watching"]]) {
      assert.equal((await pairInUse(page, connection)).local, "relay", connection);
    }
    assert.ok(!server.log.some((line) => line.includes(SECRET)), "the secret is not logged");
    await viewer.context().close();
    await host.context().close();
  } finally {
    await server.stop();
  }
});

test("credentials of another secret are refused by the TURN server, and nothing comes", { skip, timeout: 120_000 }, async () => {
  const server = await serverWith("a secret that coturn does not know");
  try {
    const host = await person(chromium, "Hanna");
    const room = await goLive(host, server.url);
    const viewer = await relayed(chromium, "Vera");
    await viewer.goto(`${server.url}/r/${room}`);
    await viewer.waitForFunction(() => globalThis.iceErrors.length > 0, null, { timeout: WITHIN_MS });
    const [error] = await viewer.evaluate(() => globalThis.iceErrors);
    assert.equal(error.errorCode, 401, JSON.stringify(error));
    assert.equal(error.url.split("?")[0], coturn.url, JSON.stringify(error));
    // The room is there all the same: joined, told of the host, without a picture.
    const { connection, frame, local } = await viewer.evaluate(() => ({
      connection: globalThis.greenroom.connection,
      frame: globalThis.greenroomTimings?.firstFrame ?? null,
      local: globalThis.greenroom.watching.pc.iceConnectionState,
    }));
    assert.equal(connection, "connected");
    assert.equal(frame, null);
    assert.notEqual(local, "connected");
    await host.context().close();
    await viewer.context().close();
  } finally {
    await server.stop();
  }
});
