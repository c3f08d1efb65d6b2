import assert from "node:assert/strict";
import { test } from "node:test";
import * as model from "../../comfy_nodes/web/js/model.js";
import { emptyPrompt, parsePrompt } from "../../comfy_nodes/web/js/text.js";

const open = (objects, width = 100, height = 80) =>
  model.openState(parsePrompt(JSON.stringify({ version: 1, width, height, objects })));
const objects = (state) => state.prompt.objects.map(({ box, points }) => ({ box, points }));
const start = () => model.openState(emptyPrompt(100, 80));

test("the first click begins an object, the next ones belong to it", () => {
  let state = model.addPoint(start(), 10, 20, 1);
  state = model.addPoint(state, 90, 70, 0);
  assert.deepEqual(objects(state), [{ box: null, points: [[10, 20, 1], [90, 70, 0]] }]);
  assert.deepEqual(state.selected, { object: 0, part: "point", index: 1 });
});

test("without an active object a click begins a new one", () => {
  const state = model.addPoint(model.select(model.addPoint(start(), 10, 20, 1), null), 30, 30, 1);
  assert.deepEqual([state.active, state.prompt.objects.length], [1, 2]);
});

test("a click in another object's box belongs to the smallest such box, outside all boxes to the active object", () => {
  const state = open([{ box: [0, 0, 20, 20] }, { box: [30, 0, 90, 60] }, { box: [40, 10, 60, 30] }]);
  assert.equal(model.objectForClick(state, 5, 5), 0);
  assert.equal(model.objectForClick(state, 50, 20), 2);
  assert.equal(model.objectForClick(state, 80, 50), 1);
  assert.equal(model.objectForClick(state, 95, 75), 0);
  assert.equal(model.objectForClick({ ...state, active: 1 }, 50, 20), 1);
});

test("a box joins the active object's points if it holds them all, else it is a new object", () => {
  const clicked = model.addPoint(model.addPoint(start(), 10, 20, 1), 30, 40, 0);
  assert.deepEqual(objects(model.addBox(clicked, [50, 60], [5, 5])), [{ box: [5, 5, 50, 60], points: [[10, 20, 1], [30, 40, 0]] }]);
  assert.equal(model.addBox(clicked, [5, 5], [20, 30]).active, 1);
  assert.equal(model.addBox(model.addBox(start(), [0, 0], [9, 9]), [20, 20], [30, 30]).active, 1);
  assert.equal(model.addBox(clicked, [5, 5], [5, 30]), clicked);
});

test("moving and resizing touch the selected thing alone", () => {
  const state = open([{ box: [10, 10, 30, 30], points: [[15, 15, 1], [20, 20, 0]] }]);
  const point = model.moveSelected(model.select(state, { object: 0, part: "point", index: 1 }), 4, -3);
  assert.deepEqual(objects(point), [{ box: [10, 10, 30, 30], points: [[15, 15, 1], [24, 17, 0]] }]);
  const box = model.select(state, { object: 0, part: "box", handle: "nw" });
  assert.deepEqual(objects(model.moveSelected(box, 5, 5))[0].box, [15, 15, 35, 35]);
  assert.deepEqual(objects(model.moveSelected(box, 5, 5, "nw"))[0].box, [15, 15, 30, 30]);
  assert.deepEqual(objects(state), [{ box: [10, 10, 30, 30], points: [[15, 15, 1], [20, 20, 0]] }]);
});

test("a point turns round", () => {
  const state = model.flipSelected(model.addPoint(start(), 10, 20, 1));
  assert.deepEqual(objects(state)[0].points, [[10, 20, 0]]);
  assert.equal(model.flipSelected(start()).prompt.objects.length, 0);
});

test("delete takes the selected thing, an empty object with it, and without a selection the active object", () => {
  const state = open([{ box: [10, 10, 30, 30], points: [[15, 15, 1]] }, { points: [[70, 70, 1]] }]);
  const boxless = model.deleteSelected(model.select(state, { object: 0, part: "box" }));
  assert.deepEqual(objects(boxless)[0], { box: null, points: [[15, 15, 1]] });
  const gone = model.deleteSelected(model.select(boxless, { object: 0, part: "point", index: 0 }));
  assert.deepEqual(objects(gone), [{ box: null, points: [[70, 70, 1]] }]);
  assert.deepEqual([gone.active, gone.selected], [0, null]);
  assert.deepEqual(objects(model.deleteSelected({ ...state, active: 0 })), [{ box: null, points: [[70, 70, 1]] }]);
  assert.equal(model.deleteSelected(start()).active, null);
});

test("Tab order is box, then points, object by object", () => {
  let state = open([{ box: [10, 10, 30, 30], points: [[15, 15, 1]] }, { points: [[70, 70, 1]] }]);
  const seen = [];
  for (let thing = model.neighbour(state, 1); thing; thing = model.neighbour(state, 1)) {
    seen.push(`${thing.object} ${thing.part} ${thing.index}`);
    state = model.select(state, thing);
  }
  assert.deepEqual(seen, ["0 box undefined", "0 point 0", "1 point 0"]);
  assert.deepEqual(model.neighbour(state, -1), { object: 0, part: "point", index: 0 });
});

test("what the pointer takes hold of: points before boxes, corners before edges, the active object first", () => {
  const state = { ...open([{ box: [10, 10, 50, 50], points: [[10, 10, 1]] }, { box: [10, 10, 90, 70] }]), active: 0 };
  const at = (x, y, of = state) => model.thingAt(of, x, y, 3);
  assert.deepEqual(at(11, 11), { object: 0, part: "point", index: 0 });
  assert.deepEqual(at(50, 51), { object: 0, part: "box", handle: "se" });
  assert.deepEqual(at(50, 31), { object: 0, part: "box", handle: "e" });
  assert.deepEqual(at(50, 40), { object: 0, part: "box" });
  assert.deepEqual(at(90, 70), { object: 1, part: "box" });
  assert.deepEqual(at(90, 70, { ...state, active: 1 }), { object: 1, part: "box", handle: "se" });
  assert.equal(at(30, 30), null);
});

test("a prompt follows the picture to another size, and what cannot be read is left alone", () => {
  const { prompt } = open([{ box: [10, 10, 30, 30], points: [[99, 79, 1]], name: "dog" }]);
  const scaled = model.fitPrompt(prompt, 200, 40);
  assert.deepEqual(scaled.objects, [{ box: [20, 5, 60, 15], points: [[198, 39, 1]], strokes: [], extra: { name: "dog" } }]);
  assert.equal(model.fitPrompt(prompt, 100, 80), prompt);
  assert.deepEqual(model.fitPrompt(emptyPrompt(), 7, 8), emptyPrompt(7, 8));
  assert.equal(model.fitPrompt(parsePrompt("a dog"), 7, 8).unread, "a dog");
});

test("clear forgets everything but the picture's size", () => {
  assert.deepEqual(model.clear(open([{ box: [1, 1, 9, 9] }])), model.openState(emptyPrompt(100, 80)));
});

test("undo and redo go step by step; the steps of one drag are one", () => {
  let history = model.openHistory(start());
  const point = model.addPoint(history.present, 10, 20, 1);
  history = model.advance(history, point);
  for (const dx of [1, 2, 3]) history = model.advance(history, model.moveSelected(point, dx, 0), "drag 1");
  history = model.advance(history, model.moveSelected(history.present, 1, 0), "drag 2");
  const xs = [];
  for (; history.past.length; history = model.undo(history)) xs.push(history.present.prompt.objects[0].points[0][0]);
  assert.deepEqual(xs, [14, 13, 10]);
  assert.equal(model.undo(history).present, history.present);
  history = model.redo(model.redo(history));
  assert.equal(history.present.prompt.objects[0].points[0][0], 13);
  assert.equal(model.advance(history, model.select(history.present, null)).past.length, history.past.length);
  assert.equal(model.advance(history, model.clear(history.present)).future.length, 0);
});

test("strokes belong to objects, are moved, turned, scaled and deleted", () => {
  let state = model.addStroke(start(), [[10.04, 20], [30, 20]], 5, 1);
  state = model.addStroke(state, [[1, 1], [9, 1], [5, 9]], 0, 0);
  assert.deepEqual(state.prompt.objects[0].strokes, [
    { points: [[10, 20], [30, 20]], width: 5, label: 1 }, { points: [[1, 1], [9, 1], [5, 9]], width: 0, label: 0 }]);
  assert.deepEqual(state.selected, { object: 0, part: "stroke", index: 1 });
  const moved = model.moveSelected(state, 2, -1);
  assert.deepEqual(moved.prompt.objects[0].strokes[1].points, [[3, 0], [11, 0], [7, 8]]);
  assert.equal(model.flipSelected(state).prompt.objects[0].strokes[1].label, 1);
  const scaled = model.fitPrompt(state.prompt, 200, 160).objects[0].strokes[0];
  assert.deepEqual(scaled, { points: [[20, 40], [60, 40]], width: 10, label: 1 });
  const boxed = model.addBox(state, [0, 0], [40, 30]);
  assert.equal(boxed.prompt.objects.length, 1);
  state = model.deleteSelected(state);
  assert.deepEqual(state.selected, { object: 0, part: "stroke", index: 0 });
  assert.equal(model.deleteSelected(state).prompt.objects.length, 0);
  assert.deepEqual(model.things(boxed.prompt).map(({ part }) => part), ["box", "stroke", "stroke"]);
});
