// What is behind a cut-out: a checkerboard, a colour, another picture, or the picture itself, blurred.

const BLURRED = 640; // longer side of the blurred copy

/** The picture's levels -> a blurred copy of it, as a canvas. */
export function blurred(levels, strength) {
  const source = levels.find((level) => Math.max(level.width, level.height) <= 2 * BLURRED) ?? levels.at(-1);
  const scale = Math.min(1, BLURRED / Math.max(source.width, source.height));
  const width = Math.max(1, Math.round(source.width * scale)), height = Math.max(1, Math.round(source.height * scale));
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  const radius = strength * Math.max(width, height), edge = Math.ceil(2 * radius);
  context.filter = `blur(${radius}px)`;
  // Beyond its edges the picture goes on as its own mirror image, or they would darken.
  for (const [across, x] of [[-1, 0], [1, 0], [-1, 2 * width]]) {
    for (const [down, y] of [[-1, 0], [1, 0], [-1, 2 * height]]) {
      if ((across < 0 && edge < 1) || (down < 0 && edge < 1)) continue;
      context.setTransform(across, 0, 0, down, x, y);
      context.drawImage(source, 0, 0, width, height);
    }
  }
  return canvas;
}

/** A backdrop as a composite's background: a colour, or the id of a picture that is uploaded for it. */
export async function background(backdrop, api, signal) {
  if (backdrop.kind === "colour") return backdrop.colour;
  const file = backdrop.file ?? await backdrop.image.convertToBlob({ type: "image/png" });
  return (await api.upload(file, backdrop.fileKind ?? "image/png", signal)).image;
}
