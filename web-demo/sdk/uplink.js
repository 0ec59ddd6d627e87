/**
 * The least that a browser is to send, kbit/s: sound in RED (100), the smallest layer and its repairs; with 200 the picture
 * had 30 of it. Trade: where packets are lost by chance, Chromium cannot tell that from a network that is too narrow, and its
 * estimate falls without end, at 30 % to a picture a second. A network that takes even less than this loses sound as well,
 * where it would have had sound and a slide show.
 */
const LEAST_KBPS = 300;

/**
 * The server's answer with a floor for the browser's estimate, where it knows one (`x-google-min-bitrate` of libwebrtc, a
 * parameter of each video codec). Others ignore it.
 *
 * @param {string} sdp
 */
export function withLeastRate(sdp) {
  const codecs = [...sdp.matchAll(/^a=rtpmap:(\d+) (?:VP8|VP9|H264|AV1)\/90000\r?$/gm)].map(([, pt]) => pt);
  return codecs.reduce((text, pt) => {
    const known = new RegExp(`^(a=fmtp:${pt} [^\\r\\n]*)`, "m");
    const floor = `x-google-min-bitrate=${LEAST_KBPS}`;
    if (known.test(text)) return text.replace(known, `$1;${floor}`);
    return text.replace(new RegExp(`^(a=rtpmap:${pt} [^\\r\\n]*)(\\r?\\n)`, "m"), `$1$2a=fmtp:${pt} ${floor}$2`);
  }, sdp);
}
