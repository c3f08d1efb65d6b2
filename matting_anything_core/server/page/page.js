// The page: pictures in, marks on them, and a matte for each object. The newest request wins; older ones are cancelled.

import * as api from "./api.js";
import { blurred } from "./backdrop.js";
import { Keeper } from "./keeper.js";
import { pictureLevels } from "./levels.js";
import { listObjects } from "./objects.js";
import { listFiles, Queue } from "./queue.js";
import { copy, download, files } from "./saving.js";
import { Stage } from "./stage.js";
import { Work } from "./work.js";

const $ = (id) => document.getElementById(id);
const STAGES = { start: "Starting", load: "Loading the model", encode: "Looking at the picture", matte: "Matting",
  words: "Looking for the words", foreground: "Cleaning the colours of the edges", memory: "Waiting for memory" };
const BLUR = 0.02; // of the picture's longer side
const WIDEST = 0.5; // of the picture's longer side: the largest brush

const stage = new Stage($("picture"), $("stage"), {
  marked: (mark) => { work.mark(mark); changed(); ask(); },
  zoomed: (scale) => { $("zoom").textContent = `${percent(scale)} %`; },
  sized: (width) => {
    $("width").textContent = `${width < 10 ? width.toFixed(1) : Math.round(width)} px`;
    if (document.activeElement !== $("size")) $("size").value = 100 * Math.log(width) / Math.log(widest());
  },
});
const queue = new Queue();

let formats = {}; // content types of files that the service reads, with their suffixes
let work = null; // the picture that is shown, with its objects
let levels = null; // it, and its scaled copies
let backdrop = { kind: "checkerboard" };
let keeper = null; // of all this, in the browser
let running = null; // AbortController of what is under way
let refreshed = 0; // counts what is to be shown, so that the latest is

const percent = (scale) => (scale >= 0.1 ? Math.round(100 * scale) : (100 * scale).toFixed(1));
const widest = () => Math.max(WIDEST * Math.max(work?.width ?? 2, work?.height ?? 2), 2);

function say(text, wrong = false) {
  $("message").textContent = text;
  $("message").classList.toggle("wrong", wrong);
}

/** Show what is so now: which buttons can be used, the lists, the mattes. */
function changed() {
  const { selected, finished, shown, history } = work;
  $("undo").disabled = !history.canUndo;
  $("redo").disabled = !history.canRedo;
  $("clear").disabled = !selected.marks.length;
  $("views").disabled = !shown.length;
  $("save-cutout").disabled = $("save-alpha").disabled = $("copy").disabled = !finished.length;
  $("save-composite").disabled = !finished.length || backdrop.kind === "checkerboard";
  $("whiches").hidden = work.objects.length < 2;
  listObjects($("objects"), work, {
    select: (id) => { work.select(id); changed(); },
    rename: (id, name) => { work.names.set(id, name); keeper?.later(queue); },
    show: (id, visible) => { work.hidden[visible ? "delete" : "add"](id); changed(); },
    remove: (id) => { work.remove(id); stop(); changed(); },
  });
  $("queue").hidden = queue.entries.length < 2;
  $("same").disabled = !work.objects.some((object) => object.marks.length);
  $("save-files").disabled = !queue.entries.some((entry) => entry.work?.finished.length);
  listFiles($("files"), queue, (index) => turn(index));
  keeper?.later(queue);
  show();
}

/** Show the mattes; what is not at hand is unpacked before. */
async function show() {
  const mine = refreshed += 1, of = work;
  const layers = await Promise.all(work.shown.map((object) => {
    const { alpha } = object.result ?? object.base;
    return alpha.levels ?? alpha.unpack();
  }));
  if (mine !== refreshed || of !== work) return;
  const view = document.querySelector("input[name=view]:checked").value;
  stage.show(layers, view, work.selected.marks);
}

function progress(event) {
  const bar = $("progress");
  bar.hidden = !event;
  if (!event) return;
  if (event.event === "progress" && event.share > 0) bar.value = event.share;
  else bar.removeAttribute("value");
  if (event.event === "queued") say(event.position ? `Waiting: ${event.position} before this one` : "Starting …");
  else if (event.event === "progress") say(`${STAGES[event.stage] ?? event.stage} …`);
}

/** Do one thing at a time: what ran before is cancelled, errors are told. */
async function during(task) {
  running?.abort();
  const mine = running = new AbortController();
  progress({ event: "alive" });
  try {
    await task(mine.signal, (event) => running === mine && progress(event));
  } catch (error) {
    if (running === mine && error.name !== "AbortError") say(error.message, true);
  } finally {
    if (running === mine) {
      running = null;
      progress(null);
      if (work) changed();
    }
  }
}

/** Cancel what is under way. */
function stop() {
  running?.abort();
  running = null;
  progress(null);
  say("");
}

/** A file's content type: what the system says, where it knows it, else what its suffix says. */
function kindOf(file) {
  const suffix = file.name.toLowerCase().match(/\.[^.]*$/)?.[0];
  const named = Object.keys(formats).find((kind) => formats[kind].includes(suffix));
  return file.type.startsWith("image/") && (file.type in formats || !named) ? file.type : named;
}

/** A picture to show: the browser reads the file, or the service does where the browser cannot (TIFF, JPEG 2000 …). */
async function seen(one, signal) {
  const own = await createImageBitmap(one.file).catch(() => null);
  if (own && own.width === one.width && own.height === one.height) return own;
  return createImageBitmap(await (await api.picture(one.image, signal)).blob());
}

/** Open files, the first of them at once. */
async function open(list) {
  if (!list.length) return;
  await begun;
  const known = list.map((file) => ({ file, kind: kindOf(file) })).filter(({ kind }) => kind);
  const strange = list.find((file) => !kindOf(file));
  if (strange && (!known.length || list.length === 1)) {
    const names = Object.keys(formats).map((name) => name.replace(/^image\/(x-)?/, "").toUpperCase()).join(", ");
    say(`“${strange.name}” is ${strange.type || "of an unknown kind"}; expected a picture: ${names}.`, true);
    return;
  }
  const before = [queue.entries, queue.at];
  queue.open(known);
  if (!await turn(0)) [queue.entries, queue.at] = before;
}

/** Turn to a picture of the queue; whether that could be read. */
async function turn(index) {
  const entry = queue.entries[index];
  let there = false;
  await during(async (signal) => {
    say(`Reading “${entry.file.name}” …`);
    const next = entry.work ?? await Work.of(entry.file, entry.kind, signal).catch((error) => {
      if (error.kind !== "ImageError") throw error;
      throw new Error(`“${entry.file.name}” cannot be read as a picture: ${error.message}`);
    });
    await put(next, signal);
    entry.work = next;
    queue.at = index;
    there = true;
    say(work.finished.length ? `${entry.file.name}: correct it, or download it.`
      : `${entry.file.name}: ${work.width} × ${work.height} pixels. Mark the object.`);
  });
  return there;
}

/** Show a work. */
async function put(next, signal) {
  const bitmap = await seen(next, signal);
  levels = await pictureLevels(bitmap);
  signal.throwIfAborted();
  work = next;
  $("drop").hidden = true;
  $("work").hidden = false;
  stage.open(levels, work.width, work.height);
  if (backdrop.kind === "blur") ground();
  $("stage").focus({ preventScroll: true });
}

/** Have the selected object's matte made, if it needs one. */
async function ask() {
  const { prompt, selected } = work, of = work;
  if (!prompt) {
    stop();
    if (selected.marks.length && !selected.result) say("Now mark something that belongs to the object.");
    return;
  }
  say("Starting …");
  await during(async (signal, progress) => {
    const found = await of.ask($("model").value || undefined, progress, signal);
    const what = found.phrase && selected.marks.at(-1).words
      ? `“${found.phrase}”, ${Math.round(100 * found.sure)} % sure. ` : "";
    const warnings = found.warnings?.length ? ` ${found.warnings.join(" ")}` : "";
    say((found.empty ? "Nothing was found there; mark more of it, or something else."
      : `${what}Done. Correct it with points or the brush, or download it.`) + warnings);
  });
}

/** Go back, or forward again, to results that were kept. */
function step(where) {
  if (!work || stage.cancel()) return;
  stop();
  work.history[where]();
  changed();
  if (work.prompt) ask(); // one that was never answered
}

/** Forget all pictures, here and in the browser. */
function close() {
  stop();
  work = null;
  [queue.entries, queue.at] = [[], -1];
  keeper?.later(queue);
  $("work").hidden = true;
  $("drop").hidden = false;
  $("file").value = "";
  $("file").focus();
}

function clear() {
  stop();
  work.clear();
  changed();
}

function choices() {
  return { format: $("format").value, crop: $("crop").checked, backdrop,
    which: work.objects.length < 2 ? "all" : $("which").value };
}

async function save(output, works = [work]) {
  await during(async (signal, progress) => {
    say("Writing …");
    const list = [];
    for (const one of works) {
      const which = one === work ? choices() : { ...choices(), which: $("which").value === "each" ? "each" : "all" };
      if (which.which === "selected" && !one.selected.result) {
        throw new Error(`There is no matte of ${one.nameOf(one.selected)} yet; mark it, or choose all objects.`);
      }
      const made = await files(one, output, which, progress, signal);
      await download(made);
      list.push(...made);
    }
    say(list.length === 1 ? `Saved as ${list[0].name}.` : `Saved ${list.length} files: ${list.map((one) => one.name).join(", ")}.`);
  });
}

async function toClipboard() {
  if (!work?.finished.length) return;
  await during(async (signal, progress) => {
    say("Copying …");
    const made = files(work, "cutout", { ...choices(), format: "png8",
      which: choices().which === "selected" ? "selected" : "all" }, progress, signal);
    await copy(made.then(([{ blob }]) => blob));
    say("Copied: paste the cut-out anywhere.");
  });
}

/** Put what is behind the cut-out as chosen. */
async function ground(file) {
  const kind = $("ground").value;
  $("colour").hidden = kind !== "colour";
  $("ground-file").hidden = kind !== "picture";
  if (kind === "colour") backdrop = { kind, colour: $("colour").value };
  else if (kind === "blur" && levels) backdrop = { kind, image: blurred(levels, BLUR) };
  else if (kind === "picture" && file) {
    await during(async (signal) => {
      const fileKind = kindOf(file);
      const kept = fileKind && await api.upload(file, fileKind, signal);
      if (!kept) throw new Error(`“${file.name}” is no picture that can be read.`);
      backdrop = { kind, file, fileKind, image: await seen({ file, ...kept }, signal) };
      say("");
    });
  } else if (kind !== "picture") backdrop = { kind: "checkerboard" };
  stage.backdrop = backdrop;
  if (work) changed();
}

function tool(name) {
  $(`tool-${name}`).checked = true;
  stage.tool = name;
  $("sizes").hidden = name !== "brush";
  $("stage").classList.toggle("brush", name === "brush");
  stage.draw();
}

function label(value) {
  $(value ? "keep" : "not").checked = true;
  stage.label = value;
  stage.draw();
}

const KEYS = {
  m: () => tool("mark"), p: () => tool("brush"), x: () => label(1 - stage.label), n: () => $("add").click(),
  h: () => $("marks").click(), Backspace: () => step("undo"),
};

function key(event) {
  const typing = event.target.matches?.("input[type=text], select, textarea");
  const command = event.ctrlKey || event.metaKey, name = event.key.toLowerCase();
  if (event.key === "Escape") {
    if (stage.cancel()) return;
    if (running) { stop(); say("Stopped."); } else if (!typing && work?.selected.marks.length) clear();
  } else if (typing || !work) {
    return;
  } else if (command && name === "z") {
    event.preventDefault();
    step(event.shiftKey ? "redo" : "undo");
  } else if (command && name === "y") {
    event.preventDefault();
    step("redo");
  } else if (command && name === "c" && !String(getSelection())) {
    event.preventDefault();
    toClipboard();
  } else if (!command && !event.altKey) {
    const meant = KEYS[event.key.length === 1 ? name : event.key];
    if (meant) meant();
    else if (!stage.shortcut(event.key)) return;
    event.preventDefault();
  }
}

function listen() {
  const on = (id, name, handler) => $(id).addEventListener(name, handler);
  on("file", "change", (event) => open([...event.target.files]));
  on("other", "click", () => { $("file").value = ""; $("file").click(); });
  on("undo", "click", () => step("undo"));
  on("redo", "click", () => step("redo"));
  on("clear", "click", clear);
  on("add", "click", () => { work.add(); changed(); $("stage").focus(); say("Mark the next object."); });
  on("save-cutout", "click", () => save("cutout"));
  on("save-composite", "click", () => save("composite"));
  on("save-alpha", "click", () => save("alpha"));
  on("copy", "click", toClipboard);
  on("same", "click", () => during(async (signal, progress) => {
    await queue.same($("model").value || undefined, work, changed, progress, signal);
    say("Done. Look through the pictures, correct them, or download all.");
  }));
  on("save-files", "click", () => save("cutout",
    queue.entries.map((entry) => entry.work).filter((one) => one?.finished.length)));
  on("views", "change", show);
  on("tools", "change", (event) => tool(event.target.value));
  on("labels", "change", (event) => label(Number(event.target.value)));
  on("size", "input", (event) => stage.size(widest() ** (event.target.value / 100)));
  on("zoom-in", "click", () => stage.zoom("+"));
  on("zoom-out", "click", () => stage.zoom("-"));
  on("zoom-fit", "click", () => stage.zoom("fit"));
  on("marks", "change", (event) => { stage.marksShown = event.target.checked; stage.draw(); });
  on("ground", "change", () => { if ($("ground").value === "picture") $("ground-file").click(); ground(); });
  on("ground-file", "change", (event) => event.target.files[0] && ground(event.target.files[0]));
  on("colour", "input", () => ground());
  on("compare", "change", (event) => {
    $("split").hidden = !event.target.checked;
    stage.split = event.target.checked ? Number($("split").value) : null;
  });
  on("split", "input", (event) => { stage.split = Number(event.target.value); });
  on("model", "change", () => {
    if (!work?.selected.marks.length) return;
    work.remark(work.selected.marks);
    changed();
    ask();
  });
  on("words", "submit", (event) => {
    event.preventDefault();
    const words = $("text").value.trim();
    if (!words) return;
    work.mark({ words });
    changed();
    ask();
  });
  on("close", "click", close);
  addEventListener("keydown", key);
  addEventListener("paste", (event) => open([...event.clipboardData.files]));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    open([...event.dataTransfer.files]);
  });
}

async function begin() {
  listen();
  try {
    const status = await api.status();
    $("service").textContent = `${status.models.loaded[0] ?? status.models.available[0]} on ${status.device}`;
    $("words").hidden = !status.text;
    formats = status.formats;
    $("file").accept = ["image/*", ...Object.values(formats).flat()].join(",");
    const names = status.models.available;
    $("model").replaceChildren(...names.map((name) => new Option(name)));
    $("models").hidden = names.length < 2;
    keeper = await Keeper.of(await api.pageKey()).catch(() => null);
    restoring = await keeper?.load() ?? null;
  } catch (error) {
    say(error.message, true);
  }
}

/** Take up what was kept, unless something has been opened meanwhile. */
async function restore() {
  if (!restoring || queue.entries.length) return;
  [queue.entries, queue.at] = [restoring.entries, restoring.at];
  if (!await turn(restoring.at) && queue.entries === restoring.entries) [queue.entries, queue.at] = [[], -1];
}

let restoring = null; // what was kept: {entries, at}
const begun = begin();
begun.then(restore);
