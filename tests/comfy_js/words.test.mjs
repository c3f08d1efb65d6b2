import assert from "node:assert/strict";
import { test } from "node:test";
import { fill, wordsFor } from "../../comfy_nodes/web/js/locale.js";
import { addBox, addPoint, openState, select } from "../../comfy_nodes/web/js/model.js";
import { describe } from "../../comfy_nodes/web/js/status.js";
import { emptyPrompt } from "../../comfy_nodes/web/js/text.js";

const en = wordsFor("en");
const others = ["es", "fr", "ja", "ko", "ru", "zh"];

for (const language of others) {
  test(`${language} has every text that English has, with the same places to fill`, () => {
    const words = wordsFor(language);
    assert.notEqual(words, en);
    assert.deepEqual(Object.keys(words), Object.keys(en));
    assert.equal(words.helpLines.length, en.helpLines.length);
    const places = (text) => [...String(text).matchAll(/\{\w+\}/g)].map(([place]) => place).sort();
    for (const name of Object.keys(en)) assert.deepEqual(places(words[name]), places(en[name]), name);
  });
}

test("a locale that is not there falls back to English", () => {
  assert.equal(wordsFor("fr-CA"), wordsFor("fr"));
  for (const locale of ["tr", "constructor", "", undefined]) assert.equal(wordsFor(locale), en);
  assert.equal(fill("{a} {b}", { a: 1, b: 0 }), "1 0");
});

test("the status line tells the state, and what is wrong with it", () => {
  const line = (state, more = {}) => describe({ state, image: {}, cross: null, drawnFor: null, size: [100, 80], ...more }, en);
  const start = openState(emptyPrompt(100, 80));
  assert.equal(line(start), en.begin);
  const negative = addPoint(start, 3, 4, 0);
  assert.equal(line(negative), "Object 1 of 1 · Point 3, 4: not on it");
  assert.match(line({ ...negative, selected: null }), /needs a box, a click or a stroke on the object/);
  const box = addBox(select(negative, null), [10, 10], [40, 30]);
  assert.equal(line(box), "Object 2 of 2 · Box 10, 10 to 40, 30");
  assert.equal(line({ ...box, selected: null }), "Object 2 of 2 · box 30 × 20");
  assert.equal(line(select(box, null)), "The next click begins object 3.");
  assert.equal(line({ ...box, selected: null }, { drawnFor: [50, 40] }), "Drawn on 50 × 40, scaled to 100 × 80.");
  assert.equal(line(box, { image: null }), "");
});
