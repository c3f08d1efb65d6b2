"""The example graphs and the blueprint, as ComfyUI's page saves them; `python -m tests.comfy.example_graphs` writes.

The nodes' sockets and widgets come from the recording of a real server, so that the graphs follow the nodes. Thumbnails
are made by tests/e2e/comfyui/thumbnails.py.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "comfy_nodes"
WIDGETS = ("STRING", "INT", "FLOAT", "BOOLEAN", "COMBO")
INFO: dict[str, Any] = json.loads((ROOT / "tests/e2e/comfyui_frontend/data/object_info.json").read_text())
DINO = {"name": "grounding-dino-tiny/model.safetensors", "directory": "grounding-dino", "hash_type": "SHA256"}
CORE: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "SaveImage": ([("images", "IMAGE")], []),
    "LoadImageMask": ([], [("MASK", "MASK")]),
    "BatchImagesNode": ([("images.image0", "IMAGE"), ("images.image1", "IMAGE")], [("IMAGE", "IMAGE")]),
    "MarkdownNote": ([], []),
}
"""Sockets of ComfyUI's own nodes that the recording lacks."""

Source = tuple[int, str]


@dataclass
class Node:
    """A node: its kind, where it is, its widgets' values, and what feeds its inputs, as (node, name of output)."""

    kind: str
    at: tuple[int, int]
    size: tuple[int, int]
    values: dict[str, Any] | list[Any] = field(default_factory=dict)
    fed: dict[str, Source] = field(default_factory=dict)
    title: str = ""
    models: list[dict[str, str]] = field(default_factory=list)


def sockets(kind: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, Any]]:
    """A kind's link inputs and outputs, (name, type) each, and its widgets with their defaults."""
    if kind in CORE:
        return *CORE[kind], {}
    known = INFO[kind]
    inputs, widgets = [], {}
    for part in ("required", "optional"):
        for name, (type_, *more) in known["input"].get(part, {}).items():
            options = more[0] if more else {}
            if (isinstance(type_, list) or type_ in WIDGETS) and not options.get("forceInput"):
                widgets[name] = options.get("default", type_[0] if isinstance(type_, list) and type_ else None)
            else:
                inputs.append((name, type_))
    return inputs, list(zip(known["output_name"], known["output"], strict=True)), widgets


def graph(nodes: list[Node], **more: Any) -> dict[str, Any]:
    """A workflow of nodes, numbered from 1 in their order."""
    shown, links = [], []
    for number, node in enumerate(nodes, 1):
        inputs, outputs, widgets = sockets(node.kind)
        unknown = set(node.fed) - {name for name, _ in inputs}
        assert not unknown, (node.kind, unknown)
        values = node.values if isinstance(node.values, list) else [*{**widgets, **node.values}.values()]
        shown.append({
            "id": number, "type": node.kind, "pos": list(node.at), "size": list(node.size), "flags": {},
            "order": number - 1, "mode": 0,
            "inputs": [{"name": name, "type": type_, "link": None} for name, type_ in inputs],
            "outputs": [{"name": name, "type": type_, "links": []} for name, type_ in outputs],
            **({"title": node.title} if node.title else {}),
            "properties": {"Node name for S&R": node.kind, **({"models": node.models} if node.models else {})},
            "widgets_values": values,
        })
    for number, node in enumerate(nodes, 1):
        for name, (start, output) in node.fed.items():
            link = len(links) + 1
            origin, target = shown[start - 1], shown[number - 1]
            slot = next(i for i, one in enumerate(origin["outputs"]) if one["name"] == output)
            end = next(i for i, one in enumerate(target["inputs"]) if one["name"] == name)
            origin["outputs"][slot]["links"].append(link)
            target["inputs"][end]["link"] = link
            links.append([link, start, slot, number, end, origin["outputs"][slot]["type"]])
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(shown))), "last_node_id": len(nodes),
            "last_link_id": len(links), "nodes": shown, "links": links, "groups": [], "config": {}, "extra": {},
            **more, "version": 0.4}


def picture(name: str, at: tuple[int, int], title: str = "Picture") -> Node:
    return Node("LoadImage", at, (280, 330), [f"matting_anything_{name}.png", "image"], title=title)


def note(text: str, at: tuple[int, int], size: tuple[int, int] = (280, 150)) -> Node:
    return Node("MarkdownNote", at, size, [text], title="How it works")


def save(prefix: str, at: tuple[int, int], fed: Source) -> Node:
    return Node("SaveImage", at, (320, 330), [f"matting_anything/{prefix}"], {"images": fed})


def drawn(size: tuple[int, int], *objects: dict[str, Any]) -> dict[str, str]:
    """What the Prompt Editor holds."""
    version = 2 if any("strokes" in one for one in objects) else 1
    return {"prompt": json.dumps({"version": version, "width": size[0], "height": size[1], "objects": [
        {"box": None, "points": [], **one} for one in objects]})}


def loader(at: tuple[int, int]) -> Node:
    return Node("MattingAnythingLoadModel", at, (280, 150))


def cut_out(name: str, size: tuple[int, int], prefix: str, text: str, *objects: dict[str, Any]) -> dict[str, Any]:
    """A picture, what is drawn on it, and the cut-out."""
    return graph([
        picture(name, (0, 0)), loader((0, 400)), note(text, (0, 620)),
        Node("MattingAnythingPromptEditor", (340, 0), (460, 620), drawn(size, *objects), {"image": (1, "IMAGE")}),
        Node("MattingAnythingMatte", (860, 0), (340, 800), {},
             {"model": (2, "model"), "image": (4, "image"), "prompt": (4, "prompt")}),
        save(prefix, (1260, 0), (5, "cutout")),
    ])


def examples() -> dict[str, dict[str, Any]]:
    """Every example by its name, which is its title in ComfyUI's templates."""
    clicked = {"box": [4, 4, 404, 512], "points": [[220, 130, 1], [200, 330, 1], [470, 200, 0]]}
    woman = {"box": [70, 5, 360, 512]}
    found = {
        "Cut out with clicks": cut_out(
            "astronaut", (512, 512), "clicks",
            "Drag a box, and click what belongs to the object; Shift or right click what does not. The play button in "
            "the editor shows the matte at once.", clicked),
        "Cut out with a box": cut_out(
            "cat", (451, 300), "box", "Drag a box around the object. Another box is another object.",
            {"box": [0, 8, 400, 300]}),
        "Correct a matte": graph([
            picture("coffee", (0, 0)), loader((0, 400)),
            note("The first Matte comes from a box. What is wrong in it is painted or clicked in the second editor, "
                 "and the second Matte goes on from there (`previous`): the rest stays as it is.",
                 (0, 620), (280, 190)),
            Node("MattingAnythingPromptEditor", (340, 0), (460, 540), drawn((600, 400), {"box": [170, 20, 450, 310]}),
                 {"image": (1, "IMAGE")}, title="1. A box"),
            Node("MattingAnythingMatte", (860, 0), (340, 800), {},
                 {"model": (2, "model"), "image": (4, "image"), "prompt": (4, "prompt")}),
            Node("MattingAnythingPromptEditor", (1260, 0), (460, 540), drawn((600, 400), {"strokes": [
                {"points": [[348, 262], [375, 300]], "width": 22, "label": 0}]}),
                {"image": (4, "image")}, title="2. Strokes"),
            Node("MattingAnythingMatte", (1780, 0), (340, 800), {},
                 {"model": (2, "model"), "image": (6, "image"), "prompt": (6, "prompt"), "previous": (5, "mask")}),
            save("corrected", (2180, 0), (7, "cutout")),
        ]),
        "Cut out by words": graph([
            picture("astronaut", (0, 0)), loader((0, 400)),
            Node("MattingAnythingGetWeights", (0, 620), (320, 150), {"weights": "grounding-dino-tiny"},
                 title="Run this once"),
            note("Words need Grounding DINO (690 MB, Apache-2.0). Enable *Get Weights* once to get it, or put the same "
                 "files into models/grounding-dino/grounding-dino-tiny.", (0, 830)),
            Node("MattingAnythingMatte", (380, 0), (340, 800), {"text": "the astronaut"},
                 {"model": (2, "model"), "image": (1, "IMAGE")}, models=[_dino()]),
            save("words", (780, 0), (5, "cutout")),
        ], models=[_dino()]),
        "New background": graph([
            picture("astronaut", (0, 0)), loader((0, 400)),
            note("The same matte on two backgrounds: its own, out of focus, and a colour.", (0, 620), (280, 100)),
            Node("MattingAnythingPromptEditor", (340, 0), (460, 620), drawn((512, 512), woman),
                 {"image": (1, "IMAGE")}),
            Node("MattingAnythingMatte", (860, 0), (340, 800), {},
                 {"model": (2, "model"), "image": (4, "image"), "prompt": (4, "prompt")}),
            Node("MattingAnythingApply", (1260, 0), (320, 260), {"background": "blur"},
                 {"image": (4, "image"), "mask": (5, "mask")}, title="Out of focus"),
            save("blurred", (1640, 0), (6, "image")),
            Node("MattingAnythingApply", (1260, 420), (320, 260), {"background": "colour"},
                 {"image": (4, "image"), "mask": (5, "mask")}, title="On a colour"),
            save("on_green", (1640, 420), (8, "image")),
        ]),
        "Refine a rough mask": graph([
            picture("astronaut", (0, 0)), loader((0, 780)),
            Node("LoadImageMask", (0, 400), (280, 330), ["matting_anything_rough_mask.png", "red", "image"],
                 title="Rough mask"),
            note("A mask of any segmentation, or painted, becomes a soft matte, and this a trimap for other nodes.",
                 (0, 1000), (280, 110)),
            Node("MattingAnythingRefine", (340, 0), (340, 560), {"reach": 40},
                 {"model": (2, "model"), "image": (1, "IMAGE"), "mask": (3, "MASK")}),
            save("refined", (740, 0), (5, "cutout")),
            Node("MattingAnythingTrimap", (740, 420), (320, 170), {}, {"mask": (5, "mask")}),
            save("trimap", (1120, 420), (7, "image")),
        ]),
        "Several pictures": graph([
            picture("astronaut", (0, 0), "First"), picture("rocket", (0, 380), "Second"), loader((0, 760)),
            note("One prompt for a whole batch; the slider in the editor shows its pictures.", (0, 980), (280, 100)),
            Node("BatchImagesNode", (340, 0), (240, 90), [],
                 {"images.image0": (1, "IMAGE"), "images.image1": (2, "IMAGE")}),
            Node("MattingAnythingPromptEditor", (640, 0), (460, 620), drawn((512, 512), {"box": [4, 4, 508, 512]}),
                 {"image": (5, "IMAGE")}),
            Node("MattingAnythingMatte", (1160, 0), (340, 800), {},
                 {"model": (3, "model"), "image": (6, "image"), "prompt": (6, "prompt")}),
            save("batch", (1560, 0), (7, "cutout")),
        ]),
    }
    getter = next(node for node in found["Cut out by words"]["nodes"] if node["type"] == "MattingAnythingGetWeights")
    getter["mode"] = 4  # bypassed: a template downloads nothing unasked
    return found


def _dino() -> dict[str, str]:
    from matting_anything_core.weights.catalogue import FILES

    file = FILES["grounding-dino-tiny"]
    return {**DINO, "url": file.url, "hash": str(file.sha256)}


def blueprint() -> dict[str, Any]:
    """The subgraph *Cut out*: a picture in; cut-out, mask and picture out. Nothing needs to be drawn."""
    inner = graph([
        Node("MattingAnythingLoadModel", (0, 0), (280, 150)),
        Node("MattingAnythingMatte", (340, 0), (340, 800), {}, {"model": (1, "model")}),
    ])
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, "matting-anything/cut-out"))
    matte = inner["nodes"][1]
    wires = [dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=True))
             for link in inner["links"]]
    slots = {one["name"]: place for place, one in enumerate(matte["inputs"])}
    inputs, outputs = [], []
    for place, (socket, kind) in enumerate((("image", "IMAGE"), ("prompt", "STRING"))):
        link = len(wires) + 1
        wires.append({"id": link, "origin_id": -10, "origin_slot": place, "target_id": 2, "target_slot": slots[socket],
                      "type": kind})
        matte["inputs"][slots[socket]]["link"] = link
        inputs.append({"id": _id(f"in {socket}"), "name": socket, "type": kind, "linkIds": [link],
                       "pos": [-200, 20 + 20 * place]})
    for place, (socket, slot) in enumerate((("cutout", 1), ("mask", 0))):
        kind = matte["outputs"][slot]["type"]
        link = len(wires) + 1
        wires.append({"id": link, "origin_id": 2, "origin_slot": slot, "target_id": -20, "target_slot": place,
                      "type": kind})
        matte["outputs"][slot]["links"].append(link)
        outputs.append({"id": _id(f"out {socket}"), "name": socket, "type": kind, "linkIds": [link],
                        "pos": [820, 20 + 20 * place]})
    subgraph = {
        "id": name, "version": 1, "revision": 0, "config": {}, "name": "Cut out",
        "description": "A picture in, the cut-out with a soft edge and clean colours out.",
        "state": {"lastGroupId": 0, "lastNodeId": 2, "lastLinkId": len(wires), "lastRerouteId": 0},
        "inputNode": {"id": -10, "bounding": [-240, 0, 120, 80]},
        "outputNode": {"id": -20, "bounding": [780, 0, 120, 80]},
        "inputs": inputs, "outputs": outputs, "widgets": [], "nodes": inner["nodes"], "groups": [], "links": wires,
        "extra": {},
    }
    outer = {
        "id": 1, "type": name, "pos": [0, 0], "size": [300, 160], "flags": {}, "order": 0, "mode": 0,
        "title": "Cut out", "properties": {"proxyWidgets": [["1", "model"], ["2", "text"]]}, "widgets_values": [],
        "inputs": [{"name": one["name"], "type": one["type"], "link": None} for one in inputs],
        "outputs": [{"name": one["name"], "type": one["type"], "links": []} for one in outputs],
    }
    return {"id": _id("blueprint"), "revision": 0, "last_node_id": 2, "last_link_id": len(wires), "nodes": [outer],
            "links": [], "groups": [], "definitions": {"subgraphs": [subgraph]}, "config": {}, "extra": {},
            "version": 0.4}


def _id(what: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"matting-anything/cut-out/{what}"))


def files() -> dict[Path, str]:
    """Every file's place and its text."""
    graphs = {PACK / "example_workflows" / f"{name}.json": one for name, one in examples().items()}
    graphs[PACK / "subgraphs" / "Cut out.json"] = blueprint()
    return {path: json.dumps(one, indent=1, ensure_ascii=False) + "\n" for path, one in graphs.items()}


if __name__ == "__main__":
    for old in (PACK / "example_workflows").glob("*.json"):
        old.unlink()
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
