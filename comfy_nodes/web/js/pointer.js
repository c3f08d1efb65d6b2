/**
 * Mouse, pen and touch on the editor's canvas. A gesture is one press: a click, a drag of a thing, of a new box, of the
 * view, or a stroke.
 */
import { boxBetween, HANDLES } from "./geometry.js";
import { addBox, addPoint, addStroke, flipSelected, moveSelected, select, thingAt } from "./model.js";

const REACH = 8; // how near, in screen pixels, takes hold of a thing
const DRAG_FROM = 4; // how far, in screen pixels, makes a press a drag
const STEP = 2; // how far apart, in screen pixels, the points of a stroke are
const LEFT = 0;
const MIDDLE = 1;
const RIGHT = 2;

let gestures = 0;

/** Listen on the editor's canvas until the signal ends it. */
export function listenToPointer(editor, signal) {
  const { canvas } = editor.panel;
  let gesture = null;
  const on = (type, handler, options = {}) => canvas.addEventListener(type, handler, { signal, ...options });

  on("pointerdown", (event) => {
    event.stopPropagation();
    canvas.focus({ preventScroll: true });
    if (gesture || !editor.image) return;
    gesture = begin(editor, event);
    if (gesture) canvas.setPointerCapture(event.pointerId);
  });
  on("pointermove", (event) => {
    const at = editor.screenPoint(event);
    editor.showPlace(at);
    editor.showBrush(at, labelOf(editor, event));
    if (!gesture) {
      canvas.style.cursor = cursorAt(editor, at, event);
      return;
    }
    event.stopPropagation();
    gesture.moved ||= Math.hypot(at[0] - gesture.start[0], at[1] - gesture.start[1]) > DRAG_FROM;
    if (gesture.moved || gesture.kind === "stroke") drag(editor, gesture, at);
    if (gesture.kind !== "stroke") gesture.last = at;
  });
  on("pointerup", (event) => {
    if (!gesture) return;
    const done = gesture;
    gesture = null;
    canvas.releasePointerCapture(event.pointerId);
    finish(editor, done, editor.screenPoint(event));
  });
  const cancel = () => {
    if (!gesture) return false;
    if (gesture.kind === "move" && gesture.moved) editor.advance(gesture.state, `drag ${gesture.id}`);
    gesture = null;
    editor.setDraft(null);
    editor.setLine(null);
    return true;
  };
  on("pointercancel", cancel);
  editor.cancelGesture = cancel;
  on("pointerleave", () => {
    editor.showPlace(null);
    editor.showBrush(null);
  });
  on("wheel", (event) => {
    event.preventDefault();
    event.stopPropagation();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
    editor.zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0015)), editor.screenPoint(event));
  }, { passive: false });
  for (const type of ["contextmenu", "auxclick", "dblclick"]) on(type, swallow);
  on("mousedown", (event) => event.button === MIDDLE && event.preventDefault());
}

function begin(editor, event) {
  const start = editor.screenPoint(event);
  if (event.button === MIDDLE || (event.button === LEFT && editor.pans())) return { kind: "pan", start, last: start };
  if (!editor.editable || (event.button !== LEFT && event.button !== RIGHT)) return null;
  const label = labelOf(editor, event);
  if (editor.shape !== "point") return strokeFrom(editor, start, label);
  const found = thing(editor, start);
  const onThing = found && (label === 1 || found.part === "point");
  const kind = event.button === RIGHT ? "click" : onThing ? "move" : "box";
  return { kind, start, last: start, label, thing: onThing ? found : null, state: editor.state, id: (gestures += 1) };
}

/** What a press says: 1 on the object, 0 not on it. Alt turns a brush around. */
function labelOf(editor, event) {
  const negative = event.button === RIGHT || (event.buttons & 2) !== 0 || event.shiftKey || editor.tool === "negative";
  return negative !== (editor.shape !== "point" && event.altKey) ? 0 : 1;
}

function strokeFrom(editor, start, label) {
  const width = editor.shape === "brush" ? editor.brush : 0;
  const line = { points: [editor.picturePoint(start)], width, label };
  editor.setLine(line);
  return { kind: "stroke", start, last: start, line, state: editor.state };
}

function drag(editor, gesture, at) {
  const from = editor.picturePoint(gesture.start);
  const to = editor.picturePoint(at);
  if (gesture.kind === "stroke") {
    if (Math.hypot(at[0] - gesture.last[0], at[1] - gesture.last[1]) < STEP) return;
    gesture.line.points.push(to);
    gesture.last = at;
    editor.setLine(gesture.line);
  }
  if (gesture.kind === "pan") editor.pan(at[0] - gesture.last[0], at[1] - gesture.last[1]);
  if (gesture.kind === "move") {
    const { thing: held } = gesture;
    const state = moveSelected(select(gesture.state, held), to[0] - from[0], to[1] - from[1], held.handle);
    editor.advance(state, `drag ${gesture.id}`);
  }
  if (gesture.kind === "box") editor.setDraft(boxBetween(from, to, ...editor.size));
}

function finish(editor, gesture, at) {
  editor.setDraft(null);
  editor.setLine(null);
  if (gesture.kind === "pan") return;
  if (gesture.kind === "stroke") {
    const { points, width, label } = gesture.line;
    if (width || points.length > 2) editor.advance(addStroke(gesture.state, points, width, label));
    return;
  }
  if (gesture.moved) {
    if (gesture.kind === "box") editor.advance(addBox(gesture.state, editor.picturePoint(gesture.start), editor.picturePoint(at)));
    return;
  }
  if (gesture.thing) {
    const state = select(editor.state, gesture.thing);
    editor.advance(gesture.label === 0 ? flipSelected(state) : state);
    return;
  }
  const [x, y] = editor.picturePoint(gesture.start).map(Math.floor);
  const [width, height] = editor.size;
  if (x >= 0 && y >= 0 && x < width && y < height) editor.advance(addPoint(editor.state, x, y, gesture.label));
}

function thing(editor, at) {
  return thingAt(editor.state, ...editor.picturePoint(at), REACH / editor.scale);
}

function cursorAt(editor, at, event) {
  if (!editor.image) return "default";
  if (editor.pans()) return "grab";
  if (!editor.editable) return "default";
  if (editor.shape !== "point") return editor.shape === "brush" ? "none" : "crosshair";
  const found = thing(editor, at);
  if (!found || (event.shiftKey && found.part === "box")) return "crosshair";
  return found.handle ? HANDLES[found.handle][2] : "move";
}

function swallow(event) {
  event.preventDefault();
  event.stopPropagation();
}
