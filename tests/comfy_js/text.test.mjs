import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyPrompt, formatPrompt, parsePrompt } from "../../comfy_nodes/web/js/text.js";

const TEXT = `{"version": 1, "width": 640, "height": 480, "objects": [
  {"box": [10, 20, 300, 400], "points": [[120, 80, 1], [30, 40, 0]]},
  {"box": null, "points": [[5.5, 6, 1]]}
]}`;

test("what was written reads back, to the letter", () => {
  const prompt = parsePrompt(TEXT);
  assert.deepEqual(prompt.objects[0], { box: [10, 20, 300, 400], points: [[120, 80, 1], [30, 40, 0]], strokes: [], extra: {} });
  assert.deepEqual([prompt.width, prompt.height, prompt.unread, prompt.migrated], [640, 480, null, false]);
  assert.equal(formatPrompt(prompt), TEXT);
});

test("no text is a prompt without objects, and the other way round", () => {
  for (const text of ["", "  \n", null, undefined]) assert.deepEqual(parsePrompt(text), emptyPrompt());
  assert.equal(formatPrompt(emptyPrompt()), "");
  assert.equal(formatPrompt(emptyPrompt(4, 3)), '{"version": 1, "width": 4, "height": 3, "objects": []}');
});

test("missing keys are no error", () => {
  assert.deepEqual(parsePrompt('{"objects": [{}, {"points": [[1, 2]]}]}').objects, [
    { box: null, points: [], strokes: [], extra: {} },
    { box: null, points: [[1, 2, 1]], strokes: [], extra: {} },
  ]);
  assert.deepEqual(parsePrompt('{"version": 1}'), emptyPrompt());
});

test("keys of others are kept", () => {
  const text = '{"author": {"name": "A"}, "version": 1, "width": 9, "height": 9, "objects": [\n' +
    '  {"box": [1, 2, 3, 4], "points": [], "name": "dog"}\n]}';
  assert.equal(formatPrompt(parsePrompt(text)), text);
});

test("a reversed box is put right", () => {
  assert.deepEqual(parsePrompt('{"objects": [{"box": [30, 40, 10, 20]}]}').objects[0].box, [10, 20, 30, 40]);
});

test("what cannot be read stays whole", () => {
  const texts = [
    "a dog", "3", "null", '"x"', "{", '{"version": 3, "objects": []}', '{"objects": [{"strokes": [{"points": []}]}]}',
    '{"objects": [{"strokes": [{"points": [[1, 2]], "width": -1}]}]}', '{"version": "one"}', '{"objects": 7}',
    '{"objects": [null]}', '{"objects": [{"box": [1, 2, 3]}]}', '{"objects": [{"points": [["a", 2, 1]]}]}',
    '{"objects": [{"box": {"x": 1}}]}', '[{"x": 1}]',
  ];
  for (const text of texts) {
    assert.equal(parsePrompt(text).unread, text);
    assert.equal(formatPrompt(parsePrompt(text)), text);
  }
});

test("version 0, boxes and points side by side, becomes objects", () => {
  const prompt = parsePrompt(JSON.stringify({
    width: 100, height: 50,
    boxes: [[0, 0, 90, 50], [10, 10, 30, 30]], points: [[20, 20], [80, 40, 1], [99, 49]], labels: [0, 1, 1],
  }));
  assert.equal(prompt.migrated, true);
  assert.deepEqual(prompt.objects, [
    { box: [0, 0, 90, 50], points: [[80, 40, 1], [99, 49, 1]], strokes: [], extra: {} },
    { box: [10, 10, 30, 30], points: [[20, 20, 0]], strokes: [], extra: {} },
  ]);
  assert.equal(parsePrompt(formatPrompt(prompt)).migrated, false);
});

test("other packs' points are read", () => {
  assert.deepEqual(parsePrompt('[{"x": 3, "y": 4}, {"x": 5, "y": 6, "label": 0}]').objects, [
    { box: null, points: [[3, 4, 1], [5, 6, 0]], strokes: [], extra: {} },
  ]);
  assert.deepEqual(parsePrompt('{"boxes": [{"x": 1, "y": 2, "width": 3, "height": 4}]}').objects[0].box, [1, 2, 4, 6]);
});

test("strokes make it version 2, and read back to the letter", () => {
  const text = `{"version": 2, "width": 9, "height": 9, "objects": [
  {"box": null, "points": [], "strokes": [{"points": [[1, 2], [3.5, 4]], "width": 6, "label": 0}]}
]}`;
  assert.equal(formatPrompt(parsePrompt(text)), text);
  assert.deepEqual(parsePrompt('{"objects": [{"strokes": [{"points": [[1, 2]]}]}]}').objects[0].strokes,
    [{ points: [[1, 2]], width: 0, label: 1 }]);
});
