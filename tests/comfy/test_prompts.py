"""Every prompt format that comes into the nodes: what it means, and that nothing else gets through."""

from __future__ import annotations

import contextlib
import json
from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.objects import Area, Given, Marked, area_mask, prompts_of
from comfy_nodes.prompts import read_boxes, read_editor, read_points
from matting_anything_core import MattingError, Prompt, PromptError

SEG = namedtuple("SEG", "cropped_image cropped_mask confidence crop_region bbox label control_net_wrapper")
SIZES = [(100, 200)] * 2
coordinate = st.floats(0, 4000, allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(
        st.sampled_from(["version", "width", "height", "objects", "box", "points", "x", "y", "bboxes", "strokes", "?"]),
        inner, max_size=5), max_leaves=25)


def segment(*box: float) -> SEG:
    return SEG(None, None, 0.9, (0, 0, 9, 9), box, "cat", None)


# --- the editor's string -------------------------------------------------------------------------------------------


def test_the_editors_string_is_read_and_scaled() -> None:
    text = json.dumps({"version": 1, "width": 100, "height": 50, "objects": [
        {"box": [10, 5, 30, 25], "points": [[20, 10, 1], [12, 6, 0]]}, {"box": None, "points": [[1, 2, 1]]}]})
    assert read_editor(text, 100, 50) == (
        Marked((10, 5, 30, 25), ((20, 10),), ((12, 6),)), Marked(None, ((1, 2),)))
    assert read_editor(text, 200, 200)[0] == Marked((20, 20, 60, 100), ((40, 40),), ((24, 24),))


@pytest.mark.parametrize("text", [None, "", "  \n", "{}", '{"version": 1}', '{"objects": []}', '{"objects": null}',
                                  '{"objects": [{}]}', '{"objects": [{"box": null, "points": []}]}',
                                  '{"objects": [{"box": [3, 3, 3, 9]}]}', "null"])
def test_no_objects_are_no_prompt(text: str | None) -> None:
    assert read_editor(text, 10, 10) == ()


def test_what_is_missing_has_its_default_and_what_is_unknown_is_left_aside() -> None:
    assert read_editor('{"objects": [{"points": [[3, 4]], "colour": "red"}], "zoom": 2}', 10, 10) == \
        (Marked(on=((3, 4),)),)
    assert read_editor('{"width": 0, "height": 0, "objects": [{"box": [9, 8, 1, 2]}]}', 10, 10) == \
        (Marked(box=(1, 2, 9, 8)),)


@pytest.mark.parametrize(("text", "says"), [
    ('{"version": 3, "objects": []}', "version 3"), ('{"version": "1"}', "version 1 of its format"),
    ('{"version": true}', "version True"), ('{"objects": [{"strokes": 3}]}', "strokes"),
    ('{"objects": [{"strokes": [{"points": [], "width": 3}]}]}', "at least one point"),
    ('{"objects": [{"strokes": [{"points": [[1, 2]], "width": -3}]}]}', "a width"),
    ('{"objects": [{"strokes": [{"points": [[1, 2]], "label": 3}]}]}', "label 1"),
    ('{"objects": [{"strokes": [{"points": [[1]]}]}]}', "2 numbers"), ('{"objects": [{"strokes": [7]}]}', "strokes"),
    ("[1]", "JSON object"),
    ("{", "no JSON"), ("box", "no JSON"), ('{"objects": 3}', "objects"),
    ('{"objects": [3]}', "objects in the prompt holds 3"),
    ('{"objects": [{"box": [1, 2, 3]}]}', "4 numbers"), ('{"objects": [{"box": [1, 2, 3, "4"]}]}', "numbers"),
    ('{"objects": [{"box": [1, 2, NaN, 4]}]}', "numbers"), ('{"objects": [{"points": [[1, 2, 5]]}]}', "label 5"),
    ('{"objects": [{"points": 5}]}', "points"), ('{"width": -3}', "width"), ("[" * 100_000, "no JSON"),
    ('{"objects": [{"points": [[1e999, 2, 1]]}]}', "numbers"),
    ('{"objects": [{"points": [[1' + "0" * 400 + ', 2, 1]]}]}', "numbers"),
])
def test_what_cannot_be_a_prompt_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        read_editor(text, 10, 10)


@given(st.lists(st.tuples(st.tuples(coordinate, coordinate, coordinate, coordinate) | st.none(),
                          st.lists(st.tuples(coordinate, coordinate, st.sampled_from([0, 1])), max_size=4)),
                max_size=4), st.integers(1, 5000), st.integers(1, 5000))
def test_what_the_editor_writes_comes_back(objects: list, width: int, height: int) -> None:
    text = json.dumps({"version": 1, "width": width, "height": height,
                       "objects": [{"box": box, "points": points} for box, points in objects]})
    read = read_editor(text, width, height)
    kept = [(box, points) for box, points in objects
            if points or (box is not None and box[0] != box[2] and box[1] != box[3])]
    assert len(read) == len(kept)
    for item, (_box, points) in zip(read, kept, strict=True):
        assert item.on == tuple((x, y) for x, y, label in points if label)
        assert item.off == tuple((x, y) for x, y, label in points if not label)


@given(json_values | st.text(max_size=40))
def test_any_text_ends_in_objects_or_a_matting_error(value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    for read in (lambda: read_editor(text, 30, 20), lambda: read_points(text, SIZES, "points"),
                 lambda: read_editor(value, 30, 20), lambda: read_boxes(value, [(30, 20), (40, 40)])):
        with contextlib.suppress(MattingError):
            read()


@pytest.mark.parametrize("depth", [900, 990, 5000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(PromptError):
        read_editor('{"objects": [' + "[" * depth + "]" * depth + "]}", 10, 10)


# --- points --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['[{"x": 3, "y": 4}, {"x": 5.5, "y": 6}]', "[[3, 4], [5.5, 6]]",
                                  '[[{"x": 3, "y": 4}, {"x": 5.5, "y": 6}]]', "[[[3, 4], [5.5, 6]]]"])
def test_points_of_other_packs_are_for_all_pictures(text: str) -> None:
    assert read_points(text, SIZES, "positive_coords") == [((3, 4), (5.5, 6))] * 2


def test_points_for_each_picture() -> None:
    three = [(9, 9)] * 3
    assert read_points('[[{"x": 1, "y": 2}], [], [[3, 4]]]', three, "p") == [((1, 2),), (), ((3, 4),)]
    assert read_points('{"x": 1, "y": 2}', [(9, 9)], "p") == [((1, 2),)]
    assert read_points("", SIZES, "p") == read_points(None, SIZES, "p") == read_points("[]", SIZES, "p") == [(), ()]
    with pytest.raises(PromptError, match="2 pictures, and there are 3"):
        read_points("[[[1, 2]], [[3, 4]]]", three, "p")


def test_points_in_shares_of_the_picture() -> None:
    """As KJNodes' editor writes them when it is told to; whole numbers are pixels."""
    assert read_points('[{"x": 0.25, "y": 0.5}, {"x": 1, "y": 0}]', [(100, 200), (40, 80)], "p") == \
        [((25, 100), (99, 0)), ((10, 40), (39, 0))]
    assert read_points('[{"x": 1, "y": 0}]', SIZES, "p") == [((1, 0),)] * 2


@pytest.mark.parametrize("text", ["3", '["a"]', '[{"x": 1}]', "[[1, 2, 3]]", '[{"x": "1", "y": 2}]', "[1, 2]"])
def test_other_points_are_refused(text: str) -> None:
    with pytest.raises(PromptError, match="positive_coords"):
        read_points(text, SIZES, "positive_coords")


# --- boxes ---------------------------------------------------------------------------------------------------------

ONE = (10.0, 20.0, 40.0, 60.0)
TWO = (0.0, 0.0, 5.0, 5.0)


def boxes(value: object, sizes: list[tuple[int, int]] = SIZES, form: str = "auto") -> list[tuple]:
    read = read_boxes(value, sizes, form)
    assert read is not None
    return [tuple(item.box for item in each) for each in read.objects]


@pytest.mark.parametrize("value", [
    {"x": 10, "y": 20, "width": 30, "height": 40, "score": 0.5, "label": "cat"},
    [{"x": 10, "y": 20, "width": 30, "height": 40}], [[{"x": 10, "y": 20, "width": 30, "height": 40}]],
    ONE, [ONE], [list(ONE)], [[list(ONE)]], np.array([ONE]), torch.tensor([ONE]), np.array([[ONE]]), [np.array(ONE)],
    [(*ONE, 0.9)], {"bboxes": [list(ONE)], "labels": ["cat"]}, ((200, 100), [segment(*ONE)]),
    [(0.1, 0.1, 0.4, 0.3)], [{"x": 0.1, "y": 0.1, "width": 0.3, "height": 0.2}],
])
def test_every_kind_of_box_is_read(value: object) -> None:
    assert boxes(value) == [(pytest.approx(ONE),), (pytest.approx(ONE),)]


def test_boxes_with_width_and_height() -> None:
    """As KJNodes' editor gives them by default: they are known where they cannot be corners, or by the switch."""
    assert boxes([(50, 20, 30, 40)]) == [((50, 20, 80, 60),)] * 2
    assert boxes([(50, 20, 30, 40), (10, 20, 30, 40)]) == [((50, 20, 80, 60), (10, 20, 40, 60))] * 2
    assert boxes([(10, 20, 30, 40)]) == [((10, 20, 30, 40),)] * 2
    assert boxes([(10, 20, 30, 40)], form="xywh") == [((10, 20, 40, 60),)] * 2
    assert boxes([(0.5, 0.1, 0.3, 0.2)]) == [(pytest.approx((50, 20, 80, 60)),)] * 2
    assert boxes([(50, 20, 30, 40)], form="xyxy") == [(), ()]
    assert boxes([(80, 20, 30, 40)]) == [(), ()]  # a reversed box is no box with a width that leaves the picture
    assert boxes([{"x": 10, "y": 20, "width": 30, "height": 40}], form="xyxy") == [((10, 20, 40, 60),)] * 2


def test_boxes_for_each_picture_and_none_found() -> None:
    assert boxes([[ONE, TWO], []]) == [(ONE, TWO), ()]
    assert boxes([ONE, TWO]) == [(ONE, TWO)] * 2
    assert read_boxes(None, SIZES) is None
    with pytest.raises(PromptError, match="3 pictures, and there are 2"):
        read_boxes([[ONE], [ONE], [TWO]], SIZES)


@pytest.mark.parametrize(("value", "says"), [
    ([], "empty list"), ([[], []], "empty list"), (((200, 100), []), "SEGS without segments"),
    ([(5, 5, 5, 9)], "5, 5, 5, 9 (read as corners; box_format"),
    ([{"x": 5, "y": 6, "width": 0, "height": 9}], "5, 6, 0, 9"),
    (((200, 100), [segment(4, 4, 4, 9)]), "4, 4, 4, 9"),
])
def test_what_leaves_no_box_says_what_was_read(value: object, says: str) -> None:
    read = read_boxes(value, SIZES)
    assert read is not None
    assert not any(read.objects)
    assert says in read.note
    assert read_boxes([ONE, (5, 5, 5, 9)], SIZES).note == ""


def test_segs_are_scaled_to_the_picture() -> None:
    assert boxes(((100, 50), [segment(10, 20, 40, 60)]), [(50, 100), (100, 200)]) == [(ONE,), ((20, 40, 80, 120),)]


def test_the_masks_of_segs_are_used() -> None:
    """Unless they are the boxes again, as detectors without masks write them."""
    mask = np.zeros((50, 40), np.float32)
    mask[11:41, 11:31] = 1  # in a crop that begins at 5, 15
    found = segment(10, 20, 40, 60)._replace(cropped_mask=mask, crop_region=(5, 15, 45, 65))
    read = read_boxes(((200, 100), [found]), [(100, 200), (50, 100)])
    for each, (width, height), scale in zip(read.objects, [(100, 200), (50, 100)], (1, 2), strict=True):
        [prompt] = prompts_of(Given((width, height), marked=each))
        expected = np.zeros((200, 100), bool)
        expected[26:56, 16:36] = True
        assert prompt.mask.shape == (height, width)
        assert abs(prompt.mask.sum() * scale * scale - expected.sum()) < 60
        assert (prompt.mask & expected[::scale, ::scale]).sum() > 0.9 * prompt.mask.sum()
    for other in (np.ones((50, 40)), np.zeros((50, 40)), np.zeros((0, 0)), None, torch.ones(1, 50, 40)):
        box = found._replace(cropped_mask=other)
        [[only]] = read_boxes(((200, 100), [box]), [(100, 200)]).objects
        assert only.shape is None


@pytest.mark.parametrize("value", [3, "box", [[1, 2, 3]], [{"x": 1}], [[1, 2, 3, "4"]], [ONE, "box"],
                                   [(1, 2, 3, 1e999)], ((9, 9), [segment()])])
def test_other_boxes_are_refused(value: object) -> None:
    with pytest.raises(PromptError, match="box"):
        read_boxes(value, [(100, 200)])


# --- objects -------------------------------------------------------------------------------------------------------

SIZE = (10, 10)
MASK = np.pad(np.ones((4, 6), bool), ((2, 4), (3, 1)))  # 10 × 10, bounds 3, 2, 9, 6


def shown(prompt: Prompt) -> tuple:
    return prompt.box, prompt.points, prompt.labels, prompt.mask is not None, prompt.text


def test_everything_alone() -> None:
    assert prompts_of(Given(SIZE)) == []
    assert [shown(p) for p in prompts_of(Given(SIZE, text="cat"))] == [(None, None, None, False, "cat")]
    assert [shown(p) for p in prompts_of(Given(SIZE, on=((1, 2),), off=((3, 4),)))] == \
        [(None, ((1, 2), (3, 4)), (1, 0), False, None)]
    assert [shown(p) for p in prompts_of(Given(SIZE, masks=(MASK,)))] == [((3, 2, 9, 6), None, None, False, None)]
    [prompt] = prompts_of(Given(SIZE, masks=(MASK,)), "shape")
    assert shown(prompt) == ((3, 2, 9, 6), None, None, True, None)
    assert [p.box for p in prompts_of(Given(SIZE, marked=(Marked(ONE), Marked(TWO))))] == [ONE, TWO]


def test_one_object_takes_everything() -> None:
    [prompt] = prompts_of(Given(SIZE, marked=(Marked(ONE),), on=((90, 90),), off=((1, 1),), masks=(MASK,), text="cat"))
    assert shown(prompt) == (ONE, ((90, 90), (1, 1)), (1, 0), True, "cat")
    [prompt] = prompts_of(Given(SIZE, marked=(Marked(on=((5, 5),)),), masks=(MASK,)))
    assert shown(prompt) == ((3, 2, 9, 6), ((5, 5),), (1,), False, None)


def test_points_go_to_the_box_that_holds_them() -> None:
    first, second, third = prompts_of(Given(SIZE, marked=(Marked(ONE), Marked(TWO)), on=((2, 2), (30, 30), (90, 90)),
                                            off=((3, 3),)))
    assert shown(first) == (ONE, ((30, 30),), (1,), False, None)
    assert shown(second) == (TWO, ((2, 2), (3, 3)), (1, 0), False, None)
    assert shown(third) == (None, ((90, 90), (3, 3)), (1, 0), False, None)


def test_several_masks_are_several_objects() -> None:
    assert [p.box for p in prompts_of(Given(SIZE, marked=(Marked(ONE),), masks=(MASK, MASK.T)))] == \
        [ONE, (3, 2, 9, 6), (2, 3, 6, 9)]
    assert all(p.text == "cat" for p in prompts_of(Given(SIZE, masks=(MASK, MASK.T), text="cat")))


# --- strokes, trimaps, and going on ---------------------------------------------------------------------------------

STROKES = json.dumps({"version": 2, "width": 20, "height": 20, "objects": [{"strokes": [
    {"points": [[4, 10], [16, 10]], "width": 4, "label": 1}, {"points": [[4, 2]], "width": 2, "label": 0},
    {"points": [[2, 12], [8, 12], [8, 18], [2, 18]], "width": 0, "label": 0}]}]})


def plane(*window: int, value: float = 1.0) -> np.ndarray:
    """10 × 10 with a value in rows and columns y0, y1, x0, x1."""
    result = np.zeros((10, 10), np.float32)
    result[window[0]:window[1], window[2]:window[3]] = value
    return result


def test_the_editors_strokes_and_areas_are_scaled_and_drawn() -> None:
    [marked] = read_editor(STROKES, 10, 10)
    assert marked.keep == (Area(((2, 5), (8, 5)), 2),)
    assert marked.drop == (Area(((2, 1),), 1), Area(((1, 6), (4, 6), (4, 9), (1, 9)), 0))
    [prompt] = prompts_of(Given(SIZE, marked=(marked,)))
    assert prompt.keep[5, 2:8].all()
    assert not prompt.keep[7:].any()
    assert prompt.drop[6:9, 1:4].all()
    assert not prompt.drop[:, 5:].any()
    assert prompt.drop[:5].sum() >= 1


@given(st.lists(st.tuples(st.floats(-50, 60), st.floats(-50, 60)), min_size=1, max_size=9), st.floats(0, 30))
def test_any_stroke_can_be_drawn(points: list, width: float) -> None:
    mask = area_mask([Area(tuple(points), width)], (12, 9))
    assert mask.shape == (9, 12)
    assert mask.dtype == bool


def test_strokes_go_to_the_object_whose_box_holds_them() -> None:
    keep, drop = plane(1, 2, 1, 9) > 0, plane(4, 5, 1, 9) > 0
    left, right = Marked((0, 0, 4, 10)), Marked((6, 0, 10, 10))
    first, second, third = prompts_of(Given(SIZE, marked=(left, right), keep=keep, drop=drop))
    assert [prompt.keep.sum() for prompt in (first, second, third)] == [3, 3, 2]
    assert all((prompt.drop == drop).all() for prompt in (first, second, third))
    [only] = prompts_of(Given(SIZE, marked=(left,), keep=keep))
    assert (only.keep == keep).all()
    [alone] = prompts_of(Given(SIZE, keep=keep))
    assert (alone.keep == keep).all()
    with pytest.raises(PromptError, match="drop"):
        prompts_of(Given(SIZE, drop=drop))


def test_a_trimap_is_an_object_or_belongs_to_the_only_one() -> None:
    trimap = plane(2, 8, 2, 8, value=0.5)
    trimap[4:6, 4:6] = 1
    [prompt] = prompts_of(Given(SIZE, trimaps=(trimap,)))
    assert set(np.unique(prompt.trimap)) == {0, 128, 255}
    [prompt] = prompts_of(Given(SIZE, marked=(Marked(ONE),), trimaps=(trimap,), text="cat"))
    assert (prompt.box, prompt.trimap is not None, prompt.text) == (ONE, True, "cat")
    first, second, third = prompts_of(Given(SIZE, marked=(Marked(ONE), Marked(TWO)), trimaps=(trimap,)))
    assert (first.trimap, second.trimap, third.box) == (None, None, None)


def test_clicks_correct_the_previous_matte() -> None:
    before = plane(2, 8, 2, 8, value=0.7)
    [prompt] = prompts_of(Given(SIZE, marked=(Marked(on=((5, 5),)), Marked(off=((1, 1),))), previous=(before,)))
    assert (prompt.points, prompt.labels, prompt.box) == (((5, 5), (1, 1)), (1, 0), None)
    np.testing.assert_array_equal(prompt.former, before)
    [prompt] = prompts_of(Given(SIZE, marked=(Marked((1, 1, 9, 9), on=((5, 5),)),), previous=(before,)))
    assert prompt.former is not None
    assert prompt.box == (1, 1, 9, 9)
    untouched, further = prompts_of(Given(SIZE, previous=(before,), text="cat"))
    assert (untouched.box, untouched.text, further.text) == ((2, 2, 8, 8), None, "cat")
    other, corrected = prompts_of(Given(SIZE, marked=(Marked((0, 0, 2, 2)), Marked(off=((5, 5),))), on=((7, 7),),
                                        previous=(before,)))
    assert (other.former, other.points) == (None, None)
    assert (corrected.points, corrected.labels) == (((7, 7), (5, 5)), (1, 0))


def test_several_previous_mattes_are_corrected_apart() -> None:
    left, right = plane(0, 10, 0, 4), plane(0, 10, 6, 10)
    first, second = prompts_of(Given(SIZE, marked=(Marked(off=((8, 5),)),), on=((1, 1),), previous=(left, right)))
    assert (first.points, first.labels) == (((1, 1),), (1,))
    assert (second.points, second.labels) == (((8, 5),), (0,))
