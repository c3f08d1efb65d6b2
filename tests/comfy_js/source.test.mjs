import assert from "node:assert/strict";
import { test } from "node:test";
import { consumersOf, executedMattes, executedPicture, parseFile, pictureAt, upTo } from "../../comfy_nodes/web/js/source.js";

const LOAD = { nodeData: { input: { required: { image: [["a.png"], { image_upload: true }] } } } };

/** A graph of nodes {id: {…}} and links [id, origin, slot, target, slot] as LiteGraph holds them. */
function graphOf(nodes, links, extra = {}) {
  const graph = { id: "g", links: {}, ...extra, getNodeById: (id) => graph.nodes.find((node) => node.id === id) };
  graph.nodes = Object.entries(nodes).map(([id, node]) => Object.assign(
    Object.create({ constructor: node.kind ?? {} }), { id: Number(id), graph, mode: 0, inputs: [], outputs: [], ...node }));
  for (const [id, origin_id, origin_slot, target_id, target_slot] of links) {
    graph.links[id] = { id, origin_id, origin_slot, target_id, target_slot };
  }
  return graph;
}

const load = (value) => ({ kind: LOAD, widgets: [{ name: "image", value }] });
const editor = (link) => ({ inputs: [{ name: "image", link }] });
const at = (graph, outputs) => pictureAt(graph.getNodeById(9), "image", outputs);

test("files as ComfyUI writes them", () => {
  assert.deepEqual(parseFile("cat.png"), { filename: "cat.png", subfolder: "", type: "input" });
  assert.deepEqual(parseFile("a b/c/cat [1].png [output]"), { filename: "cat [1].png", subfolder: "a b/c", type: "output" });
  assert.deepEqual(parseFile("clipspace/clipspace-mask-12.png [input]"), { filename: "clipspace-mask-12.png", subfolder: "clipspace", type: "input" });
  assert.deepEqual(parseFile("clip\\x.png"), { filename: "x.png", subfolder: "clip", type: "input" });
  assert.deepEqual(parseFile({ filename: "x.png", type: "temp" }), { filename: "x.png", subfolder: "", type: "temp" });
  for (const nothing of ["", null, undefined, 7, {}]) assert.equal(parseFile(nothing), null);
});

test("the file chosen in Load Image, before any run; a new choice is a new key", () => {
  const graph = graphOf({ 1: load("s/cat.png"), 9: editor(5) }, [[5, 1, 0, 9, 0]]);
  const first = at(graph);
  assert.deepEqual(first.file, { filename: "cat.png", subfolder: "s", type: "input" });
  graph.getNodeById(1).widgets[0].value = "dog.png";
  assert.notEqual(at(graph).key, first.key);
});

test("no link, a muted node, a node that is gone: no picture", () => {
  assert.equal(at(graphOf({ 9: editor(null) }, [])), null);
  assert.equal(at(graphOf({ 1: { ...load("x.png"), mode: 2 }, 9: editor(5) }, [[5, 1, 0, 9, 0]])), null);
  assert.equal(at(graphOf({ 9: editor(5) }, [[5, 1, 0, 9, 0]])), null);
  assert.equal(pictureAt({ inputs: [] }, "image"), null);
});

test("through reroutes and bypassed nodes", () => {
  const graph = graphOf({
    1: load("x.png"),
    2: { isVirtualNode: true, inputs: [{ link: 5 }], getInputLink() { return graph.links[5]; } },
    3: { mode: 4, inputs: [{ type: "MODEL", link: 8 }, { type: "IMAGE", link: 6 }], outputs: [{ type: "IMAGE" }] },
    9: editor(7),
  }, [[5, 1, 0, 2, 0], [6, 2, 0, 3, 1], [7, 3, 0, 9, 0], [8, 1, 0, 3, 0]]);
  assert.equal(at(graph).file.filename, "x.png");
});

test("a ring of reroutes ends", () => {
  const ring = (own) => ({ isVirtualNode: true, getInputLink: () => graph.links[own] });
  const graph = graphOf({ 1: ring(6), 2: ring(5), 9: editor(7) }, [[5, 1, 0, 2, 0], [6, 2, 0, 1, 0], [7, 1, 0, 9, 0]]);
  assert.equal(at(graph), null);
});

test("into a subgraph and out of it", () => {
  const root = graphOf({ 1: load("x.png"), 4: { inputs: [{ name: "image", link: 5 }] } }, [[5, 1, 0, 4, 0]]);
  const inside = graphOf({ 9: editor(3) }, [[3, -10, 0, 9, 0]], { rootGraph: root });
  root.subgraphs = new Map([["s", inside]]);
  root.getNodeById(4).subgraph = inside;
  assert.equal(at(inside).file.filename, "x.png");

  const loader = graphOf({ 2: load("y.png") }, [[4, 2, 0, -20, 0]]);
  const outer = graphOf({ 6: { subgraph: loader }, 9: editor(1) }, [[1, 6, 0, 9, 0]]);
  assert.equal(at(outer).file.filename, "y.png");
});

test("links in a Map, as newer frontends hold them", () => {
  const graph = graphOf({ 1: load("x.png"), 9: editor(5) }, [[5, 1, 0, 9, 0]]);
  graph.links = new Map(Object.entries(graph.links).map(([id, link]) => [Number(id), link]));
  assert.equal(at(graph).file.filename, "x.png");
});

test("a node without a file: the preview of its last run, else its own picture, else not known yet", () => {
  const graph = graphOf({ 1: {}, 9: editor(5) }, [[5, 1, 0, 9, 0]]);
  assert.deepEqual(Object.keys(at(graph)), ["key"]);
  const outputs = { 1: { images: [{ filename: "p.png", subfolder: "", type: "temp" }] } };
  assert.equal(at(graph, outputs).file.filename, "p.png");
  assert.equal(at(graph, { "g:1": outputs[1] }).file.filename, "p.png");
  graph.getNodeById(1).imgs = [{ src: "a" }, { src: "b" }];
  graph.getNodeById(1).imageIndex = 1;
  assert.equal(at(graph).url, "b");
});

test("a file name that comes through a link is not known before the run", () => {
  const node = { ...load("x.png"), inputs: [{ name: "image", widget: { name: "image" }, link: 4 }] };
  const graph = graphOf({ 1: node, 9: editor(5) }, [[5, 1, 0, 9, 0]]);
  assert.deepEqual(Object.keys(at(graph)), ["key"]);
});

test("what the editor's own node saw when it ran", () => {
  const node = { id: 9, graph: { id: "g" } };
  const outputs = { 9: { matting_anything_picture: [{ filename: "e.png", type: "temp", width: 4000, height: 3000 }] } };
  const { file, width, height } = executedPicture(node, outputs);
  assert.deepEqual([file.filename, file.type, width, height], ["e.png", "temp", 4000, 3000]);
  assert.equal(executedPicture(node, {}), null);
});

test("the mattes and frames of a run", () => {
  const graph = graphOf({ 9: editor(null) }, []);
  const one = (filename, index) => ({ filename, subfolder: "", type: "temp", width: 4, height: 3, index });
  const outputs = { 9: { matting_anything_picture: [one("a.jpg", 0), one("b.jpg", 7)], matting_anything_matte: [one("m.png", 0)] } };
  const { frames } = executedPicture(graph.getNodeById(9), outputs);
  assert.deepEqual(frames.map(({ file, index }) => [file.filename, index]), [["a.jpg", 0], ["b.jpg", 7]]);
  assert.deepEqual(executedMattes(graph.getNodeById(9), outputs).map(({ width, height }) => [width, height]), [[4, 3]]);
  assert.deepEqual(executedMattes(graph.getNodeById(9), {}), []);
});

test("which nodes an editor feeds, through a reroute too", () => {
  const prompt = (link) => ({ comfyClass: "Matte", inputs: [{ name: "prompt", link }] });
  const reroute = { isVirtualNode: true, inputs: [{ link: 3 }], getInputLink: () => graph.links[3] };
  const graph = graphOf({ 1: editor(null), 2: prompt(2), 4: reroute, 5: prompt(4), 6: prompt(null) },
    [[2, 1, 1, 2, 0], [3, 1, 1, 4, 0], [4, 4, 0, 5, 0]]);
  assert.deepEqual(consumersOf(graph.getNodeById(1), "prompt", "Matte").map(({ id }) => id), [2, 5]);
});

test("what a node needs of a graph, and nothing after it", () => {
  const graph = {
    1: { class_type: "Load", inputs: {} }, "7:2": { class_type: "Editor", inputs: { image: ["1", 0] } },
    "7:3": { class_type: "Matte", inputs: { prompt: ["7:2", 1], text: "" } },
    4: { class_type: "Save", inputs: { images: ["7:3", 0] } }, 5: { class_type: "Other", inputs: {} },
  };
  const found = upTo(graph, "Matte", 2, "prompt");
  assert.equal(found.id, "7:3");
  assert.deepEqual(Object.keys(found.graph).sort(), ["1", "7:2", "7:3"]);
  assert.equal(upTo(graph, "Matte", 9, "prompt"), null);
});
