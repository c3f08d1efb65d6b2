"""The fit into the square, coordinates along, and windows of a bilinear resize."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from matting_anything_core.errors import PromptError
from matting_anything_core.geometry import (
    Fit,
    Window,
    check_point,
    clip_box,
    mask_bounds,
    mask_window,
    resize_window,
    to_square,
)

SIDES = st.integers(1, 6000)


@given(SIDES, SIDES, st.sampled_from([64, 384, 1024]))
def test_the_longer_side_fills_the_square(height: int, width: int, square: int) -> None:
    fit = Fit(height, width, square)
    assert max(fit.scaled) == square
    assert min(fit.scaled) >= 1
    assert fit.point(width, height) == pytest.approx((fit.scaled[1], fit.scaled[0]))


def test_sizes_of_the_released_program() -> None:
    assert Fit(300, 451, 1024).scaled == (681, 1024)
    assert Fit(427, 640, 1024).scaled == (683, 1024)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 90), st.integers(1, 90), st.data())
def test_a_window_equals_the_crop_of_the_whole(h: int, w: int, height: int, width: int, data: st.DataObject) -> None:
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    x = torch.rand(2, h, w, generator=torch.Generator().manual_seed(h * 100 + w))
    window = Window(top, left, bottom, right)
    whole = F.interpolate(x[None], (height, width), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(
        resize_window(x, (height, width), window), whole[(..., *window.slices())], atol=2e-5, rtol=0
    )


def test_pixels_are_normalised_before_they_are_padded() -> None:
    rgb = np.full((2, 4, 3), (10, 20, 30), np.uint8)
    square = to_square(rgb, Fit(2, 4, 8), (10.0, 10.0, 10.0), (2.0, 5.0, 10.0))
    assert square.shape == (1, 3, 8, 8)
    assert square[0, :, 0, 0].tolist() == [0.0, 2.0, 2.0]
    assert square[0, :, :4].std(dim=(1, 2)).max() == 0
    assert square[0, :, 4:].abs().max() == 0


def test_boxes_are_clipped_and_refused() -> None:
    assert clip_box((-5, -5, 20, 8), 10, 15) == (0, 0, 15, 8)
    for box in ((15, 0, 20, 5), (-9, 0, 0, 5), (0, 10, 5, 12), (0, -3, 5, -1)):
        with pytest.raises(PromptError, match="15 x 10"):
            clip_box(box, 10, 15)
    check_point((15, 10), 10, 15)
    with pytest.raises(PromptError, match="outside"):
        check_point((15.5, 2), 10, 15)


def test_bounds_of_a_mask_exclude_the_far_edges() -> None:
    mask = np.zeros((6, 9), bool)
    mask[2, 3] = mask[4, 7] = True
    assert mask_bounds(mask) == (3, 2, 8, 5)
    assert mask_window(mask) == (2, 3, 5, 8)


def test_a_margin_goes_as_far_as_the_mask_does() -> None:
    mask = np.zeros((6, 9), np.uint8)
    mask[2, 3] = mask[4, 7] = 7
    assert mask_window(mask, margin=1) == (1, 2, 6, 9)
    assert mask_window(mask, margin=5) == (0, 0, 6, 9)
    assert mask_window(np.zeros((6, 9), bool), margin=5) == (0, 0, 0, 0)
    assert mask_window(np.zeros((0, 9), bool)) == (0, 0, 0, 0)
