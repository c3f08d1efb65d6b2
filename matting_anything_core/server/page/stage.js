// The picture on its canvas: shows it, its matte and the prompt, and turns pointer and keys into a prompt.

const DRAG = 5; // pixels of the screen above which a click is a drag

/** A canvas with a picture. `changed(prompt)` is called whenever the user has marked something. */
export class Stage {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.view = "cutout";
    this.steps = []; // what was marked, in order: {box} or {point, label}
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => { this.cross = null; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** Show another picture, with nothing marked. bitmap: as seen, width × height pixels. */
  open(bitmap, width, height) {
    Object.assign(this, { bitmap, width, height, steps: [], alpha: null, cutout: null, cross: null, drag: null });
    this.canvas.width = width;
    this.canvas.height = height;
    this.draw();
  }

  /** The prompt of what is marked: the last box, and all points; null when nothing is. */
  get prompt() {
    const points = this.steps.filter((step) => step.point);
    const box = this.steps.findLast((step) => step.box)?.box;
    if (!box && !points.some((step) => step.label)) return null;
    return {
      ...(box && { box }),
      ...(points.length && { points: points.map((step) => step.point), labels: points.map((step) => step.label) }),
    };
  }

  /** Take back the last mark, or with `all` every one. */
  undo(all = false) {
    this.steps = all ? [] : this.steps.slice(0, -1);
    if (!this.prompt) this.show(null);
    this.draw();
    this.changed(this.prompt);
  }

  /** Show a matte: alpha as bytes, one a pixel; null for none. */
  show(alpha) {
    this.alpha = this.cutout = null;
    if (alpha) {
      const gray = new ImageData(this.width, this.height), clear = new ImageData(this.width, this.height);
      for (let i = 0, k = 0; i < alpha.length; i++, k += 4) {
        gray.data[k] = gray.data[k + 1] = gray.data[k + 2] = clear.data[k + 3] = alpha[i];
        gray.data[k + 3] = 255;
      }
      this.alpha = this.#layer(gray);
      this.cutout = this.#layer(clear);
      const context = this.cutout.getContext("2d");
      context.globalCompositeOperation = "source-in";
      context.drawImage(this.bitmap, 0, 0, this.width, this.height);
    }
    this.draw();
  }

  #layer(data) {
    const layer = new OffscreenCanvas(this.width, this.height);
    layer.getContext("2d").putImageData(data, 0, 0);
    return layer;
  }

  draw() {
    if (!this.bitmap) return;
    const context = this.canvas.getContext("2d");
    const shown = this.alpha ? this.view : "picture";
    const unit = this.width / (this.canvas.clientWidth || this.width); // picture's pixels for one of the screen
    if (shown === "cutout") this.#checkerboard(context, 10 * unit);
    context.drawImage({ picture: this.bitmap, cutout: this.cutout, alpha: this.alpha }[shown],
      0, 0, this.width, this.height);
    const box = this.drag?.moved ? corners(this.drag.from, this.drag.to)
      : this.corner && this.cross ? corners(this.corner, this.cross)
        : this.steps.findLast((step) => step.box)?.box;
    if (box) this.#outline(context, unit, () => context.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]));
    for (const { point, label } of this.steps.filter((step) => step.point)) this.#dot(context, unit, point, label);
    if (this.cross) {
      const [x, y] = this.cross;
      this.#outline(context, unit, () => {
        context.moveTo(x - 12 * unit, y); context.lineTo(x + 12 * unit, y);
        context.moveTo(x, y - 12 * unit); context.lineTo(x, y + 12 * unit);
      });
    }
  }

  #checkerboard(context, side) {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, this.width, this.height);
    context.fillStyle = "#cbd0d3";
    for (let row = 0; row * side < this.height; row++) {
      for (let column = row % 2; column * side < this.width; column += 2) {
        context.fillRect(column * side, row * side, side, side);
      }
    }
  }

  #outline(context, unit, path) {
    for (const [colour, width] of [["#000a", 4], ["#fff", 2]]) {
      context.beginPath();
      path();
      context.strokeStyle = colour;
      context.lineWidth = width * unit;
      context.stroke();
    }
  }

  #dot(context, unit, [x, y], label) {
    context.beginPath();
    context.arc(x, y, 7 * unit, 0, 7);
    context.fillStyle = label ? "#1f9d55" : "#c8323a";
    context.fill();
    this.#outline(context, unit * 0.8, () => {
      context.moveTo(x - 4 * unit, y); context.lineTo(x + 4 * unit, y);
      if (label) { context.moveTo(x, y - 4 * unit); context.lineTo(x, y + 4 * unit); }
    });
  }

  #add(step) {
    this.steps.push(step);
    this.draw();
    this.changed(this.prompt);
  }

  #place(event) {
    const rect = this.canvas.getBoundingClientRect();
    return this.#inside((event.clientX - rect.left) * this.width / rect.width,
      (event.clientY - rect.top) * this.height / rect.height);
  }

  #inside(x, y) {
    return [Math.min(Math.max(x, 0), this.width), Math.min(Math.max(y, 0), this.height)];
  }

  #down(event) {
    if (event.button > 2 || event.button === 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    const from = this.#place(event);
    this.cross = this.corner = null;
    this.drag = { from, to: from, x: event.clientX, y: event.clientY, moved: false,
      negative: event.button === 2 || event.shiftKey };
  }

  #move(event) {
    if (!this.drag) return;
    this.drag.to = this.#place(event);
    this.drag.moved ||= Math.hypot(event.clientX - this.drag.x, event.clientY - this.drag.y) > DRAG;
    this.draw();
  }

  #up(event) {
    const drag = this.drag;
    if (!drag) return;
    this.drag = null;
    const box = corners(drag.from, this.#place(event));
    if (!drag.moved) this.#add({ point: drag.from, label: drag.negative ? 0 : 1 });
    else if (!drag.negative && box[2] - box[0] >= 1 && box[3] - box[1] >= 1) this.#add({ box });
    else this.draw();
  }

  #key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    this.cross ??= [this.width / 2, this.height / 2];
    const [x, y] = this.cross;
    if (moves[event.key]) {
      const step = Math.max(this.width, this.height) / (event.shiftKey ? 200 : 40);
      this.cross = this.#inside(x + moves[event.key][0] * step, y + moves[event.key][1] * step);
    } else if (event.key === "Enter") {
      this.#add({ point: [x, y], label: event.shiftKey ? 0 : 1 });
    } else if (event.key.toLowerCase() === "b" && !event.ctrlKey && !event.metaKey) {
      const box = this.corner && corners(this.corner, this.cross);
      this.corner = box ? null : this.cross;
      if (box && box[2] > box[0] && box[3] > box[1]) this.#add({ box });
    } else if (event.key === "Backspace") {
      this.undo();
    } else return;
    event.preventDefault();
    this.draw();
  }
}

function corners([x0, y0], [x1, y1]) {
  return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
}
