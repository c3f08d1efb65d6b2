// Draws what lies over the picture: marks, what is being dragged, the cross, the brush, the loupe. This is all that a
// pointer's move draws anew.

const COLOURS = { 1: "#1f9d55", 0: "#c8323a" };
const LOUPE = 60, LARGER = 3; // radius in pixels of the page, and how much larger than on the screen

/** Draw a frame. below: the canvas with the picture. looks: {marks, box, stroke, cross, brush, loupe, split}. */
export function overlay(canvas, viewport, below, looks) {
  const context = canvas.getContext("2d"), unit = devicePixelRatio;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const at = ([x, y]) => viewport.toScreen(x, y);
  for (const mark of looks.marks) if (mark.stroke) band(context, at, mark, viewport.scale, 0.35);
  if (looks.stroke) band(context, at, looks.stroke, viewport.scale, 0.6);
  const box = looks.box ?? looks.marks.findLast((mark) => mark.box)?.box;
  if (box) {
    const [x0, y0] = at(box), [x1, y1] = at(box.slice(2));
    outline(context, unit, () => context.rect(x0, y0, x1 - x0, y1 - y0));
  }
  for (const mark of looks.marks) if (mark.point) dot(context, unit, at(mark.point), mark.label);
  if (looks.split !== null) {
    const x = at([looks.split * viewport.pictureWidth, 0])[0];
    outline(context, unit, () => { context.moveTo(x, 0); context.lineTo(x, canvas.height); });
  }
  if (looks.cross) {
    const [x, y] = at(looks.cross), arm = 12 * unit;
    outline(context, unit, () => {
      context.moveTo(x - arm, y); context.lineTo(x + arm, y);
      context.moveTo(x, y - arm); context.lineTo(x, y + arm);
    });
  }
  if (looks.brush) {
    const { place, width, label } = looks.brush, [x, y] = at(place);
    outline(context, unit, () => context.arc(x, y, Math.max(width * viewport.scale / 2, unit), 0, 7));
    outline(context, unit * 0.8, () => {
      context.moveTo(x - 4 * unit, y); context.lineTo(x + 4 * unit, y);
      if (label) { context.moveTo(x, y - 4 * unit); context.lineTo(x, y + 4 * unit); }
    });
  }
  if (looks.loupe) loupe(context, below, unit, at(looks.loupe), canvas);
}

function band(context, at, { stroke, width, label }, scale, opacity) {
  context.save();
  context.beginPath();
  context.moveTo(...at(stroke[0]));
  for (const point of stroke) context.lineTo(...at(point));
  Object.assign(context, { lineWidth: Math.max(width * scale, 1), lineCap: "round", lineJoin: "round",
    strokeStyle: COLOURS[label], globalAlpha: opacity });
  context.stroke();
  context.restore();
}

function outline(context, unit, path) {
  for (const [colour, width] of [["#000a", 4], ["#fff", 2]]) {
    context.beginPath();
    path();
    context.strokeStyle = colour;
    context.lineWidth = width * unit;
    context.stroke();
  }
}

function dot(context, unit, [x, y], label) {
  context.beginPath();
  context.arc(x, y, 7 * unit, 0, 7);
  context.fillStyle = COLOURS[label];
  context.fill();
  outline(context, unit * 0.8, () => {
    context.moveTo(x - 4 * unit, y); context.lineTo(x + 4 * unit, y);
    if (label) { context.moveTo(x, y - 4 * unit); context.lineTo(x, y + 4 * unit); }
  });
}

/** What is under the finger, larger and beside it. */
function loupe(context, below, unit, [x, y], canvas) {
  const radius = LOUPE * unit, side = 2 * radius / LARGER;
  const cx = Math.min(Math.max(x, radius), canvas.width - radius), over = y - 1.6 * radius;
  const cy = over > radius ? over : y + 1.6 * radius;
  context.save();
  context.beginPath();
  context.arc(cx, cy, radius, 0, 7);
  context.clip();
  context.fillStyle = "#888";
  context.fillRect(cx - radius, cy - radius, 2 * radius, 2 * radius);
  context.imageSmoothingEnabled = false;
  context.drawImage(below, x - side / 2, y - side / 2, side, side, cx - radius, cy - radius, 2 * radius, 2 * radius);
  context.restore();
  outline(context, unit, () => context.arc(cx, cy, radius, 0, 7));
  outline(context, unit * 0.7, () => {
    context.moveTo(cx - 8 * unit, cy); context.lineTo(cx + 8 * unit, cy);
    context.moveTo(cx, cy - 8 * unit); context.lineTo(cx, cy + 8 * unit);
  });
}
