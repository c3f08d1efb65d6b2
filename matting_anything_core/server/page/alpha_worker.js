// Beside the page: packs an alpha matte, unpacks it, and makes its scaled copies.

import { halved, sizes } from "./levels.js";

/** {id, width, height, bytes or packed} -> {id, levels, packed}: packed is a Blob, zlib of one byte a pixel. */
onmessage = async ({ data: { id, width, height, bytes, packed } }) => {
  try {
    const through = (blob, stream) => new Response(blob.stream().pipeThrough(stream));
    const first = bytes ? new Uint8Array(bytes)
      : new Uint8Array(await through(packed, new DecompressionStream("deflate")).arrayBuffer());
    const levels = [first];
    for (const size of sizes(width, height).slice(0, -1)) levels.push(halved(levels.at(-1), size.width, size.height));
    const blob = packed ?? await through(new Blob([first]), new CompressionStream("deflate")).blob();
    postMessage({ id, levels, packed: blob }, levels.map((level) => level.buffer));
  } catch (error) {
    postMessage({ id, error: String(error) });
  }
};
