"""Marks as prompts, and the pointer that makes them."""

from __future__ import annotations

import pytest
from marks import Mark, added, distance, prompt_of, thinned, without_contradictions
from pointing import Pointer
from viewing import View

BOX = Mark("box", ((10, 20), (110, 220)))
ON, OFF = Mark("point", ((50, 60),)), Mark("point", ((70, 80),), 0)
KEEP = Mark("stroke", ((30, 40), (60, 40)), 1, 10)
WORDS = Mark("words", words="the dog")
VIEW = View.fit((400, 300), (800, 600))
"""Scale 2, the corner at 0, 0."""


def test_marks_become_the_services_prompt() -> None:
    assert prompt_of((BOX, ON, OFF, KEEP)) == {
        "box": [10, 20, 110, 220], "points": [(50, 60), (70, 80)], "labels": [1, 0],
        "keep": [{"points": [(30, 40), (60, 40)], "width": 10}]}
    assert prompt_of((BOX, WORDS)) == {"box": [10, 20, 110, 220], "text": "the dog"}
    assert prompt_of((Mark("subject"), OFF)) == {"subject": True, "points": [(70, 80)], "labels": [0]}
    assert prompt_of((Mark("outline", mask={"width": 3}),)) == {"mask": {"width": 3}}


def test_what_says_of_nothing_that_it_belongs_to_the_object_is_no_prompt() -> None:
    assert prompt_of(()) is None
    assert prompt_of((OFF,)) is None
    assert prompt_of((BOX,), previous="id") is None, "nothing is corrected"


def test_corrections_go_on_from_the_former_matte() -> None:
    assert prompt_of((WORDS, OFF), previous="id", box=(1, 2, 3, 4)) == {
        "box": [1, 2, 3, 4], "points": [(70, 80)], "labels": [0], "previous": "id"}


def test_what_says_anew_what_the_object_is_replaces_what_belonged_to_the_old_one() -> None:
    other = Mark("box", ((0, 0), (9, 9)))
    assert added((BOX, ON), other) == (other,)
    assert added((ON, OFF), BOX) == (ON, OFF, BOX), "the first box leaves the points"
    assert added((BOX, ON), WORDS) == (BOX, WORDS)
    assert added((BOX, WORDS), ON) == (BOX, WORDS, ON)
    assert added((BOX, ON), Mark("subject")) == (Mark("subject"),)
    trimap = Mark("trimap", mask={"width": 3})
    assert added((BOX, ON), trimap) == (ON, trimap)
    assert prompt_of((ON, trimap)) == {"trimap": {"width": 3}, "points": [(50, 60)], "labels": [1]}


def test_later_marks_overrule_earlier_ones_in_their_place() -> None:
    across = Mark("stroke", ((0, 0), (100, 0)), 1, 4)
    point = Mark("point", ((50, 0),), 0)
    left, right, last = without_contradictions((across, point), reach=3)
    assert last == point
    assert left.points[0] == (0, 0)
    assert right.points[-1] == (100, 0)
    for part in (left, right):
        assert distance((50, 0), part.points) >= 3 + 2 + 1
    assert without_contradictions((point, across), reach=3) == (across,)
    assert without_contradictions((across, KEEP)) == (across, KEEP), "the same twice is no contradiction"


def test_a_line_keeps_its_ends() -> None:
    assert thinned([(0, 0), (1, 0), (2, 0), (9, 0), (10, 0)], 5) == ((0, 0), (9, 0), (10, 0))
    assert thinned([(3, 4)], 5) == ((3, 4),)


def test_a_drag_is_a_box_and_a_click_a_point() -> None:
    pointer = Pointer()
    pointer.press((20, 40))
    for place in ((100, 100), (220, 440)):
        assert pointer.move(VIEW, place) is VIEW
    assert pointer.mark(VIEW) == BOX, "it is seen while it is drawn"
    assert pointer.release(VIEW) == BOX
    assert pointer.mark(VIEW) is None
    pointer.press((100, 120))
    pointer.move(VIEW, (101, 121))
    assert pointer.release(VIEW) == ON
    pointer.press((140, 160), negative=True)
    pointer.move(VIEW, (300, 300))
    assert pointer.release(VIEW) == OFF


def test_a_box_ends_at_the_pictures_edges_and_is_no_line() -> None:
    pointer = Pointer()
    pointer.press((-50, -50))
    pointer.move(VIEW, (9000, 100))
    assert pointer.release(VIEW) == Mark("box", ((0, 0), (400, 50)))
    pointer.press((100, 100))
    pointer.move(VIEW, (300, 102))
    assert pointer.release(VIEW) is None
    pointer.press((-50, 20))
    assert pointer.release(VIEW) is None, "a point beside the picture is none"


@pytest.mark.parametrize("negative", [False, True])
def test_the_brush_makes_strokes(negative: bool) -> None:
    pointer = Pointer("brush", brush=10)
    pointer.press((60, 80), negative=negative)
    pointer.move(VIEW, (120, 80))
    assert pointer.release(VIEW) == Mark("stroke", ((30, 40), (60, 40)), 0 if negative else 1, 10)


def test_escape_forgets_what_was_begun_and_panning_marks_nothing() -> None:
    pointer = Pointer()
    pointer.press((20, 40))
    pointer.move(VIEW, (200, 400))
    pointer.cancel()
    assert pointer.release(VIEW) is None
    pointer.press((20, 40), pan=True)
    moved = pointer.move(VIEW, (50, 60))
    assert (moved.x, moved.y) == (VIEW.x + 30, VIEW.y + 20)
    assert pointer.release(moved) is None
