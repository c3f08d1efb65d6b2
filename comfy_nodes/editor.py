"""Prompt Editor: boxes, points and strokes drawn on the picture. The canvas is web/js/; this runs on the server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from matting_anything_core import PromptError

from .objects import Marked, area_mask
from .pictures import images_of, stacked
from .previews import picture_file, spread
from .prompts import read_editor
from .schema import BoundingBox, schema


class PromptEditor(io.ComfyNode):
    """Hands the picture on, shows it in the editor, and hands on what was drawn."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingPromptEditor",
            display_name="Prompt Editor",
            description="Draw boxes and strokes and click points on the picture. Click: on the object; shift or right "
                        "click: not on it; drag: a box.",
            search_aliases=["points editor", "box editor", "sam prompt", "segment anything points", "draw box",
                            "brush", "lasso", "scribble", "mask editor", "rembg", "background removal"],
            inputs=[
                io.Image.Input("image"),
                io.String.Input("prompt", default="", multiline=True, dynamic_prompts=False,
                                tooltip="What was drawn, as JSON; the editor writes it"),
            ],
            outputs=[
                io.Image.Output("IMAGE", display_name="image"),
                io.String.Output("PROMPT", display_name="prompt", tooltip="For Matte"),
                BoundingBox.Output("BOXES", display_name="boxes", tooltip="The boxes, for other nodes"),
                io.String.Output("POSITIVE_COORDS", display_name="positive_coords",
                                 tooltip="All points on objects, for other packs"),
                io.String.Output("NEGATIVE_COORDS", display_name="negative_coords",
                                 tooltip="All points not on objects, for other packs"),
                io.Mask.Output("KEEP", display_name="keep", tooltip="All strokes over objects, as a mask"),
                io.Mask.Output("DROP", display_name="drop", tooltip="All strokes over what is no object, as a mask"),
            ],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, image: torch.Tensor, prompt: str) -> io.NodeOutput:
        frames = image if image.ndim == 4 else image[None]
        shown = [(index, images_of(frame[None])[0]) for index, frame in spread(list(frames))]
        size = shown[0][1].width, shown[0][1].height
        marked = read_editor(prompt, *size)
        strokes = [area_mask([area for item in marked for area in areas(item)], size)
                   for areas in (lambda item: item.keep, lambda item: item.drop)]
        keep, drop = (stacked([np.zeros(size[::-1], np.float32) if mask is None else mask]) for mask in strokes)
        return io.NodeOutput(
            image, prompt, [[_box(item) for item in marked if item.box is not None]] * len(frames),
            _points([point for item in marked for point in item.on]),
            _points([point for item in marked for point in item.off]), keep, drop,
            ui={"matting_anything_picture": [picture_file(picture, index) for index, picture in shown]},
        )

    @classmethod
    def validate_inputs(cls, prompt: str | None = None) -> bool | str:
        """What is no prompt of the editor's is refused before anything runs."""
        try:
            read_editor(prompt, 1, 1)
        except PromptError as error:
            return str(error)
        return True


def _box(item: Marked) -> dict[str, Any]:
    assert item.box is not None
    x0, y0, x1, y1 = (round(value) for value in item.box)
    return {"x": x0, "y": y0, "width": max(x1 - x0, 1), "height": max(y1 - y0, 1)}


def _points(points: list[tuple[float, float]]) -> str:
    return json.dumps([{"x": round(x), "y": round(y)} for x, y in points])
