import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Every module that a page's script reaches, as URL paths. */
function graph(entry, seen = new Set()) {
  if (seen.has(entry)) return seen;
  seen.add(entry);
  const source = readFileSync(join(ROOT, entry), "utf8");
  for (const [, target] of source.matchAll(/^(?:import|export) (?:[^;]*? from )?"(\.[^"]+)";/gm)) {
    graph(join(dirname(entry), target), seen);
  }
  return seen;
}

// Without the list, modules load one level after the other: a round trip per level before the join.
for (const [page, entry] of [["studio.html", "/pages/studio.js"], ["room.html", "/pages/room.js"]]) {
  test(`${page} preloads exactly the modules it uses`, () => {
    const html = readFileSync(join(ROOT, page), "utf8");
    const listed = [...html.matchAll(/rel="modulepreload" href="([^"]+)"/g)].map((m) => m[1]);
    const used = [...graph(entry)].filter((m) => m !== entry);
    assert.deepEqual([...listed].sort(), used.sort());
  });
}
