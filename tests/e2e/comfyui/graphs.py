"""Graphs for the tests, in the format that the server runs, and what comes out of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from .server import PACK

BOX = (4, 4, 404, 512)
PICTURE = PACK / "example_pictures" / "matting_anything_astronaut.png"


def editor(*boxes: tuple[float, ...]) -> str:
    """What the Prompt Editor writes for boxes on the astronaut's 512 × 512 pixels."""
    return json.dumps({"version": 1, "width": 512, "height": 512, "objects": [{"box": box} for box in boxes]})


def graph(
    prompt: str | None = None, picture: str = PICTURE.name, model: str = "lite", **settings: Any
) -> dict[str, Any]:
    """LoadImage (1) and the model (2) into Matte (3); its cut-out (4) and its mask (6) are saved."""
    given = {} if prompt is None else {"prompt": prompt}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": picture}},
        "2": {"class_type": "MattingAnythingLoadModel", "inputs": {"model": model}},
        "3": {"class_type": "MattingAnythingMatte",
              "inputs": {"model": ["2", 0], "image": ["1", 0], **given, **settings}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 1], "filename_prefix": "cutout"}},
        "5": {"class_type": "MaskToImage", "inputs": {"mask": ["3", 0]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "alpha"}},
    }


def pixels(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path))


def event(entry: dict[str, Any], name: str) -> dict[str, Any] | None:
    """One of ComfyUI's messages about a run, such as execution_error."""
    return next((data for kind, data in entry["status"]["messages"] if kind == name), None)


def to_api(workflow: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """A workflow as the page saves it, in the format that the server runs; `known` is /object_info."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] == "MarkdownNote" or node["mode"]:  # bypassed
            continue
        kinds = {**known[node["type"]]["input"].get("required", {}), **known[node["type"]]["input"].get("optional", {})}
        inputs = {item["name"]: links[item["link"]] for item in node["inputs"] if item["link"] is not None}
        values = iter(node.get("widgets_values") or [])
        for name, (kind, *more) in kinds.items():
            options = more[0] if more else {}
            widget = isinstance(kind, list) or kind in ("STRING", "INT", "FLOAT", "BOOLEAN", "COMBO")
            if widget and not options.get("forceInput"):
                inputs[name] = next(values)
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def written(run: dict[str, Any]) -> str:
    """The node of a graph that saves its first picture."""
    return next(name for name, node in run.items() if node["class_type"] == "SaveImage")
