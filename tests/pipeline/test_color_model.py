"""Soft colour histograms: which of two groups of pixels a colour belongs to."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_anything_core.pipeline.color_model import Colors


def groups(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """An image of two halves, warm and cold in several clusters each, and where it is warm."""
    rng = np.random.default_rng(seed)
    warm = [rng.normal(m, 6, (40, 20, 3)) for m in ([200, 60, 50], [230, 200, 40], [150, 20, 90])]
    cold = [rng.normal(m, 6, (40, 20, 3)) for m in ([40, 70, 160], [20, 160, 150], [90, 90, 90])]
    rgb = np.clip(np.concatenate(warm + cold, axis=1), 0, 255).astype(np.uint8)
    return rgb, np.broadcast_to(np.arange(120) < 60, (40, 120)).astype(np.float32)


def test_colours_are_told_apart_whatever_their_clusters() -> None:
    rgb, warm = groups()
    ratio = Colors(rgb).log_ratio(warm, 1 - warm)
    assert (ratio[warm > 0] > 2).mean() > 0.98
    assert (ratio[warm == 0] < -2).mean() > 0.98


def test_colours_that_were_not_seen_say_nothing() -> None:
    rgb, warm = groups()
    rgb[:, 20:40] = (255, 0, 255)
    seen = np.zeros_like(warm)
    seen[:, :20] = 1
    ratio = Colors(rgb).log_ratio(seen, 1 - warm)
    assert abs(ratio[:, 20:40]).max() < 0.1
    assert ratio[:, :20].mean() > 2


def test_weights_count_and_their_sum_does_not() -> None:
    rgb, warm = groups()
    colors = Colors(rgb)
    np.testing.assert_allclose(colors.log_ratio(warm, 1 - warm), colors.log_ratio(warm * 7, (1 - warm) * 0.01),
                               atol=1e-3)


def test_a_part_is_as_in_the_whole() -> None:
    rgb, warm = groups()
    part = slice(3, 30), slice(10, 90)
    np.testing.assert_array_equal(Colors(rgb).within(part).log_ratio(warm[part], 1 - warm[part]),
                                  Colors(rgb[part]).log_ratio(warm[part], 1 - warm[part]))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_any_colours_and_no_weights_give_numbers(side: int, seed: int, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    rgb = np.full((side, side, 3), 77, np.uint8) if flat else rng.integers(0, 256, (side, side, 3), np.uint8)
    for weight in (np.zeros((side, side)), rng.random((side, side))):
        assert np.isfinite(Colors(rgb).log_ratio(weight, 1 - weight)).all()
