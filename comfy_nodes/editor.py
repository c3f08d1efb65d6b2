"""Prompt Editor: boxes and points drawn on the picture. The canvas is web/js/; this is what runs on the server."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from matting_anything_core import Image, PromptError, write_image

from .pictures import images_of
from .prompts import Marked, read_editor
from .schema import BoundingBox, schema

SHOWN = 2048
"""Longest side in pixels of the copy that is sent to the browser."""
BEHIND = 0.5
"""What shows through where the picture is transparent: mid-gray."""


class PromptEditor(io.ComfyNode):
    """Hands the picture on, shows it in the editor, and hands on what was drawn."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingPromptEditor",
            display_name="Prompt Editor",
            description="Draw boxes and click points on the picture. Click: on the object; shift or right click: not "
                        "on it; drag: a box.",
            search_aliases=["points editor", "box editor", "sam prompt", "segment anything points", "draw box"],
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
            ],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, image: torch.Tensor, prompt: str) -> io.NodeOutput:
        picture = images_of(image[:1] if image.ndim == 4 else image)[0]
        marked = read_editor(prompt, picture.width, picture.height)
        return io.NodeOutput(
            image, prompt, [[_box(item) for item in marked if item.box is not None]] * max(image.shape[0], 1),
            _points([point for item in marked for point in item.on]),
            _points([point for item in marked for point in item.off]),
            ui={"matting_anything_picture": [_shown(picture)]},
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


def _shown(picture: Image) -> dict[str, Any]:
    """The picture as a temporary file for the browser: where it is, and how large the picture itself is."""
    pixels = torch.from_numpy(picture.rgb_float())
    if picture.alpha is not None:
        alpha = torch.from_numpy(picture.alpha / float(torch.iinfo(torch.uint16).max)).float()[..., None]
        pixels = torch.lerp(torch.full_like(pixels, BEHIND), pixels, alpha)
    if max(pixels.shape) > SHOWN:
        scale = SHOWN / max(pixels.shape)
        size = [max(round(side * scale), 1) for side in pixels.shape[:2]]
        pixels = torch.nn.functional.interpolate(pixels.permute(2, 0, 1)[None], size, mode="bilinear", antialias=True,
                                                 align_corners=False)[0].permute(1, 2, 0)
    colours = (pixels * 255 + 0.5).to(torch.uint8).numpy()
    name = f"matting_anything_{hashlib.blake2b(colours.tobytes(), digest_size=12).hexdigest()}.jpg"
    folder = folder_paths.get_temp_directory()
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        write_image(path, colours, quality=92)
    return {"filename": name, "subfolder": "", "type": "temp", "width": picture.width, "height": picture.height}
