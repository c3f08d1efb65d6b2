"""What the pointer does in the window: boxes, points, strokes, and moving the picture. Nothing here knows of GTK."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from marks import Mark, Point, box_of, thinned
from viewing import View

DRAG = 4.0
"""Pixels of the window from which on a click is a drag."""
SMALLEST = 4.0
"""Of the picture, on each side of a box: less is a slip of the hand."""
Tool = Literal["mark", "brush"]


@dataclass
class Pointer:
    """The pointer's work from pressing a button to its release. All places are those of the window.

    brush: a stroke's width in the picture's pixels.
    """

    tool: Tool = "mark"
    brush: float = 20.0
    _line: list[Point] = field(default_factory=list)
    _negative: bool = False
    _panning: bool = False

    @property
    def active(self) -> bool:
        """Whether a button is down."""
        return bool(self._line)

    def press(self, place: Point, *, negative: bool = False, pan: bool = False) -> None:
        """A button goes down. negative: what is marked does not belong to the object. pan: the picture is moved."""
        self._line, self._negative, self._panning = [place], negative, pan

    def move(self, view: View, place: Point) -> View:
        """The pointer moves; the view, which is another one when the picture is moved."""
        if not self._line:
            return view
        (x, y), self._line = self._line[-1], [*self._line, place]
        return view.panned(place[0] - x, place[1] - y) if self._panning else view

    def mark(self, view: View) -> Mark | None:
        """What is being marked; None when that is nothing."""
        if not self._line or self._panning:
            return None
        label = 0 if self._negative else 1
        first, last = self._line[0], self._line[-1]
        if self.tool == "brush":
            line = [view.to_picture(*place) for place in self._line]
            return Mark("stroke", thinned(line, max(1.0, self.brush / 8)), label, self.brush)
        if self._negative or math.dist(first, last) < DRAG:
            point = view.to_picture(*first)
            inside = all(0 <= at < side for at, side in zip(point, view.picture, strict=True))
            return Mark("point", (point,), label) if inside else None
        box = box_of(view.to_picture(*first), view.to_picture(*last), *view.picture)
        return Mark("box", (box[:2], box[2:])) if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST else None

    def release(self, view: View) -> Mark | None:
        """The button goes up; what was marked."""
        made = self.mark(view)
        self.cancel()
        return made

    def cancel(self) -> None:
        """Forget what was begun."""
        self._line, self._negative, self._panning = [], False, False
