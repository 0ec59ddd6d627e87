/**
 * Carries TCP connections to 127.0.0.1:PORT:
 *
 * - `node forward.mjs ADDRESS PORT` those that come to ADDRESS:PORT, until stdin ends;
 * - `node forward.mjs - PORT` a single one, by stdin and stdout.
 */
import { connect, createServer } from "node:net";

const [address, port] = process.argv.slice(2);

function forward(from) {
  const to = connect(Number(port), "127.0.0.1");
  from.pipe(to).pipe(from);
  const end = () => {
    from.destroy();
    to.destroy();
  };
  from.on("error", end).on("close", end);
  to.on("error", end).on("close", end);
}

if (address === "-") {
  const to = connect(Number(port), "127.0.0.1");
  process.stdin.pipe(to).pipe(process.stdout);
  to.on("error", () => process.exit(1)).on("close", () => process.exit());
} else {
  createServer(forward).listen(Number(port), address, () => console.log("listening"));
  process.stdin.on("end", () => process.exit()).resume();
}
