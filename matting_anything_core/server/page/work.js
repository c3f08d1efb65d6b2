// One picture with its objects. What was marked and found is a chain of values, so that undo computes nothing.
//
// A value is {objects, selected}; an object {id, marks, base, result}: base is the result that the marks go on from,
// result what the service made of them, null as long as it has not. Neither is changed once it is there.

import { Alpha } from "./alphas.js";
import * as api from "./api.js";
import { History } from "./history.js";
import { added, corrects, promptOf } from "./marks.js";

const fresh = (id) => ({ id, marks: [], base: null, result: null });

export class Work {
  /** file: the picture's, of a content type. kept: {image, width, height} as the service has it. */
  constructor(file, kind, kept) {
    Object.assign(this, { file, kind, ...kept });
    this.last = 1; // id of the newest object
    this.names = new Map(); // by id; names and hiding are no steps
    this.hidden = new Set();
    this.history = new History({ objects: [fresh(1)], selected: 1 });
  }

  static async of(file, kind, signal) {
    return new Work(file, kind, await api.upload(file, kind, signal));
  }

  get objects() {
    return this.history.value.objects;
  }

  get selected() {
    const { objects, selected } = this.history.value;
    return objects.find((object) => object.id === selected);
  }

  nameOf(object) {
    return this.names.get(object.id) || object.result?.phrase || `Object ${object.id}`;
  }

  /** Objects that there is a matte of, and that are shown. */
  get shown() {
    return this.objects.filter((object) => !this.hidden.has(object.id) && (object.result ?? object.base));
  }

  /** Objects with a finished matte; hidden ones are left out. */
  get finished() {
    return this.objects.filter((object) => object.result && !this.hidden.has(object.id));
  }

  /** Add a mark to the selected object: the next value. */
  mark(mark) {
    const { selected } = this, former = selected.result ?? selected.base;
    this.hidden.delete(selected.id);
    this.#put({ ...selected, marks: added(selected.marks, mark), base: corrects(mark) ? former : null, result: null });
  }

  /** Take all marks of the selected object away. */
  clear() {
    this.#put(fresh(this.selected.id));
  }

  /** Give the selected object these marks, and ask anew. */
  remark(marks) {
    this.#put({ ...this.selected, marks, base: null, result: null });
  }

  #put(object) {
    const { objects, selected } = this.history.value;
    this.history.push({ objects: objects.map((one) => (one.id === object.id ? object : one)), selected });
  }

  /** Begin another object; the selected one, if nothing is marked of it yet. */
  add() {
    if (!this.selected.marks.length) return;
    const object = fresh(this.last += 1);
    this.history.push({ objects: [...this.objects, object], selected: object.id });
  }

  remove(id) {
    const objects = this.objects.filter((object) => object.id !== id);
    if (!objects.length) objects.push(fresh(this.last += 1));
    const { selected } = this.history.value;
    this.history.push({ objects, selected: objects.some((one) => one.id === selected) ? selected : objects.at(-1).id });
  }

  select(id) {
    const now = this.history.value;
    this.history.amend((value) => (value === now ? { ...value, selected: id } : value));
  }

  /** What the service is to be asked for the selected object; null when that has its matte, or nothing says what it is. */
  get prompt() {
    const { selected } = this, reach = Math.max(2, 0.003 * Math.max(this.width, this.height));
    if (selected.result || !selected.marks.length) return null;
    return promptOf(selected.marks, { previous: selected.base?.matte, box: selected.base?.box, reach });
  }

  /** Ask the service for the matte of the selected object. `progress(event)` hears of it. Gives the result. */
  async ask(model, progress, signal) {
    const object = this.selected, { prompt } = this;
    const found = await this.#asked(prompt, object.base, model, progress, signal);
    const bytes = await (await api.pixels(found.matte, "alpha", { format: "u8" }, signal)).arrayBuffer();
    const alpha = await Alpha.of(bytes, this.width, this.height);
    const { matte, box, phrase, phrase_score: sure, empty, warnings } = found;
    const result = { matte, box: box ?? object.base?.box ?? null, phrase: phrase ?? object.base?.phrase, sure, empty,
      warnings, alpha };
    const complete = { ...object, result };
    this.history.amend((value) => (!value.objects.includes(object) ? value
      : { ...value, objects: value.objects.map((one) => (one === object ? complete : one)) }));
    return result;
  }

  /** The request itself; brings what the service has forgotten. */
  async #asked(prompt, base, model, progress, signal) {
    const request = (asked) => api.matte(this.image, asked, model, progress, signal);
    try {
      return await request(prompt);
    } catch (error) {
      if (error.status === 404) await api.upload(this.file, this.kind, signal);
      else if (error.kind !== "Forgotten") throw error;
    }
    return request(base ? { ...prompt, previous: await api.packedAlpha(base.alpha) } : prompt);
  }

  /** The id of one matte of several results, or of one, which the service surely has. */
  async matteOf(results, signal) {
    const combined = (of) => api.combined(this.image, of, signal);
    if (results.length === 1 && await api.has(results[0].matte, signal)) return results[0].matte;
    let one;
    try {
      one = await combined(results.map((result) => result.matte));
    } catch (error) {
      if (error.status !== 404 && error.kind !== "Forgotten") throw error;
      await api.upload(this.file, this.kind, signal);
      one = await combined(await Promise.all(results.map((result) => api.packedAlpha(result.alpha))));
    }
    if (results.length === 1) results[0].matte = one.matte; // the same matte under another name
    return one.matte;
  }
}
