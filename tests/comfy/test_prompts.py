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

from comfy_nodes.prompts import Given, Marked, prompts_of, read_boxes, read_editor, read_points
from matting_anything_core import MattingError, Prompt, PromptError

SEG = namedtuple("SEG", "cropped_image cropped_mask confidence crop_region bbox label control_net_wrapper")
coordinate = st.floats(0, 4000, allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(
        st.sampled_from(["version", "width", "height", "objects", "box", "points", "x", "y", "bboxes", "?"]), inner,
        max_size=5), max_leaves=25)


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
    ('{"version": 2, "objects": []}', "version 2"), ('{"version": "1"}', "version 1 of its format"),
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
    for read in (lambda: read_editor(text, 30, 20), lambda: read_points(text, 2, "points"),
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
    assert read_points(text, 3, "positive_coords") == [((3, 4), (5.5, 6))] * 3


def test_points_for_each_picture() -> None:
    assert read_points('[[{"x": 1, "y": 2}], [], [[3, 4]]]', 3, "p") == [((1, 2),), (), ((3, 4),)]
    assert read_points('{"x": 1, "y": 2}', 1, "p") == [((1, 2),)]
    assert read_points("", 2, "p") == read_points(None, 2, "p") == read_points("[]", 2, "p") == [(), ()]
    with pytest.raises(PromptError, match="2 pictures, and there are 3"):
        read_points("[[[1, 2]], [[3, 4]]]", 3, "p")


@pytest.mark.parametrize("text", ["3", '["a"]', '[{"x": 1}]', "[[1, 2, 3]]", '[{"x": "1", "y": 2}]', "[1, 2]"])
def test_other_points_are_refused(text: str) -> None:
    with pytest.raises(PromptError, match="positive_coords"):
        read_points(text, 1, "positive_coords")


# --- boxes ---------------------------------------------------------------------------------------------------------

ONE = (10.0, 20.0, 40.0, 60.0)
TWO = (0.0, 0.0, 5.0, 5.0)


@pytest.mark.parametrize("value", [
    {"x": 10, "y": 20, "width": 30, "height": 40, "score": 0.5, "label": "cat"},
    [{"x": 10, "y": 20, "width": 30, "height": 40}], [[{"x": 10, "y": 20, "width": 30, "height": 40}]],
    ONE, [ONE], [list(ONE)], [[list(ONE)]], np.array([ONE]), torch.tensor([ONE]), np.array([[ONE]]), [np.array(ONE)],
    [(*ONE, 0.9)], {"bboxes": [list(ONE)], "labels": ["cat"]}, ((200, 100), [segment(*ONE)]),
])
def test_every_kind_of_box_is_read(value: object) -> None:
    assert read_boxes(value, [(100, 200)] * 2) == [(ONE,), (ONE,)]


def test_boxes_for_each_picture_and_none_found() -> None:
    sizes = [(100, 200)] * 2
    assert read_boxes([[ONE, TWO], []], sizes) == [(ONE, TWO), ()]
    assert read_boxes([ONE, TWO], sizes) == [(ONE, TWO)] * 2
    assert read_boxes([], sizes) == read_boxes(((200, 100), []), sizes) == [(), ()]
    assert read_boxes(None, sizes) is None
    assert read_boxes([(5, 5, 5, 9)], sizes) == [(), ()]
    with pytest.raises(PromptError, match="3 pictures, and there are 2"):
        read_boxes([[ONE], [ONE], [TWO]], sizes)


def test_segs_are_scaled_to_the_picture() -> None:
    assert read_boxes(((100, 50), [segment(10, 20, 40, 60)]), [(50, 100), (100, 200)]) == [(ONE,), ((20, 40, 80, 120),)]


@pytest.mark.parametrize("value", [3, "box", [[1, 2, 3]], [{"x": 1}], [[1, 2, 3, "4"]], [ONE, "box"],
                                   [(1, 2, 3, 1e999)], ((9, 9), [segment()])])
def test_other_boxes_are_refused(value: object) -> None:
    with pytest.raises(PromptError, match="box"):
        read_boxes(value, [(100, 200)])


# --- objects -------------------------------------------------------------------------------------------------------

MASK = np.pad(np.ones((4, 6), bool), ((2, 4), (3, 1)))  # 10 × 10, bounds 3, 2, 9, 6


def shown(prompt: Prompt) -> tuple:
    return prompt.box, prompt.points, prompt.labels, prompt.mask is not None, prompt.text


def test_everything_alone() -> None:
    assert prompts_of(Given()) == []
    assert [shown(p) for p in prompts_of(Given(text="cat"))] == [(None, None, None, False, "cat")]
    assert [shown(p) for p in prompts_of(Given(on=((1, 2),), off=((3, 4),)))] == \
        [(None, ((1, 2), (3, 4)), (1, 0), False, None)]
    assert [shown(p) for p in prompts_of(Given(masks=(MASK,)))] == [((3, 2, 9, 6), None, None, False, None)]
    assert [shown(p) for p in prompts_of(Given(masks=(MASK,)), "shape")] == [((3, 2, 9, 6), None, None, True, None)]
    assert [p.box for p in prompts_of(Given(marked=(Marked(ONE), Marked(TWO))))] == [ONE, TWO]


def test_one_object_takes_everything() -> None:
    [prompt] = prompts_of(Given(marked=(Marked(ONE),), on=((90, 90),), off=((1, 1),), masks=(MASK,), text="cat"))
    assert shown(prompt) == (ONE, ((90, 90), (1, 1)), (1, 0), True, "cat")
    [prompt] = prompts_of(Given(marked=(Marked(on=((5, 5),)),), masks=(MASK,)))
    assert shown(prompt) == ((3, 2, 9, 6), ((5, 5),), (1,), False, None)


def test_points_go_to_the_box_that_holds_them() -> None:
    first, second, third = prompts_of(Given(marked=(Marked(ONE), Marked(TWO)), on=((2, 2), (30, 30), (90, 90)),
                                            off=((3, 3),)))
    assert shown(first) == (ONE, ((30, 30),), (1,), False, None)
    assert shown(second) == (TWO, ((2, 2), (3, 3)), (1, 0), False, None)
    assert shown(third) == (None, ((90, 90), (3, 3)), (1, 0), False, None)


def test_several_masks_are_several_objects() -> None:
    assert [p.box for p in prompts_of(Given(marked=(Marked(ONE),), masks=(MASK, MASK.T)))] == \
        [ONE, (3, 2, 9, 6), (2, 3, 6, 9)]
    assert all(p.text == "cat" for p in prompts_of(Given(masks=(MASK, MASK.T), text="cat")))
