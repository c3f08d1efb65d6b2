// Scaled copies, each half as large as the one before: what is drawn is at most twice as large as the screen shows it.

export const SIDE = 512; // of a tile

/** Sizes of the levels of a picture, the picture itself first, until one fits into a tile. */
export function sizes(width, height) {
  const levels = [{ width, height }];
  while (Math.max(width, height) > SIDE) {
    width = Math.ceil(width / 2);
    height = Math.ceil(height / 2);
    levels.push({ width, height });
  }
  return levels;
}

/** The level for a scale (screen pixels for one of the picture's): the smallest that is no smaller than shown. */
export function levelFor(scale, count) {
  return Math.min(Math.max(Math.floor(Math.log2(1 / scale) + 1e-6), 0), count - 1);
}

/** Bytes of height × width pixels -> means of 2 × 2 of them; a last odd row or column counts twice. */
export function halved(bytes, width, height) {
  const w = Math.ceil(width / 2), h = Math.ceil(height / 2);
  const result = new Uint8Array(w * h);
  for (let y = 0; y < h; y++) {
    const above = 2 * y * width, below = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0, k = y * w; x < w; x++, k++) {
      const left = 2 * x, right = left + 1 < width ? left + 1 : left;
      result[k] = (bytes[above + left] + bytes[above + right] + bytes[below + left] + bytes[below + right] + 2) >> 2;
    }
  }
  return result;
}

/** A picture (ImageBitmap) with its scaled copies. */
export async function pictureLevels(bitmap) {
  const levels = [bitmap];
  for (const { width, height } of sizes(bitmap.width, bitmap.height).slice(1)) {
    const half = new OffscreenCanvas(width, height), context = half.getContext("2d");
    context.imageSmoothingQuality = "low"; // bilinear: at one half just the means of 2 × 2 pixels
    context.drawImage(levels.at(-1), 0, 0, width, height);
    levels.push(half.transferToImageBitmap());
    await new Promise((resolve) => setTimeout(resolve)); // so that the page stays alive in between
  }
  return levels;
}
