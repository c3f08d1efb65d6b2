// What comes out: files to download, and a picture for the clipboard.

import * as api from "./api.js";
import { background } from "./backdrop.js";

const SUFFIX = { png8: "png", png16: "png", webp: "webp", tiff8: "tif", tiff16: "tif" };

/**
 * The outputs of a work as files [{name, blob}].
 * output: cutout, alpha or composite. which: all (in one), each or selected. crop: to the content.
 */
export async function files(work, output, { format, crop, which, backdrop }, progress, signal) {
  const stem = work.file.name.replace(/\.[^.]*$/, "");
  const objects = which === "selected" ? [work.selected] : work.finished;
  const groups = which === "each" ? objects.map((object) => [object]) : [objects];
  const ground = output === "composite" ? { background: await background(backdrop, api, signal) } : {};
  const result = [];
  for (const group of groups) {
    const matte = await work.matteOf(group.map((object) => object.result), signal);
    if (output !== "alpha") await api.colours(matte, progress, signal);
    const answer = await api.pixels(matte, output, { format, ...(crop && { crop: "1" }), ...ground }, signal);
    const name = which === "all" || objects.length === 1 && which !== "each" ? "" : `-${plain(work.nameOf(group[0]))}`;
    result.push({ name: `${stem}${name}-${output}.${SUFFIX[format]}`, blob: await answer.blob() });
  }
  return distinct(result);
}

/** A name without what file systems do not take. */
function plain(name) {
  return name.replace(/[\\/:*?"<>|\u0000-\u001f]+/g, " ").trim() || "object";
}

function distinct(list) {
  const seen = new Map();
  return list.map(({ name, blob }) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return { blob, name: count === 1 ? name : name.replace(/(?=\.[^.]*$)/, `-${count}`) };
  });
}

/** Have the browser download files. */
export async function download(list) {
  for (const [index, { name, blob }] of list.entries()) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    if (index < list.length - 1) await new Promise((resolve) => setTimeout(resolve, 200)); // or browsers drop some
  }
}

/** Put a picture that is being made into the clipboard; must be called by a key or click itself. */
export async function copy(png) {
  if (!globalThis.ClipboardItem) throw new Error("This browser lets no page copy pictures; download it instead.");
  await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
}
