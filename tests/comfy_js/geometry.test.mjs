import assert from "node:assert/strict";
import { test } from "node:test";
import {
  boxBetween, clampPoint, fitWindow, moveBox, panWindow, resizeBox, smallestBoxAt, toPicture, toScreen, zoomWindow,
} from "../../comfy_nodes/web/js/geometry.js";

const near = (a, b) => a.forEach((value, index) => assert.ok(Math.abs(value - b[index]) < 1e-9, `${a} is not ${b}`));

test("the smallest box around a point", () => {
  const objects = [{ box: [0, 0, 100, 100] }, { box: null }, { box: [10, 10, 20, 20] }];
  assert.equal(smallestBoxAt(objects, 15, 15), 2);
  assert.equal(smallestBoxAt(objects, 50, 50), 0);
  assert.equal(smallestBoxAt(objects, 101, 50), null);
});

test("a box lies inside the picture, on whole pixels, whichever corner comes first", () => {
  assert.deepEqual(boxBetween([40.4, 30.6], [-5, 99], 50, 40), [0, 31, 40, 40]);
});

test("a moved box keeps its size at the picture's edge", () => {
  assert.deepEqual(moveBox([10, 10, 30, 20], 100, -100, 50, 40), [30, 0, 50, 10]);
});

test("a handle moves its own sides, through the box and never to nothing", () => {
  assert.deepEqual(resizeBox([10, 10, 30, 20], "se", 5, 6, 50, 40), [10, 10, 35, 26]);
  assert.deepEqual(resizeBox([10, 10, 30, 20], "n", 99, -4, 50, 40), [10, 6, 30, 20]);
  assert.deepEqual(resizeBox([10, 10, 30, 20], "w", 25, 0, 50, 40), [30, 10, 35, 20]);
  assert.deepEqual(resizeBox([10, 10, 30, 20], "e", -20, 0, 50, 40), [10, 10, 11, 20]);
  assert.deepEqual(resizeBox([50, 10, 50, 20], "e", 0, 0, 50, 40), [49, 10, 50, 20]);
});

test("a point lies on a pixel", () => {
  assert.deepEqual(clampPoint(50, -3, 50, 40), [49, 0]);
});

test("the whole picture fits, in the middle", () => {
  const window = fitWindow(200, 100, 424, 324);
  assert.deepEqual(window, { scale: 2, x: 12, y: 62 });
  near(toScreen(window, toPicture(window, [33, 44])), [33, 44]);
});

test("zoom keeps what is under the pointer, and ends at the whole picture", () => {
  const fit = fitWindow(200, 100, 424, 324);
  const closer = zoomWindow(fit, 3, 200, 150, 200, 100, 424, 324);
  near(toPicture(closer, [200, 150]), toPicture(fit, [200, 150]));
  assert.equal(closer.scale, 6);
  assert.deepEqual(zoomWindow(closer, 0.01, 5, 5, 200, 100, 424, 324), fit);
  assert.equal(zoomWindow(closer, 1000, 5, 5, 200, 100, 424, 324).scale, 32);
});

test("the picture cannot be moved out of sight", () => {
  const closer = { scale: 6, x: 0, y: 0 };
  assert.deepEqual(panWindow(closer, 1e6, -1e6, 200, 100, 424, 324), { scale: 6, x: 12, y: 324 - 600 - 12 });
});
