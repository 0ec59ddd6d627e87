/** Below this not even speech gets through. */
const POOR_KBPS = 40;
/** Below this a picture stutters. */
const POOR_FPS = 10;
/** Above this people talk over each other. */
const LONG_RTT_MS = 250;

/** Before the first measurement: neither good nor bad. */
export const STARTING = { level: "starting", text: "Starting…", title: "Measuring what you send" };

/**
 * How well the host's media leaves, for the pill in the studio's bar.
 *
 * @param {import("../sdk/greenroom.d.ts").PublishHealth} stats
 * @param {boolean} pictured whether a picture is meant to leave too
 * @returns {{level: "starting" | "good" | "fair" | "poor", text: string, title: string}}
 */
export function health({ kbps, fps, width, height, rttMs, limitedBy }, pictured) {
  if (kbps === null) return STARTING;
  const poor = kbps < POOR_KBPS || (pictured && fps < POOR_FPS);
  const fair = (rttMs ?? 0) > LONG_RTT_MS || limitedBy === "bandwidth";
  return {
    level: poor ? "poor" : fair ? "fair" : "good",
    text: kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${kbps} kbit/s`,
    title: `${width}×${height}, ${fps} fps${rttMs === null ? "" : `, ${rttMs} ms`}`,
  };
}
