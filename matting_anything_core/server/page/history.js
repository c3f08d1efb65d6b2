// Undo and redo: a chain of values. To undo is to take the older one.

const MOST = 500; // values that are kept; the oldest go

export class History {
  constructor(value) {
    this.clear(value);
  }

  /** Begin anew with a value. */
  clear(value) {
    this.values = [value];
    this.at = 0;
  }

  get value() {
    return this.values[this.at];
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.values.length - 1;
  }

  /** A new value; those that were undone are gone. */
  push(value) {
    this.values.splice(this.at + 1, Infinity, value);
    if (this.values.length > MOST) this.values.shift();
    this.at = this.values.length - 1;
  }

  /** Change values where they are: they have become more complete, that is no new step. */
  amend(change) {
    this.values = this.values.map(change);
  }

  undo() {
    if (this.canUndo) this.at -= 1;
  }

  redo() {
    if (this.canRedo) this.at += 1;
  }
}
