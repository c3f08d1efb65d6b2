/**
 * The prompt as text: what the node's `prompt` widget holds, what workflows save and what Python reads.
 *
 *   {"version": 2, "width": 640, "height": 480, "objects": [
 *     {"box": [x0, y0, x1, y1] | null, "points": [[x, y, label], …],
 *      "strokes": [{"points": [[x, y], …], "width": 12, "label": 1}, …]}, …
 *   ]}
 *
 * Pixels of the picture as it is seen, x to the right, y down; label 1 is on the object, 0 is not. A stroke of width 0
 * is the area that its points go around. A prompt without strokes is of version 1, which older packs read. What this
 * version does not know is carried along in `extra`; what it cannot read at all stays as it is in `unread`; `migrated`
 * says that the text was of an older version.
 */
import { smallestBoxAt } from "./geometry.js";

const VERSIONS = [1, 2];

/** A prompt without objects for a picture of width × height pixels (0: not known yet). */
export function emptyPrompt(width = 0, height = 0) {
  return { width, height, objects: [], extra: {}, unread: null, migrated: false };
}

/** Read the widget's text. Never throws: text that cannot be read comes back in `unread`, whole. */
export function parsePrompt(text) {
  if (!text || !text.trim()) return emptyPrompt();
  try {
    return readVersion(JSON.parse(text));
  } catch {
    return { ...emptyPrompt(), unread: text };
  }
}

/** Write the prompt, one object a line; a prompt without objects for a picture of unknown size is the empty text. */
export function formatPrompt(prompt) {
  if (prompt.unread !== null) return prompt.unread;
  const version = prompt.objects.some(({ strokes }) => strokes.length) ? 2 : 1;
  const head = { ...prompt.extra, version, width: prompt.width, height: prompt.height };
  if (!prompt.objects.length && !prompt.width && !Object.keys(prompt.extra).length) return "";
  const fields = Object.entries(head).map(([key, value]) => `${JSON.stringify(key)}: ${spaced(value)}`);
  const objects = prompt.objects.map(({ box, points, strokes, extra }) =>
    `  ${spaced({ box, points, ...(strokes.length && { strokes }), ...extra })}`);
  const list = objects.length ? `[\n${objects.join(",\n")}\n]` : "[]";
  return `{${fields.join(", ")}, "objects": ${list}}`;
}

/** Bring a document of any version to the present one. */
function readVersion(document) {
  if (Array.isArray(document)) return migrateFlat({ points: document });
  if (document === null || typeof document !== "object") throw new TypeError("a prompt is an object or a list of points");
  const version = document.version ?? ("objects" in document ? 1 : 0);
  if (version === 0) return migrateFlat(document);
  if (VERSIONS.includes(version)) return readCurrent(document);
  throw new RangeError(`version ${version}`);
}

function readCurrent({ version: _version, width = 0, height = 0, objects, ...extra }) {
  return { width: size(width), height: size(height), objects: list(objects).map(readObject), extra, unread: null, migrated: false };
}

function readObject(value) {
  if (value === null || typeof value !== "object") throw new TypeError("an object has a box and points");
  const { box = null, points, strokes, ...extra } = value;
  return {
    box: box === null ? null : readBox(box),
    points: list(points).map((point) => readPoint(point)),
    strokes: list(strokes).map(readStroke),
    extra,
  };
}

function readStroke(value) {
  const { points, width = 0, label = 1 } = value ?? {};
  const read = list(points).map((point) => numbers(point, 2));
  if (!read.length || !(width >= 0)) throw new TypeError("a stroke has points and a width");
  return { points: read, width, label: Number(label) ? 1 : 0 };
}

/**
 * Version 0, and what other packs write: points and boxes side by side, not yet grouped into objects. Each box becomes
 * an object; a point goes to the smallest box around it, else to the first object, else to one of its own.
 */
function migrateFlat({ version: _version, width = 0, height = 0, boxes, box, points, labels, ...extra }) {
  const objects = [...list(boxes), ...(box ? [box] : [])].map((b) => ({ box: readBox(b), points: [], strokes: [], extra: {} }));
  list(points).forEach((value, index) => {
    const point = readPoint(value, labels?.[index]);
    if (!objects.length) objects.push({ box: null, points: [], strokes: [], extra: {} });
    objects[smallestBoxAt(objects, point[0], point[1]) ?? 0].points.push(point);
  });
  return { width: size(width), height: size(height), objects, extra, unread: null, migrated: true };
}

function readBox(value) {
  const [x0, y0, x1, y1] = numbers(Array.isArray(value) ? value : [value.x, value.y, value.x + value.width, value.y + value.height], 4);
  return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
}

function readPoint(value, label = 1) {
  const [x, y, given] = Array.isArray(value) ? value : [value.x, value.y, value.label];
  return [...numbers([x, y], 2), Number(given ?? label) ? 1 : 0];
}

function numbers(values, count) {
  if (values.length !== count || !values.every(Number.isFinite)) throw new TypeError(`${count} numbers are expected`);
  return values;
}

function list(value) {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new TypeError("a list is expected");
  return value;
}

function size(value) {
  return Number.isFinite(value) && value > 0 ? value : 0;
}

/** JSON on one line, with a space after commas and colons, as Python's json.dumps writes it. */
function spaced(value) {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${spaced(item)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}
