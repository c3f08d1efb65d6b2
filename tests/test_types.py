"""Prompts: forgiving in form, strict in meaning."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import PIL.Image
import pytest
import torch

from matting_anything_core import Prompt, PromptError, Stroke
from matting_anything_core.types import prompts_of


def test_four_numbers_are_a_box_in_every_form() -> None:
    wanted = (1.0, 2.0, 30.0, 40.0)
    for given in ((1, 2, 30, 40), [1, 2.0, 30, 40], np.array([1, 2, 30, 40]), torch.tensor([1, 2, 30, 40]),
                  {"box": (1, 2, 30, 40)}, np.array([1, 2, 30, 40], np.float16), Prompt(box=(1, 2, 30, 40))):
        prompts, single = prompts_of(given)
        assert single
        assert [prompt.box for prompt in prompts] == [wanted]


def test_other_forms_are_told_apart() -> None:
    assert prompts_of("the dog")[0][0].text == "the dog"
    mask = np.zeros((5, 7), bool)
    mask[2, 3] = True
    assert prompts_of(mask)[0][0].mask.shape == (5, 7)
    prompts, single = prompts_of([(0, 0, 1, 1), "the dog", {"points": [(1, 2)]}])
    assert not single
    assert [type(prompt) for prompt in prompts] == [Prompt] * 3
    prompts, single = prompts_of(np.array([[0, 0, 1, 1], [1, 1, 5, 5]]))
    assert not single
    assert prompts[1].box == (1, 1, 5, 5)
    assert prompts_of([Prompt(box=(0, 0, 1, 1))])[1] is False


def test_points_are_positive_unless_told() -> None:
    assert Prompt(points=[(1, 2), (3, 4)]).labels == (1, 1)
    assert Prompt(points=np.array([[1, 2], [3, 4]]), labels=np.array([1, 0])).labels == (1, 0)
    assert Prompt(box=(0, 0, 9, 9), points=[(1, 2)], labels=[0]).labels == (0,)


@pytest.mark.parametrize(("fields", "message"), [
    ({}, "empty"),
    ({"box": (10, 10, 5, 20)}, "reversed"),
    ({"box": (10, 10, 10, 20)}, "empty or its corners"),
    ({"box": (1, 2, 3)}, "3 values"),
    ({"box": (1, 2, float("nan"), 4)}, "finite"),
    ({"box": (1, 2, float("inf"), 4)}, "finite"),
    ({"box": (1, 2, "x", 4)}, "no number"),
    ({"box": "1,2,3,4"}, "sequence of numbers"),
    ({"box": 5}, "sequence of numbers"),
    ({"box": np.array(5)}, "sequence of numbers"),
    ({"labels": [1]}, "without points"),
    ({"points": []}, "at least one"),
    ({"points": [(1, 2)], "labels": [1, 0]}, "1 points but 2 labels"),
    ({"points": [(1, 2)], "labels": [2]}, "a label is 1"),
    ({"points": [(1, 2)], "labels": [0]}, "all points are negative"),
    ({"points": [(1, 2, 3)]}, "3 values"),
    ({"points": [5]}, "sequence of numbers"),
    ({"points": [(float("nan"), 1)]}, "finite"),
    ({"mask": np.zeros((4, 4))}, "empty"),
    ({"mask": np.zeros((0, 4), bool)}, "empty"),
    ({"mask": np.ones((2, 4, 4))}, "height x width"),
    ({"mask": np.full((4, 4), np.nan)}, "NaN"),
    ({"mask": np.array([["a"]])}, "bool"),
    ({"mask": [[1, 2], [3]]}, "array"),
    ({"text": "   "}, "words"),
    ({"text": 5}, "words"),
])
def test_what_means_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt(**fields)  # type: ignore[arg-type]


def test_nothing_said_is_the_subject() -> None:
    prompts, single = prompts_of(None)
    assert single
    assert [prompt.subject for prompt in prompts] == [True]


@pytest.mark.parametrize("value", [3, 3.5, [], object(), b"box", {"bax": (1, 2, 3, 4)}, [None]])
def test_other_things_are_no_prompts(value: object) -> None:
    with pytest.raises(PromptError):
        prompts_of(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int64, np.float32])
def test_masks_of_every_type_mean_the_same(dtype: type) -> None:
    top = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    mask = np.zeros((3, 4), dtype)
    mask[1, 1:3] = top
    expected = np.zeros((3, 4), bool)
    expected[1, 1:3] = True
    for given in (mask, mask[None], mask[..., None]):
        np.testing.assert_array_equal(Prompt(mask=given).mask, expected)


def test_a_prompt_owns_its_mask_and_is_frozen() -> None:
    mask = np.ones((3, 3), bool)
    prompt = Prompt(mask=mask)
    mask[:] = False
    assert prompt.mask.all()
    with pytest.raises(ValueError, match="read-only"):
        prompt.mask[0, 0] = False
    with pytest.raises(dataclasses.FrozenInstanceError):
        prompt.box = (0, 0, 1, 1)  # type: ignore[misc]


def _every_field(mask: np.ndarray) -> dict[str, object]:
    return {"box": (1, 2, 30, 40), "points": [(3, 4), (5, 6)], "labels": [1, 0], "text": "dog", "mask": mask,
            "trimap": mask.astype(np.float32), "keep": [Stroke([(1, 2), (3, 4)], 5)], "drop": mask,
            "previous": mask.astype(np.float32)}


def test_prompts_are_equal_when_they_say_the_same() -> None:
    mask = np.zeros((48, 40), bool)
    mask[10:20, 10:30] = True
    fields = _every_field(mask)
    one, other = Prompt(**fields), Prompt(**_every_field(mask.copy()))  # type: ignore[arg-type]
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1
    assert Prompt(box=[1, 2, 3, 4]) == Prompt(box=np.array([1.0, 2, 3, 4]))  # type: ignore[arg-type]
    assert Prompt(box=(1, 2, 3, 4)) != (1, 2, 3, 4)
    changed = np.roll(mask, 1, 0)
    different = {"box": (1, 2, 30, 41), "points": [(3, 4), (5, 7)], "labels": [1, 1], "text": "cat", "mask": changed,
                 "trimap": changed, "keep": [Stroke([(1, 2), (3, 4)], 6)], "drop": changed, "previous": changed}
    for name, value in different.items():
        assert Prompt(**{**fields, name: value}) != one, name  # type: ignore[arg-type]
        if name not in ("points", "labels"):
            assert Prompt(**{key: given for key, given in fields.items() if key != name}) != one  # type: ignore[arg-type]
    assert Prompt(subject=True) == Prompt(subject=np.bool_(True))  # type: ignore[arg-type]
    assert Prompt(keep=mask) != Prompt(keep=[Stroke([(1, 2)], 1)])
    assert Prompt(mask=mask) != Prompt(mask=np.ones((40, 48), bool))


def _shown(prompt: Prompt) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(prompt._repr_png_())).convert("RGB")).astype(int)


def test_a_notebook_shows_the_marks_of_a_prompt() -> None:
    mask = np.zeros((48, 40), bool)
    mask[10:20, 10:30] = True
    everything = _shown(Prompt(**_every_field(mask)))  # type: ignore[arg-type]
    assert everything.shape == (400, round(400 * 40 / 48), 3)
    clicks = _shown(Prompt(points=[(20, 100), (180, 100)], labels=[1, 0]))
    scale = 400 / (1.05 * 180)
    left, right = clicks[round(100 * scale), round(20 * scale)], clicks[round(100 * scale), round(180 * scale)]
    assert left[1] > left[0] + 50  # green
    assert right[0] > right[1] + 50  # red
    box = _shown(Prompt(box=(10, 10, 200, 100)))
    assert (np.abs(box - box[0, 0]).sum(2) > 60).any(0).sum() > 300
    for prompt in (Prompt(subject=True), Prompt(text="the dog on the left"), Prompt(text="犬"),
                   Prompt(box=(0, 0, 1e9, 1)), Prompt(box=(-5, -5, -1, -1)), Prompt(points=[(-1e9, 5)]),
                   Prompt(keep=[Stroke([(0, 0)], 1)]), Prompt(mask=np.ones((1, 9000), bool))):
        assert max(_shown(prompt).shape) == 400
