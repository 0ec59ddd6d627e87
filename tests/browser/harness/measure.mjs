/** What really arrives: decoded frames, sound energy and packets, never flags. */
import assert from "node:assert/strict";

/** Frames of a seat's tile over `ms`: `{frames, maxGapMs}` by `requestVideoFrameCallback`. */
export function frames(page, seat, ms) {
  return page.evaluate(
    ([k, during]) =>
      new Promise((resolve) => {
        const video = document.querySelector(`.tile[data-seat="${k}"] video`);
        const start = performance.now();
        let last = start;
        let count = 0;
        let maxGapMs = 0;
        const note = () => {
          const now = performance.now();
          maxGapMs = Math.max(maxGapMs, now - last);
          last = now;
        };
        const next = () => {
          count += 1;
          note();
          video.requestVideoFrameCallback(next);
        };
        video?.requestVideoFrameCallback(next);
        setTimeout(() => {
          note();
          resolve({ frames: count, maxGapMs, width: video?.videoWidth ?? 0 });
        }, during);
      }),
    [seat, ms],
  );
}

/** Look at the picture of the host, or of another seat, for `ms` each time, until it is as `expected`; so many times at most. */
export async function shown(page, ms, times, expected, seat = 0) {
  const all = [];
  while (all.length < times) {
    const seen = await frames(page, seat, ms);
    if (expected(seen)) return;
    all.push(seen);
  }
  assert.fail(JSON.stringify(all));
}

/** Growth over `ms` of what the watch connection received for a seat and kind. */
export function received(page, seat, kind, ms) {
  return page.evaluate(
    async ([k, of, during]) => {
      const mid = `${of[0]}${k}`;
      const read = async () => {
        for (const report of (await globalThis.greenroom.watching.pc.getStats()).values()) {
          if (report.type === "inbound-rtp" && report.mid === mid) return report;
        }
        return {};
      };
      const before = await read();
      await new Promise((resolve) => {
        setTimeout(resolve, during);
      });
      const after = await read();
      const growth = (name) => (after[name] ?? 0) - (before[name] ?? 0);
      return {
        packets: growth("packetsReceived"),
        bytes: growth("bytesReceived"),
        frames: growth("framesDecoded"),
        energy: growth("totalAudioEnergy"),
        keyFrames: growth("keyFramesDecoded"),
        // Of sound: what came too late or had come before.
        discarded: growth("packetsDiscarded"),
      };
    },
    [seat, kind, ms],
  );
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
