"""Edges of the image's own pixels for mattes and masks that come from a smaller input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from matting_anything_core.geometry import Fit, Window, fit_picture
from matting_anything_core.pipeline.merging import bounds, grow
from matting_anything_core.pipeline.upsampling import reach, sharpen, soften


def strands(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A composite of a body with fine soft strands on another colour: rgb uint8 and its alpha."""
    generator = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    alpha = ((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2).astype(np.float32)
    for angle in generator.uniform(0, 2 * np.pi, 60):
        away = np.abs((x - width / 2) * np.sin(angle) - (y - height / 2) * np.cos(angle))
        along = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle)
        alpha = np.maximum(alpha, np.clip(1.5 - away, 0, 1) * ((along > 0) & (along < height / 2.3))).astype(np.float32)
    foreground, background = np.array([150, 90, 40]), np.array([90, 130, 200])
    shade = (1 + 0.1 * np.sin(x / 37) + 0.1 * np.sin(y / 23))[..., None]
    rgb = shade * (alpha[..., None] * foreground + (1 - alpha[..., None]) * background)
    return np.clip(rgb + generator.normal(0, 1.5, rgb.shape), 0, 255).astype(np.uint8), alpha


@pytest.mark.parametrize("square", [128, 256])
def test_sharpening_halves_the_error_of_enlarging(square: int) -> None:
    rgb, alpha = strands(480, 512)
    fit = Fit(480, 512, square)
    small = F.interpolate(torch.from_numpy(alpha)[None, None], fit.scaled, mode="area")
    blurred = F.interpolate(small, (480, 512), mode="bilinear")
    sharp = sharpen(blurred, rgb, fit, Window(0, 0, 480, 512))[0, 0].numpy()
    before, after = np.abs(blurred[0, 0].numpy() - alpha).mean(), np.abs(sharp - alpha).mean()
    assert after < 0.5 * before
    assert 0 <= sharp.min() <= sharp.max() <= 1


def test_a_window_is_sharpened_as_the_whole() -> None:
    rgb, alpha = strands(480, 512)
    fit = Fit(480, 512, 128)
    blurred = F.interpolate(F.interpolate(torch.from_numpy(alpha)[None, None], fit.scaled, mode="area"), (480, 512),
                            mode="bilinear")
    whole = sharpen(blurred, rgb, fit, Window(0, 0, 480, 512))
    window = Window(16, 24, 464, 500)
    outside = blurred.clone()
    outside[(..., *window.slices())] = 0
    assert outside.max() == 0  # the object lies inside the window, as `refine.reach` grants
    part = sharpen(blurred[(..., *window.slices())].clone(), rgb, fit, window)
    torch.testing.assert_close(part, whole[(..., *window.slices())], atol=0.02, rtol=0)
    assert (part - whole[(..., *window.slices())]).abs().mean() < 1e-4


@pytest.mark.parametrize("size", [(240, 256), (480, 512), (960, 1024)])
def test_softening_brings_a_coarse_mask_nearer(size: tuple[int, int]) -> None:
    """A mask as the small model gives it: hard, and its outline a pixel of the input off."""
    height, width = size
    scale = max(max(size) / 512, 1)
    y, x = np.mgrid[:height, :width].astype(np.float32)

    def disc(shift: float, soft: float) -> torch.Tensor:
        away = np.hypot(x - width / 2 - shift * scale, y - height / 2)
        alpha = np.clip((height / 4 - away) / (soft * scale) + 0.5, 0, 1)
        return torch.from_numpy(alpha.astype(np.float32))[None, None]

    true, mask = disc(0, 3), disc(1, 1e-3)
    share = true[0, 0, ..., None].numpy()
    noise = np.random.default_rng(1).normal(0, 4, (height, width, 3))
    rgb = share * np.array([150, 90, 40]) + (1 - share) * np.array([90, 130, 200]) + noise
    done = soften(mask, np.clip(rgb, 0, 255).astype(np.uint8), Fit(*size, 512), Window(0, 0, *size))
    assert (done - true).abs().mean() < 0.96 * (mask - true).abs().mean()
    assert 0 <= done.min() <= done.max() <= 1


def test_what_is_softened_in_a_window_is_all_there_is() -> None:
    rgb, alpha = strands(960, 1024)
    fit = Fit(960, 1024, 256)
    mask = (torch.from_numpy(alpha)[None, None] > 0.5).float()
    whole = soften(mask, rgb, fit, Window(0, 0, 960, 1024))
    [box] = bounds(mask[0] > 0)
    window = grow(box, reach(fit), (960, 1024))
    part = soften(mask[(..., *window.slices())], rgb, fit, window)
    pasted = torch.zeros_like(whole)
    pasted[(..., *window.slices())] = part
    assert (pasted - whole).abs().max() < 0.02
    assert (pasted - whole).abs().mean() < 1e-4


def test_an_image_that_was_scaled_already_is_not_scaled_again() -> None:
    rgb, alpha = strands(480, 512)
    fit = Fit(480, 512, 128)
    mask = (torch.from_numpy(alpha)[None, None] > 0.5).float()
    window = Window(0, 0, 480, 512)
    assert torch.equal(soften(mask, rgb, fit, window), soften(mask, rgb, fit, window, fit_picture(rgb, fit)))


def test_flat_parts_and_small_pictures_stay_as_they_are() -> None:
    rgb, alpha = strands(480, 512)
    given = torch.from_numpy(alpha)[None, None]
    assert sharpen(given, rgb, Fit(480, 512, 512), Window(0, 0, 480, 512)) is given
    fit = Fit(480, 512, 128)
    for value in (0.0, 1.0):
        flat = torch.full((1, 1, 480, 512), value)
        torch.testing.assert_close(sharpen(flat, rgb, fit, Window(0, 0, 480, 512)), flat)
