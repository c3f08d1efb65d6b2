"""The small model's masks follow the picture's edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_anything_core.geometry import Fit
from matting_anything_core.pipeline.mask_refinement import LIMIT, NEIGHBORS, refine_mask

SIDE = 128


def scene(height: int = SIDE, width: int = SIDE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A noisy red disc on a noisy blue ground, and where it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (0.3 * min(height, width)) ** 2
    colours = np.where(disc[..., None], (200.0, 60.0, 50.0), (40.0, 70.0, 160.0))
    colours = colours + rng.normal(0, 12, colours.shape)
    return np.clip(colours, 0, 255).astype(np.uint8), disc


def coarse(mask: np.ndarray, side: int = SIDE, shift: int = 3, sure: float = 6.0) -> torch.Tensor:
    """Logits as the decoder gives them: a quarter of the square's sides, the outline some pixels off."""
    full = np.zeros((side, side), np.float32)
    full[: mask.shape[0], : mask.shape[1]] = np.roll(mask, shift, axis=1)
    small = cv2.resize(full, (side // 4, side // 4), interpolation=cv2.INTER_AREA)
    return torch.from_numpy((small * 2 - 1) * np.float32(sure))[None]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def enlarged(logits: torch.Tensor, fit: Fit) -> np.ndarray:
    """The mask of the picture in the square."""
    square = torch.nn.functional.interpolate(logits[None], (fit.square, fit.square), mode="bilinear")[0, 0]
    return square[: fit.scaled[0], : fit.scaled[1]].numpy() > 0


def test_the_outline_moves_to_the_edge_of_the_object() -> None:
    rgb, disc = scene()
    fit = Fit(SIDE, SIDE, SIDE)
    logits = coarse(disc)
    before, after = iou(enlarged(logits, fit), disc), iou(enlarged(refine_mask(logits, rgb, fit), fit), disc)
    assert before < 0.92
    assert after > 0.98


def test_what_the_network_is_sure_of_stays_away_from_the_outline() -> None:
    """A second, equal disc that the network leaves out is not taken in, and a hole far inside is not cut."""
    one, left = scene()
    rgb = np.concatenate([one, scene(seed=1)[0]], axis=1)
    middle = slice(SIDE // 2 - 4, SIDE // 2 + 4)
    rgb[middle, middle] = (40, 70, 160)
    only = np.concatenate([left, np.zeros_like(left)], axis=1)
    fit = Fit(SIDE, 2 * SIDE, 2 * SIDE)
    found = enlarged(refine_mask(coarse(only, 2 * SIDE, shift=2), rgb, fit), fit)
    assert not found[:, SIDE:].any()
    assert found[middle, middle].all()
    assert iou(found, only) > 0.97


def test_where_the_network_is_unsure_colours_decide() -> None:
    """A part that is missing from the mask is found if the logits there are small."""
    rgb, disc = scene()
    fit = Fit(SIDE, SIDE, SIDE)
    bite = disc & (np.arange(SIDE) > SIDE * 0.7)
    values = np.where(disc & ~bite, 6.0, -6.0).astype(np.float32)
    sure = torch.from_numpy(values)[None]
    unsure = torch.from_numpy(np.where(bite, np.float32(-1), values))[None]
    missing = [int((disc & ~enlarged(refine_mask(logits, rgb, fit), fit)).sum()) for logits in (sure, unsure)]
    assert missing[1] < missing[0]
    assert missing[1] < 0.1 * bite.sum()


def test_small_components_are_no_part_of_a_whole_object() -> None:
    rgb, disc = scene()
    fit = Fit(SIDE, SIDE, SIDE)
    speck = np.zeros_like(disc)
    speck[4:16, 4:16] = True
    rgb[speck] = (200, 60, 50)
    logits = coarse(disc | speck, shift=0)
    pieces, whole = (enlarged(refine_mask(logits, rgb, fit, whole=whole), fit) for whole in (False, True))
    assert pieces[speck].mean() > 0.9
    assert not whole[speck].any()
    np.testing.assert_array_equal(whole & ~speck, pieces & disc)


@pytest.mark.parametrize("value", [-4.0, 4.0])
def test_without_an_outline_nothing_changes(value: float) -> None:
    rgb, _ = scene()
    logits = torch.full((1, SIDE // 4, SIDE // 4), value)
    assert torch.equal(refine_mask(logits, rgb, Fit(SIDE, SIDE, SIDE)), torch.full((1, SIDE, SIDE), value))


def test_noise_of_one_level_moves_the_outline_only() -> None:
    """No cliff: what is far from the outline does not flip."""
    rgb, disc = scene()
    fit, logits = Fit(SIDE, SIDE, SIDE), coarse(disc)
    noise = np.random.default_rng(3).integers(-1, 2, rgb.shape)
    noisy = np.clip(rgb.astype(int) + noise, 0, 255).astype(np.uint8)
    first, second = (enlarged(refine_mask(logits, image, fit), fit) for image in (rgb, noisy))
    assert (first != second).mean() < 2e-3


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 2**32 - 1), st.booleans())
def test_any_picture_and_any_logits(height: int, width: int, seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    fit = Fit(height, width, 64)
    rgb = rng.integers(0, 256, (*fit.scaled, 3), dtype=np.uint8)
    if rng.random() < 0.3:
        rgb[:] = rng.integers(0, 256)
    logits = torch.from_numpy(rng.normal(0, 4, (1, 16, 16)).astype(np.float32))
    result = refine_mask(logits, rgb, fit, whole=whole)
    assert result.shape == (1, 64, 64)
    assert torch.isfinite(result).all()
    rows, columns = fit.scaled
    if (result != torch.nn.functional.interpolate(logits[None], (64, 64), mode="bilinear")[0]).any():
        assert result[:, :rows, :columns].abs().max() <= 2 * (LIMIT + NEIGHBORS)
        assert (result[:, rows:] < 0).all()
        assert (result[:, :, columns:] < 0).all()
