"""What is to be matted: the layers, and for each the prompt that selection, path and words make, in its own pixels."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import pixels
from arguments import Asked
from gi.repository import Gimp
from problem import Problem
from translation import _


SMALLEST = 4
"""Pixels on each side that a box needs, and its square that a result needs: less than that is a slip of the hand."""
SPARSE = 2000
"""A result that is less than this part of its box is nearly empty."""


@dataclass(frozen=True)
class Standing:
    """A layer as it was when its pixels were read. A mask moves along with its layer; all else would not fit it."""

    layer: Any
    name: str
    size: tuple[int, int]

    @classmethod
    def of(cls, layer: Any) -> Standing:
        return cls(layer, layer.get_name(), (layer.get_width(), layer.get_height()))

    def check(self, image: Any) -> None:
        """Raise Problem when it is gone, or of another size."""
        if not image.is_valid() or not self.layer.is_valid() or self.layer.get_image() != image:
            raise Problem(_("The layer “{name}” was deleted meanwhile. Nothing was changed.").format(name=self.name))
        now = self.layer.get_width(), self.layer.get_height()
        if now != self.size:
            raise Problem(_("The layer “{name}” has {now} pixels now and had {then} when its matte was begun. Nothing "
                            "was changed; run it again.").format(
                                name=self.name, now=f"{now[0]} × {now[1]}", then=f"{self.size[0]} × {self.size[1]}"))


def check_found(layer: Any, prompt: dict[str, Any], count: int) -> None:
    """Raise Problem when a result is empty, or nearly so. count: pixels in which something of it can be seen."""
    x0, y0, x1, y1 = prompt.get("box") or (0, 0, 0, 0)
    if count < max(SMALLEST ** 2, (x1 - x0) * (y1 - y0) / SPARSE):
        raise Problem(_("Nothing was found in the layer “{name}” ({count} pixels), so nothing was changed. Select "
                        "around the subject with some room, or point at it.").format(name=layer.get_name(),
                                                                                    count=count))


def layers_of(drawables: Any) -> list[Any]:
    """The layers that are selected; a mask stands for its layer. Raises Problem when there are none."""
    layers: list[Any] = []
    for drawable in drawables:
        layer = Gimp.Layer.from_mask(drawable) if drawable.is_layer_mask() else drawable
        if not layer.is_layer():
            raise Problem(_("“{name}” is a channel. Select a layer in the Layers dialog and try again.")
                          .format(name=layer.get_name()))
        if layer not in layers:
            layers.append(layer)
    if not layers:
        raise Problem(_("No layer is selected. Select one in the Layers dialog and try again."))
    return layers


def check(layers: list[Any], asked: Asked) -> None:
    """Raise Problem for what cannot end well, before anything is computed."""
    for layer in layers:
        if layer.get_width() * layer.get_height() == 0:
            raise Problem(_("The layer “{name}” is empty.").format(name=layer.get_name()))
        if layer.is_floating_sel():
            raise Problem(_("“{name}” is a floating selection. Anchor it (Layer > Anchor Layer) and try again.")
                          .format(name=layer.get_name()))
        if asked.output in ("mask", "layer") and _is_locked(layer, asked.output):
            raise Problem(_("The pixels of “{name}” are locked. Unlock them in the Layers dialog, or choose another "
                            "kind of result.").format(name=layer.get_name()))
        if asked.output == "mask" and asked.existing_mask == "stop" and layer.get_mask() is not None:
            raise Problem(_("The layer “{name}” has a mask already. Choose “replace” or “multiply”, or another kind of "
                            "result.").format(name=layer.get_name()))


def _is_locked(layer: Any, output: str) -> bool:
    """Whether GIMP would end this process for writing: a lock holds for all below it, and a group for what is in it.

    A new layer is written beside the layer, so that only locks above count.
    """
    def below(item: Any) -> bool:
        return item.get_lock_content() or (item.is_group() and any(below(child) for child in item.get_children()))

    above = layer.get_parent()
    while above is not None:
        if above.get_lock_content():
            return True
        above = above.get_parent()
    return output == "mask" and below(layer)


def prompt_of(image: Any, layer: Any, asked: Asked) -> dict[str, Any]:
    """The prompt for one layer as the service takes it. Raises Problem when the selection lies beside the layer."""
    width, height = layer.get_width(), layer.get_height()
    _ok, left, top = layer.get_offsets()
    prompt: dict[str, Any] = {}
    _ok, selected, x0, y0, x1, y1 = Gimp.Selection.bounds(image)
    if selected:
        box = [max(x0 - left, 0), max(y0 - top, 0), min(x1 - left, width), min(y1 - top, height)]
        if box[0] >= box[2] or box[1] >= box[3]:
            raise Problem(_("The selection does not touch the layer “{name}”. Select around the subject, or select "
                            "another layer.").format(name=layer.get_name()))
        if min(box[2] - box[0], box[3] - box[1]) < SMALLEST:
            raise Problem(_("The selection is {width} × {height} pixels in the layer “{name}”, which is too small for "
                            "a subject. Select around the subject, or select nothing.").format(
                                width=box[2] - box[0], height=box[3] - box[1], name=layer.get_name()))
        outline = asked.selection_is == "outline" and not _is_rectangle(image, x0, y0, x1, y1)
        prompt = {"mask": _outline(image, layer)} if outline else {"box": box}
    points = _points(image, left, top) if asked.path_is in ("subject", "background") else []
    if points:
        prompt["points"] = points
        prompt["labels"] = [int(asked.path_is == "subject")] * len(points)
    if asked.words:
        prompt["text"] = asked.words
    if not selected and "text" not in prompt and asked.path_is != "subject":
        prompt["box"] = [0, 0, width, height]
    return prompt


def _is_rectangle(image: Any, x0: int, y0: int, x1: int, y1: int) -> bool:
    buffer = image.get_selection().get_buffer()
    return all(strip.count(255) == len(strip) for strip in pixels.strips(buffer, x0, y0, x1 - x0, y1 - y0, "Y u8"))


def _outline(image: Any, layer: Any) -> dict[str, Any]:
    """The selection where the layer is, as the mask of a prompt. Raises Problem when too little of it is there."""
    width, height = layer.get_width(), layer.get_height()
    _ok, left, top = layer.get_offsets()
    packed, most, pieces = zlib.compressobj(1), 0, []
    for strip in pixels.strips(image.get_selection().get_buffer(), left, top, width, height, "Y u8"):
        most = max(most, max(strip))
        pieces.append(packed.compress(strip))
    if most < 128:
        raise Problem(_("No pixel of the layer “{name}” is more than half selected, so the selection is no outline. "
                        "Select more of the subject, or take the selection as a box.").format(name=layer.get_name()))
    pieces.append(packed.flush())
    return {"width": width, "height": height, "deflate": base64.b64encode(b"".join(pieces)).decode()}


def _points(image: Any, left: int, top: int) -> list[tuple[float, float]]:
    """The anchors of the selected paths. Raises Problem when there are none."""
    points = []
    for path in image.get_selected_paths():
        for stroke in path.get_strokes():
            _kind, numbers, _closed = path.stroke_get_points(stroke)
            points += [(numbers[at] - left, numbers[at + 1] - top) for at in range(2, len(numbers), 6)]
    if not points:
        raise Problem(_("The points of a path are to be used, but no path with points is selected. Click points with "
                        "the Paths tool, or do not use a path."))
    return points
