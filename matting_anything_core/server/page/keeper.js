// Keeps the pictures, their marks and results in the browser, encrypted, so that they survive a reload and a service
// that is started anew. One tab keeps; the key comes from the service (remembered.py says why).

import { Alpha } from "./alphas.js";
import { Work } from "./work.js";

const STORE = "kept", SESSION = "session";
const DELAY = 400; // milliseconds after the last change

export class Keeper {
  /** key: base64, see api.pageKey. null where the browser cannot keep anything, or another tab does. */
  static async of(key) {
    if (!globalThis.crypto?.subtle || !navigator.locks || !globalThis.indexedDB) return null;
    const mine = await new Promise((resolve) => {
      navigator.locks.request("keeper", { ifAvailable: true }, (lock) => {
        resolve(Boolean(lock));
        return lock ? new Promise(() => {}) : null; // until the tab is closed
      });
    });
    if (!mine) return null;
    const keeper = new Keeper();
    const bytes = Uint8Array.from(atob(key), (sign) => sign.charCodeAt(0));
    keeper.key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
    keeper.stored = new Map(); // what is kept already (files, Alphas) -> under which name
    keeper.database = await done(Object.assign(indexedDB.open("matting-anything", 1), {
      onupgradeneeded: ({ target }) => target.result.createObjectStore(STORE),
    }));
    return keeper;
  }

  /** Keep a queue as it is, a moment after the last change. */
  later(queue) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.saving = Promise.resolve(this.saving).then(() => this.save(queue)).catch(() => {}),
      DELAY);
  }

  async save(queue) {
    const needed = new Set([SESSION]), pictures = [];
    const kept = async (value, blob) => {
      if (!this.stored.has(value)) {
        const name = crypto.randomUUID();
        await this.#put(name, await blob.arrayBuffer());
        this.stored.set(value, name);
      }
      needed.add(this.stored.get(value));
      return this.stored.get(value);
    };
    for (const { file, kind, work } of queue.entries) {
      pictures.push({ file: await kept(file, file), name: file.name, type: file.type, kind,
        work: work && await written(work, (alpha) => kept(alpha, alpha.packed)) });
    }
    await this.#put(SESSION, new TextEncoder().encode(JSON.stringify({ pictures, at: queue.at })));
    for (const name of await done(this.#store("readwrite").getAllKeys())) {
      if (!needed.has(name)) await done(this.#store("readwrite").delete(name));
    }
  }

  /** What was kept: {entries, at} for a queue; null for nothing, or nothing that this key opens. */
  async load() {
    try {
      const session = JSON.parse(new TextDecoder().decode(await this.#get(SESSION)));
      const entries = [];
      for (const { file: name, name: title, type, kind, work } of session.pictures) {
        const file = new File([await this.#get(name)], title, { type });
        this.stored.set(file, name);
        entries.push({ file, kind, state: "waiting", message: "", work: work && await read(work, file, kind, async (at) => {
          const alpha = new Alpha(work.width, work.height, new Blob([await this.#get(at)]));
          this.stored.set(alpha, at);
          return alpha;
        }) });
      }
      return entries.length ? { entries, at: Math.min(Math.max(session.at, 0), entries.length - 1) } : null;
    } catch {
      await done(this.#store("readwrite").clear());
      this.stored.clear();
      return null;
    }
  }

  #store(mode) {
    return this.database.transaction(STORE, mode).objectStore(STORE);
  }

  async #put(name, bytes) {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const data = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: new TextEncoder().encode(name) },
      this.key, bytes);
    await done(this.#store("readwrite").put({ iv, data }, name));
  }

  async #get(name) {
    const { iv, data } = await done(this.#store("readonly").get(name));
    return crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData: new TextEncoder().encode(name) }, this.key, data);
  }
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** A work as JSON: values share objects, and objects results, so these are numbered. */
async function written(work, kept) {
  const objects = [], results = [];
  const number = (list, one) => (list.includes(one) ? list.indexOf(one) : list.push(one) - 1);
  const of = (result) => (result ? number(results, result) : null);
  const values = work.history.values.map(({ objects: all, selected }) => ({
    objects: all.map((object) => number(objects, object)), selected }));
  const flat = objects.map(({ id, marks, base, result }) => ({ id, marks, base: of(base), result: of(result) }));
  const found = [];
  for (const { alpha, ...rest } of results) found.push({ ...rest, alpha: await kept(alpha) });
  const { image, width, height, last, names, hidden, history: { at } } = work;
  return { image, width, height, last, names: [...names], hidden: [...hidden], values, at, objects: flat, results: found };
}

async function read({ values, at, objects, results, names, hidden, last, ...kept }, file, kind, alphaOf) {
  const found = [];
  for (const { alpha, ...rest } of results) found.push({ ...rest, alpha: await alphaOf(alpha) });
  const of = (number) => (number === null ? null : found[number]);
  const all = objects.map(({ base, result, ...rest }) => ({ ...rest, base: of(base), result: of(result) }));
  const work = new Work(file, kind, kept);
  Object.assign(work, { last, names: new Map(names), hidden: new Set(hidden) });
  work.history.values = values.map((value) => ({ ...value, objects: value.objects.map((number) => all[number]) }));
  work.history.at = at;
  return work;
}
