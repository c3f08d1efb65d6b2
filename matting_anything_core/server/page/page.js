// The page: a picture in, marks on it, and a matte for each mark. The newest request wins; older ones are cancelled.

import * as api from "./api.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const stage = new Stage($("stage"), (prompt) => ask(prompt));
const STAGES = { start: "Starting", load: "Loading the model", encode: "Looking at the picture", matte: "Matting",
  words: "Looking for the words" };

let formats = {}; // content types of files that the service reads, with their suffixes
let picture = null; // {file, image, width, height} of what is shown
let matte = null; // its matte, as the service described it
let running = null; // AbortController of what is under way

function say(text, wrong = false) {
  $("message").textContent = text;
  $("message").classList.toggle("wrong", wrong);
}

function update() {
  $("views").disabled = $("save-cutout").disabled = $("save-alpha").disabled = !matte;
  $("undo").disabled = $("clear").disabled = !stage.steps.length;
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
async function during(work) {
  running?.abort();
  const mine = running = new AbortController();
  progress({ event: "alive" });
  try {
    await work(mine.signal);
  } catch (error) {
    if (running === mine && error.name !== "AbortError") say(error.message, true);
  } finally {
    if (running === mine) {
      running = null;
      progress(null);
      update();
    }
  }
}

/** A file's content type: what the system says, where it knows it, else what its suffix says. */
function kindOf(file) {
  const suffix = file.name.toLowerCase().match(/\.[^.]*$/)?.[0];
  const named = Object.keys(formats).find((kind) => formats[kind].includes(suffix));
  return file.type.startsWith("image/") && (file.type in formats || !named) ? file.type : named;
}

/** A picture to show: the browser reads the file, or the service does where the browser cannot (TIFF, JPEG 2000 …). */
async function shown(file, kept, signal) {
  const own = await createImageBitmap(file).catch(() => null);
  if (own && own.width === kept.width && own.height === kept.height) return own;
  return createImageBitmap(await (await api.picture(kept.image, signal)).blob());
}

async function open(file) {
  if (!file) return;
  await begun;
  const kind = kindOf(file);
  if (!kind) {
    const known = Object.keys(formats).map((name) => name.replace(/^image\/(x-)?/, "").toUpperCase()).join(", ");
    say(`“${file.name}” is ${file.type || "of an unknown kind"}; expected a picture: ${known}.`, true);
    return;
  }
  await during(async (signal) => {
    say(`Reading “${file.name}” …`);
    const kept = await api.upload(file, kind, signal).catch((error) => {
      if (error.kind !== "ImageError") throw error;
      throw new Error(`“${file.name}” cannot be read as a picture: ${error.message}`);
    });
    const bitmap = await shown(file, kept, signal);
    picture = { file, kind, ...kept };
    matte = null;
    $("drop").hidden = true;
    $("work").hidden = false;
    stage.open(bitmap, kept.width, kept.height);
    $("stage").focus({ preventScroll: true });
    say(`${file.name}: ${kept.width} × ${kept.height} pixels. Mark the object.`);
  });
}

/** Matte a prompt and show it; uploads the picture again when the service has forgotten it. */
async function ask(prompt) {
  matte = null;
  update();
  if (!prompt) {
    running?.abort();
    if (stage.steps.length) say("Now mark something that belongs to the object.");
    else say("");
    return;
  }
  say("Starting …");
  await during(async (signal) => {
    const model = $("model").value || undefined;
    const request = () => api.matte(picture.image, prompt, model, progress, signal);
    const found = await request().catch(async (error) => {
      if (error.status !== 404) throw error;
      await api.upload(picture.file, picture.kind, signal);
      return request();
    });
    const alpha = await api.pixels(found.matte, "alpha", "u8", signal);
    stage.show(new Uint8Array(await alpha.arrayBuffer()));
    matte = found;
    const what = found.phrase ? `“${found.phrase}”, ${Math.round(100 * found.phrase_score)} % sure. ` : "";
    say(found.empty ? "Nothing was found there; mark more of it, or something else."
      : `${what}Done. Correct it with points, or download it.`);
  });
}

async function save(output) {
  const found = matte;
  await during(async (signal) => {
    say(output === "cutout" ? "Cleaning the colours of the edges …" : "Writing …");
    const answer = await api.pixels(found.matte, output, "png8", signal);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${picture.file.name.replace(/\.[^.]*$/, "")}-${output}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say(`Saved as ${link.download}.`);
  });
}

function listen() {
  $("file").addEventListener("change", (event) => open(event.target.files[0]));
  $("other").addEventListener("click", () => { $("file").value = ""; $("file").click(); });
  $("undo").addEventListener("click", () => stage.undo());
  $("clear").addEventListener("click", () => stage.undo(true));
  $("save-cutout").addEventListener("click", () => save("cutout"));
  $("save-alpha").addEventListener("click", () => save("alpha"));
  $("views").addEventListener("change", (event) => { stage.view = event.target.value; stage.draw(); });
  $("model").addEventListener("change", () => stage.prompt && ask(stage.prompt));
  $("words").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("text").value.trim()) ask({ ...stage.prompt, text: $("text").value });
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (running) { running.abort(); say("Stopped."); } else if (stage.steps.length) stage.undo(true);
  });
  addEventListener("paste", (event) => open([...event.clipboardData.files][0]));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    open(event.dataTransfer.files[0]);
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
  } catch (error) {
    say(error.message, true);
  }
}

const begun = begin();
