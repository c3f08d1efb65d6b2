// Pieces of what is shown of a matte, made when they come into sight and kept while there is room.

import { SIDE } from "./levels.js";

const MOST = 160; // tiles of a megabyte

/** How a view turns alpha (0..255) into a pixel, as a number 0xAABBGGRR. */
const PIXEL = {
  cutout: (a) => a << 24,
  alpha: (a) => 0xff000000 | a * 0x010101,
  tint: (a) => ((255 - a) * 0.6) << 24 | 0x4020c0,
};

export class Tiles {
  /** picture: its levels. layers: the levels of every alpha that is shown; the objects add up. view: cutout, alpha, tint. */
  constructor(picture, layers, view) {
    Object.assign(this, { picture, layers, view, tiles: new Map() });
    this.table = Uint32Array.from({ length: 256 }, (_, a) => PIXEL[view](a));
  }

  at(level, column, row) {
    const key = `${level} ${column} ${row}`, tile = this.tiles.get(key);
    if (tile) {
      this.tiles.delete(key);
      this.tiles.set(key, tile);
    }
    return tile;
  }

  make(level, column, row) {
    const { width, height } = this.picture[level];
    const x = column * SIDE, y = row * SIDE, w = Math.min(SIDE, width - x), h = Math.min(SIDE, height - y);
    const image = new ImageData(w, h), pixels = new Uint32Array(image.data.buffer), { table } = this;
    const [first, ...others] = this.layers.map((layer) => layer[level]);
    for (let j = 0, k = 0; j < h; j++) {
      for (let i = (y + j) * width + x, end = i + w; i < end; i++, k++) {
        let alpha = first[i];
        for (const other of others) alpha = 255 - (255 - alpha) * (255 - other[i]) / 255;
        pixels[k] = table[Math.round(alpha)];
      }
    }
    const tile = new OffscreenCanvas(w, h), context = tile.getContext("2d");
    context.putImageData(image, 0, 0);
    if (this.view === "cutout") {
      context.globalCompositeOperation = "source-in";
      context.drawImage(this.picture[level], x, y, w, h, 0, 0, w, h);
    }
    this.tiles.set(`${level} ${column} ${row}`, tile);
    if (this.tiles.size > MOST) this.tiles.delete(this.tiles.keys().next().value);
    return tile;
  }
}
