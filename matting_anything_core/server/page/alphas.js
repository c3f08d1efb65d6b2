// Alpha mattes as the page keeps them: packed, all of them, so that undo needs no service; unpacked with their scaled
// copies those that were used last.

const MOST = 400e6; // bytes of unpacked ones

let worker = null, asked = 0;
const waiting = new Map(); // id of what the worker was asked -> how to answer it
const unpacked = new Map(); // Alpha -> its levels, the longest unused first

function work(message, transfer) {
  if (!worker) {
    worker = new Worker("/page/alpha_worker.js", { type: "module" });
    worker.onmessage = ({ data }) => {
      const { resolve, reject } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) reject(new Error(`The matte cannot be unpacked: ${data.error}`));
      else resolve(data);
    };
  }
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, ...message }, transfer);
  });
}

export class Alpha {
  constructor(width, height, packed) {
    Object.assign(this, { width, height, packed });
  }

  /** Of bytes, one a pixel; they are taken over. */
  static async of(bytes, width, height) {
    const { levels, packed } = await work({ width, height, bytes }, [bytes]);
    const alpha = new Alpha(width, height, packed);
    alpha.#keep(levels);
    return alpha;
  }

  /** Its levels, if they are at hand. */
  get levels() {
    return unpacked.get(this) ?? null;
  }

  /** Its levels, unpacked if need be. */
  async unpack() {
    const levels = unpacked.get(this)
      ?? (await work({ width: this.width, height: this.height, packed: this.packed }, [])).levels;
    this.#keep(levels);
    return levels;
  }

  #keep(levels) {
    unpacked.delete(this);
    unpacked.set(this, levels);
    let bytes = 0;
    for (const [alpha] of [...unpacked].reverse()) { // of the newest there are always some
      bytes += 1.34 * alpha.width * alpha.height;
      if (bytes > MOST && alpha !== this) unpacked.delete(alpha);
    }
  }
}
