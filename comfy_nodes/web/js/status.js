/** The editor's status line, which screen readers read out: what is active, what is selected, where the next click goes. */
import { fill } from "./locale.js";

export function describe({ state, image, cross, drawnFor, size }, words) {
  const { prompt, active, selected } = state;
  if (!image || prompt.unread !== null) return "";
  if (cross) return fill(words.cross, { x: cross[0], y: cross[1] });
  if (selected) return `${countLine(prompt, selected.object, words)} · ${thingLine(prompt, selected, words)}`;
  if (drawnFor && drawnFor.join() !== size.join()) {
    return fill(words.scaled, { from: drawnFor.join(" × "), to: size.join(" × ") });
  }
  if (!prompt.objects.length) return words.begin;
  if (active === null) return fill(words.next, { number: prompt.objects.length + 1 });
  return objectLine(prompt, active, words);
}

function objectLine({ objects }, index, words) {
  const { box, points, strokes } = objects[index];
  const positive = points.filter(([, , label]) => label).length;
  const kept = strokes.filter(({ label }) => label).length;
  const parts = [countLine({ objects }, index, words)];
  if (box) parts.push(fill(words.withBox, { width: round(box[2] - box[0]), height: round(box[3] - box[1]) }));
  if (points.length) parts.push(fill(words.counts, { positive, negative: points.length - positive }));
  if (strokes.length) parts.push(fill(words.strokeCounts, { kept, dropped: strokes.length - kept }));
  if (!box && !positive && !kept) parts.push(words.onlyNegative);
  return parts.join(" · ");
}

function countLine({ objects }, index, words) {
  return fill(words.objectOf, { number: index + 1, count: objects.length });
}

function thingLine({ objects }, { object, part, index }, words) {
  const { box, points, strokes } = objects[object];
  if (part === "stroke") {
    const { width, label } = strokes[index];
    return fill(width ? words.selectedStroke : words.selectedArea, { width, kind: label ? words.on : words.off });
  }
  if (part === "box") {
    const [x0, y0, x1, y1] = box.map(round);
    return fill(words.selectedBox, { x0, y0, x1, y1 });
  }
  const [x, y, label] = points[index];
  return fill(words.selectedPoint, { x: round(x), y: round(y), kind: label ? words.on : words.off });
}

function round(value) {
  return Math.round(value * 10) / 10;
}
