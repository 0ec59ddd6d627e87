/** The server's own counters. */

/** Sum of a metric over its labels. @param {string} url @param {string} name */
export async function metric(url, name) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const values = text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}
