"""Prompts as they come: the editor's string and other packs' formats, read into objects on each picture.

The editor writes one string of JSON:

    {"version": 1, "width": 1200, "height": 800,
     "objects": [{"box": [120, 40, 560, 700], "points": [[300, 200, 1], [40, 40, 0]]}, {"box": null, "points": …}]}

Coordinates are pixels of the picture it was drawn on (width × height), x to the right, y down; they are scaled when the
picture at hand has another size. A point is x, y, and 1 (on the object) or 0 (not on it). An empty string and a list
without objects are no prompt; what is missing has its default, and what is unknown is left aside. Another version is
refused, since nobody can know what it means.

Other packs: points as a STRING of JSON, [{"x": 3, "y": 4}, …] or [[3, 4], …]; boxes as BOUNDING_BOX
({"x", "y", "width", "height"}), BBOX ((x0, y0, x1, y1), …), BBOXES (one list for each picture) and SEGS (Impact pack).
Everything that can come in one set for all pictures may also come as a list of sets, one for each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from matting_anything_core import Prompt, PromptError
from matting_anything_core.geometry import mask_bounds as bounds

VERSION = 1

Point = tuple[float, float]
Box = tuple[float, float, float, float]
MaskUse = Literal["box", "shape"]


@dataclass(frozen=True)
class Marked:
    """One object: a box, points on it and points not on it; in pixels of the picture."""

    box: Box | None = None
    on: tuple[Point, ...] = ()
    off: tuple[Point, ...] = ()


@dataclass(frozen=True, eq=False)
class Given:
    """What is known of one picture's objects: those that are marked one by one, and what belongs to any of them."""

    marked: tuple[Marked, ...] = ()
    on: tuple[Point, ...] = ()
    off: tuple[Point, ...] = ()
    masks: tuple[np.ndarray[Any, Any], ...] = ()
    text: str = ""


# --- the editor's string -------------------------------------------------------------------------------------------


def read_editor(text: str | None, width: int, height: int) -> tuple[Marked, ...]:
    """The objects in the editor's string, on a picture of width × height pixels. Raises PromptError."""
    content = _json(text, "the prompt")
    if content is None:
        return ()
    if not isinstance(content, Mapping):
        raise PromptError(f"the prompt holds {_named(content)}; expected what the Prompt Editor writes, a JSON object "
                          "with version, width, height and objects")
    version = content.get("version", VERSION)
    if version != VERSION:
        raise PromptError(f"the prompt was written in version {str(version)[:20]} of its format, and these nodes read "
                          f"version {VERSION}; update Matting Anything, or mark the objects anew")
    across = width / _positive(content.get("width"), width, "the prompt's width")
    down = height / _positive(content.get("height"), height, "the prompt's height")
    objects = content.get("objects") or ()
    if not isinstance(objects, Sequence) or isinstance(objects, str):
        raise PromptError(f"objects in the prompt is {_named(objects)}; expected a list")
    read = (_object(item, across, down) for item in objects)
    return tuple(item for item in read if item.box is not None or item.on or item.off)


def _object(item: Any, across: float, down: float) -> Marked:
    if not isinstance(item, Mapping):
        raise PromptError(f"objects in the prompt holds {_named(item)}; expected objects with box and points")
    box = None
    if item.get("box") is not None:
        x0, y0, x1, y1 = _numbers(item["box"], 4, "a box in the prompt")
        left, right, top, bottom = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        box = (left * across, top * down, right * across, bottom * down) if left < right and top < bottom else None
    points = item.get("points") or ()
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise PromptError(f"points in the prompt is {_named(points)}; expected a list of [x, y, label]")
    on, off = [], []
    for point in points:
        x, y, label = _numbers([*point, 1] if isinstance(point, Sequence) and len(point) == 2 else point, 3,
                               "a point in the prompt")
        if label not in (0, 1):
            raise PromptError(f"a point in the prompt has the label {label:g}; expected 1 (on the object) or 0 (not)")
        (on if label else off).append((x * across, y * down))
    return Marked(box, tuple(on), tuple(off))


def _positive(value: Any, otherwise: float, what: str) -> float:
    if value is None or value == 0:
        return otherwise
    number = _number(value, what)
    if number <= 0:
        raise PromptError(f"{what} is {number:g}; expected pixels")
    return number


# --- points --------------------------------------------------------------------------------------------------------


def read_points(text: str | None, count: int, what: str) -> list[tuple[Point, ...]]:
    """Points for each of `count` pictures: STRING of JSON, one list for all or a list of lists. Raises PromptError."""
    content = _json(text, what)
    if content is None:
        return [()] * count
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise PromptError(f'{what} holds {_named(content)}; expected JSON such as [{{"x": 3, "y": 4}}, …]')
    if content and all(isinstance(item, list) and not _is_pair(item) for item in content):
        return [tuple(_point(item, what) for item in part) for part in _for_each(content, count, what)]
    return [tuple(_point(item, what) for item in content)] * count


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and not any(isinstance(part, (list, Mapping)) for part in item)


def _point(item: Any, what: str) -> Point:
    if isinstance(item, Mapping):
        item = [item.get("x"), item.get("y")]
    x, y = _numbers(item, 2, f"a point in {what}")
    return x, y


# --- boxes ---------------------------------------------------------------------------------------------------------


def read_boxes(value: Any, sizes: Sequence[tuple[int, int]]) -> list[tuple[Box, ...]] | None:
    """Boxes for each picture, in any of the known formats; None when none are given (an empty list is: nothing found).

    sizes: width and height of each picture. Boxes that are empty are left out. Raises PromptError.
    """
    if value is None:
        return None
    if _is_segs(value):
        (height, width), segments = value
        found = [_corners(getattr(segment, "bbox", None)) for segment in segments]
        across_down = [(w / width if width else 1, h / height if height else 1) for w, h in sizes]
        return [tuple((x0 * a, y0 * d, x1 * a, y1 * d) for x0, y0, x1, y1 in filter(None, found))
                for a, d in across_down]
    if hasattr(value, "tolist"):  # an array or a tensor
        value = value.tolist()
    if isinstance(value, Mapping) and not {"x", "y", "width", "height"} & set(value) and "bboxes" in value:
        value = value["bboxes"]
    if isinstance(value, Mapping) or _is_corners(value):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise PromptError(f"boxes is {_named(value)}; expected BOUNDING_BOX, BBOX, BBOXES or SEGS")
    items = [item.tolist() if hasattr(item, "tolist") else item for item in value]
    if items and all(isinstance(item, (list, tuple)) and not _is_corners(item) for item in items):
        return [_boxes(part) for part in _for_each(items, len(sizes), "boxes")]
    return [_boxes(items)] * len(sizes)


def _boxes(items: Sequence[Any]) -> tuple[Box, ...]:
    return tuple(box for box in map(_corners, items) if box is not None)


def _corners(item: Any) -> Box | None:
    """x0, y0, x1, y1; None for a box without area."""
    if hasattr(item, "tolist"):
        item = item.tolist()
    if isinstance(item, Mapping):
        x0, y0, width, height = _numbers([item.get(name) for name in ("x", "y", "width", "height")], 4,
                                         "a box with x, y, width, height")
        x1, y1 = x0 + width, y0 + height
    else:
        x0, y0, x1, y1 = _numbers(item[:4] if isinstance(item, (list, tuple)) and len(item) in (5, 6) else item, 4,
                                  "a box")
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _is_corners(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) in (4, 5, 6) and all(_is_number(item) for item in value[:4])


def _is_segs(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], (list, tuple)) \
        and len(value[0]) == 2 and all(_is_number(item) for item in value[0]) and isinstance(value[1], (list, tuple)) \
        and all(hasattr(item, "bbox") for item in value[1])


# --- objects -------------------------------------------------------------------------------------------------------


def prompts_of(given: Given, mask_use: MaskUse = "box") -> list[Prompt]:
    """The library's prompts for one picture, one for each object. Their order: marked objects, then masks, then points.

    - Every marked object (the editor's, each box) is one; so is each mask, unless there is exactly one of both: then
      they describe the same object.
    - A mask's bounds are its object's box; with mask_use "shape", or beside a box, the model also gets its shape.
    - Further points go to the object whose box holds them. Positive ones that no box holds are an object of their own;
      a single object takes all of them.
    - Words restrict themselves to each object's box; without objects they are looked for in the whole picture.
    """
    shaped = mask_use == "shape"
    if len(given.marked) == 1 and len(given.masks) == 1:
        [marked], [mask] = given.marked, given.masks
        boxed = marked if marked.box is not None else replace(marked, box=bounds(mask))
        objects = [(boxed, mask if shaped or marked.box is not None else None)]
    else:
        objects = [(item, None) for item in given.marked]
        objects += [(Marked(box=bounds(mask)), mask if shaped else None) for mask in given.masks]
    objects = _with_points(objects, given.on, given.off)
    if not objects:
        return [Prompt(text=given.text)] if given.text else []
    return [_prompt(marked, mask, given.text) for marked, mask in objects]


def _with_points(objects: list[tuple[Marked, Any]], on: Sequence[Point], off: Sequence[Point]) -> list[Any]:
    if not on and not off:
        return objects
    if len(objects) <= 1:
        marked, mask = objects[0] if objects else (Marked(), None)
        return [(replace(marked, on=(*marked.on, *on), off=(*marked.off, *off)), mask)]
    left = list(on)
    spread = []
    for marked, mask in objects:
        own = [point for point in left if _holds(marked.box, point)]
        left = [point for point in left if point not in own]
        away = [point for point in off if marked.box is None or _holds(marked.box, point)]
        spread.append((replace(marked, on=(*marked.on, *own), off=(*marked.off, *away)), mask))
    return [*spread, (Marked(on=tuple(left), off=tuple(off)), None)] if left else spread


def _prompt(marked: Marked, mask: Any, text: str) -> Prompt:
    points = [*marked.on, *marked.off]
    return Prompt(box=marked.box, points=points or None, mask=mask, text=text or None,
                  labels=[1] * len(marked.on) + [0] * len(marked.off) if points else None)


def _holds(box: Box | None, point: Point) -> bool:
    return box is not None and box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


# --- reading -------------------------------------------------------------------------------------------------------


def _for_each(sets: Sequence[Any], count: int, what: str) -> Sequence[Any]:
    """One set for each picture, from one for each or one for all."""
    if len(sets) == 1:
        return [sets[0]] * count
    if len(sets) != count:
        raise PromptError(f"{what} holds lists for {len(sets)} pictures, and there are {count}; expected one list for "
                          "all, or one each")
    return sets


def _json(text: Any, what: str) -> Any:
    """The value in a text of JSON; None for an empty one."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    if not isinstance(text, str):
        raise PromptError(f"{what} is {_named(text)}; expected a STRING of JSON")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{what} is no JSON ({str(error)[:100]}): {text[:60]!r}") from None
    return content


def _numbers(value: Any, count: int, what: str) -> list[float]:
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise PromptError(f"{what} is {_named(value)}; expected {count} numbers")
    return [_number(item, what) for item in value]


def _number(value: Any, what: str) -> float:
    try:
        number = float(value) if _is_number(value) else math.nan
    except OverflowError:  # JSON has integers of any length
        number = math.inf
    if not math.isfinite(number):
        raise PromptError(f"{what} holds {_named(value)}; expected numbers of pixels")
    return number


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _named(value: Any) -> str:
    """A value as an error shows it: short."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} that is nested too deep"
    return text if len(text) <= 60 else text[:57] + "…"
