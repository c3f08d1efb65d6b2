// Draws the picture and its mattes: from scaled copies and tiles, so that a frame costs what the screen shows of it.

import { levelFor, SIDE } from "./levels.js";
import { Tiles } from "./tiles.js";

const SLICE = 8; // milliseconds of a frame for new tiles
const SHARP = 2; // from this scale on pixels are squares
const CHECKER = 10; // side of a field, in pixels of the page

export class Painter {
  constructor(canvas, viewport) {
    this.canvas = canvas;
    this.viewport = viewport;
    this.picture = null; // its levels
    this.split = null; // share of the picture's width to the left of which the picture itself is shown
    this.backdrop = { kind: "checkerboard" };
    this.tiles = this.next = null; // what is shown, and what will be once it is complete
  }

  open(levels) {
    this.picture = levels;
    this.tiles = this.next = null;
  }

  /** Show mattes: the levels of their alphas. view: cutout, alpha, tint, or picture. */
  show(layers, view) {
    const same = (tiles) => tiles?.view === view && tiles.layers.length === layers.length
      && tiles.layers.every((layer, index) => layer === layers[index]);
    if (view === "picture" || !layers.length) this.tiles = this.next = null;
    else if (same(this.tiles)) this.next = null;
    else if (!same(this.next)) this.next = new Tiles(this.picture, layers, view);
    if (!this.tiles && this.next) this.tiles = this.next;
    if (this.tiles === this.next) this.next = null;
  }

  /** Draw a frame; true when there is more to draw in the next one. */
  paint() {
    const context = this.canvas.getContext("2d"), { width, height } = this.canvas, { viewport } = this;
    const until = performance.now() + SLICE;
    let more = false;
    if (this.next) { // the old one stays until the new one is complete
      if (this.#complete(this.next, until)) [this.tiles, this.next] = [this.next, null];
      else more = true;
    }
    context.clearRect(0, 0, width, height);
    if (!this.picture) return false;
    context.imageSmoothingEnabled = viewport.scale < SHARP;
    const frame = this.#rect(0, 0, viewport.pictureWidth, viewport.pictureHeight);
    const shown = !this.tiles ? "picture" : this.tiles.view;
    if (shown === "picture" || shown === "tint") this.#picture(context);
    if (shown === "cutout") this.#backdrop(context, frame);
    if (this.tiles) more = this.#matte(context, until) || more;
    if (this.split !== null && this.tiles) {
      context.save();
      context.beginPath();
      context.rect(frame[0], frame[1], frame[2] * this.split, frame[3]);
      context.clip();
      this.#picture(context);
      context.restore();
    }
    return more;
  }

  /** A rectangle of the picture on the screen, its sides on whole pixels: x, y, width, height. */
  #rect(x0, y0, x1, y1) {
    const [left, top] = this.viewport.toScreen(x0, y0).map(Math.round);
    const [right, bottom] = this.viewport.toScreen(x1, y1).map(Math.round);
    return [left, top, Math.max(right - left, 1), Math.max(bottom - top, 1)];
  }

  /** The part of a level that is in sight: x0, y0, x1, y1 in its whole pixels; and the picture's pixels for one of it. */
  #sight(level) {
    const { width, height } = this.picture[level], { viewport } = this;
    const across = viewport.pictureWidth / width, down = viewport.pictureHeight / height;
    const [x0, y0] = viewport.inside(0, 0), [x1, y1] = viewport.inside(this.canvas.width, this.canvas.height);
    return { across, down, x0: Math.floor(x0 / across), y0: Math.floor(y0 / down),
      x1: Math.min(Math.ceil(x1 / across), width), y1: Math.min(Math.ceil(y1 / down), height) };
  }

  #picture(context) {
    const level = levelFor(this.viewport.scale, this.picture.length);
    const { across, down, x0, y0, x1, y1 } = this.#sight(level);
    if (x1 <= x0 || y1 <= y0) return;
    context.drawImage(this.picture[level], x0, y0, x1 - x0, y1 - y0,
      ...this.#rect(x0 * across, y0 * down, x1 * across, y1 * down));
  }

  *#sighted(level) {
    const { x0, y0, x1, y1 } = this.#sight(level);
    for (let row = Math.floor(y0 / SIDE); row * SIDE < y1; row++) {
      for (let column = Math.floor(x0 / SIDE); column * SIDE < x1; column++) yield [column, row];
    }
  }

  #complete(tiles, until) {
    const level = levelFor(this.viewport.scale, this.picture.length);
    for (const [column, row] of this.#sighted(level)) {
      if (!tiles.at(level, column, row)) {
        tiles.make(level, column, row);
        if (performance.now() > until) return false;
      }
    }
    return true;
  }

  /** The matte in sight; where there is no time for its tiles, coarser ones. */
  #matte(context, until) {
    const level = levelFor(this.viewport.scale, this.picture.length), last = this.picture.length - 1;
    const { across, down } = this.#sight(level), { width, height } = this.picture[level];
    let more = false;
    for (const [column, row] of this.#sighted(level)) {
      let tile = this.tiles.at(level, column, row);
      if (!tile && performance.now() < until) tile = this.tiles.make(level, column, row);
      const x0 = column * SIDE, y0 = row * SIDE, x1 = Math.min(x0 + SIDE, width), y1 = Math.min(y0 + SIDE, height);
      const place = this.#rect(x0 * across, y0 * down, x1 * across, y1 * down);
      if (tile) {
        context.drawImage(tile, ...place);
        continue;
      }
      more = true;
      const coarse = this.tiles.at(last, 0, 0) ?? this.tiles.make(last, 0, 0);
      const sx = coarse.width / width, sy = coarse.height / height;
      context.drawImage(coarse, x0 * sx, y0 * sy, (x1 - x0) * sx, (y1 - y0) * sy, ...place);
    }
    return more;
  }

  #backdrop(context, [x, y, width, height]) {
    const { kind, colour, image } = this.backdrop;
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    if (kind === "colour") {
      context.fillStyle = colour;
      context.fillRect(x, y, width, height);
    } else if (image) { // covers it, as the service has it
      const scale = Math.max(width / image.width, height / image.height);
      const w = image.width * scale, h = image.height * scale;
      context.imageSmoothingEnabled = true;
      context.drawImage(image, x + (width - w) / 2, y + (height - h) / 2, w, h);
    } else {
      context.fillStyle = this.#checkerboard(context);
      context.fillRect(x, y, width, height);
    }
    context.restore();
  }

  #checkerboard(context) {
    const side = Math.round(CHECKER * devicePixelRatio);
    if (this.checker?.side !== side) {
      const two = new OffscreenCanvas(2 * side, 2 * side), drawing = two.getContext("2d");
      drawing.fillStyle = "#fff";
      drawing.fillRect(0, 0, 2 * side, 2 * side);
      drawing.fillStyle = "#cbd0d3";
      drawing.fillRect(side, 0, side, side);
      drawing.fillRect(0, side, side, side);
      this.checker = { side, pattern: context.createPattern(two, "repeat") };
    }
    return this.checker.pattern;
  }
}
