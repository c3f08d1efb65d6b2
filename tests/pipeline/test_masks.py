"""Logits over a view and the pixels they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from matting_anything_core.geometry import Fit, Window
from matting_anything_core.pipeline.masks import MaskLogits, at_input_size, united_masks, upsample_mask


def whole(logits: torch.Tensor, fit: Fit) -> np.ndarray:
    """The mask in all of the pixels, as SAM makes it: nothing is left out."""
    square = F.interpolate(logits[None], (fit.square, fit.square), mode="bilinear", align_corners=False)
    cut = square[..., : fit.scaled[0], : fit.scaled[1]]
    return (F.interpolate(cut, (fit.height, fit.width), mode="bilinear", align_corners=False)[0, 0] > 0).numpy()


def spots(seed: int, side: int, density: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, side, side, generator=generator)
    return torch.where(torch.rand(1, side, side, generator=generator) < density, logits.abs() * 5, -logits.abs())


@pytest.mark.parametrize("fit", [Fit(40, 70, 32), Fit(90, 30, 32), Fit(9, 11, 32), Fit(200, 3, 32)])
@pytest.mark.parametrize("density", [0.003, 0.05, 0.9])
def test_only_what_can_be_positive_is_enlarged_and_nothing_is_lost(fit: Fit, density: float) -> None:
    for seed in range(6):
        logits = spots(seed, 8, density)
        expected = whole(logits, fit)
        inside, box = upsample_mask(logits, fit)
        pasted = np.zeros_like(expected)
        pasted[box.slices()] = inside.numpy()
        np.testing.assert_array_equal(pasted, expected)
        if expected.any():  # the bounds are tight
            assert inside.any(0)[[0, -1]].all()
            assert inside.any(1)[[0, -1]].all()
        else:
            assert (box, inside.shape) == (Window(0, 0, 0, 0), (0, 0))


@pytest.mark.parametrize("where", [None, Window(2, 3, 30, 21), Window(0, 0, 0, 5)])
@pytest.mark.parametrize("density", [0.0, 0.05])
def test_without_looking_for_bounds_it_is_the_same_mask(density: float, where: Window | None) -> None:
    fit, logits = Fit(40, 30, 32), spots(3, 8, density)
    inside, window = upsample_mask(logits, fit, where, tight=False)
    asked = Window(0, 0, 40, 30) if where is None else where
    assert window.empty if asked.empty else window == asked
    np.testing.assert_array_equal(inside.numpy(), whole(logits, fit)[window.slices()])


def test_a_mask_in_a_window_is_that_part_of_it() -> None:
    fit, logits, window = Fit(40, 70, 32), torch.ones(1, 8, 8), Window(5, 10, 20, 33)
    inside, box = upsample_mask(logits, fit, window)
    assert box == window
    assert inside.all()
    assert upsample_mask(logits, fit, Window(5, 10, 5, 33))[1].empty


def test_logits_of_the_inputs_size_stay_and_others_are_enlarged() -> None:
    fit = Fit(40, 70, 32)
    given = torch.randn(1, 32, 32)
    assert at_input_size(given, fit) is given
    small = torch.tensor([[[0.0, 4.0], [0.0, 4.0]]])
    large = at_input_size(small, Fit(4, 4, 4))
    assert large.shape == (1, 4, 4)
    assert large[0, 0].tolist() == [0, 1, 3, 4]


def test_of_several_masks_each_place_has_the_most_confident_and_the_score_is_the_lowest() -> None:
    first, second = torch.tensor([[[1.0, -4.0]]]), torch.tensor([[[-2.0, -3.0]]])
    united = united_masks([MaskLogits(first, 0.9), MaskLogits(second, 0.4)])
    assert united.logits.tolist() == [[[1.0, -3.0]]]
    assert united.score == 0.4
