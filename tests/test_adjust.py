"""What is done to alpha after matting: sizes of discs, softness of edges, windows, rounding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import picture, tiny_model

from matting_anything_core import Image, PromptError, matte, read_image
from matting_anything_core.adjust import (
    Adjustment,
    adjusted,
    content_window,
    cropped,
    feathered,
    grown,
    inverted,
    premultiplied,
)
from matting_anything_core.output import OutputOptions, write_output


def disc(radius: float, size: int = 101) -> np.ndarray:
    offsets = np.arange(size) - size // 2
    return (offsets[:, None] ** 2 + offsets[None] ** 2 <= radius**2).astype(np.float32)


@pytest.mark.parametrize("pixels", [1, 3, 7, 20, -1, -3, -7, -15])
def test_a_disc_grows_by_so_many_pixels_on_every_side(pixels: int) -> None:
    before = disc(20.5)
    after = grown(before, pixels)
    middle = after[50]
    assert np.flatnonzero(middle)[[0, -1]].tolist() == [30 - pixels, 70 + pixels]
    radius = np.sqrt(after.sum() / np.pi)  # all around, not only along the axes
    assert radius == pytest.approx(20.5 + pixels, abs=0.06 * abs(pixels) + 0.5)
    assert before.sum() == disc(20.5).sum()


def test_parts_of_a_pixel_are_mixed_and_soft_edges_stay_soft() -> None:
    before = disc(20)
    half = grown(before, 0.5)
    np.testing.assert_allclose(half, (before + grown(before, 1)) / 2)
    assert grown(before, 0) is before
    ramp = np.tile(np.linspace(0, 1, 41, dtype=np.float32), (9, 1))
    np.testing.assert_allclose(grown(ramp, 4)[4, :-4], ramp[4, 4:], atol=1e-6)
    np.testing.assert_allclose(grown(ramp, -4)[4, 4:], ramp[4, :-4], atol=1e-6)
    assert grown(before, 1e9).min() == 1


def test_feathering_softens_the_edge_and_leaves_the_border_of_the_image() -> None:
    edge = np.zeros((40, 60), np.float32)
    edge[:, :30] = 1
    soft = feathered(edge, 6)
    assert soft[20, 29] + soft[20, 30] == pytest.approx(1, abs=1e-5)
    assert soft[20, 22] > 0.98
    assert soft[20, 37] < 0.02
    assert 0.6 < soft[20, 28] < 0.75
    assert soft[0, 0] == pytest.approx(1, abs=1e-6)  # the object goes on beyond the image
    assert feathered(edge, 0) is edge
    assert feathered(edge, 1e9).shape == edge.shape


def test_windows() -> None:
    alpha = np.zeros((40, 60), np.float32)
    assert content_window(alpha, 5) == (0, 0, 60, 40)
    alpha[10:20, 30:33] = 0.5
    alpha[0, 0] = 1 / 600  # nothing of it is in a file of 8 bits
    assert content_window(alpha) == (30, 10, 33, 20)
    assert content_window(alpha, 12) == (18, 0, 45, 32)
    assert Adjustment(crop=0.5, margin_in_shares=True).window(alpha) == (25, 5, 38, 25)
    assert Adjustment().window(alpha) == (0, 0, 60, 40)


@given(st.floats(-30, 30), st.floats(0, 30), st.booleans(), st.integers(1, 12), st.integers(1, 12))
def test_alpha_stays_alpha(grow: float, feather: float, invert: bool, height: int, width: int) -> None:
    alpha = np.random.default_rng(height * width).random((height, width), dtype=np.float32)
    kept = alpha.copy()
    result = Adjustment(grow=grow, feather=feather, invert=invert).alpha(alpha)
    assert (result.shape, result.dtype) == (alpha.shape, np.dtype(np.float32))
    assert 0 <= result.min() <= result.max() <= 1
    np.testing.assert_array_equal(alpha, kept)


@pytest.mark.parametrize("fields", [{"grow": float("nan")}, {"feather": -1}, {"feather": float("inf")}, {"crop": -1}])
def test_what_means_nothing_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(PromptError, match="expected"):
        Adjustment(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_premultiplied_colours_are_rounded_to_the_nearest(dtype: type, top: int) -> None:
    rgb = np.array([[[top, top // 2, 1], [top, 3, 0]]], dtype)
    image = premultiplied(Image(rgb, np.array([[top, top // 2]], dtype)))
    np.testing.assert_array_equal(image.rgb, np.rint(rgb * (image.alpha[..., None] / top)).astype(dtype))
    opaque = Image(rgb)
    assert premultiplied(opaque) is opaque


def test_a_matte_is_adjusted_and_cropped_as_it_is_written(tmp_path: Path) -> None:
    found = matte(picture(50, 70), (10, 10, 40, 40), model=tiny_model())
    alpha = np.zeros((50, 70), np.float32)
    alpha[20:30, 15:45] = 1
    found = replace(found, alpha=alpha)
    out = tmp_path / "x.png"
    write_output(out, found, OutputOptions("alpha", adjustment=Adjustment(grow=2, crop=3)))
    written = read_image(out)
    assert (written.width, written.height) == (30 + 4 + 6, 10 + 4 + 6)
    write_output(out, found, OutputOptions(adjustment=Adjustment(invert=True, premultiplied=True)))
    written = read_image(out)
    np.testing.assert_array_equal(written.alpha, 255 - 255 * alpha)
    assert not written.rgb[written.alpha == 0].any()
    part = cropped(found, (15, 20, 45, 30))
    np.testing.assert_array_equal(part.image.rgb, found.image.rgb[20:30, 15:45])
    assert part.alpha.min() == 1
    assert cropped(found, (0, 0, 70, 50)) is found
    assert adjusted(found, Adjustment(crop=4)) is found
    np.testing.assert_array_equal(adjusted(found, Adjustment(invert=True)).alpha, inverted(alpha))
