"""What is to be matted: the layers, and for each the prompts that selection, mask, path and words make, in its own
pixels."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import parts
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

    image: Any
    layer: Any
    name: str
    size: tuple[int, int]

    @classmethod
    def of(cls, layer: Any) -> Standing:
        """A layer as it is now."""
        return cls(layer.get_image(), layer, layer.get_name(), (layer.get_width(), layer.get_height()))

    def check_there(self) -> None:
        """Raise Problem when it is gone."""
        if not self.image.is_valid() or not self.layer.is_valid() or self.layer.get_image() != self.image:
            raise Problem(_("The layer “{name}” was deleted meanwhile. Nothing was changed.").format(name=self.name))

    def check(self) -> None:
        """Raise Problem when it is gone, or of another size."""
        self.check_there()
        now = self.layer.get_width(), self.layer.get_height()
        if now != self.size:
            raise Problem(_("The layer “{name}” has {now} pixels now and had {then} when its matte was begun. Nothing "
                            "was changed; run it again.").format(
                                name=self.name, now=f"{now[0]} × {now[1]}", then=f"{self.size[0]} × {self.size[1]}"))


QUICK_MASK = "Qmask"
"""GIMP's name of the channel that is there while the Quick Mask is on; then that is what the user has selected."""
MOST = 32
"""Parts of a selection that are taken for boxes."""
TRIMAP = bytes(0 if value < 13 else 255 if value > 242 else 128 for value in range(256))
"""What of a mask counts as certain: 5 % at both ends."""


@dataclass(frozen=True)
class Selected:
    """What is selected: a buffer over the canvas, the format that gives its values, and its bounds there."""

    buffer: Any
    form: str
    bounds: parts.Box

    @classmethod
    def of(cls, image: Any) -> Selected | None:
        """The Quick Mask when it is on, else the selection; None when nothing is selected."""
        quick = image.get_channel_by_name(QUICK_MASK)
        if quick is not None:
            form, size = pixels.share_format(quick, "u8"), (image.get_width(), image.get_height())
            box = parts.bounds(pixels.rows(quick.get_buffer(), 0, 0, *size, form))
            return None if box is None else cls(quick.get_buffer(), form, box)
        _ok, selected, x0, y0, x1, y1 = Gimp.Selection.bounds(image)
        return cls(image.get_selection().get_buffer(), "Y u8", (x0, y0, x1, y1)) if selected else None

    @staticmethod
    def there(image: Any) -> bool:
        """Whether something may be selected, as far as that is told at once."""
        return image.get_channel_by_name(QUICK_MASK) is not None or not Gimp.Selection.is_empty(image)

    def rows(self, x: int, y: int, width: int, height: int) -> Iterator[bytes]:
        """A rectangle of it, one byte a pixel, row by row; 0 outside of the canvas."""
        return pixels.rows(self.buffer, x, y, width, height, self.form)

    def is_rectangle(self) -> bool:
        """Whether all within its bounds is wholly selected."""
        x0, y0, x1, y1 = self.bounds
        return all(row.count(255) == len(row) for row in self.rows(x0, y0, x1 - x0, y1 - y0))

    def share(self, layer: Any) -> Any:
        """How much of each of a layer's pixels is selected, as a buffer of "Y u16"."""
        _ok, left, top = layer.get_offsets()
        size = layer.get_width(), layer.get_height()
        form = self.form.replace("u8", "u16")
        return pixels.kept(*size, "Y u16", pixels.strips(self.buffer, left, top, *size, form))


def check_found(layer: Any, prompt: dict[str, Any], count: int) -> None:
    """Raise Problem when a result is empty, or nearly so. count: pixels in which something of it can be seen."""
    if not enough(prompt, count):
        raise Problem(_("Nothing was found in the layer “{name}” ({count} pixels), so nothing was changed. Select "
                        "around the subject with some room, or point at it.").format(name=layer.get_name(),
                                                                                    count=count))


def enough(prompt: dict[str, Any], count: int) -> bool:
    """Whether so many pixels are a result."""
    x0, y0, x1, y1 = prompt.get("box") or (0, 0, 0, 0)
    return bool(count >= max(SMALLEST ** 2, (x1 - x0) * (y1 - y0) / SPARSE))


def layers_of(image: Any, drawables: Any) -> list[Any]:
    """The layers that are selected; a mask stands for its layer, and the Quick Mask for the only one there is.

    Raises Problem when there are none.
    """
    layers: list[Any] = []
    for drawable in drawables:
        if drawable.is_channel() and not drawable.is_layer_mask() and drawable.get_name() == QUICK_MASK:
            layers += [layer for layer in image.get_selected_layers() or _only(image) if layer not in layers]
            continue
        layer = Gimp.Layer.from_mask(drawable) if drawable.is_layer_mask() else drawable
        if not layer.is_layer():
            raise Problem(_("“{name}” is a channel. Select a layer in the Layers dialog and try again.")
                          .format(name=layer.get_name()))
        if layer not in layers:
            layers.append(layer)
    if not layers:
        raise Problem(_("No layer is selected. Select one in the Layers dialog and try again."))
    return layers


def _only(image: Any) -> list[Any]:
    layers = list(image.get_layers())
    if len(layers) != 1:
        raise Problem(_("The Quick Mask is selected, and it is not clear for which layer it is meant. Select that "
                        "layer in the Layers dialog; the Quick Mask may stay on."))
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
            raise Problem(_("The layer “{name}” has a mask already. Choose “Replace” or “Intersect”, or another kind "
                            "of result.").format(name=layer.get_name()))


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


def prompts_of(image: Any, layer: Any, asked: Asked) -> list[dict[str, Any]]:
    """The prompts for one layer as the service takes them, one for each object; the layer's one clear subject where
    nothing says what it is.

    Raises Problem for what cannot be meant, such as a selection beside the layer.
    """
    common = _with_mask({}, layer, asked)
    if asked.words:
        common["text"] = asked.words
    _with_path(common, image, layer, asked)
    selected = Selected.of(image) if asked.selection_is != "unused" else None
    prompts = [common] if selected is None else _with_selection(common, selected, layer, asked)
    return [_complete(prompt, layer) for prompt in prompts]


def _complete(prompt: dict[str, Any], layer: Any) -> dict[str, Any]:
    """The prompt, or the one for the clear subject where it says nothing of what belongs to it."""
    starts = any(name in prompt for name in ("box", "mask", "trimap", "text", "previous", "keep"))
    if not starts and 1 not in prompt.get("labels", ()):
        return {**prompt, "subject": True}
    if "previous" in prompt and not any(name in prompt for name in ("points", "keep", "drop")):
        raise Problem(_("The mask of “{name}” is to be corrected, but nothing says where. Select what belongs to the "
                        "subject or does not (“Selection is”), or set points with the Paths tool (“Path is”).")
                      .format(name=layer.get_name()))
    return prompt


def _with_selection(common: dict[str, Any], selected: Selected, layer: Any, asked: Asked) -> list[dict[str, Any]]:
    """What the selection adds to a prompt: one for each of its parts where those are boxes."""
    if asked.selection_is == "boxes":
        _ok, left, top = layer.get_offsets()
        found = parts.boxes(selected.rows(left, top, layer.get_width(), layer.get_height()), SMALLEST)
        if len(found) > MOST:
            raise Problem(_("The selection has {count} separate parts; up to {most} can be boxes. Select larger ones, "
                            "or take the selection as an outline.").format(count=len(found), most=MOST))
        if found:
            return [{**common, "box": list(box)} for box in found]
    box = _box(selected, layer)
    if asked.selection_is in ("keep", "drop"):
        if asked.selection_is in common:
            raise Problem(_("Selection and path are both to be strokes of one kind. Use one of them."))
        return [{**common, asked.selection_is: outline_of(selected, layer)}]
    if asked.selection_is == "outline" and not selected.is_rectangle():
        if "mask" in common or "trimap" in common:
            raise Problem(_("Both the selection and the mask of “{name}” are to be the outline of the subject. Use one "
                            "of them.").format(name=layer.get_name()))
        return [{**common, "mask": outline_of(selected, layer)}]
    return [{**common, "box": box}]


def _box(selected: Selected, layer: Any) -> list[int]:
    """The selection's bounds in the layer. Raises Problem where it is beside it, or hardly there."""
    _ok, left, top = layer.get_offsets()
    x0, y0, x1, y1 = selected.bounds
    box = [max(x0 - left, 0), max(y0 - top, 0), min(x1 - left, layer.get_width()), min(y1 - top, layer.get_height())]
    if box[0] >= box[2] or box[1] >= box[3]:
        raise Problem(_("The selection does not touch the layer “{name}”. Select around the subject, or select "
                        "another layer.").format(name=layer.get_name()))
    if min(box[2] - box[0], box[3] - box[1]) < SMALLEST:
        raise Problem(_("The selection is {width} × {height} pixels in the layer “{name}”, which is too small for "
                        "a subject. Select around the subject, or select nothing.").format(
                            width=box[2] - box[0], height=box[3] - box[1], name=layer.get_name()))
    return box


def outline_of(selected: Selected, layer: Any) -> dict[str, Any]:
    """The selection where the layer is, as a mask of a prompt. Raises Problem when too little of it is there."""
    _ok, left, top = layer.get_offsets()
    width, height = layer.get_width(), layer.get_height()
    packed, most = _packed(selected.rows(left, top, width, height), width, height)
    if most < 128:
        raise Problem(_("No pixel of the layer “{name}” is more than half selected, so the selection is no outline. "
                        "Select more of the subject, or take the selection as a box.").format(name=layer.get_name()))
    return packed


def _packed(rows: Iterable[bytes], width: int, height: int) -> tuple[dict[str, Any], int]:
    """Rows of one byte a pixel as a mask of a prompt, and their highest value."""
    packer, most, pieces = zlib.compressobj(1), 0, []
    for row in rows:
        most = max(most, max(row))
        pieces.append(packer.compress(row))
    pieces.append(packer.flush())
    return {"width": width, "height": height, "deflate": base64.b64encode(b"".join(pieces)).decode()}, most


def _with_mask(prompt: dict[str, Any], layer: Any, asked: Asked) -> dict[str, Any]:
    """What the layer's mask adds to a prompt. Raises Problem when there is none, or it is black."""
    if asked.mask_is == "unused":
        return prompt
    mask = layer.get_mask()
    if mask is None:
        raise Problem(_("The mask of “{name}” is to be used, but the layer has none. Add one (Layer > Mask > Add Layer "
                        "Mask), or do not use it.").format(name=layer.get_name()))
    width, height = layer.get_width(), layer.get_height()
    rows: Iterable[bytes] = pixels.rows(mask.get_buffer(), 0, 0, width, height, "Y u8")
    if asked.mask_is == "trimap":
        rows = (row.translate(TRIMAP) for row in rows)
    packed, most = _packed(rows, width, height)
    if most < 128:
        raise Problem(_("The mask of “{name}” shows nothing, so it says nothing of the subject. Paint on it, or do not "
                        "use it.").format(name=layer.get_name()))
    return {**prompt, {"outline": "mask"}.get(asked.mask_is, asked.mask_is): packed}


def _with_path(prompt: dict[str, Any], image: Any, layer: Any, asked: Asked) -> None:
    """Put the selected paths into a prompt: their anchors as points, or their lines as strokes. Raises Problem when
    there are none."""
    if asked.path_is == "unused":
        return
    _ok, left, top = layer.get_offsets()
    if asked.path_is in ("keep", "drop"):
        width = max(3.0, 0.005 * max(layer.get_width(), layer.get_height()))
        lines = []
        for path in image.get_selected_paths():
            for stroke in path.get_strokes():
                numbers, _closed = path.stroke_interpolate(stroke, 1.0)
                line = [(numbers[at] - left, numbers[at + 1] - top) for at in range(0, len(numbers), 2)]
                lines += [{"points": line, "width": width}] if line else []
        found: list[Any] = lines
        prompt[asked.path_is] = lines
    else:
        found = points_of(image, left, top)
        prompt["points"], prompt["labels"] = found, [int(asked.path_is == "subject")] * len(found)
    if not found:
        raise Problem(_("The points of a path are to be used, but no path with points is selected. Click points with "
                        "the Paths tool, or do not use a path."))


def points_of(image: Any, left: int, top: int) -> list[tuple[float, float]]:
    """The anchors of the selected paths, from a layer's corner."""
    return [(numbers[at] - left, numbers[at + 1] - top) for path in image.get_selected_paths()
            for numbers in (path.stroke_get_points(stroke)[1] for stroke in path.get_strokes())
            for at in range(2, len(numbers), 6)]
