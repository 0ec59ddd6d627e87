/**
 * Where tiles go. A layout is data: the page, the SDK's users and a recorder ask the same pure
 * function, so that all of them agree.
 *
 * @typedef {{x: number, y: number, w: number, h: number}} Rect
 */

/** Tiles narrower than this in a strip are hard to see and to tap: the strip gets a second row. */
const MIN_STRIP_TILE = 110;

/**
 * Rectangles for `n` tiles in a box of `w` x `h`, the first one being the host.
 *
 * 1 full; 2 split; 3 host large and two; 4 grid; 5-6 host large and a strip; 7-9 grid of three
 * columns. The box decides between upright and wide.
 *
 * @param {number} n 0-9; more are treated as 9
 * @param {number} w
 * @param {number} h
 * @param {number} [gap] space between tiles, same unit as `w`
 * @returns {Rect[]}
 */
export function layout(n, w, h, gap = 0) {
  const count = Math.max(0, Math.min(9, Math.floor(n)));
  const box = { x: 0, y: 0, w, h };
  if (count === 0 || w <= 0 || h <= 0) return [];
  if (count === 1) return [box];
  if (count === 2) return w >= h * 0.75 ? row(box, 2, gap) : column(box, 2, gap);
  if (count === 3) return hostAndTwo(box, gap);
  if (count === 4) return grid(box, 4, 2, gap);
  if (count <= 6) return hostAndStrip(box, count - 1, gap);
  return grid(box, count, 3, gap);
}

/** @returns {Rect[]} */
function hostAndTwo(box, gap) {
  if (box.w > box.h) {
    const [host, side] = cutRight(box, box.w / 3, gap);
    return [host, ...column(side, 2, gap)];
  }
  const [host, below] = cutBottom(box, box.h * 0.4, gap);
  return [host, ...row(below, 2, gap)];
}

/** @returns {Rect[]} */
function hostAndStrip(box, others, gap) {
  if (box.w > box.h) {
    const ideal = (box.h / others) * (4 / 3);
    const [host, side] = cutRight(box, clamp(ideal, box.w * 0.16, box.w * 0.34), gap);
    return [host, ...column(side, others, gap)];
  }
  const columns = box.w / others < MIN_STRIP_TILE ? Math.ceil(others / 2) : others;
  const rows = Math.ceil(others / columns);
  const ideal = (box.w / columns) * rows * (5 / 4);
  const [host, below] = cutBottom(box, clamp(ideal, box.h * 0.2, box.h * 0.5), gap);
  return [host, ...grid(below, others, columns, gap)];
}

/** Rows of `columns`; a short last row is stretched. @returns {Rect[]} */
function grid(box, n, columns, gap) {
  const rows = Math.ceil(n / columns);
  return column(box, rows, gap).flatMap((line, i) =>
    row(line, Math.min(columns, n - i * columns), gap),
  );
}

/** @returns {Rect[]} */
function row({ x, y, w, h }, n, gap) {
  const each = (w - gap * (n - 1)) / n;
  return Array.from({ length: n }, (_, i) => ({ x: x + i * (each + gap), y, w: each, h }));
}

/** @returns {Rect[]} */
function column({ x, y, w, h }, n, gap) {
  const each = (h - gap * (n - 1)) / n;
  return Array.from({ length: n }, (_, i) => ({ x, y: y + i * (each + gap), w, h: each }));
}

function cutRight({ x, y, w, h }, part, gap) {
  const left = w - part - gap;
  return [
    { x, y, w: left, h },
    { x: x + left + gap, y, w: part, h },
  ];
}

function cutBottom({ x, y, w, h }, part, gap) {
  const top = h - part - gap;
  return [
    { x, y, w, h: top },
    { x, y: y + top + gap, w, h: part },
  ];
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
