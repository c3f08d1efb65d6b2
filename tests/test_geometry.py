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
    fit_picture,
    mask_bounds,
    mask_window,
    resize_window,
    source_window,
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


def test_windows_count_from_their_edges() -> None:
    window = Window(2, 3, 7, 13)
    assert (window.height, window.width, window.empty) == (5, 10, False)
    assert window.slices() == (slice(2, 7), slice(3, 13))
    assert window.moved(1, -2) == (3, 1, 8, 11)
    assert window.relative_to(Window(1, 2, 9, 9)) == (1, 1, 6, 11)
    for nothing in (Window(7, 3, 2, 13), Window(2, 13, 7, 3), Window(2, 3, 2, 13), Window(2, 3, 7, 3)):
        assert nothing.empty
        assert nothing.height * nothing.width == 0
        assert min(nothing.height, nothing.width) == 0
        assert window.united(nothing) == nothing.united(window) == window
    elsewhere = Window(50, 60, 50, 70)
    assert window.united(elsewhere) == elsewhere.united(window) == window


def test_what_windows_share_and_what_holds_both() -> None:
    first, second = Window(0, 5, 10, 20), Window(4, 0, 15, 8)
    assert first.shared(second) == (4, 5, 10, 8)
    assert first.united(second) == (0, 0, 15, 20)
    assert first.shared(None) is first
    assert first.shared(Window(10, 20, 30, 40)).empty


def test_sides_are_rounded_and_never_below_a_pixel() -> None:
    assert Fit(1, 5000, 64).scaled == (1, 64)
    assert Fit(5000, 1, 64).scaled == (64, 1)
    assert Fit(3, 8, 4).scaled == (2, 4)  # 1.5 is rounded up
    fit = Fit(100, 200, 64)
    assert fit.at(32) == Fit(100, 200, 32)
    assert fit.point(50, 25) == (16, 8)
    assert fit.box((50, 25, 200, 100)) == (16, 8, 64, 32)


@pytest.mark.parametrize("point", [(-0.1, 2), (15.1, 2), (2, -0.1), (2, 10.1)])
def test_points_beyond_each_side_are_refused(point: tuple[float, float]) -> None:
    with pytest.raises(PromptError, match="15 x 10"):
        check_point(point, 10, 15)
    for corner in ((0, 0), (15, 0), (0, 10), (15, 10)):
        check_point(corner, 10, 15)


def test_a_box_keeps_what_is_inside() -> None:
    assert clip_box((3.5, 2.25, 14.5, 9.75), 10, 15) == (3.5, 2.25, 14.5, 9.75)
    assert clip_box((14.5, 9.5, 99, 99), 10, 15) == (14.5, 9.5, 15, 10)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 60), st.integers(1, 60), st.data())
def test_what_is_read_for_a_window_is_enough_and_no_more(
    h: int, w: int, height: int, width: int, data: st.DataObject
) -> None:
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width)))
    x = torch.rand(1, h, w, generator=torch.Generator().manual_seed(h * 100 + w))
    read = source_window(window, (height, width), (h, w))
    part = x[(..., *read.slices())]
    from_part = resize_window(part, (height, width), window, source=(h, w), origin=(read.top, read.left))
    torch.testing.assert_close(from_part, resize_window(x, (height, width), window), atol=0, rtol=0)
    down, across = h / height, w / width
    assert read.height <= window.height * down + 3
    assert read.width <= window.width * across + 3


def test_an_empty_window_is_read_from_nowhere() -> None:
    assert source_window(Window(3, 3, 3, 8), (20, 20), (10, 10)) == (0, 0, 0, 0)
    assert source_window(Window(3, 3, 8, 3), (20, 20), (10, 10)) == (0, 0, 0, 0)
    assert resize_window(torch.rand(2, 10, 10), (20, 20), Window(3, 3, 3, 8)).shape == (2, 0, 5)
    assert resize_window(torch.rand(2, 10, 10), (20, 20), Window(3, 3, 8, 3)).shape == (2, 5, 0)


def test_a_picture_of_the_right_size_is_not_copied_and_others_are_averaged() -> None:
    rgb = np.zeros((8, 16, 3), np.uint8)
    rgb[:, ::2] = 200
    assert fit_picture(rgb, Fit(8, 16, 16)) is rgb
    small = fit_picture(rgb, Fit(8, 16, 4))
    assert small.shape == (2, 4, 3)
    assert abs(small[:, 1:3].astype(float) - 100).max() < 15  # without antialiasing: 0 or 200
