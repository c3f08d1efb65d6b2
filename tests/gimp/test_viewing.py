"""Where the picture lies in the window, and the marks that are drawn over it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from drawing import DROP, KEEP, LIGHT, Canvas, draw
from hypothesis import given
from hypothesis import strategies as st
from marks import Mark
from viewing import VISIBLE, View

SIDES = st.integers(1, 5000)


@given(SIDES, SIDES, SIDES, SIDES)
def test_all_of_the_picture_is_seen_at_first(width: int, height: int, across: int, down: int) -> None:
    view = View.fit((width, height), (across, down))
    left, top, right, bottom = view.shown()
    assert 0 <= left <= right <= across
    assert 0 <= top <= bottom <= down
    x, y = view.to_window(width, height)
    assert x <= across + 1
    assert y <= down + 1


@given(st.floats(0.01, 64), st.floats(0, 800), st.floats(0, 600))
def test_what_is_under_the_pointer_stays_there(scale: float, x: float, y: float) -> None:
    view = View.fit((4000, 3000), (800, 600))
    zoomed = view.zoomed(scale, (x, y))
    px, py = view.to_picture(x, y)
    if all(abs(at) > 1 for at in (px, py, px - 4000, py - 3000)) and zoomed.scale >= view.scale:
        assert zoomed.to_window(px, py) == pytest.approx((x, y), abs=1)
    assert zoomed.to_picture(*zoomed.to_window(12, 34)) == pytest.approx((12, 34))


@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.floats(0.1, 60))
def test_the_picture_cannot_be_lost(dx: float, dy: float, scale: float) -> None:
    left, top, right, bottom = View.fit((400, 300), (800, 600)).zoomed(scale).panned(dx, dy).shown()
    assert min(right - left, bottom - top) >= min(VISIBLE, round(300 * scale)) - 1


def test_another_size_of_the_window() -> None:
    view = View.fit((400, 300), (800, 600))
    assert view.resized((400, 300)) == View.fit((400, 300), (400, 300))
    zoomed = view.zoomed(4.0)
    middle = zoomed.to_picture(400, 300)
    assert zoomed.resized((1000, 700)).to_picture(500, 350) == pytest.approx(middle)


def test_steps_are_half_octaves() -> None:
    view = View.fit((400, 300), (800, 600))
    assert view.scale == 2
    assert view.step(1) == pytest.approx(2 ** 1.5)
    assert view.zoomed(view.step(1)).step(-1) == pytest.approx(2)


def pixels(data: bytes, view: View) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(view.window[1], view.window[0], 4)


def test_a_stroke_covers_all_that_is_near_its_line() -> None:
    view = View((60, 40), (60, 40), 1.0, 0, 0)
    line = ((10.0, 8.0), (45.0, 30.0), (45.0, 12.0))
    drawn = pixels(draw((Mark("stroke", line, 1, 9),), view), view)
    y, x = np.mgrid[0:40, 0:60] + 0.5
    nearest = np.full((40, 60), np.inf)
    for (ax, ay), (bx, by) in pairwise(line):
        share = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay)))
    covered = drawn[..., 3] > 0
    assert covered[nearest < 4.4].all()
    assert not covered[nearest > 4.6].any()
    assert (drawn[covered] == np.frombuffer(KEEP, np.uint8)).all()


def test_marks_are_where_they_were_made_at_every_scale() -> None:
    marks = (Mark("stroke", ((20.0, 20.0),), 0, 6), Mark("point", ((30.0, 5.0),)), Mark("box", ((4, 4), (36, 26))))
    view = View((40, 30), (400, 300), 10.0, -20, 30)
    drawn = pixels(draw(marks, view), view)
    assert tuple(drawn[230, 180]) == tuple(DROP)
    assert tuple(drawn[80, 280]) == tuple(LIGHT), "the plus in the middle of the point"
    assert drawn[150, 20, 3] > 0, "the box's left side"
    assert drawn[150, 100, 3] == 0


@given(*[st.floats(-1e4, 1e4) for _ in range(4)], st.floats(0.5, 500))
def test_what_lies_outside_of_the_window_harms_nothing(x0: float, y0: float, x1: float, y1: float, r: float) -> None:
    canvas = Canvas(30, 20)
    canvas.stroke([(x0, y0), (x1, y1)], r, KEEP)
    canvas.frame(x0, y0, x1, y1, 2, LIGHT)
    canvas.ring((x0, y0), r, LIGHT)
    assert len(canvas.data) == 4 * 30 * 20
