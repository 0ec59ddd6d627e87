/**
 * Where the time of a join goes. Every mark is also a `performance.mark("greenroom:<name>")`;
 * `window.greenroomTimings` holds milliseconds since the first line of this module ran.
 */
const start = performance.now();

/** @type {Record<string, number>} */
export const timings = { scriptStart: 0 };

/**
 * Note the first time that something happened; later calls with the same name do nothing.
 *
 * @param {string} name
 */
export function mark(name) {
  if (name in timings) return;
  timings[name] = performance.now() - start;
  performance.mark(`greenroom:${name}`);
}

performance.mark("greenroom:scriptStart");
if (typeof window !== "undefined") window.greenroomTimings = timings;
