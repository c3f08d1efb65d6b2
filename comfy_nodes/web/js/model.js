/**
 * The editor's state and every change of it, as pure functions: state in, new state out, nothing touched.
 *
 *   state = {prompt, active, selected}
 *     prompt    as in text.js
 *     active    the object that clicks belong to, or null: the next click begins a new one
 *     selected  what the keyboard moves: {object, part: "box"} | {object, part: "point" or "stroke", index} | null
 */
import { boxBetween, clampPoint, contains, HANDLES, moveBox, resizeBox, smallestBoxAt } from "./geometry.js";
import { emptyPrompt } from "./text.js";

const HISTORY_LENGTH = 200;

export function openState(prompt) {
  return { prompt, active: prompt.objects.length ? 0 : null, selected: null };
}

/** The prompt for a picture of width × height: drawn for another size, it is scaled along. */
export function fitPrompt(prompt, width, height) {
  if (prompt.unread !== null || (prompt.width === width && prompt.height === height)) return prompt;
  if (!prompt.width || !prompt.height) return { ...prompt, width, height };
  const [sx, sy] = [width / prompt.width, height / prompt.height];
  const objects = prompt.objects.map((object) => ({
    ...object,
    box: object.box && boxBetween([object.box[0] * sx, object.box[1] * sy], [object.box[2] * sx, object.box[3] * sy], width, height),
    points: object.points.map(([x, y, label]) => [...clampPoint(x * sx, y * sy, width, height), label]),
    strokes: object.strokes.map((stroke) => ({
      ...stroke,
      points: stroke.points.map(([x, y]) => [tenth(x * sx), tenth(y * sy)]),
      width: tenth(stroke.width * Math.sqrt(sx * sy)),
    })),
  }));
  return { ...prompt, width, height, objects };
}

/**
 * The object a click at (x, y) belongs to, or null for a new one: the active object, unless it has a box that the click
 * misses and another object's box contains it; then the smallest such box. Without an active object: a new one.
 */
export function objectForClick({ prompt, active }, x, y) {
  if (active === null) return null;
  const { box } = prompt.objects[active];
  if (box === null || contains(box, x, y)) return active;
  return smallestBoxAt(prompt.objects, x, y) ?? active;
}

/** A click on the pixel (x, y): label 1 on the object, 0 not on it. */
export function addPoint(state, x, y, label) {
  const { prompt } = state;
  const point = [...clampPoint(x, y, prompt.width, prompt.height), label];
  const found = objectForClick(state, x, y);
  const object = found ?? prompt.objects.length;
  const old = found === null ? { box: null, points: [], strokes: [], extra: {} } : prompt.objects[found];
  return {
    prompt: withObject(prompt, object, { ...old, points: [...old.points, point] }),
    active: object,
    selected: { object, part: "point", index: old.points.length },
  };
}

/** A stroke along points ([x, y] in picture pixels), or with a width of 0 the area that they go around. */
export function addStroke(state, points, width, label) {
  const { prompt } = state;
  const stroke = { points: points.map(([x, y]) => [tenth(x), tenth(y)]), width: tenth(width), label };
  const found = objectForClick(state, ...points[0]);
  const object = found ?? prompt.objects.length;
  const old = found === null ? { box: null, points: [], strokes: [], extra: {} } : prompt.objects[found];
  return {
    prompt: withObject(prompt, object, { ...old, strokes: [...old.strokes, stroke] }),
    active: object,
    selected: { object, part: "stroke", index: old.strokes.length },
  };
}

/** The object that a drawn box goes to: the active one if it has no box and all of it lies inside, else a new one. */
export function objectForBox({ prompt, active }, box) {
  const { box: old, points, strokes } = prompt.objects[active] ?? { box: null, points: [], strokes: [] };
  const places = [...points, ...strokes.flatMap((stroke) => stroke.points)];
  const joins = old === null && places.length > 0 && places.every(([x, y]) => contains(box, x, y));
  return joins ? active : prompt.objects.length;
}

/** A box drawn between two corners. */
export function addBox(state, corner, opposite) {
  const { prompt } = state;
  const box = boxBetween(corner, opposite, prompt.width, prompt.height);
  if (box[0] === box[2] || box[1] === box[3]) return state;
  const object = objectForBox(state, box);
  const old = prompt.objects[object] ?? { points: [], strokes: [], extra: {} };
  return { prompt: withObject(prompt, object, { ...old, box }), active: object, selected: { object, part: "box" } };
}

/** Make a thing selected and its object active; null: nothing selected, the next click begins a new object. */
export function select(state, thing) {
  if (thing === null) return { ...state, active: null, selected: null };
  const { object, part, index } = thing;
  return { ...state, active: object, selected: part === "box" ? { object, part } : { object, part, index } };
}

/** Move the selected point or box by (dx, dy); with a handle ("nw" … "w"), move that side of the box. */
export function moveSelected(state, dx, dy, handle = null) {
  const { prompt, selected } = state;
  if (selected === null) return state;
  const { width, height } = prompt;
  const old = prompt.objects[selected.object];
  if (selected.part === "box") {
    const box = handle ? resizeBox(old.box, handle, dx, dy, width, height) : moveBox(old.box, dx, dy, width, height);
    return { ...state, prompt: withObject(prompt, selected.object, { ...old, box }) };
  }
  if (selected.part === "stroke") {
    const strokes = old.strokes.map((stroke, index) => (index === selected.index
      ? { ...stroke, points: stroke.points.map(([x, y]) => [tenth(x + dx), tenth(y + dy)]) } : stroke));
    return { ...state, prompt: withObject(prompt, selected.object, { ...old, strokes }) };
  }
  const points = old.points.map((point, index) =>
    index === selected.index ? [...clampPoint(point[0] + dx, point[1] + dy, width, height), point[2]] : point);
  return { ...state, prompt: withObject(prompt, selected.object, { ...old, points }) };
}

/** Turn the selected point or stroke from on the object to not on it, and back. */
export function flipSelected(state) {
  const { prompt, selected } = state;
  if (selected === null || selected.part === "box") return state;
  const old = prompt.objects[selected.object];
  if (selected.part === "stroke") {
    const strokes = old.strokes.map((stroke, index) => (index === selected.index ? { ...stroke, label: 1 - stroke.label } : stroke));
    return { ...state, prompt: withObject(prompt, selected.object, { ...old, strokes }) };
  }
  const points = old.points.map((point, index) => (index === selected.index ? [point[0], point[1], 1 - point[2]] : point));
  return { ...state, prompt: withObject(prompt, selected.object, { ...old, points }) };
}

/** Take the selected point, stroke or box away; without a selection the active object, whole. */
export function deleteSelected(state) {
  const { prompt, selected, active } = state;
  if (selected === null) return active === null ? state : withoutObject(state, active);
  const old = prompt.objects[selected.object];
  const { part } = selected;
  const kind = part === "stroke" ? "strokes" : "points";
  const next = part === "box"
    ? { ...old, box: null }
    : { ...old, [kind]: old[kind].filter((_, index) => index !== selected.index) };
  if (next.box === null && !next.points.length && !next.strokes.length) return withoutObject(state, selected.object);
  const neighbour = part !== "box" && next[kind].length
    ? { object: selected.object, part, index: Math.min(selected.index, next[kind].length - 1) }
    : null;
  return { prompt: withObject(prompt, selected.object, next), active: selected.object, selected: neighbour };
}

/** Everything away, the picture's size kept. */
export function clear({ prompt }) {
  return openState(emptyPrompt(prompt.width, prompt.height));
}

/** All things in the order of the Tab key: each object's box, then its points and strokes. */
export function things({ objects }) {
  return objects.flatMap(({ box, points, strokes }, object) => [
    ...(box ? [{ object, part: "box" }] : []),
    ...points.map((_, index) => ({ object, part: "point", index })),
    ...strokes.map((_, index) => ({ object, part: "stroke", index })),
  ]);
}

/** The thing after (step 1) or before (step −1) the selected one, or null past the end. */
export function neighbour({ prompt, selected }, step) {
  const all = things(prompt);
  const here = all.findIndex((t) => t.object === selected?.object && t.part === selected?.part && t.index === selected?.index);
  return (here < 0 ? all.at(step > 0 ? 0 : -1) : all[here + step]) ?? null;
}

/**
 * What is at (x, y) within `reach` picture pixels: a point, a handle of the active object's box, or a box's edge; the
 * active object's things first. {object, part, index?, handle?} or null. A stroke covers what it marks, so it is not taken
 * hold of: clicks on it are clicks.
 */
export function thingAt({ prompt, active }, x, y, reach) {
  const order = prompt.objects.map((_, index) => index).sort((a, b) => (b === active) - (a === active) || b - a);
  for (const object of order) {
    const { points } = prompt.objects[object];
    for (let index = points.length - 1; index >= 0; index -= 1) {
      const [px, py] = points[index];
      if (Math.hypot(px + 0.5 - x, py + 0.5 - y) <= reach) return { object, part: "point", index };
    }
  }
  for (const object of order) {
    const { box } = prompt.objects[object];
    if (box === null) continue;
    const handle = object === active ? handleAt(box, x, y, reach) : null;
    if (handle || onEdge(box, x, y, reach)) return { object, part: "box", ...(handle && { handle }) };
  }
  return null;
}

function handleAt([x0, y0, x1, y1], x, y, reach) {
  const near = ([fx, fy]) => Math.abs(x0 + fx * (x1 - x0) - x) <= reach && Math.abs(y0 + fy * (y1 - y0) - y) <= reach;
  const names = Object.keys(HANDLES).filter((name) => near(HANDLES[name]));
  return names.find((name) => name.length === 2) ?? names[0] ?? null;
}

function onEdge([x0, y0, x1, y1], x, y, reach) {
  const grown = [x0 - reach, y0 - reach, x1 + reach, y1 + reach];
  return contains(grown, x, y) && !(x > x0 + reach && x < x1 - reach && y > y0 + reach && y < y1 - reach);
}

function tenth(value) {
  return Math.round(value * 10) / 10;
}

function withObject(prompt, index, object) {
  const objects = [...prompt.objects];
  objects[index] = object;
  return { ...prompt, objects };
}

function withoutObject({ prompt, active }, index) {
  const objects = prompt.objects.filter((_, i) => i !== index);
  const next = active === null || !objects.length ? null : Math.min(active > index ? active - 1 : active, objects.length - 1);
  return { prompt: { ...prompt, objects }, active: next, selected: null };
}

// History: {past: [state…], present, future: [state…], kind}. Changes of one kind in a row (the steps of one drag, of
// arrow keys on one thing) are one step back.

export function openHistory(state) {
  return { past: [], present: state, future: [], kind: null };
}

/** The next state. What leaves the prompt as it is (a selection) is no step of its own. */
export function advance(history, state, kind = null) {
  if (state === history.present) return history;
  if (state.prompt === history.present.prompt) return { ...history, present: state, kind: null };
  const merged = kind !== null && kind === history.kind;
  const past = merged ? history.past : [...history.past, history.present].slice(-HISTORY_LENGTH);
  return { past, present: state, future: [], kind };
}

export function undo({ past, present, future, kind }) {
  if (!past.length) return { past, present, future, kind };
  return { past: past.slice(0, -1), present: past.at(-1), future: [present, ...future], kind: null };
}

export function redo({ past, present, future, kind }) {
  if (!future.length) return { past, present, future, kind };
  return { past: [...past, present], present: future[0], future: future.slice(1), kind: null };
}
