"""What has been marked of an object in the window, in order, and the prompt that says it. Nothing here knows of GIMP.

Marks are values: they are never changed. Coordinates are pixels of the layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

Point = tuple[float, float]
Kind = Literal["box", "point", "stroke", "words", "outline", "trimap", "subject"]


@dataclass(frozen=True)
class Mark:
    """One mark.

    points: a box's two corners, the place of a point, or a stroke's line. label: 1 where it belongs to the object, 0
    where it does not. width: of a stroke. words: what the object is called. mask: an outline or a trimap, as prompts
    hold masks.
    """

    kind: Kind
    points: tuple[Point, ...] = ()
    label: int = 1
    width: float = 0.0
    words: str = ""
    mask: Mapping[str, Any] | None = None

    @property
    def corrects(self) -> bool:
        """Whether it corrects the matte that is there, rather than asks for another one."""
        return self.kind in ("point", "stroke")


Marks = tuple[Mark, ...]


def box_of(one: Point, other: Point, width: int, height: int) -> tuple[float, float, float, float]:
    """The box between two places, cut off at the edges of a picture."""
    (ax, ay), (bx, by) = one, other
    return (min(max(min(ax, bx), 0.0), width), min(max(min(ay, by), 0.0), height),
            min(max(max(ax, bx), 0.0), width), min(max(max(ay, by), 0.0), height))


def added(marks: Marks, mark: Mark) -> Marks:
    """The marks once another one is made: what says anew what the object is replaces what belonged to the old one."""
    if mark.corrects or (mark.kind == "box" and all(one.corrects for one in marks)):
        return (*marks, mark)
    if mark.kind == "trimap":  # it was made of what they gave
        return (*(one for one in marks if one.corrects), mark)
    if mark.kind == "words":
        return (*(one for one in marks if one.kind == "box"), mark)
    return (mark,)


def prompt_of(
    marks: Marks, *, previous: Any = None, box: Sequence[float] | None = None, reach: float = 2.0
) -> dict[str, Any] | None:
    """The prompt of marks; None when they do not say what the object is.

    previous: what the service is to go on from. box: the one that was found for it. reach: radius of the disc in which
    a point holds.
    """
    starts = {mark.kind: mark for mark in marks if not mark.corrects}
    settled = without_contradictions(marks, reach)
    prompt: dict[str, Any] = {}
    if "box" in starts:
        (x0, y0), (x1, y1) = starts["box"].points
        prompt["box"] = [x0, y0, x1, y1]
    elif previous is not None and box is not None:
        prompt["box"] = list(box)
    if previous is None:
        if "words" in starts:
            prompt["text"] = starts["words"].words
        for kind, name in (("outline", "mask"), ("trimap", "trimap")):
            if kind in starts:
                prompt[name] = dict(starts[kind].mask or {})
    points = [mark for mark in settled if mark.kind == "point"]
    if points:
        prompt["points"] = [mark.points[0] for mark in points]
        prompt["labels"] = [mark.label for mark in points]
    for name, label in (("keep", 1), ("drop", 0)):
        lines = [{"points": list(mark.points), "width": mark.width} for mark in settled
                 if mark.kind == "stroke" and mark.label == label]
        if lines:
            prompt[name] = lines
    if previous is not None:
        return {**prompt, "previous": previous} if any(mark.corrects for mark in marks) else None
    if "subject" in starts:
        return {**prompt, "subject": True}
    said = {"box", "text", "mask", "trimap", "keep"} & set(prompt) or 1 in prompt.get("labels", ())
    return prompt if said else None


def without_contradictions(marks: Marks, reach: float = 2.0) -> Marks:
    """Marks in which the later ones have overruled the earlier ones that say the opposite in their place."""
    settled: list[Mark] = []
    for mark in marks:
        if mark.corrects:
            settled = [left for one in settled
                       for left in (_rest(one, mark, reach) if one.corrects and one.label != mark.label else (one,))]
        settled.append(mark)
    return tuple(settled)


def _rest(earlier: Mark, later: Mark, reach: float) -> Iterator[Mark]:
    """What is left of a point or stroke beside a later one of the opposite."""
    def radius(mark: Mark) -> float:
        return reach if mark.kind == "point" else mark.width / 2

    if earlier.kind == "point":
        if distance(earlier.points[0], later.points) >= radius(later) + 1:
            yield earlier
        return
    least = radius(earlier) + radius(later) + 1
    line = tuple(_dense(earlier.points, max(earlier.width / 4, 1.0)))
    runs: list[list[Point]] = [[]]
    for point in line:
        if distance(point, later.points) >= least:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    left = [run for run in runs if run]
    if len(left) == 1 and len(left[0]) == len(line):
        yield earlier
        return
    yield from (replace(earlier, points=tuple(run)) for run in left)


def _dense(line: Sequence[Point], step: float) -> Iterator[Point]:
    """A line with points at most `step` apart."""
    yield line[0]
    for (x0, y0), (x1, y1) in pairwise(line):
        parts = max(1, math.ceil(math.hypot(x1 - x0, y1 - y0) / step))
        for part in range(1, parts + 1):
            yield x0 + (x1 - x0) * part / parts, y0 + (y1 - y0) * part / parts


def distance(point: Point, line: Sequence[Point]) -> float:
    """From a point to the nearest of a line."""
    (x, y), nearest = point, math.inf
    for at, (x1, y1) in enumerate(line):
        x0, y0 = line[max(at - 1, 0)]
        dx, dy = x1 - x0, y1 - y0
        square = dx * dx + dy * dy
        share = min(max(((x - x0) * dx + (y - y0) * dy) / square, 0.0), 1.0) if square else 0.0
        nearest = min(nearest, math.hypot(x - x0 - share * dx, y - y0 - share * dy))
    return nearest


def thinned(line: Sequence[Point], least: float) -> tuple[Point, ...]:
    """A line without what adds nothing: points nearer than `least` to the one before, but for the last."""
    kept = [line[0]]
    for point in line[1:-1]:
        if math.dist(point, kept[-1]) >= least:
            kept.append(point)
    if len(line) > 1:
        kept.append(line[-1])
    return tuple(kept)
