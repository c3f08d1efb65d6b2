// The picture on its canvases: shows it, its mattes and marks, and turns pointer and keys into marks.

import { overlay } from "./overlay.js";
import { Painter } from "./painter.js";
import { Pointer } from "./pointer.js";
import { thinned } from "./marks.js";
import { Viewport } from "./viewport.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const ZOOMS = { 0: null, 1: 1, 2: 2, 8: 8 };

/** Canvases with a picture. `marked(mark)` is called for whatever the user marks, `zoomed(scale)` when that changes. */
export class Stage {
  constructor(below, canvas, { marked, zoomed, sized }) {
    Object.assign(this, { below, canvas, marked, zoomed, sized });
    this.viewport = new Viewport();
    this.painter = new Painter(below, this.viewport);
    this.tool = "mark"; // or brush
    this.label = 1; // what the brush, and a touch, say: 1 keep, 0 drop
    this.width = 20; // of the brush, pixels of the picture
    this.marks = [];
    this.marksShown = true;
    this.pointer = new Pointer(canvas, {
      begin: (place, gesture) => this.#begin(place, gesture), drag: (places, gesture) => this.#drag(places, gesture),
      end: (place, gesture) => this.#end(place, gesture), click: (place, gesture) => this.#click(place, gesture),
      cancel: () => this.#forget(), hover: (place, gesture) => this.#hover(place, gesture),
      pan: (dx, dy) => { this.viewport.pan(dx, dy); this.#moved(); },
      pinch: (ratio, place) => this.#zoom(this.viewport.scale * ratio, place),
      notch: (steps, place) => this.#zoom(this.viewport.step(steps), place),
    });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("keyup", (event) => event.key === " " && this.pointer.hold(false));
    canvas.addEventListener("blur", () => { this.pointer.hold(false); this.cross = this.corner = null; this.#over(); });
    new ResizeObserver(() => this.#resized()).observe(canvas);
  }

  /** Show another picture. levels: it, as seen, and its scaled copies. */
  open(levels, width, height) {
    this.pointer.cancel();
    Object.assign(this, { cross: null, corner: null, hovering: null, marks: [] });
    this.painter.open(levels);
    this.#resized();
    this.viewport.open(width, height);
    this.size(Math.max(1, Math.round(Math.max(width, height) / 50)));
    this.#moved();
  }

  get opened() {
    return Boolean(this.painter.picture);
  }

  /** Show mattes by the levels of their alphas, and marks. view: cutout, tint, alpha or picture. */
  show(layers, view, marks) {
    this.marks = marks;
    this.painter.show(layers, view);
    this.draw();
  }

  /** Set what is behind a cut-out: {kind: checkerboard}, {kind: colour, colour} or {kind, image}. */
  set backdrop(value) {
    this.painter.backdrop = value;
    this.draw();
  }

  /** Set the share of the picture to the left of which it is shown as it was; null for none. */
  set split(share) {
    this.painter.split = share;
    this.draw();
  }

  /** Choose the width of the brush, pixels of the picture. */
  size(width) {
    this.width = Math.min(Math.max(width, 1), Math.max(this.viewport.pictureWidth, this.viewport.pictureHeight) / 2);
    this.sized(this.width);
    this.#over();
  }

  /** Zoom: a scale, "fit", or steps up or down ("+", "-"). */
  zoom(to) {
    if (to === "fit") { this.viewport.fit(); this.#moved(); return; }
    const place = this.cross ? this.viewport.toScreen(...this.cross) : undefined;
    this.#zoom(to === "+" ? this.viewport.step(1) : to === "-" ? this.viewport.step(-1) : to, place);
  }

  /** End a drag, without effect; false when there was none. */
  cancel() {
    const busy = this.pointer.busy || Boolean(this.corner);
    this.pointer.cancel();
    this.corner = null;
    this.#over();
    return busy;
  }

  /** Draw everything anew with the next frame. */
  draw() {
    this.stale = true;
    this.#over();
  }

  #over() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.stale && this.opened) {
        this.stale = this.painter.paint();
        if (this.stale) this.draw();
      }
      this.#overlay();
    });
  }

  #overlay() {
    const { drag, hovering } = this, brush = this.tool === "brush" && (drag?.to ?? hovering?.place);
    const touched = drag?.touch && !this.viewport.fitted ? null : drag?.touch ? drag.to : null;
    overlay(this.canvas, this.viewport, this.below, {
      marks: this.marksShown ? this.marks : [], split: this.painter.tiles ? this.painter.split : null,
      box: drag?.moved && !drag.line ? corners(drag.from, drag.to)
        : this.corner && this.cross ? corners(this.corner, this.cross) : null,
      stroke: drag?.line ? { stroke: drag.line, width: this.width, label: drag.label } : null,
      brush: brush ? { place: brush, width: this.width, label: drag?.label ?? this.#label(hovering) } : null,
      cross: this.cross, loupe: touched,
    });
  }

  #resized() {
    const { clientWidth, clientHeight } = this.canvas;
    const width = Math.round(clientWidth * devicePixelRatio), height = Math.round(clientHeight * devicePixelRatio);
    if (!width || !height || (width === this.canvas.width && height === this.canvas.height)) return;
    for (const canvas of [this.canvas, this.below]) Object.assign(canvas, { width, height });
    this.viewport.resize(width, height);
    this.#moved();
  }

  #zoom(scale, [x, y] = [this.canvas.width / 2, this.canvas.height / 2]) {
    if (!this.opened) return;
    this.viewport.zoom(scale, x, y);
    this.#moved();
  }

  #moved() {
    const { scale, x, y } = this.viewport;
    Object.assign(this.canvas.dataset, { scale, x, y });
    this.zoomed(scale);
    this.draw();
  }

  #label(gesture) {
    return gesture?.opposite ? 1 - this.label : this.label;
  }

  #begin(place, gesture) {
    if (!this.opened) return;
    const from = this.viewport.inside(...place);
    this.cross = this.corner = null;
    this.drag = { from, to: from, moved: false, label: this.#label(gesture), touch: gesture.touch,
      line: this.tool === "brush" ? [from] : null };
    this.#over();
  }

  #drag(places, gesture) {
    if (!this.drag) return;
    const points = places.map((place) => this.viewport.inside(...place));
    this.drag.to = points.at(-1);
    this.drag.moved = gesture.moved;
    this.drag.line?.push(...points);
    this.#over();
  }

  #forget() {
    this.drag = null;
    this.#over();
  }

  #end(place, gesture) {
    const { drag } = this;
    this.drag = null;
    this.#over();
    if (!drag) return;
    const to = this.viewport.inside(...place), box = corners(drag.from, to);
    if (drag.line) this.#stroke([...drag.line, to], drag.label);
    else if (!gesture.opposite && box[2] - box[0] >= 1 && box[3] - box[1] >= 1) this.marked({ box });
  }

  #click(place, gesture) {
    const { drag } = this;
    this.drag = null;
    this.#over();
    if (!drag) return;
    if (drag.line) this.#stroke([drag.from], drag.label);
    else this.marked({ point: drag.from, label: this.#label(gesture) });
  }

  #stroke(line, label) {
    const least = Math.max(this.width / 8, 0.5);
    this.marked({ stroke: thinned(line, least).map(([x, y]) => [round(x), round(y)]), width: this.width, label });
  }

  #hover(place, gesture) {
    this.hovering = place && this.opened ? { place: this.viewport.toPicture(...place), ...gesture } : null;
    if (this.tool === "brush") this.#over();
  }

  /** A key that works wherever the focus is, zoom or the brush's size; false when it is none. */
  shortcut(key) {
    if (!this.opened) return false;
    if (key === "+" || key === "=") this.zoom("+");
    else if (key === "-") this.zoom("-");
    else if (key in ZOOMS) this.zoom(ZOOMS[key] ?? "fit");
    else if (key === "[") this.size(Math.min(this.width / 1.25, this.width - 1));
    else if (key === "]") this.size(Math.max(this.width * 1.25, this.width + 1));
    else return false;
    return true;
  }

  #key(event) {
    if (!this.opened || event.ctrlKey || event.metaKey) return;
    const { key } = event, { pictureWidth: width, pictureHeight: height } = this.viewport;
    if (key === " ") this.pointer.hold(true);
    else if (ARROWS[key] || key === "Enter" || key.toLowerCase() === "b") {
      this.cross ??= this.viewport.inside(this.canvas.width / 2, this.canvas.height / 2);
      const [x, y] = this.cross;
      if (ARROWS[key]) {
        const closer = Math.max(this.viewport.scale / this.viewport.fitting, 1);
        const step = Math.max(width, height) / (event.shiftKey ? 200 : 40) / closer;
        this.cross = this.viewport.clamped(x + ARROWS[key][0] * step, y + ARROWS[key][1] * step);
        this.viewport.reveal(this.cross);
        this.#moved();
      } else if (key === "Enter") {
        const label = event.shiftKey || event.altKey ? 1 - this.label : this.label;
        if (this.tool === "brush") this.#stroke([this.cross], label);
        else this.marked({ point: [x, y], label });
      } else {
        const box = this.corner && corners(this.corner, this.cross);
        this.corner = box ? null : this.cross;
        if (box && box[2] > box[0] && box[3] > box[1]) this.marked({ box });
      }
    } else return;
    event.preventDefault();
    this.#over();
  }
}

const round = (number) => Math.round(number * 8) / 8;

function corners([x0, y0], [x1, y1]) {
  return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
}
