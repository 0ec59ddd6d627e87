/** `node forward.mjs ADDRESS PORT`: carries TCP connections to ADDRESS:PORT on to 127.0.0.1:PORT until stdin ends. */
import { connect, createServer } from "node:net";

const [address, port] = process.argv.slice(2);
const server = createServer((from) => {
  const to = connect(Number(port), "127.0.0.1");
  from.pipe(to).pipe(from);
  const end = () => {
    from.destroy();
    to.destroy();
  };
  from.on("error", end).on("close", end);
  to.on("error", end).on("close", end);
});
server.listen(Number(port), address, () => console.log("listening"));
process.stdin.on("end", () => process.exit()).resume();
