import { closeSync, openSync, writeSync } from "node:fs";

const [WIDTH, HEIGHT, FPS] = [640, 360, 30];
/** The texture is round again after so many frames, so that the loop has no cut. */
const STEP = 8;
const FRAMES = WIDTH / STEP;
/** Of 256 levels: what makes the encoder spend its whole bitrate, as a dim room does. */
const NOISE = 24;

/**
 * A film for Chromium's fake camera (`--use-file-for-fake-video-capture`) that is as hard to encode
 * as a moving person in bad light: a texture that passes by, with fresh noise in each frame. The
 * built-in picture takes 0.3 Mbit/s, which no network here would notice.
 *
 * @param {string} path where to write it, 28 MB of YUV4MPEG2
 */
export function writeFilm(path) {
  // Any fixed sequence: xorshift32.
  let state = 0x9e3779b9;
  const random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const texture = Uint8Array.from({ length: (WIDTH / 8) * (HEIGHT / 8) }, () => 64 + (random() & 127));
  const file = openSync(path, "w");
  writeSync(file, `YUV4MPEG2 W${WIDTH} H${HEIGHT} F${FPS}:1 Ip A1:1 C420jpeg\n`);
  const picture = new Uint8Array((WIDTH * HEIGHT * 3) / 2).fill(128);
  for (let frame = 0; frame < FRAMES; frame += 1) {
    for (let y = 0; y < HEIGHT; y += 1) {
      const row = (y >> 3) * (WIDTH / 8);
      for (let x = 0; x < WIDTH; x += 1) {
        const passed = (x + frame * STEP) % WIDTH;
        picture[y * WIDTH + x] = texture[row + (passed >> 3)] + (random() % NOISE);
      }
    }
    writeSync(file, "FRAME\n");
    writeSync(file, picture);
  }
  closeSync(file);
}
