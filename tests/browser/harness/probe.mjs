/**
 * UDP in a namespace, for the test of the link:
 *
 * - `node probe.mjs echo ADDRESS PORT` sends back what comes, until stdin ends;
 * - `node probe.mjs ask ADDRESS PORT COUNT BYTES EVERY_MS AT_ONCE` sends that many datagrams and
 *   prints `{rtts, arrivals}` in milliseconds, a second and a half after the last was sent.
 */
import { createSocket } from "node:dgram";

const [mode, address, port, ...numbers] = process.argv.slice(2);
const [count, bytes, everyMs, atOnce] = numbers.map(Number);
const LAST_MS = 1500;
const BUFFER = 4 << 20;

if (mode === "echo") {
  const socket = createSocket({ type: "udp4", recvBufferSize: BUFFER, sendBufferSize: BUFFER });
  socket.on("message", (message, from) => socket.send(message, from.port, from.address));
  socket.bind(Number(port), address, () => console.log("listening"));
  process.stdin.on("end", () => process.exit()).resume();
} else {
  const socket = createSocket({ type: "udp4", recvBufferSize: BUFFER, sendBufferSize: BUFFER });
  const sentAt = [];
  const rtts = [];
  const arrivals = [];
  socket.on("message", (message) => {
    const now = performance.now();
    rtts.push(now - sentAt[message.readUInt32BE(0)]);
    arrivals.push(now);
  });
  socket.on("error", (error) => console.error(error.message));
  const timer = setInterval(() => {
    for (let i = 0; i < atOnce && sentAt.length < count; i += 1) {
      const message = Buffer.alloc(bytes);
      message.writeUInt32BE(sentAt.length, 0);
      sentAt.push(performance.now());
      socket.send(message, Number(port), address);
    }
    if (sentAt.length < count) return;
    clearInterval(timer);
    setTimeout(() => {
      console.log(JSON.stringify({ rtts, arrivals }));
      process.exit();
    }, LAST_MS);
  }, everyMs);
}
