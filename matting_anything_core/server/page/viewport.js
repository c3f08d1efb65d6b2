// Where the picture lies on the screen. Lengths on the screen are device pixels; scale is device pixels for one of the
// picture's. The picture's corner lies on whole device pixels, so that at whole scales its pixels are exact squares.

const LEAST = 16; // of the picture's longer side that stays visible when one zooms out, device pixels
const MOST = 64;
const FITTED = 8; // a small picture is enlarged at most so far to begin with
const VISIBLE = 48; // device pixels of the picture that cannot be panned out of sight

export class Viewport {
  constructor() {
    Object.assign(this, { width: 1, height: 1, pictureWidth: 1, pictureHeight: 1, scale: 1, x: 0, y: 0, fitted: true });
  }

  /** Another picture, all of it in sight. */
  open(width, height) {
    this.pictureWidth = width;
    this.pictureHeight = height;
    this.fit();
  }

  /** The screen's size has changed. What was in its middle stays there. */
  resize(width, height) {
    const dx = (width - this.width) / 2, dy = (height - this.height) / 2;
    this.width = width;
    this.height = height;
    if (this.fitted) this.fit();
    else this.pan(dx, dy);
  }

  get fitting() {
    return Math.min(this.width / this.pictureWidth, this.height / this.pictureHeight, FITTED);
  }

  fit() {
    this.scale = this.fitting;
    this.x = Math.round((this.width - this.pictureWidth * this.scale) / 2);
    this.y = Math.round((this.height - this.pictureHeight * this.scale) / 2);
    this.fitted = true;
  }

  /** Zoom to a scale; what is at (x, y) of the screen, its middle unless given, stays there. */
  zoom(scale, x = this.width / 2, y = this.height / 2) {
    const least = Math.min(LEAST / Math.max(this.pictureWidth, this.pictureHeight), this.fitting);
    const [px, py] = this.toPicture(x, y);
    this.scale = Math.min(Math.max(scale, least), MOST);
    this.x = x - px * this.scale;
    this.y = y - py * this.scale;
    this.#settle();
  }

  /** The next of the scales 1/4, 1/2.8, 1/2, 1/1.4, 1 …: steps of half an octave, up or down. */
  step(steps) {
    return 2 ** ((steps > 0 ? Math.floor(Math.log2(this.scale) * 2 + 1e-6) : Math.ceil(Math.log2(this.scale) * 2 - 1e-6))
      / 2 + steps / 2);
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#settle();
  }

  #settle() {
    this.fitted = false;
    const inside = (at, size, whole) => Math.round(Math.min(Math.max(at, VISIBLE - size), whole - VISIBLE));
    this.x = inside(this.x, this.pictureWidth * this.scale, this.width);
    this.y = inside(this.y, this.pictureHeight * this.scale, this.height);
  }

  /** Pan just so far that a place of the picture is in sight. */
  reveal([px, py]) {
    const [x, y] = this.toScreen(px, py), margin = Math.min(40, this.width / 4, this.height / 4);
    const far = (at, whole) => Math.min(Math.max(at, margin), whole - margin) - at;
    const dx = far(x, this.width), dy = far(y, this.height);
    if ((dx || dy) && !this.fitted) this.pan(dx, dy);
  }

  toPicture(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  toScreen(px, py) {
    return [this.x + px * this.scale, this.y + py * this.scale];
  }

  /** As toPicture, but never outside of the picture. */
  inside(x, y) {
    const [px, py] = this.toPicture(x, y);
    return this.clamped(px, py);
  }

  clamped(px, py) {
    return [Math.min(Math.max(px, 0), this.pictureWidth), Math.min(Math.max(py, 0), this.pictureHeight)];
  }
}
