"""Prompts on an image: what is used of them, where they lie in a part of it, and as what the decoder takes them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from matting_anything_core import Image, MissingExtraError, Prompt, PromptError, Stroke
from matting_anything_core.geometry import Fit, Window
from matting_anything_core.pipeline.prompting import (
    DecoderPrompt,
    as_mask,
    checked,
    clip_to_box,
    decoder_prompt,
    groups,
    hull,
    mask_logits,
    united,
)


def marked(rows: slice, columns: slice, height: int = 60, width: int = 80) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    return mask


@pytest.mark.parametrize("name", ["mask", "trimap", "keep", "drop", "previous"])
def test_arrays_of_another_size_are_refused_by_name(name: str) -> None:
    array = marked(slice(5, 9), slice(5, 9), 30, 40).astype(np.float32)
    array = array.astype(bool) if name in ("keep", "drop", "mask") else array
    prompt = Prompt(points=[(6, 6)], **{name: array})
    with pytest.raises(PromptError, match=f"the {name} is 40 x 30 pixels, the image 80 x 60"):
        checked(prompt, 60, 80)
    for height, width in ((30, 80), (60, 40)):  # one side alone is enough
        with pytest.raises(PromptError, match=f"the {name} is 40 x 30 pixels"):
            checked(prompt, height, width)
    assert checked(prompt, 30, 40).points == ((6, 6),)


def test_what_a_prompt_says_of_its_box_is_used() -> None:
    assert checked(Prompt(box=(-5, 10, 40, 90)), 60, 80).box == (0, 10, 40, 60)
    assert checked(Prompt(mask=marked(slice(3, 30), slice(10, 50))), 60, 80).box == (10, 3, 50, 30)
    trimap = np.zeros((60, 80), np.uint8)
    trimap[20:30, 40:60], trimap[22:28, 45:50] = 128, 255
    assert checked(Prompt(trimap=trimap), 60, 80).box == (40, 20, 60, 30)
    both = Prompt(box=(1, 2, 70, 50), mask=marked(slice(3, 30), slice(10, 50)))
    assert checked(both, 60, 80).box == (1, 2, 70, 50)
    points = Prompt(points=[(5, 5)])
    assert checked(points, 60, 80) is points


def test_what_cannot_be_on_the_image_is_refused() -> None:
    with pytest.raises(PromptError, match="outside"):
        checked(Prompt(points=[(5, 5), (81, 5)]), 60, 80)
    with pytest.raises(PromptError, match="outside"):
        checked(Prompt(box=(80, 5, 90, 9)), 60, 80)
    with pytest.raises(MissingExtraError, match="the dog"):
        checked(Prompt(text="the dog"), 60, 80)


def test_a_box_with_next_to_nothing_in_it_warns_and_others_do_not() -> None:
    with pytest.warns(UserWarning, match="next to nothing"):
        checked(Prompt(box=(10, 10, 11, 40)), 60, 80)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked(Prompt(box=(10, 10, 40, 40)), 60, 80)
        checked(Prompt(mask=marked(slice(3, 4), slice(10, 11))), 60, 80)  # a box that nobody typed


def test_a_cut_out_is_a_mask_through_its_alpha_and_others_through_their_brightness() -> None:
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:, 3:] = (90, 120, 150)
    alpha = np.zeros((4, 6), np.uint8)
    alpha[1:3] = 200
    assert as_mask(Image(rgb, alpha)) is not None
    np.testing.assert_array_equal(as_mask(Image(rgb, alpha)), alpha)
    brightness = np.where(np.arange(6) >= 3, 120, 0) * np.ones((4, 1))
    np.testing.assert_array_equal(as_mask(Image(rgb)), brightness)
    np.testing.assert_array_equal(as_mask(Image(rgb, np.full((4, 6), 255, np.uint8))), brightness)


def test_what_several_prompts_ask_for_together() -> None:
    together = united([Prompt(box=(10, 30, 20, 40)), Prompt(points=[(70, 5)], labels=[1]),
                       Prompt(box=(15, 5, 60, 35), points=[(16, 6), (1, 1)], labels=[1, 0])])
    assert together.box == (10, 5, 60, 40)
    assert together.points == ((70, 5), (16, 6), (1, 1))
    assert together.labels == (1, 1, 0)
    assert united([Prompt(points=[(7, 5)]), Prompt(points=[(8, 5)])]).box is None
    assert united([Prompt(box=(1, 2, 3, 4)), Prompt(box=(2, 3, 4, 5))]).points is None


PART = Window(10, 20, 50, 70)


def test_points_on_the_edge_of_a_part_belong_to_it() -> None:
    points = [(20, 10), (70, 50), (19.5, 20), (70.5, 20), (30, 9.5), (30, 50.5)]
    told = decoder_prompt(Prompt(points=points), PART)
    assert told.points == ((0, 0), (50, 40))
    assert told.labels == (1, 1)


def test_a_part_that_a_prompt_says_nothing_of_is_looked_at_as_a_whole() -> None:
    assert decoder_prompt(Prompt(points=[(5, 5)]), PART) == DecoderPrompt((0, 0, 50, 40))


def test_a_rough_mask_is_told_only_where_that_is_asked_for_and_an_earlier_matte_always() -> None:
    mask = marked(slice(12, 30), slice(25, 60))
    prompt = checked(Prompt(mask=mask), 60, 80)
    assert decoder_prompt(prompt, PART).mask is None
    told = decoder_prompt(prompt, PART, with_mask=True)
    assert told.box == (5, 2, 40, 20)
    np.testing.assert_array_equal(told.mask, mask[10:50, 20:70])
    former = decoder_prompt(Prompt(previous=mask.astype(np.float32), points=[(30, 20)]), PART)
    np.testing.assert_array_equal(former.mask, mask[10:50, 20:70])
    # What is empty in this part is no mask.
    elsewhere = Prompt(previous=marked(slice(0, 5), slice(0, 5)).astype(np.float32), points=[(30, 20)])
    assert decoder_prompt(elsewhere, PART).mask is None


def test_strokes_become_points_on_them() -> None:
    told = decoder_prompt(Prompt(keep=[Stroke([(30, 30), (40, 30)], 5)], drop=[Stroke([(60, 40)], 3)]), PART)
    kept, dropped = ([point for point, label in zip(told.points, told.labels, strict=True) if label == which]
                     for which in (1, 0))
    assert 1 <= len(kept) <= 3
    assert all(7.5 <= x <= 22.5 and abs(y - 20) <= 2.5 for x, y in kept)
    assert dropped
    assert all(abs(x - 40) <= 2 and abs(y - 30) <= 2 for x, y in dropped)


def test_prompts_with_the_same_parts_are_decoded_together() -> None:
    box, mask = (0.0, 0.0, 5.0, 5.0), np.ones((2, 2), bool)
    prompts = [DecoderPrompt(box), DecoderPrompt(None, ((1, 1),), (1,)), DecoderPrompt(box),
               DecoderPrompt(box, mask=mask), DecoderPrompt(None, ((1, 1), (2, 2)), (1, 0)),
               DecoderPrompt(box, ((1, 1),), (1,)), DecoderPrompt(None, ((3, 3),), (0,))]
    assert groups(prompts) == [[0, 2], [1, 6], [3], [4], [5]]


def test_a_mask_as_logits() -> None:
    fit = Fit(30, 60, 64)
    shares = np.zeros((30, 60), np.float32)
    shares[:, 30:], shares[:, 45:] = 0.5, 1
    logits = mask_logits(shares, fit)
    assert logits.shape == (1, 16, 16)
    assert fit.at(16).scaled == (8, 16)
    assert (logits[0, :8, :7] == -10).all()
    assert (logits[0, :8, 13:] == 10).all()
    assert logits[0, :8, 9:11].abs().max() < 0.05
    assert (logits[0, 8:] == -10).all()  # what is padded is not the object


def test_the_extent_of_strokes_and_masks() -> None:
    line = Prompt(box=(10, 10, 20, 20), keep=[Stroke([(30, 12), (40, 18)], 4)])
    assert hull(line) == (10, 10, 42, 20)
    low = Prompt(box=(10, 10, 20, 20), keep=[Stroke([(5, 40)], 6)])
    assert hull(low) == (2, 10, 20, 43)
    assert hull(Prompt(box=(10, 10, 20, 20), keep=marked(slice(5, 9), slice(40, 41)))) == (10, 5, 41, 20)
    assert hull(Prompt(keep=[Stroke([(5, 40)], 6)])) is None
    # An earlier matte counts where there is no box, above one half.
    former = np.where(marked(slice(20, 30), slice(40, 50)), 0.51, 0.5).astype(np.float32)
    assert hull(Prompt(previous=former, points=[(45, 25)])) == (40, 20, 50, 30)
    assert hull(Prompt(box=(0, 0, 5, 5), previous=former, points=[(1, 1)])) == (0, 0, 5, 5)


def test_a_point_in_the_margin_does_not_open_the_box() -> None:
    fit, logits = Fit(200, 400, 64), torch.full((1, 16, 16), 3.0)
    box = (100, 50, 200, 150)
    for point in ((90, 100), (210, 100), (150, 40), (150, 160)):
        assert clip_to_box(logits, DecoderPrompt(box, (point,), (1,)), fit) is not logits
    for point in ((89, 100), (211, 100), (150, 39), (150, 161)):
        assert clip_to_box(logits, DecoderPrompt(box, (point,), (1,)), fit) is logits
        assert clip_to_box(logits, DecoderPrompt(box, (point,), (0,)), fit) is not logits


def test_what_lies_outside_of_the_box_is_surely_not_the_object_and_what_is_surer_stays() -> None:
    fit, logits = Fit(200, 400, 64), torch.full((1, 16, 16), 3.0)
    logits[0, 15, 15] = -20
    clipped = clip_to_box(logits, DecoderPrompt((100, 50, 200, 150)), fit)
    assert clipped[0, 0, 0] == -10
    assert clipped[0, 15, 15] == -20
    assert clipped[0, 4, 6] == 3
    # A box at the border has its margin outside of the image.
    border = clip_to_box(torch.full((1, 16, 16), 3.0), DecoderPrompt((0, 0, 100, 50)), fit)
    assert (border[0] > 0).nonzero().amin(0).tolist() == [0, 0]
    assert (border[0] > 0).nonzero().amax(0).tolist() == [2, 4]
