"""Prompts as they come: the editor's string and other packs' formats, read into objects on each picture.

The editor writes one string of JSON:

    {"version": 1, "width": 1200, "height": 800,
     "objects": [{"box": [120, 40, 560, 700], "points": [[300, 200, 1], [40, 40, 0]]}, {"box": null, "points": …}]}

Coordinates are pixels of the picture it was drawn on (width × height), x to the right, y down; they are scaled when the
picture at hand has another size. A point is x, y, and 1 (on the object) or 0 (not on it). From version 2 on an object
may have strokes, {"points": [[x, y], …], "width": 12, "label": 1}, and areas that were drawn around, with a width of 0.
An empty string and a list without objects are no prompt; what is missing has its default, and what is unknown is left
aside. Another version is refused, since nobody can know what it means.

Other packs: points as a STRING of JSON, [{"x": 3, "y": 4}, …] or [[3, 4], …]; boxes as BOUNDING_BOX
({"x", "y", "width", "height"}), BBOX ((x0, y0, x1, y1) or (x, y, width, height), …), BBOXES (one list for each picture)
and SEGS (Impact pack). Points and boxes that are nowhere beyond 1 are shares of the picture's width and height.
Everything that can come in one set for all pictures may also come as a list of sets, one for each.

What they mean for one picture, objects.py says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from matting_anything_core import PromptError

from .objects import Area, Box, Marked, Point, Shape

VERSIONS = (1, 2)
"""Of the editor's string: 2 has strokes."""
BOX_FORMATS = ("auto", "xyxy", "xywh")
"""What four bare numbers of a box are; auto: corners, unless they cannot be."""


class Boxes(NamedTuple):
    """Boxes of other packs as they were read: for each picture its objects, and what of them came to nothing."""

    objects: list[tuple[Marked, ...]]
    note: str = ""


# --- the editor's string -------------------------------------------------------------------------------------------


def read_editor(text: str | None, width: int, height: int) -> tuple[Marked, ...]:
    """The objects in the editor's string, on a picture of width × height pixels. Raises PromptError."""
    content = _json(text, "the prompt")
    if content is None:
        return ()
    if not isinstance(content, Mapping):
        raise PromptError(f"the prompt holds {_named(content)}; expected what the Prompt Editor writes, a JSON object "
                          "with version, width, height and objects")
    version = content.get("version", 1)
    if version not in VERSIONS or not _is_number(version):
        raise PromptError(f"the prompt was written in version {str(version)[:20]} of its format, and these nodes read "
                          f"versions {' and '.join(map(str, VERSIONS))}; update Matting Anything, or mark the objects "
                          "anew")
    across = width / _positive(content.get("width"), width, "the prompt's width")
    down = height / _positive(content.get("height"), height, "the prompt's height")
    objects = _list(content.get("objects") or (), "objects in the prompt")
    read = (_object(item, across, down) for item in objects)
    return tuple(item for item in read if item != Marked())


def _object(item: Any, across: float, down: float) -> Marked:
    if not isinstance(item, Mapping):
        raise PromptError(f"objects in the prompt holds {_named(item)}; expected objects with box and points")
    box = None
    if item.get("box") is not None:
        x0, y0, x1, y1 = _numbers(item["box"], 4, "a box in the prompt")
        left, right, top, bottom = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        box = (left * across, top * down, right * across, bottom * down) if left < right and top < bottom else None
    on, off = [], []
    for point in _list(item.get("points") or (), "points in the prompt"):
        x, y, label = _numbers([*point, 1] if isinstance(point, Sequence) and len(point) == 2 else point, 3,
                               "a point in the prompt")
        if label not in (0, 1):
            raise PromptError(f"a point in the prompt has the label {label:g}; expected 1 (on the object) or 0 (not)")
        (on if label else off).append((x * across, y * down))
    keep, drop = [], []
    for stroke in _list(item.get("strokes"), "strokes in the prompt"):
        label, area = _stroke(stroke, across, down)
        (keep if label else drop).append(area)
    return Marked(box, tuple(on), tuple(off), tuple(keep), tuple(drop))


def _stroke(item: Any, across: float, down: float) -> tuple[bool, Area]:
    if not isinstance(item, Mapping):
        raise PromptError(f"strokes in the prompt holds {_named(item)}; expected strokes with points, width and label")
    width = _number(item.get("width", 0), "a stroke's width")
    label = _number(item.get("label", 1), "a stroke's label")
    points = [_numbers(point, 2, "a point of a stroke") for point in _list(item.get("points"), "a stroke's points")]
    if label not in (0, 1) or width < 0 or not points:
        raise PromptError(f"a stroke in the prompt is {_named(item)}; expected at least one point, a width in pixels "
                          "(0 for an area) and the label 1 (on the object) or 0 (not)")
    return bool(label), Area(tuple((x * across, y * down) for x, y in points), width * (across * down) ** 0.5)


def _list(value: Any, what: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise PromptError(f"{what} is {_named(value)}; expected a list")
    return value


def _positive(value: Any, otherwise: float, what: str) -> float:
    if value is None or value == 0:
        return otherwise
    number = _number(value, what)
    if number <= 0:
        raise PromptError(f"{what} is {number:g}; expected pixels")
    return number


# --- points --------------------------------------------------------------------------------------------------------


def read_points(text: str | None, sizes: Sequence[tuple[int, int]], what: str) -> list[tuple[Point, ...]]:
    """Points for each picture: STRING of JSON, one list for all or a list of lists. Raises PromptError.

    sizes: width and height of each picture.
    """
    content = _json(text, what)
    if content is None:
        return [()] * len(sizes)
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise PromptError(f'{what} holds {_named(content)}; expected JSON such as [{{"x": 3, "y": 4}}, …]')
    parts: Sequence[Any] = [content] * len(sizes)
    if content and all(isinstance(item, list) and not _is_pair(item) for item in content):
        parts = _for_each(content, len(sizes), what)
    read = [tuple(_point(item, what) for item in part) for part in parts]
    if not _are_shares(value for points in read for point in points for value in point):
        return read
    return [tuple((min(x * width, width - 1), min(y * height, height - 1)) for x, y in points)
            for points, (width, height) in zip(read, sizes, strict=True)]


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and not any(isinstance(part, (list, Mapping)) for part in item)


def _point(item: Any, what: str) -> Point:
    if isinstance(item, Mapping):
        item = [item.get("x"), item.get("y")]
    x, y = _numbers(item, 2, f"a point in {what}")
    return x, y


def _are_shares(values: Iterable[float]) -> bool:
    """Whether coordinates are shares of the picture: none is beyond 0..1, and some lie in between."""
    known = list(values)
    return all(0 <= value <= 1 for value in known) and any(0 < value < 1 for value in known)


# --- boxes ---------------------------------------------------------------------------------------------------------


def read_boxes(value: Any, sizes: Sequence[tuple[int, int]], form: str = "auto") -> Boxes | None:
    """Objects for each picture, in any of the known formats of boxes; None when none are given.

    Boxes without area are left out; the note says so when nothing else was there, and when an empty list came (a
    detector found nothing). Raises PromptError.

    Parameters
    ----------
    value
        See the module.
    sizes : sequence of (width, height)
        Of each picture.
    form : str
        One of `BOX_FORMATS`.
    """
    if value is None:
        return None
    if _is_segs(value):
        return _of_segs(value, sizes)
    if hasattr(value, "tolist"):  # an array or a tensor
        value = value.tolist()
    if isinstance(value, Mapping) and not {"x", "y", "width", "height"} & set(value) and "bboxes" in value:
        value = value["bboxes"]
    if isinstance(value, Mapping) or _is_four(value):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise PromptError(f"boxes is {_named(value)}; expected BOUNDING_BOX, BBOX, BBOXES or SEGS")
    items = [item.tolist() if hasattr(item, "tolist") else item for item in value]
    parts: Sequence[Any] = [items] * len(sizes)
    if items and all(isinstance(item, (list, tuple)) and not _is_four(item) for item in items):
        parts = _for_each(items, len(sizes), "boxes")
    rows = [[_row(item) for item in part] for part in parts]
    bare = [row.numbers for part in rows for row in part if not row.sized]
    sized = form == "xywh" or (form == "auto" and _must_be_sizes(bare, rows, sizes))
    shares = _are_shares(number for part in rows for row in part for number in row.numbers) or \
        all(row.numbers == (0, 0, 1, 1) for part in rows for row in part)
    objects = []
    for part, (width, height) in zip(rows, sizes, strict=True):
        scale = (width, height) if shares else (1, 1)
        found = (_corners(row, scale, sized) for row in part)
        objects.append(tuple(Marked(box=box) for box in found if box is not None))
    return Boxes(objects, _nothing_of(rows, objects, "width and height" if sized else "corners"))


class _Row(NamedTuple):
    """Four numbers of a box; sized: as x, y, width, height beyond doubt."""

    numbers: tuple[float, float, float, float]
    sized: bool


def _row(item: Any) -> _Row:
    if hasattr(item, "tolist"):
        item = item.tolist()
    if isinstance(item, Mapping):
        x, y, width, height = _numbers([item.get(name) for name in ("x", "y", "width", "height")], 4,
                                       "a box with x, y, width, height")
        return _Row((x, y, width, height), True)
    a, b, c, d = _numbers(item[:4] if isinstance(item, (list, tuple)) and len(item) in (5, 6) else item, 4, "a box")
    return _Row((a, b, c, d), False)


def _must_be_sizes(
    bare: Sequence[tuple[float, float, float, float]], rows: Sequence[Sequence[_Row]],
    sizes: Sequence[tuple[int, int]],
) -> bool:
    """Whether four numbers each can only be x, y, width, height: as corners one is the wrong way round, and as sizes
    all lie in their pictures (with a pixel of rounding)."""
    if not any(c < a or d < b for a, b, c, d in bare):
        return False
    shares = _are_shares(number for row in bare for number in row)
    for part, (width, height) in zip(rows, sizes, strict=True):
        most = (1.0, 1.0) if shares else (float(width), float(height))
        for row in part:
            a, b, c, d = row.numbers
            if not row.sized and (c <= 0 or d <= 0 or a + c > most[0] + 1 or b + d > most[1] + 1):
                return False
    return True


def _corners(row: _Row, scale: tuple[float, float], sized: bool) -> Box | None:
    """x0, y0, x1, y1 in pixels; None for a box without area."""
    x0, y0, x1, y1 = row.numbers
    if row.sized or sized:
        x1, y1 = x0 + x1, y0 + y1
    box = x0 * scale[0], y0 * scale[1], x1 * scale[0], y1 * scale[1]
    return box if box[0] < box[2] and box[1] < box[3] else None


def _nothing_of(rows: Sequence[Sequence[_Row]], objects: Sequence[Sequence[Marked]], form: str) -> str:
    """What was read where no box is left in any picture; nothing to say otherwise."""
    if any(objects):
        return ""
    read = [row for part in rows for row in part]
    if not read:
        return "boxes is an empty list, so a detector found nothing"
    first = ", ".join(f"{number:g}" for number in read[0].numbers)
    hint = "" if read[0].sized else f" (read as {form}; box_format can change that)"
    return f"boxes holds {len(read)} without area, such as {first}{hint}"


def _is_four(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) in (4, 5, 6) and all(_is_number(item) for item in value[:4])


def _is_segs(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], (list, tuple)) \
        and len(value[0]) == 2 and all(_is_number(item) for item in value[0]) and isinstance(value[1], (list, tuple)) \
        and all(hasattr(item, "bbox") for item in value[1])


def _of_segs(value: Any, sizes: Sequence[tuple[int, int]]) -> Boxes:
    """The Impact pack's segments: boxes with the masks that were found in them, unless these are the boxes again."""
    (height, width), segments = value
    rows = [_row(getattr(segment, "bbox", None)) for segment in segments]
    objects = []
    for w, h in sizes:
        scale = w / width if width else 1, h / height if height else 1
        found = []
        for row, segment in zip(rows, segments, strict=True):
            box = _corners(row, scale, sized=False)
            if box is not None:
                found.append(Marked(box=box, shape=Shape.of(segment, (int(width), int(height)), (w, h))))
        objects.append(tuple(found))
    return Boxes(objects, _nothing_of([rows], objects, "corners") if segments else
                 "boxes is SEGS without segments, so a detector found nothing")


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
