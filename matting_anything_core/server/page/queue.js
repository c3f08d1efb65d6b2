// Several pictures: the list of them, and marking all in the same way.

import { moved } from "./marks.js";
import { Work } from "./work.js";

const STATES = { waiting: "", running: "…", done: "✓", empty: "nothing found", failed: "!" };

export class Queue {
  constructor() {
    this.entries = []; // {file, kind, work, state, message}
    this.at = -1;
  }

  get current() {
    return this.entries[this.at] ?? null;
  }

  /** Take files in the place of those that were there. */
  open(files) {
    this.entries = files.map(({ file, kind }) => ({ file, kind, work: null, state: "waiting", message: "" }));
    this.at = 0;
  }

  get others() {
    return this.entries.filter((entry, index) => index !== this.at);
  }

  /** Mark all others as a work's objects are marked, in the same places of each picture. */
  async same(model, work, step, progress, signal) {
    for (const entry of this.others) {
      Object.assign(entry, { state: "running", message: "" });
      step(entry);
      try {
        entry.work = await Work.of(entry.file, entry.kind, signal);
        entry.state = "empty";
        for (const object of work.objects.filter((one) => one.marks.length)) {
          entry.work.add();
          entry.work.names.set(entry.work.selected.id, work.names.get(object.id) ?? "");
          entry.work.remark(moved(object.marks, work, entry.work));
          if (!entry.work.prompt) continue;
          const result = await entry.work.ask(model, progress, signal);
          if (!result.empty) entry.state = "done";
        }
      } catch (error) {
        entry.state = error.name === "AbortError" ? "waiting" : "failed";
        entry.message = error.message;
        if (error.name === "AbortError" || error.status === 0) throw error;
      } finally {
        step(entry);
      }
    }
  }
}

/** Fill a list element; `choose(index)` when a picture is chosen. */
export function listFiles(list, queue, choose) {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.index : null;
  list.replaceChildren(...queue.entries.map((entry, index) => {
    const item = document.createElement("li");
    item.classList.toggle("selected", index === queue.at);
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: entry.file.name,
      title: entry.message || entry.file.name, ariaCurrent: String(index === queue.at) });
    button.dataset.index = index;
    button.addEventListener("click", () => choose(index));
    const state = Object.assign(document.createElement("span"), { className: "state",
      textContent: index === queue.at && entry.work?.finished.length ? STATES.done : STATES[entry.state],
      title: entry.message });
    item.append(button, state);
    return item;
  }));
  if (focused !== null) list.querySelector(`[data-index="${focused}"]`)?.focus();
}
