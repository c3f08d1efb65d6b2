/** Draws the picture and the prompt on it. */
import { HANDLES, toScreen } from "./geometry.js";

const OBJECT_COLOURS = ["#4aa8ff", "#ffb02e", "#c77dff", "#2ee6c5", "#ff7d9c", "#b6e33d", "#ff8f4a", "#d7dee8"];
const POINT_COLOURS = { 1: "#16a34a", 0: "#dc2626" };
const SHADE = "rgba(0, 0, 0, 0.6)";
const SMOOTH_UNTIL = 4;
const STROKE_COLOURS = { 1: "rgba(34, 197, 94, 0.45)", 0: "rgba(240, 82, 82, 0.45)" };
const OUTSIDE = [10, 12, 16, 0.72]; // what is over a picture where its matte is 0

export function colourOf(object) {
  return OBJECT_COLOURS[object % OBJECT_COLOURS.length];
}

/**
 * Draw everything. scene: {w, h} the canvas in CSS pixels, image (or null) at width × height picture pixels, the veil
 * of its matte (or null), window, state, draft (the box being drawn, or null) with the object it will belong to, line
 * (the stroke being drawn, or null), cross (the keyboard's place, or null), brush (where it is, and how wide, or null).
 */
export function drawScene(ctx, { w, h, image, veil, width, height, window, state, draft, line, cross, brush }) {
  ctx.clearRect(0, 0, w, h);
  if (!image) return;
  ctx.imageSmoothingEnabled = window.scale < SMOOTH_UNTIL;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(image, window.x, window.y, width * window.scale, height * window.scale);
  if (veil) ctx.drawImage(veil, window.x, window.y, width * window.scale, height * window.scale);
  const order = state.prompt.objects.map((_, index) => index).sort((a, b) => (a === state.active) - (b === state.active));
  for (const index of order) drawObject(ctx, window, state, index, Boolean(veil));
  if (draft) drawDraft(ctx, window, draft);
  if (line) drawStroke(ctx, window, line, true);
  if (brush) drawBrush(ctx, window, brush);
  if (cross) drawCross(ctx, toScreen(window, cross));
}

function drawObject(ctx, window, { prompt, active, selected }, index, veiled) {
  const { box, points, strokes } = prompt.objects[index];
  const isActive = index === active;
  const isSelected = (part, at) => selected?.object === index && selected.part === part && selected.index === at;
  ctx.globalAlpha = isActive ? 1 : 0.75;
  strokes.forEach((stroke, at) => drawStroke(ctx, window, stroke, isSelected("stroke", at)));
  if (box) drawBox(ctx, window, box, colourOf(index), isActive, isSelected("box"), isActive && !veiled);
  points.forEach(([x, y, label], at) => {
    drawPoint(ctx, toScreen(window, [x + 0.5, y + 0.5]), label, colourOf(index), isActive, isSelected("point", at));
  });
  const first = points[0] ?? strokes[0]?.points[0];
  const corner = box ? toScreen(window, box) : first ? toScreen(window, first).map((v) => v + 9) : null;
  if (corner) drawTag(ctx, corner, index, box !== null);
  ctx.globalAlpha = 1;
}

function drawBox(ctx, window, box, colour, isActive, isSelected, isFilled) {
  const [x0, y0] = toScreen(window, box);
  const [x1, y1] = toScreen(window, [box[2], box[3]]);
  if (isFilled) {
    ctx.fillStyle = `${colour}1f`;
    ctx.fillRect(x0, y0, x1 - x0, y1 - y0);
  }
  const line = isActive ? 2.5 : 1.5;
  outlined(ctx, colour, line, () => ctx.rect(x0, y0, x1 - x0, y1 - y0));
  if (!isActive) return;
  for (const [fx, fy] of Object.values(HANDLES)) {
    const [x, y] = [x0 + fx * (x1 - x0), y0 + fy * (y1 - y0)];
    ctx.beginPath();
    ctx.rect(x - 4, y - 4, 8, 8);
    ctx.fillStyle = isSelected ? colour : "#ffffff";
    ctx.fill();
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = isSelected ? "#ffffff" : colour;
    ctx.stroke();
  }
}

/** A disc with a plus or a minus: the sign tells, not the colour alone. */
function drawPoint(ctx, [x, y], label, colour, isActive, isSelected) {
  const r = isActive ? 7 : 5.5;
  const disc = (radius, fill) => {
    ctx.beginPath();
    ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.fillStyle = fill;
    ctx.fill();
  };
  if (isSelected) disc(r + 6, "rgba(255, 255, 255, 0.45)");
  disc(r + 3.5, SHADE);
  disc(r + 2.5, isSelected ? "#ffffff" : colour);
  disc(r, POINT_COLOURS[label]);
  ctx.fillStyle = "#ffffff";
  ctx.fillRect(x - r / 2, y - 0.9, r, 1.8);
  if (label) ctx.fillRect(x - 0.9, y - r / 2, 1.8, r);
}

/** The object's number: above its box's corner (inside where there is no room above), or beside its first point. */
function drawTag(ctx, [x, y], index, onBox) {
  const text = String(index + 1);
  ctx.font = "600 11px system-ui, sans-serif";
  const wide = Math.max(16, ctx.measureText(text).width + 9);
  const top = !onBox ? y : y >= 22 ? y - 20 : y + 6;
  const left = onBox && y < 22 ? x + 6 : x - (onBox ? 1 : 0);
  ctx.beginPath();
  ctx.roundRect(left, top, wide, 15, 3);
  ctx.fillStyle = colourOf(index);
  ctx.fill();
  ctx.fillStyle = "#10141a";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillText(text, left + wide / 2, top + 8);
}

function drawDraft(ctx, window, { box, object }) {
  const [x0, y0] = toScreen(window, box);
  const [x1, y1] = toScreen(window, [box[2], box[3]]);
  ctx.setLineDash([6, 4]);
  outlined(ctx, colourOf(object), 2, () => ctx.rect(x0, y0, x1 - x0, y1 - y0));
  ctx.setLineDash([]);
  const text = `${box[2] - box[0]} × ${box[3] - box[1]}`;
  ctx.font = "11px system-ui, sans-serif";
  const wide = ctx.measureText(text).width + 10;
  ctx.fillStyle = "rgba(0, 0, 0, 0.7)";
  ctx.beginPath();
  ctx.roundRect(x1 - wide, y1 + 5, wide, 17, 3);
  ctx.fill();
  ctx.fillStyle = "#ffffff";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillText(text, x1 - wide / 2, y1 + 14);
}

/** A stroke, or with a width of 0 the area that it goes around; a pattern of lines would hide what is under it. */
function drawStroke(ctx, window, { points, width, label }, isSelected) {
  const places = points.map((point) => toScreen(window, point));
  ctx.beginPath();
  places.forEach(([x, y], index) => (index ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  if (places.length === 1) ctx.lineTo(places[0][0] + 0.01, places[0][1]);
  ctx.lineCap = "round";
  ctx.lineJoin = "round";
  if (width) {
    ctx.lineWidth = Math.max(width * window.scale, 1.5);
    ctx.strokeStyle = STROKE_COLOURS[label];
    ctx.stroke();
  } else {
    ctx.closePath();
    ctx.fillStyle = STROKE_COLOURS[label];
    ctx.fill("evenodd");
  }
  if (!width || isSelected) {
    ctx.setLineDash(isSelected ? [] : [5, 4]);
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = isSelected ? "#ffffff" : POINT_COLOURS[label];
    ctx.stroke();
    ctx.setLineDash([]);
  }
  ctx.lineCap = "butt";
  ctx.lineJoin = "miter";
}

function drawBrush(ctx, window, { at: [x, y], width, label }) {
  outlined(ctx, POINT_COLOURS[label], 1.5, () => ctx.arc(x, y, Math.max((width * window.scale) / 2, 1), 0, 2 * Math.PI));
}

/** A matte (an image, gray) as what is laid over the picture: dark where it is 0, nothing where it is 1. */
export function veilOf(matte) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [matte.naturalWidth, matte.naturalHeight];
  const ctx = canvas.getContext("2d", { willReadFrequently: true });
  ctx.drawImage(matte, 0, 0);
  const pixels = ctx.getImageData(0, 0, canvas.width, canvas.height);
  const [r, g, b, most] = OUTSIDE;
  for (let at = 0; at < pixels.data.length; at += 4) {
    const alpha = pixels.data[at];
    pixels.data.set([r, g, b, Math.round((255 - alpha) * most)], at);
  }
  ctx.putImageData(pixels, 0, 0);
  return canvas;
}

function drawCross(ctx, [x, y]) {
  outlined(ctx, "#ffffff", 1.5, () => {
    ctx.moveTo(x - 12, y);
    ctx.lineTo(x + 12, y);
    ctx.moveTo(x, y - 12);
    ctx.lineTo(x, y + 12);
  });
}

/** A line that is seen on bright and on dark pictures. */
function outlined(ctx, colour, width, path) {
  ctx.beginPath();
  path();
  ctx.lineWidth = width + 2;
  ctx.strokeStyle = SHADE;
  ctx.stroke();
  ctx.lineWidth = width;
  ctx.strokeStyle = colour;
  ctx.stroke();
}
