/** Puts the canvas editor on Prompt Editor nodes, and on the others what a widget cannot do. */
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { Editor } from "./editor.js";
import { wordsFor } from "./locale.js";
import { loadStyle } from "./panel.js";
import { consumersOf, executedMattes, executedPicture, pictureAt, upTo } from "./source.js";

const NODE = "MattingAnythingPromptEditor";
const MATTE = "MattingAnythingMatte";
const REFINE = "MattingAnythingRefine";
const LOADER = "MattingAnythingLoadModel";
const GETTER = "MattingAnythingGetWeights";
const TEXT_ON_NODE = "$$node-text-preview"; // ComfyUI's name for what send_progress_text shows
const SMALLEST = [380, 480];
const LOOK_EVERY = 400; // milliseconds between looks at the graph for another picture

const editors = new Map(); // node -> its editor, while the node is in a graph
let looking = null;

app.registerExtension({
  name: "MattingAnything.PromptEditor",
  nodeCreated(node) {
    const kind = node.comfyClass ?? node.constructor.comfyClass;
    if (kind === NODE) addEditor(node);
    if (kind === MATTE || kind === REFINE) endWarnings(node);
    if (kind === LOADER) nameMissing(node, "model");
    if (kind === LOADER) nameMissing(node, "alpha_head");
    if (kind === GETTER) nameMissing(node, "weights");
  },
  setup() {
    for (const type of ["execution_success", "execution_error", "execution_interrupted"]) {
      api.addEventListener(type, () => editors.forEach((editor) => editor.setBusy(false)));
    }
  },
});

/** Take a warning of an earlier run from the node when a run had none. */
function endWarnings(node) {
  const before = node.onExecuted;
  node.onExecuted = function (output, ...rest) {
    const result = before?.call(this, output, ...rest);
    const at = this.widgets?.findIndex(({ name }) => name === TEXT_ON_NODE) ?? -1;
    if (at >= 0 && output?.matting_anything_warning && !output.matting_anything_warning.length) {
      this.widgets[at].onRemove?.();
      this.widgets.splice(at, 1);
      this.setDirtyCanvas?.(true, true);
    }
    return result;
  };
}

/** Say in a list of models which of them are not there. */
function nameMissing(node, input) {
  const widget = node.widgets?.find(({ name }) => name === input);
  const inputs = { ...node.constructor.nodeData?.input?.optional, ...node.constructor.nodeData?.input?.required };
  const missing = inputs[input]?.[1]?.matting_anything_missing;
  if (!widget?.options || !missing?.length) return;
  const words = wordsFor(app.extensionManager?.setting?.get("Comfy.Locale"));
  widget.options.getOptionLabel = (name) => (missing.includes(name) ? `${name} (${words.notThere})` : String(name));
}

function addEditor(node) {
  const widget = node.widgets?.find(({ name }) => name === "prompt");
  if (!widget) return; // made by an older or newer pack: the plain text field is still there
  loadStyle();
  const words = wordsFor(app.extensionManager?.setting?.get("Comfy.Locale"));
  const editor = new Editor(hostOf(node, widget), words);
  hide(widget);
  const shown = node.addDOMWidget("editor", "MATTING_ANYTHING_EDITOR", editor.panel.root, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => 300,
  });
  shown.serialize = false; // neither saved with the workflow nor sent: the text widget is
  node.setSize([Math.max(node.size[0], SMALLEST[0]), Math.max(node.size[1], SMALLEST[1])]);
  node.hideOutputImages = true;
  const look = () => node.graph && lookFor(node, editor); // ComfyUI makes copies that are never in a graph
  after(widget, "callback", look);
  after(node, "onConfigure", look);
  after(node, "onExecuted", look);
  after(node, "onConnectionsChange", () => {
    look();
    editor.refresh(); // the prompt itself may be linked now, or no longer
  });
  after(node, "onAdded", () => watch(node, editor));
  after(node, "onRemoved", () => unwatch(node, editor));
}

/** The node's text widget as the editor sees it. */
function hostOf(node, widget) {
  return {
    readText: () => widget.value,
    writeText(text) {
      widget.value = text;
      node.graph?.setDirtyCanvas?.(true, true);
    },
    isLinked: () => node.inputs?.some((input) => input.widget?.name === widget.name && input.link != null) ?? false,
    changing(change) {
      // Between these two, ComfyUI takes what changes as one step of the workflow's own history.
      app.canvas?.emitBeforeChange?.();
      change();
      app.canvas?.emitAfterChange?.();
    },
    canRun: () => consumersOf(node, "prompt", MATTE).length > 0,
    run: () => runMatte(node),
  };
}

/** Run what the Matte that this editor feeds needs, and nothing after it. True when it is in the queue. */
async function runMatte(node) {
  try {
    const { output, workflow } = await app.graphToPrompt();
    const found = upTo(output, MATTE, node.id, "prompt");
    if (!found) return false;
    const [mask, shown] = freeIds(output);
    const ending = {
      [mask]: { class_type: "MaskToImage", inputs: { mask: [found.id, 0] } },
      [shown]: { class_type: "PreviewImage", inputs: { images: [mask, 0] } },
    };
    await api.queuePrompt(0, { output: { ...found.graph, ...ending }, workflow });
    return true;
  } catch (error) {
    const first = Object.values(error?.response?.node_errors ?? {})[0]?.errors?.[0];
    const detail = first ? `${first.message} ${first.details ?? ""}` : error?.response?.error?.message ?? String(error);
    app.extensionManager?.toast?.add?.({ severity: "error", summary: "Matting Anything", detail, life: 8000 });
    return false;
  }
}

/** Two ids that no node of a graph has. */
function freeIds(graph) {
  let id = Math.max(0, ...Object.keys(graph).map((key) => parseInt(key, 10)).filter(Number.isFinite)) + 1000;
  return [String(id), String((id += 1))];
}

/** Bring the editor up to date with the widget's text and with the picture that flows into the node. */
function lookFor(node, editor) {
  editor.read();
  const upstream = pictureAt(node, "image", app.nodeOutputs);
  const executed = executedPicture(node, app.nodeOutputs);
  if (executed && executed.key !== editor.executed?.key) editor.executed = { ...executed, from: upstream?.key };
  const ran = editor.executed && editor.executed.from === upstream?.key;
  const current = ran ? editor.executed : upstream;
  const frames = (current?.frames ?? (current ? [current] : [])).map(({ file, url, ...rest }) =>
    ({ ...rest, url: file ? viewUrl(file) : url }));
  const note = upstream ? editor.words.notYet : editor.words.noPicture;
  const shown = upstream ? frames.filter(({ url }) => url) : [];
  if (JSON.stringify(shown) !== JSON.stringify(editor.frames) || !shown.length) editor.showFrames(shown, note);
  lookForMattes(node, editor, upstream?.key);
}

/** The mattes of the last run of a node that this editor feeds, as long as it is the same picture. */
function lookForMattes(node, editor, upstreamKey) {
  const mattes = consumersOf(node, "prompt", MATTE).map((one) => executedMattes(one, app.nodeOutputs))
    .find((found) => found.length) ?? [];
  const key = mattes.map((one) => one.key).join();
  if (key !== editor.mattesOf?.key) editor.mattesOf = { key, from: upstreamKey };
  const valid = editor.mattesOf.from === upstreamKey ? mattes : [];
  const wanted = valid.map(({ file, width, height, index }) => ({ url: viewUrl(file), width, height, index }));
  if (JSON.stringify(wanted) !== JSON.stringify(editor.mattes)) editor.setMattes(wanted);
}

function viewUrl({ filename, subfolder, type }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

function watch(node, editor) {
  editors.set(node, editor);
  editor.start();
  looking ??= setInterval(() => {
    if (!document.hidden) editors.forEach((each, of) => lookFor(of, each));
  }, LOOK_EVERY);
}

function unwatch(node, editor) {
  editor.stop();
  editors.delete(node);
  if (editors.size) return;
  clearInterval(looking);
  looking = null;
}

/** The text field stays the node's value but is not shown; LiteGraph and Nodes 2.0 each have their own flag. */
function hide(widget) {
  widget.hidden = true;
  widget.computeLayoutSize = () => ({ minHeight: 0, maxHeight: 0, minWidth: 0 }); // frontends before 1.35 leave it room
  widget.options ??= {};
  widget.options.hidden = true;
}

function after(object, name, then) {
  const before = object[name];
  object[name] = function (...args) {
    const result = before?.apply(this, args);
    then();
    return result;
  };
}
