import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchChromium, person } from "./harness/browsers.mjs";
import { startServer } from "./harness/server.mjs";
import { goLive, watch } from "./harness/show.mjs";

let server;
let chromium;
let host;
let viewer;

before(async () => {
  server = await startServer();
  chromium = await launchChromium();
  host = await person(chromium, "Hanna");
  viewer = await person(chromium, "Vera");
  await watch(viewer, server.url, await goLive(host, server.url));
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

const coins = () => viewer.evaluate(async () => (await globalThis.greenroom.wallet()).coins);

test("a gift from the tray is debited once and everybody sees it", async () => {
  const before = await coins();
  await viewer.getByRole("button", { name: "Send a gift" }).click();
  await viewer.click('[data-gift="sunflower"]');
  await viewer.locator(".tray-foot .button").click();
  await host.locator(".gift-toast", { hasText: "Vera" }).waitFor();
  await viewer.locator(".gift-toast", { hasText: "Sunflower" }).waitFor();
  assert.equal(await coins(), before - 10);
  await viewer.keyboard.press("Escape");
});

test("the same gift over the data channel and the WebSocket is one gift", async () => {
  await viewer.waitForFunction(() => globalThis.greenroom.carrier.channelOpen);
  const before = await coins();
  const receipts = await viewer.evaluate(async () => {
    const client = globalThis.greenroom;
    const gift = { key: "both-carriers", giftId: "sunflower", price: 10, count: 3, to: 0 };
    const overChannel = await client.carrier.send("gift.send", gift);
    client.carrier.useChannel(null);
    const overSocket = await client.carrier.send("gift.send", gift);
    return [overChannel, overSocket];
  });
  assert.deepEqual(receipts[0], receipts[1], "the stored reply, again");
  assert.equal(await coins(), before - 30);
});

test("both carriers at the same moment: still one gift", async () => {
  const before = await coins();
  const transfers = await viewer.evaluate(async () => {
    const client = globalThis.greenroom;
    client.carrier.useChannel(client.watching.channel("gifts"));
    const gift = { key: "at-once", giftId: "donut", price: 15, count: 1, to: 0 };
    const both = await Promise.all([client.carrier.send("gift.send", gift), client.request("gift.send", gift)]);
    return both.map((receipt) => receipt.transferId);
  });
  assert.equal(transfers[0], transfers[1]);
  assert.equal(await coins(), before - 15);
});

test("a gift that is too dear, at a wrong price or to oneself is refused by name", async () => {
  const refusals = await viewer.evaluate(async () => {
    const send = (gift) => globalThis.greenroom.sendGift(gift).then(() => "sent", (refusal) => refusal.code);
    return [
      await send({ giftId: "evergreen", price: 10_000, count: 900, to: 0 }),
      await send({ giftId: "sunflower", price: 9, to: 0 }),
      await send({ giftId: "sunflower", price: 10, to: 5 }),
      await send({ giftId: "no_such_gift", price: 10, to: 0 }),
    ];
  });
  assert.deepEqual(refusals, ["insufficient_funds", "price_changed", "recipient_gone", "gift_unavailable"]);
});
