"""The separate parts of a selection, each of which may be the box of an object. Nothing here knows of GIMP."""

from __future__ import annotations

import re
from collections.abc import Iterable

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; right and bottom excluded."""
_RUN = re.compile(rb"[\x80-\xff]+")
"""Pixels of a row that are more than half selected."""


def bounds(rows: Iterable[bytes]) -> Box | None:
    """Where rows of one byte a pixel are not 0; None where they are everywhere."""
    x0 = y0 = x1 = y1 = -1
    for y, row in enumerate(rows):
        rest = row.lstrip(b"\0")
        if not rest:
            continue
        left, right = len(row) - len(rest), len(row) - len(rest) + len(rest.rstrip(b"\0"))
        x0, x1 = (left, right) if x0 < 0 else (min(x0, left), max(x1, right))
        y0, y1 = (y if y0 < 0 else y0), y + 1
    return None if y0 < 0 else (x0, y0, x1, y1)


def boxes(rows: Iterable[bytes], least: int) -> list[Box]:
    """The bounds of all connected parts that are `least` pixels wide and high, from top to bottom.

    rows: one byte a pixel, 128 or more where it is selected. Parts that touch at a corner only are two.
    """
    extents: list[list[int]] = []
    joined: list[int] = []

    def first(part: int) -> int:
        while joined[part] != part:
            joined[part] = joined[joined[part]]
            part = joined[part]
        return part

    above: list[tuple[int, int, int]] = []
    for y, row in enumerate(rows):
        runs = []
        nearest = 0
        for match in _RUN.finditer(row):
            start, stop = match.span()
            while nearest < len(above) and above[nearest][1] <= start:
                nearest += 1
            part, other = -1, nearest
            while other < len(above) and above[other][0] < stop:
                touching = first(above[other][2])
                if part < 0:
                    part = touching
                elif touching != part:
                    joined[touching] = part
                    _widen(extents[part], extents[touching])
                other += 1
            if part < 0:
                part = len(joined)
                joined.append(part)
                extents.append([start, y, stop, y + 1])
            _widen(extents[part], [start, y, stop, y + 1])
            runs.append((start, stop, part))
        above = runs
    found = [tuple(extents[part]) for part in range(len(joined)) if joined[part] == part]
    return sorted(((x0, y0, x1, y1) for x0, y0, x1, y1 in found if min(x1 - x0, y1 - y0) >= least),
                  key=lambda box: (box[1], box[0]))


def _widen(extent: list[int], other: list[int]) -> None:
    extent[:2] = min(extent[0], other[0]), min(extent[1], other[1])
    extent[2:] = max(extent[2], other[2]), max(extent[3], other[3])
