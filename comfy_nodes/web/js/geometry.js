/** Boxes, points and the window on the picture: pure functions on plain arrays, in pixels. */

/** The eight places where a box is taken hold of, as fractions of its width and height, and their cursors. */
export const HANDLES = {
  nw: [0, 0, "nwse-resize"],
  n: [0.5, 0, "ns-resize"],
  ne: [1, 0, "nesw-resize"],
  e: [1, 0.5, "ew-resize"],
  se: [1, 1, "nwse-resize"],
  s: [0.5, 1, "ns-resize"],
  sw: [0, 1, "nesw-resize"],
  w: [0, 0.5, "ew-resize"],
};

export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), Math.max(low, high));
}

export function contains(box, x, y) {
  return box !== null && x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
}

/** The index of the object with the smallest box around (x, y), or null. */
export function smallestBoxAt(objects, x, y) {
  const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
  let best = null;
  objects.forEach(({ box }, index) => {
    if (contains(box, x, y) && (best === null || area(box) < area(objects[best].box))) best = index;
  });
  return best;
}

/** The box between two opposite corners, whole pixels inside a picture of width × height. */
export function boxBetween([xa, ya], [xb, yb], width, height) {
  const x = [xa, xb].map((v) => clamp(Math.round(v), 0, width)).sort((a, b) => a - b);
  const y = [ya, yb].map((v) => clamp(Math.round(v), 0, height)).sort((a, b) => a - b);
  return [x[0], y[0], x[1], y[1]];
}

/** The box moved by (dx, dy), kept inside the picture at its own size. */
export function moveBox([x0, y0, x1, y1], dx, dy, width, height) {
  const x = clamp(Math.round(x0 + dx), 0, width - (x1 - x0));
  const y = clamp(Math.round(y0 + dy), 0, height - (y1 - y0));
  return [x, y, x + x1 - x0, y + y1 - y0];
}

/** The box with one handle moved by (dx, dy); it may be turned inside out, but never thinner than a pixel. */
export function resizeBox([x0, y0, x1, y1], handle, dx, dy, width, height) {
  const [fx, fy] = HANDLES[handle];
  const moved = [x0 + (fx === 0 ? dx : 0), y0 + (fy === 0 ? dy : 0), x1 + (fx === 1 ? dx : 0), y1 + (fy === 1 ? dy : 0)];
  const box = boxBetween([moved[0], moved[1]], [moved[2], moved[3]], width, height);
  if (box[2] === box[0]) box[0] < width ? (box[2] += 1) : (box[0] -= 1);
  if (box[3] === box[1]) box[1] < height ? (box[3] += 1) : (box[1] -= 1);
  return box;
}

/** A point on a pixel of the picture. */
export function clampPoint(x, y, width, height) {
  return [clamp(Math.round(x), 0, width - 1), clamp(Math.round(y), 0, height - 1)];
}

// The window on the picture: screen = picture * scale + offset, screen in CSS pixels of the canvas.

const MARGIN = 12;
const MAX_SCALE = 32;

/** The whole picture in the middle of a canvas of w × h. */
export function fitWindow(width, height, w, h) {
  const scale = Math.min(Math.max(w - 2 * MARGIN, 1) / width, Math.max(h - 2 * MARGIN, 1) / height, MAX_SCALE);
  return { scale, x: (w - width * scale) / 2, y: (h - height * scale) / 2 };
}

/** Zoom by `factor`, so that what is at screen point (px, py) stays there; never smaller than the whole picture. */
export function zoomWindow(window, factor, px, py, width, height, w, h) {
  const fit = fitWindow(width, height, w, h);
  const scale = clamp(window.scale * factor, fit.scale, MAX_SCALE);
  if (scale === fit.scale) return fit;
  const ratio = scale / window.scale;
  return panWindow({ scale, x: px - (px - window.x) * ratio, y: py - (py - window.y) * ratio }, 0, 0, width, height, w, h);
}

/** Move the window; a picture smaller than the canvas stays in the middle, a larger one never leaves it. */
export function panWindow({ scale, x, y }, dx, dy, width, height, w, h) {
  const along = (offset, picture, canvas) =>
    picture + 2 * MARGIN <= canvas ? (canvas - picture) / 2 : clamp(offset, canvas - picture - MARGIN, MARGIN);
  return { scale, x: along(x + dx, width * scale, w), y: along(y + dy, height * scale, h) };
}

export function toPicture({ scale, x, y }, [sx, sy]) {
  return [(sx - x) / scale, (sy - y) / scale];
}

export function toScreen({ scale, x, y }, [px, py]) {
  return [px * scale + x, py * scale + y];
}
