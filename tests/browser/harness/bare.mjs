/** Viewers on an empty page: the SDK and a `<video>`, so that nothing else is drawn or measured. */

/** What another developer's page would have from its own server. */
export async function viewerToken(url, room) {
  const response = await fetch(`${url}/v1/tokens`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ room, role: "viewer", name: "Bare" }),
  });
  return { room, token: (await response.json()).token };
}

/** Any page of the server's origin without a page's own script. */
export async function bare(page, url) {
  await page.goto(`${url}/healthz`);
  return page;
}

/**
 * In the page: join anew as `name` and note every frame that is shown, with the time its picture says it was
 * made at (`STAMPED`). Resolves at the first one. All times are milliseconds since the epoch.
 */
export async function joinAndNote({ room, token, name }) {
  const BITS = 16;
  const viewers = (globalThis.viewers ??= {});
  viewers[name]?.client.close();
  viewers[name]?.video.remove();
  const begun = performance.timeOrigin + performance.now();
  const { GreenroomClient } = await import("/sdk/index.js");
  const client = new GreenroomClient({ room, token });
  const video = document.createElement("video");
  document.body.append(video);
  const canvas = new OffscreenCanvas(BITS, 1).getContext("2d", { willReadFrequently: true });
  canvas.imageSmoothingEnabled = false;
  const frames = [];
  viewers[name] = { client, video, begun, frames };
  const note = (now) => {
    const shown = performance.timeOrigin + now;
    const { videoWidth, videoHeight } = video;
    canvas.drawImage(video, 0, 0, videoWidth, videoHeight / 9, 0, 0, BITS, 1);
    const { data } = canvas.getImageData(0, 0, BITS, 1);
    let made = 0;
    for (let bit = 0; bit < BITS; bit += 1) made |= Number(data[4 * bit] > 127) << bit;
    // Sixteen bits, signed: clocks of two processes may differ by a little.
    frames.push({ shown, lag: ((Math.round(shown) - made) << 16) >> 16 });
    video.requestVideoFrameCallback(note);
  };
  client.attach(0, video);
  await new Promise((resolve, reject) => {
    video.requestVideoFrameCallback((now) => resolve(note(now)));
    client.connect().catch(reject);
    setTimeout(() => reject(new Error("no frame")), 10_000);
  });
}

/** In the page: `{begun, frames}` of a viewer of `joinAndNote` up to now. */
export function notedFrames(name) {
  const { begun, frames } = globalThis.viewers[name];
  return { begun, frames };
}

/** In the page: what a viewer's receiver of the host's video counts. */
export async function videoReceiver(name) {
  for (const report of (await globalThis.viewers[name].client.watching.pc.getStats()).values()) {
    if (report.type === "inbound-rtp" && report.mid === "v0") return { ...report };
  }
  return null;
}
