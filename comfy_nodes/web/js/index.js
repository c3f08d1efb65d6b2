/** Puts the canvas editor on Prompt Editor nodes. */
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { Editor } from "./editor.js";
import { wordsFor } from "./locale.js";
import { loadStyle } from "./panel.js";
import { executedPicture, pictureAt } from "./source.js";

const NODE = "MattingAnythingPromptEditor";
const SMALLEST = [380, 480];
const LOOK_EVERY = 400; // milliseconds between looks at the graph for another picture

const editors = new Map(); // node -> its editor, while the node is in a graph
let looking = null;

app.registerExtension({
  name: "MattingAnything.PromptEditor",
  nodeCreated(node) {
    if ((node.comfyClass ?? node.constructor.comfyClass) === NODE) addEditor(node);
  },
});

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
  };
}

/** Bring the editor up to date with the widget's text and with the picture that flows into the node. */
function lookFor(node, editor) {
  editor.read();
  const upstream = pictureAt(node, "image", app.nodeOutputs);
  const executed = executedPicture(node, app.nodeOutputs);
  if (executed && executed.key !== editor.executed?.key) editor.executed = { ...executed, from: upstream?.key };
  const current = editor.executed && editor.executed.from === upstream?.key ? editor.executed : upstream;
  const url = current?.file ? viewUrl(current.file) : current?.url;
  const note = upstream ? editor.words.notYet : editor.words.noPicture;
  editor.showPicture(upstream && url ? { url, width: current.width, height: current.height } : null, note);
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
