/**
 * Which picture flows into an input of a node, as far as the graph tells before it runs: the file chosen in Load Image
 * (and whatever else has an upload widget), or the preview that the nearest node upstream shows.
 */

const MUTED = 2;
const BYPASSED = 4;
const SUBGRAPH_INPUT = -10;
const SUBGRAPH_OUTPUT = -20;
const LONGEST_WAY = 200;

/**
 * The picture at the input called `name`: {key, file: {filename, subfolder, type}} or {key, url}; `key` changes whenever
 * the picture may be another one. A linked input whose picture is not known yet gives {key} alone; without a link: null.
 */
export function pictureAt(node, name, nodeOutputs = {}) {
  const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  const origin = slot < 0 ? null : originOf(node, slot);
  if (origin === null) return null;
  const from = `${origin.node.graph?.id ?? ""}:${origin.node.id}.${origin.slot}`;
  const file = chosenFile(origin.node) ?? previewFile(origin.node, nodeOutputs);
  if (file) return { key: `${from} ${file.type}/${file.subfolder}/${file.filename}`, file };
  const url = origin.node.imgs?.[origin.node.imageIndex ?? 0]?.src;
  return url ? { key: `${from} ${url}`, url } : { key: from };
}

/**
 * What the editor's own node put out when it ran: {key, file, width, height, frames}, or null. Frames are the batch's
 * pictures, or some of a long one's, each {key, file, width, height, index}.
 */
export function executedPicture(node, nodeOutputs = {}) {
  const frames = filesOf(node, "matting_anything_picture", nodeOutputs);
  return frames.length ? { ...frames[0], key: frames.map(({ key }) => key).join(), frames } : null;
}

/** The mattes that a node put out when it ran: [{key, file, width, height, index}, …], one for each picture shown. */
export function executedMattes(node, nodeOutputs = {}) {
  return filesOf(node, "matting_anything_matte", nodeOutputs);
}

function filesOf(node, name, nodeOutputs) {
  const found = outputOf(node, nodeOutputs)?.[name];
  return (Array.isArray(found) ? found : []).flatMap((one, place) => {
    const file = parseFile(one ?? null, "temp");
    if (!file) return [];
    const key = `${file.type}/${file.subfolder}/${file.filename}`;
    return [{ key, file, width: one.width, height: one.height, index: one.index ?? place }];
  });
}

/** The nodes of a class whose input `name` is fed by this node, in all graphs of the workflow. */
export function consumersOf(node, name, comfyClass) {
  const root = node.graph?.rootGraph ?? node.graph;
  const graphs = root ? new Set([root, ...(root.subgraphs?.values() ?? []), node.graph]) : [];
  return [...graphs].flatMap((graph) => graph.nodes ?? graph._nodes ?? []).filter((other) => {
    if ((other.comfyClass ?? other.constructor?.comfyClass) !== comfyClass) return false;
    const slot = other.inputs?.findIndex((input) => input.name === name) ?? -1;
    return slot >= 0 && originOf(other, slot)?.node === node;
  });
}

/**
 * Of a graph as it is run, {id: {class_type, inputs}}, what one node needs: itself and all before it; null when the
 * node that is asked for, a `comfyClass` that an editor feeds, is not in it (muted, or bypassed).
 */
export function upTo(graph, comfyClass, editorId, name) {
  const isId = (value, id) => String(value).split(":").pop() === String(id);
  const wanted = Object.keys(graph).find((id) => {
    const { class_type: type, inputs } = graph[id];
    return type === comfyClass && Array.isArray(inputs[name]) && isId(inputs[name][0], editorId);
  });
  if (wanted === undefined) return null;
  const needed = new Set();
  const waiting = [wanted];
  while (waiting.length) {
    const id = waiting.pop();
    if (needed.has(id) || !graph[id]) continue;
    needed.add(id);
    for (const value of Object.values(graph[id].inputs)) if (Array.isArray(value)) waiting.push(String(value[0]));
  }
  return { id: wanted, graph: Object.fromEntries([...needed].map((id) => [id, graph[id]])) };
}

/** "sub/name.png [output]" or {filename, …} as a file for /view; the bare name is in the input folder. */
export function parseFile(value, folder = "input") {
  if (value !== null && typeof value === "object") {
    return value.filename ? { filename: value.filename, subfolder: value.subfolder ?? "", type: value.type ?? folder } : null;
  }
  if (typeof value !== "string" || !value) return null;
  const [, path, type = folder] = value.match(/^(.*?)(?: \[(input|output|temp)\])?$/s);
  const parts = path.replaceAll("\\", "/").split("/");
  const filename = parts.pop();
  return filename ? { filename, subfolder: parts.join("/"), type } : null;
}

/** The node and output that really feed an input: through reroutes, bypassed nodes, and into and out of subgraphs. */
function originOf(node, inputSlot) {
  let link = linkInto(node, inputSlot);
  let graph = node.graph;
  for (let step = 0; link && step < LONGEST_WAY; step += 1) {
    let from = null;
    if (Number(link.origin_id) === SUBGRAPH_INPUT) {
      const outer = nodeOfSubgraph(graph);
      from = outer && { link: linkInto(outer, link.origin_slot), graph: outer.graph };
    } else {
      const origin = graph.getNodeById(link.origin_id);
      if (!origin || origin.mode === MUTED) return null;
      from = through(origin, link);
      if (from === null) return { node: origin, slot: link.origin_slot };
    }
    if (!from) return null;
    ({ link, graph } = from);
  }
  return null;
}

/** Where a node that hands pictures on takes them from: {link, graph}; null for one that makes its own. */
function through(node, link) {
  if (node.mode === BYPASSED) {
    const type = node.outputs[link.origin_slot]?.type;
    const same = node.inputs.findIndex((input) => input.type === type && input.link != null);
    return { link: same < 0 ? null : linkInto(node, same), graph: node.graph };
  }
  if (node.isVirtualNode) return { link: linkOf(node.graph, node.getInputLink?.(link.origin_slot)), graph: node.graph };
  if (node.subgraph) {
    const inner = allLinks(node.subgraph).find((l) => Number(l.target_id) === SUBGRAPH_OUTPUT && l.target_slot === link.origin_slot);
    return { link: inner ?? null, graph: node.subgraph };
  }
  return null;
}

function linkInto(node, slot) {
  return linkOf(node.graph, node.inputs?.[slot]?.link);
}

function linkOf(graph, link) {
  if (link === null || link === undefined) return null;
  if (typeof link === "object") return link;
  return (graph.links instanceof Map ? graph.links.get(link) : graph.links[link]) ?? null;
}

function allLinks(graph) {
  return graph.links instanceof Map ? [...graph.links.values()] : Object.values(graph.links);
}

/** The node that stands for this subgraph in the graph around it; of several copies the first. */
function nodeOfSubgraph(subgraph) {
  const root = subgraph.rootGraph;
  const graphs = root ? [root, ...(root.subgraphs?.values() ?? [])] : [];
  return graphs.flatMap((graph) => graph.nodes ?? []).find((node) => node.subgraph === subgraph) ?? null;
}

/** The file chosen in the node's upload widget, if it has one and no link decides it. */
function chosenFile(node) {
  const { required = {}, optional = {} } = node.constructor.nodeData?.input ?? {};
  for (const [name, [, options]] of Object.entries({ ...required, ...optional })) {
    if (!options?.image_upload) continue;
    const input = node.inputs?.find((slot) => slot.widget?.name === name);
    if (input?.link != null) return null;
    return parseFile(node.widgets?.find((widget) => widget.name === name)?.value, options.image_folder);
  }
  return null;
}

function previewFile(node, nodeOutputs) {
  return parseFile(outputOf(node, nodeOutputs)?.images?.[0] ?? null, "temp");
}

/** What a node sent when it ran; inside a subgraph it is kept under the subgraph's id as well. */
function outputOf(node, nodeOutputs) {
  return nodeOutputs[`${node.graph?.id}:${node.id}`] ?? nodeOutputs[node.id];
}
