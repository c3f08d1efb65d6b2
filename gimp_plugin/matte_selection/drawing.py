"""Marks as pixels over the picture, in plain Python: GIMP's Python may have neither numpy nor cairo.

Everything is made of spans of rows, which are copied in one piece, so that a stroke across the window takes
milliseconds. Nothing here knows of GIMP or GTK.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from marks import Mark, Marks, Point
from viewing import View

Colour = bytes
"""Four bytes: red, green, blue, opacity."""
KEEP, DROP = bytes((20, 190, 90, 150)), bytes((235, 45, 60, 150))
KEPT, DROPPED = bytes((20, 170, 80, 255)), bytes((225, 35, 50, 255))
LIGHT, DARK = bytes((255, 255, 255, 255)), bytes((0, 0, 0, 190))
RADIUS = 7.0
"""Of a point in the window, pixels."""


class Canvas:
    """Straight RGBA, transparent to begin with; later things are written over earlier ones."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.data = bytearray(4 * width * height)

    def span(self, y: int, x0: float, x1: float, colour: Colour) -> None:
        """The pixels of a row whose middles lie from x0 to x1."""
        left, right = max(math.ceil(x0 - 0.5), 0), min(math.floor(x1 - 0.5) + 1, self.width)
        if 0 <= y < self.height and left < right:
            at = 4 * (y * self.width + left)
            self.data[at:at + 4 * (right - left)] = colour * (right - left)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """A filled one."""
        for y in range(max(math.ceil(y0 - 0.5), 0), min(math.floor(y1 - 0.5) + 1, self.height)):
            self.span(y, x0, x1, colour)

    def frame(self, x0: float, y0: float, x1: float, y1: float, line: float, colour: Colour) -> None:
        """The border of a rectangle, as wide as `line`, inside of it."""
        self.rectangle(x0, y0, x1, y0 + line, colour)
        self.rectangle(x0, y1 - line, x1, y1, colour)
        self.rectangle(x0, y0, x0 + line, y1, colour)
        self.rectangle(x1 - line, y0, x1, y1, colour)

    def stroke(self, line: Sequence[Point], radius: float, colour: Colour) -> None:
        """A line with round ends; a single place is a disc."""
        for at, one in enumerate(line):
            other = line[max(at - 1, 0)]
            top, bottom = min(one[1], other[1]) - radius, max(one[1], other[1]) + radius
            for y in range(max(math.ceil(top - 0.5), 0), min(math.floor(bottom - 0.5) + 1, self.height)):
                between = _across(other, one, radius, y + 0.5)
                if between is not None:
                    self.span(y, *between, colour)

    def ring(self, centre: Point, radius: float, colour: Colour) -> None:
        """A circle, a pixel wide."""
        (x, y), inner = centre, max(radius - 1.2, 0.0)
        for row in range(max(math.ceil(y - radius - 0.5), 0), min(math.floor(y + radius - 0.5) + 1, self.height)):
            up = row + 0.5 - y
            outer = math.sqrt(max(radius * radius - up * up, 0.0))
            if abs(up) >= inner:
                self.span(row, x - outer, x + outer, colour)
            else:
                hole = math.sqrt(inner * inner - up * up)
                self.span(row, x - outer, x - hole, colour)
                self.span(row, x + hole, x + outer, colour)


def _across(one: Point, other: Point, radius: float, y: float) -> tuple[float, float] | None:
    """From where to where a row goes through a line with round ends, which is convex."""
    found = []
    for cx, cy in (one, other):
        square = radius * radius - (y - cy) ** 2
        if square >= 0:
            reach = math.sqrt(square)
            found += [cx - reach, cx + reach]
    length = math.dist(one, other)
    if length > 0:
        nx, ny = (other[1] - one[1]) / length * radius, (one[0] - other[0]) / length * radius
        for side in (1, -1):
            (ax, ay), (bx, by) = (one[0] + side * nx, one[1] + side * ny), (other[0] + side * nx, other[1] + side * ny)
            if min(ay, by) <= y <= max(ay, by) and ay != by:
                found.append(ax + (bx - ax) * (y - ay) / (by - ay))
    return (min(found), max(found)) if found else None


def draw(marks: Marks, view: View, brush: tuple[Point, float] | None = None) -> bytes:
    """All marks as RGBA of the window's size. brush: the pointer's place in the window, and its radius there."""
    canvas = Canvas(*view.window)
    for mark in marks:  # strokes below, so that points on them are seen
        if mark.kind == "stroke":
            line = [view.to_window(*point) for point in mark.points]
            canvas.stroke(line, max(mark.width * view.scale / 2, 1.0), KEEP if mark.label else DROP)
    for mark in marks:
        if mark.kind == "box":
            _draw_box(canvas, mark, view)
        elif mark.kind == "point":
            _draw_point(canvas, view.to_window(*mark.points[0]), mark.label)
    if brush is not None:
        place, radius = brush
        canvas.ring(place, radius + 1, DARK)
        canvas.ring(place, radius, LIGHT)
    return bytes(canvas.data)


def _draw_box(canvas: Canvas, mark: Mark, view: View) -> None:
    (x0, y0), (x1, y1) = (view.to_window(*corner) for corner in mark.points)
    x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    canvas.frame(x0 - 2, y0 - 2, x1 + 2, y1 + 2, 1, DARK)
    canvas.frame(x0 - 1, y0 - 1, x1 + 1, y1 + 1, 1, LIGHT)
    canvas.frame(x0, y0, x1, y1, 1, DARK)


def _draw_point(canvas: Canvas, place: Point, label: int) -> None:
    (x, y), arm = place, RADIUS - 3
    canvas.stroke([place], RADIUS + 1, DARK)
    canvas.stroke([place], RADIUS, LIGHT)
    canvas.stroke([place], RADIUS - 1.5, KEPT if label else DROPPED)
    canvas.rectangle(x - arm, y - 1, x + arm, y + 1, LIGHT)
    if label:
        canvas.rectangle(x - 1, y - arm, x + 1, y + arm, LIGHT)
