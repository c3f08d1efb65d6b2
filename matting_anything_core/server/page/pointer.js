// Pointers on the canvas: what a hand does, as gestures. One pointer marks or draws; two pan and pinch; with the space
// bar or the middle button one pans. Where what a gesture means is up to the stage, it is told.

const DRAG = 5; // pixels of the page above which a click is a drag
const LONG = 500; // milliseconds after which a touch that rests is a negative one
const NOTCH = 60; // of a wheel: smaller turns are those of a touchpad

/**
 * Listen to a canvas. `on` is told of places in device pixels of the canvas:
 * begin(place, event), drag(places), end(place), cancel(): one pointer that marks or draws, beyond a click;
 * click(place, {opposite, touch}); hover(place or null, {opposite}); pan(dx, dy); pinch(ratio, place); wheel(notches or a ratio, place).
 */
export class Pointer {
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, down: new Map(), gesture: null, space: false });
    const listen = (name, handler) => canvas.addEventListener(name, (event) => handler.call(this, event));
    listen("pointerdown", this.#down);
    listen("pointermove", this.#move);
    listen("pointerup", this.#up);
    listen("pointercancel", this.#lost);
    listen("lostpointercapture", this.#lost);
    listen("pointerleave", (event) => !this.down.size && event.pointerType !== "touch" && on.hover(null, {}));
    listen("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Whether a drag goes on. */
  get busy() {
    return Boolean(this.gesture);
  }

  /** End what is being dragged, without effect; the pointer may go on being held. */
  cancel() {
    const gesture = this.gesture;
    this.gesture = null;
    clearTimeout(gesture?.resting);
    if (gesture?.kind === "mark") this.on.cancel();
  }

  /** The space bar is held, or no longer. */
  hold(space) {
    this.space = space;
    this.canvas.classList.toggle("pans", space);
  }

  #place(event) {
    const rect = this.canvas.getBoundingClientRect();
    return [(event.clientX - rect.left) * this.canvas.width / rect.width,
      (event.clientY - rect.top) * this.canvas.height / rect.height];
  }

  #down(event) {
    if (event.button > 2) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.#place(event));
    if (this.down.size > 1) { // a second finger: what the first one began is no mark
      this.cancel();
      this.gesture = this.down.size === 2 ? { kind: "pinch" } : { kind: "none" };
      return;
    }
    if (event.button === 1) event.preventDefault();
    const pans = this.space || event.button === 1, touch = event.pointerType === "touch";
    const gesture = this.gesture = { kind: pans ? "pan" : "mark", from: this.#place(event), x: event.clientX,
      y: event.clientY, moved: false, touch, opposite: event.button === 2 || event.shiftKey || event.altKey };
    if (pans) return;
    if (touch) {
      gesture.resting = setTimeout(() => {
        if (this.gesture !== gesture || gesture.moved) return;
        gesture.opposite = !gesture.opposite;
        navigator.vibrate?.(20);
        this.on.begin(gesture.from, gesture);
      }, LONG);
    }
    this.on.begin(gesture.from, gesture);
  }

  #move(event) {
    const place = this.#place(event), before = this.down.get(event.pointerId), { gesture } = this;
    if (!before) {
      if (event.pointerType !== "touch") this.on.hover(place, { opposite: event.altKey });
      return;
    }
    const others = [...this.down].filter(([id]) => id !== event.pointerId).map(([, other]) => other);
    this.down.set(event.pointerId, place);
    if (!gesture) return;
    if (gesture.kind === "pan") this.on.pan(place[0] - before[0], place[1] - before[1]);
    else if (gesture.kind === "pinch" && others.length === 1) this.#pinch(before, place, others[0]);
    else if (gesture.kind === "mark") {
      gesture.moved ||= Math.hypot(event.clientX - gesture.x, event.clientY - gesture.y) > DRAG;
      if (gesture.moved) clearTimeout(gesture.resting);
      const events = event.getCoalescedEvents?.() ?? [];
      this.on.drag((events.length ? events : [event]).map((one) => this.#place(one)), gesture);
    }
  }

  #pinch(before, place, other) {
    const apart = ([x, y]) => Math.max(Math.hypot(x - other[0], y - other[1]), 1);
    const middle = ([x, y]) => [(x + other[0]) / 2, (y + other[1]) / 2];
    const [x0, y0] = middle(before), [x1, y1] = middle(place);
    this.on.pan(x1 - x0, y1 - y0);
    this.on.pinch(apart(place) / apart(before), [x1, y1]);
  }

  #up(event) {
    if (!this.down.delete(event.pointerId)) return;
    const { gesture } = this;
    if (this.down.size) return; // what is left of a pinch is no mark
    this.gesture = null;
    clearTimeout(gesture?.resting);
    if (gesture?.kind !== "mark") return;
    const place = this.#place(event);
    if (gesture.moved) this.on.end(place, gesture);
    else this.on.click(gesture.from, gesture);
  }

  #lost(event) {
    if (!this.down.delete(event.pointerId)) return;
    this.cancel();
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode ? 40 : 1, delta = event.deltaY * lines, place = this.#place(event);
    if (event.shiftKey || (!delta && event.deltaX)) this.on.pan(-(delta || event.deltaX * lines) * devicePixelRatio, 0);
    else if (event.ctrlKey && Math.abs(delta) < NOTCH) this.on.pinch(2 ** (-delta / 50), place); // a touchpad's pinch
    else if (Math.abs(delta) >= NOTCH) this.on.notch(-Math.sign(delta), place);
    else this.on.pinch(2 ** (-delta / 200), place);
  }
}
