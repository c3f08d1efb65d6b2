/** Mouse, pen and touch on the editor's canvas. A gesture is one press: a click, a drag of a thing, of a new box, of the view. */
import { boxBetween, HANDLES } from "./geometry.js";
import { addBox, addPoint, flipSelected, moveSelected, select, thingAt } from "./model.js";

const REACH = 8; // how near, in screen pixels, takes hold of a thing
const DRAG_FROM = 4; // how far, in screen pixels, makes a press a drag
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
    if (!gesture) {
      canvas.style.cursor = cursorAt(editor, at, event);
      return;
    }
    event.stopPropagation();
    gesture.moved ||= Math.hypot(at[0] - gesture.start[0], at[1] - gesture.start[1]) > DRAG_FROM;
    if (gesture.moved) drag(editor, gesture, at);
    gesture.last = at;
  });
  on("pointerup", (event) => {
    if (!gesture) return;
    const done = gesture;
    gesture = null;
    canvas.releasePointerCapture(event.pointerId);
    finish(editor, done, editor.screenPoint(event));
  });
  on("pointercancel", () => {
    gesture = null;
    editor.setDraft(null);
  });
  on("pointerleave", () => editor.showPlace(null));
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
  const label = event.button === RIGHT || event.shiftKey || editor.tool === "negative" ? 0 : 1;
  const found = thing(editor, start);
  const onThing = found && (label === 1 || found.part === "point");
  const kind = event.button === RIGHT ? "click" : onThing ? "move" : "box";
  return { kind, start, last: start, label, thing: onThing ? found : null, state: editor.state, id: (gestures += 1) };
}

function drag(editor, gesture, at) {
  const from = editor.picturePoint(gesture.start);
  const to = editor.picturePoint(at);
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
  if (gesture.kind === "pan") return;
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
  const found = thing(editor, at);
  if (!found || (event.shiftKey && found.part === "box")) return "crosshair";
  return found.handle ? HANDLES[found.handle][2] : "move";
}

function swallow(event) {
  event.preventDefault();
  event.stopPropagation();
}
