"""Boxes as detectors, tools and people give them: read where one reading is certain, refused with the readings else."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import picture, tiny_model

from matting_anything_core import Prompt, PromptError, matte
from matting_anything_core.boxes import boxes_of, concern, corners, in_pixels, read_box, read_point, share_forms
from matting_anything_core.types import prompts_of

BOX = (200.0, 90.0, 510.0, 390.0)
ROWS = {  # the box in every layout that detectors are known to give
    "box": [*BOX], "box, score": [*BOX, 0.9], "index, box": [3, *BOX[:3], 390.5],
    "box, track": [*BOX, 7], "box, score, class": [*BOX, 0.9, 17],
    "class, score, box": [17, 0.9, *BOX], "box, track, score, class": [*BOX, 12, 0.9, 0],
    "index, box, class, score": [0, *BOX, 16, 0.25],
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("count", [1, 3])
def test_rows_of_detectors_in_every_layout(row: list[float], count: int) -> None:
    array = np.array([row] * count, np.float64)
    expected = (*BOX[:3], 390.5) if row[0] == 3 else BOX
    for value in (array, array.astype(np.float32), torch.tensor(array), torch.tensor(array, dtype=torch.bfloat16)[:0],
                  array[None], {"boxes": array, "labels": [1]}, SimpleNamespace(xyxy=array),
                  SimpleNamespace(boxes=SimpleNamespace(xyxy=array)), array.tolist(), [np.array(row)] * count):
        if getattr(value, "shape", (1,))[0] == 0:
            with pytest.raises(PromptError, match="holds boxes, but none"):
                prompts_of(value)
            continue
        prompts, single = prompts_of(value)
        assert not single
        assert [prompt.box for prompt in prompts] == [expected] * count
    assert prompts_of(np.array(row))[1]
    assert prompts_of(row)[0][0].box == expected


class Table:
    """What is used of a table of pandas."""

    def __init__(self, rows: list[list[object]]) -> None:
        self._rows, self.shape = rows, (len(rows), len(rows[0]))

    def to_numpy(self) -> np.ndarray:
        return np.array(self._rows, object)


def test_tables_and_results_of_other_detectors() -> None:
    rows = [[*BOX, 0.9, 16, "dog"], [*BOX, 0.4, 0, "person"]]  # YOLOv5's results.pandas().xyxy[0]
    boxes = np.array([BOX, BOX], np.float32)
    for value in (Table(rows), np.array(rows, object), np.array([list(BOX)] * 2, object),
                  SimpleNamespace(pred_boxes=SimpleNamespace(tensor=torch.tensor(boxes))),
                  SimpleNamespace(pred_instances=SimpleNamespace(bboxes=boxes, masks=None))):
        prompts, single = prompts_of(value)  # type: ignore[arg-type]
        assert not single
        assert [prompt.box for prompt in prompts] == [BOX] * 2
    for wrong in (np.array([["a"] * 4], object), Table([["dog", "a", "b", "c", 1.0]])):
        with pytest.raises(PromptError):
            prompts_of(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int64, np.float16])
def test_four_columns_of_any_number_are_boxes(dtype: type) -> None:
    array = np.array([[2, 9, 51, 39], [0, 0, 1, 1]], dtype)
    assert boxes_of(array) == [(2, 9, 51, 39), (0, 0, 1, 1)]


def test_masks_stay_masks() -> None:
    for width in range(2, 10):
        for dtype, top in ((bool, 1), (np.uint8, 255), (np.uint8, 1), (np.uint16, 65535), (np.float32, 1)):
            if width == 4 and dtype is np.float32:
                continue  # boxes, as ever
            mask = np.zeros((12, width), dtype)
            mask[3:7, 1:3] = top
            assert boxes_of(mask) is None
            assert prompts_of(mask)[0][0].mask is not None
    assert boxes_of(torch.ones((5, 4), dtype=torch.bool)) is None
    for other in (None, 5, "words", b"1234", [1, 2, 3, 4], {"box": [1, 2, 3, 4]}, np.zeros((3, 4, 4)), object(),
                  np.array([["a"] * 4]), SimpleNamespace(boxes=None), np.zeros(4)):
        assert boxes_of(other) is None


@pytest.mark.parametrize(("value", "words"), [
    (np.zeros((0, 4), np.float32), "holds boxes, but none"), (np.zeros((0, 6)), "0 x 6"),
    (np.array([[1, 2, 3, 4], [9, 9, 5, 20]]), "row 1 cannot be.*reversed"),
    (np.array([[9, 9, 5, 200]], np.uint8), "if it is a mask, give it as bool"),
    (np.array([[0, 10, 20, 110, 220]]), "may be"),  # an index or a track: both readings fit
    (np.array([[*BOX, 55.5, 66.5]]), "neither.*array\\[:, :4\\]"),
    (np.array([[.1, .2, .5, .9]]), "lies within one pixel.*shares"),
    (np.array([[0, .5, .5, .2, .3, 7]]), "6 values"), (np.array([[2, .5, .5, .2, .3]]), "YOLO"),
    (np.array([[np.nan, 0, 5, 5]]), "finite"),
    ([np.array([[1, 2, 3, 4], [2, 3, 4, 5]])], "2 boxes were given where one belongs"),
])
def test_what_is_not_certain_is_asked(value: Any, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        prompts_of(value)


@pytest.mark.parametrize(("box", "words"), [
    ((.1, .05, .9, 1), "shares of width and height"), ((.5, .5, .2, .3), "YOLO's centre form"),
    ((.5, .5, .6, .7), "shares of width and height or shares in YOLO's centre form"),
    ((200, 90, 50, 60), r"if it is left, top, width, height, give \(200, 90, 250, 150\)"),
])
def test_one_box_in_other_units(box: tuple[float, ...], words: str) -> None:
    with pytest.raises(PromptError, match=words):
        Prompt(box=box)  # type: ignore[arg-type]


def test_shares_become_pixels() -> None:
    assert in_pixels((.1, .25, .5, 1), 200, 80) == (20, 20, 100, 80)
    assert in_pixels((.5, .5, .2, .5), 200, 80, "centre") == pytest.approx((80, 20, 120, 60))
    assert in_pixels((.5, .5, .2, .5), 200, 80, "size") == pytest.approx((100, 40, 140, 80))
    for bad in ((.5, .5, .2, .5), (1, 2, 3), (.1, .1, float("nan"), .2)):
        with pytest.raises(PromptError):
            in_pixels(bad, 9, 9)
    with pytest.raises(PromptError, match="form"):
        in_pixels((0, 0, 1, 1), 9, 9, "middle")  # type: ignore[arg-type]


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_form_of_shares_is_never_guessed_wrongly(x: float, y: float, width: float, height: float) -> None:
    """Whatever centre box lies in the image: it is not taken for corners without asking."""
    width, height = min(width, 2 * x, 2 - 2 * x), min(height, 2 * y, 2 - 2 * y)
    assert "centre" in share_forms((x, y, width, height))
    with pytest.raises(PromptError):
        read_box(f"{x:.9f},{y:.9f},{width:.9f},{height:.9f}")


@given(st.one_of(st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=3)), max_size=9),
                 st.text(max_size=30)))
def test_anything_is_a_box_or_a_prompt_error(value: Any) -> None:
    try:
        found = corners(value) if isinstance(value, list) else read_box(value).on(100, 80)
    except PromptError:
        return
    assert len(found) == 4
    assert found[0] < found[2]
    assert found[1] < found[3]


@given(st.integers(0, 5), st.integers(1, 9), st.sampled_from(
    [np.bool_, np.uint8, np.int32, np.uint16, np.float32, np.float64]), st.randoms(use_true_random=False))
def test_any_array_is_read_or_refused(rows: int, columns: int, dtype: type, random: Any) -> None:
    array = np.array([[random.choice([0, 1, .5, 3, 200, 255]) for _ in range(columns)] for _ in range(rows)],
                     dtype).reshape(rows, columns)
    try:
        prompts, _ = prompts_of(array)
    except PromptError:
        return
    assert all((prompt.box is None) != (prompt.mask is None) for prompt in prompts)


def test_boxes_as_typed() -> None:
    assert read_box("120,40,560,700").on(9, 9) == (120, 40, 560, 700)
    assert read_box(" -10 80; 520,400 ").on(9, 9) == (-10, 80, 520, 400)
    assert read_box("10%,5%,90%,100%").on(200, 100) == pytest.approx((20, 5, 180, 100))
    assert read_box("-2%,-1%,50%,101%").on(100, 100) == pytest.approx((-2, -1, 50, 101))
    guessed = read_box("0.1,0.05,0.9,1")
    assert guessed.guessed
    assert guessed.on(200, 100) == pytest.approx((20, 5, 180, 100))
    with pytest.raises(PromptError, match=r"say 40%,35%,60%,65% \(as centre and size\), 50%,50%,70%,80% \(as left"):
        read_box("0.5,0.5,0.2,0.3")
    for bad in ("", "1,2,3", "1,2,3,x", "1,2,3,nan", "10%,0,90%,100%", "0%,0%,190%,100%", "90%,0%,10%,100%", "%,%,%,%",
                "110%,0%,120%,9%"):
        with pytest.raises(PromptError, match="was given as"):
            read_box(bad)


def test_points_as_typed() -> None:
    assert read_point("300,200").on(9, 9) == (300, 200)
    point = read_point("50%,25%,0")
    assert (point.label, point.on(200, 80)) == (0, (100, 20))
    assert read_point("0.5,0.25").on(200, 80) == (100, 20)
    assert not read_point("1,0").shares  # whole numbers are pixels
    for bad in ("5", "1,2,3,4", "50%,3", "x,y", "1,2,0%"):
        with pytest.raises(PromptError, match="the point was given as"):
            read_point(bad)


def test_a_near_empty_box_warns_in_python() -> None:
    image = picture(60, 80)
    for box in ((3, 3, 4, 4), (3, 3, 60, 4), (-50, -50, 1, 40)):
        with pytest.warns(UserWarning, match="next to nothing in it"):
            matte(image, box, model=tiny_model())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matte(image, (3, 3, 20, 20), model=tiny_model())
        matte(image[:2, :3], (0, 0, 3, 2), model=tiny_model())  # all of a small image is no slip
    assert concern(None, 9, 9) is None
    assert concern((20, 20, 30, 30), 10, 10) is None  # an error, not a warning
