/** The editor without a mouse: keys on its focused canvas. */
import { clampPoint } from "./geometry.js";
import { addBox, addPoint, deleteSelected, flipSelected, moveSelected, neighbour, select } from "./model.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SHAPES = { v: "point", d: "brush", l: "lasso" };
const ZOOM_STEP = 1.25;
const BRUSH_STEP = 1.25;

/** Listen on the editor's canvas until the signal ends it. Keys that mean something here do not reach ComfyUI. */
export function listenToKeyboard(editor, signal) {
  const { canvas } = editor.panel;
  keepFromGraphUndo(canvas);
  // The graph listens on the document before anything in it hears of a key, so the window is asked first.
  window.addEventListener("keydown", (event) => {
    if (event.target !== canvas || !editor.image || !press(editor, event)) return;
    event.preventDefault();
    event.stopPropagation();
  }, { signal, capture: true });
  canvas.addEventListener("keyup", (event) => event.key === " " && editor.setSpace(false), { signal });
  canvas.addEventListener("blur", () => {
    editor.setSpace(false);
    editor.setCross(null);
  }, { signal });
  canvas.addEventListener("focus", () => editor.redraw(), { signal });
}

/**
 * ComfyUI undoes the whole graph on Ctrl+Z, before any listener here, unless a field of text has the focus: it asks the
 * focused element for `type` (frontend 1.45) or `isContentEditable` (1.58), which a canvas may well answer.
 */
function keepFromGraphUndo(canvas) {
  canvas.type = "textarea";
  Object.defineProperty(canvas, "isContentEditable", { value: true });
}

/** Do what the key says; false if it says nothing here. */
function press(editor, event) {
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (command) return commandKey(editor, key, event.shiftKey);
  if (key === " ") return done(editor.setSpace(true));
  if (key === "+" || key === "=") return done(editor.zoom(ZOOM_STEP));
  if (key === "-") return done(editor.zoom(1 / ZOOM_STEP));
  if (key === "0") return done(editor.fit());
  if (key === "m") return done(editor.showMatte(!editor.matteShown));
  if (key === "Escape" && editor.cancelGesture()) return true;
  if (!editor.editable) return false;
  if (key in SHAPES) return done(editor.setShape(SHAPES[key]));
  if (key === "[" || key === "]") return done(editor.setBrush(editor.brush * (key === "]" ? BRUSH_STEP : 1 / BRUSH_STEP)));
  if (key in ARROWS) return done(arrow(editor, ARROWS[key], event));
  if (key === "Tab") return tab(editor, event.shiftKey ? -1 : 1);
  const edits = {
    Delete: () => deleteSelected(editor.state),
    Backspace: () => deleteSelected(editor.state),
    Escape: () => select(editor.state, null),
    Enter: () => flipSelected(editor.state),
    p: () => addPoint(editor.state, ...cross(editor), 1),
    n: () => addPoint(editor.state, ...cross(editor), 0),
    b: () => addBox(editor.state, ...boxAround(editor)),
  };
  if (!(key in edits)) return false;
  editor.advance(edits[key]());
  if ("pnb".includes(key)) editor.setCross(null);
  return true;
}

function commandKey(editor, key, shift) {
  if (key === "z") return done(shift ? editor.redo() : editor.undo());
  if (key === "y") return done(editor.redo());
  if (key === "a") return done(editor.selectLast()); // else the graph selects all of its nodes
  return false;
}

/** Tab goes along the things of the prompt; past the last one the focus goes on as everywhere. */
function tab(editor, step) {
  const next = neighbour(editor.state, step);
  if (next === null) {
    editor.advance({ ...editor.state, selected: null });
    return false;
  }
  editor.setCross(null);
  editor.advance(select(editor.state, next));
  return true;
}

function arrow(editor, [dx, dy], { shiftKey, altKey }) {
  const { selected } = editor.state;
  const step = shiftKey ? 10 : 1;
  if (selected === null) {
    const [x, y] = cross(editor);
    const far = 1 / Math.min(editor.scale, 1); // at least a pixel of the screen
    editor.setCross(clampPoint(x + dx * step * Math.ceil(far), y + dy * step * Math.ceil(far), ...editor.size));
    return;
  }
  const handle = altKey && selected.part === "box" ? "se" : null;
  const { object, part, index } = selected;
  editor.advance(moveSelected(editor.state, dx * step, dy * step, handle), `nudge ${object} ${part} ${index} ${handle}`);
}

function cross(editor) {
  return editor.cross ?? editor.size.map((length) => Math.floor(length / 2));
}

/** Two corners a quarter of the picture apart, around the cross. */
function boxAround(editor) {
  const [x, y] = cross(editor);
  const [width, height] = editor.size;
  return [[x - width / 8, y - height / 8], [x + width / 8, y + height / 8]];
}

function done() {
  return true;
}
