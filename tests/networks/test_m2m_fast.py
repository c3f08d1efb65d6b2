from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe import m2m_weights

from matting_anything_core.geometry import Window
from matting_anything_core.networks import m2m_fast
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.m2m_fast import fold, prepare
from matting_anything_core.networks.sam import load_state

GRID = 10
SIDE = 16 * GRID


@pytest.fixture(scope="module")
def scene():
    """The trainable network, its folded form, one picture's features and pixels, two masks, the whole prediction."""
    with torch.device("meta"):
        m2m = MaskToMatte()
    load_state(m2m, m2m_weights(m2m.state_dict()), "the recipe")
    m2m.eval()
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 256, GRID, GRID, generator=generator)
    image = torch.randn(1, 3, SIDE, SIDE, generator=generator)
    masks = (torch.rand(2, 1, 4 * GRID, 4 * GRID, generator=generator) > 0.5).float()
    with torch.inference_mode():
        whole = m2m(features.expand(2, -1, -1, -1), image.expand(2, -1, -1, -1), masks)
    return m2m, fold(m2m), features, image, masks, whole


def test_folded_equals_the_trainable_network(scene):
    _, folded, features, image, masks, whole = scene
    with torch.inference_mode():
        fast = folded.os8_os4_os1(features, image, masks)
    for expected, got in zip(whole, fast, strict=True):
        assert got.shape == expected.shape
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def sides():
    return st.tuples(st.integers(0, SIDE), st.integers(0, SIDE)).filter(lambda pair: pair[0] < pair[1])


@settings(max_examples=8)
@given(rows=sides(), columns=sides())
def test_any_window_is_exact(scene, rows, columns):
    _, folded, features, image, masks, whole = scene
    window = Window(rows[0], columns[0], rows[1], columns[1])
    with torch.inference_mode():
        part = folded.os8_os4_os1(features, image, masks[:1], window)
    for expected, got in zip(whole, part, strict=True):
        torch.testing.assert_close(got, expected[(slice(0, 1), slice(None), *window.slices())], atol=1e-5, rtol=0)


def test_finer_scales_may_be_asked_for_in_smaller_windows_and_tiles(scene, monkeypatch):
    monkeypatch.setattr(m2m_fast, "OS1_TILE", 24)
    _, folded, features, image, masks, whole = scene
    outer, middle, inner = Window(10, 0, 150, 100), Window(30, 5, 101, 77), Window(31, 8, 90, 70)
    with torch.inference_mode():
        stages = folded.stages(prepare(features, image), masks[1:], outer)
        for scale, window in ((stages.os8, outer), (stages.os4, middle), (stages.os1, inner)):
            expected = getattr(whole, scale.__name__)[(slice(1, 2), slice(None), *window.slices())]
            torch.testing.assert_close(scale(window), expected, atol=1e-5, rtol=0)


def test_tiles_in_which_nothing_counts_are_left_out(scene, monkeypatch):
    monkeypatch.setattr(m2m_fast, "OS1_TILE", 20)
    _, folded, features, image, masks, whole = scene
    window = Window(20, 20, 120, 140)
    where = torch.zeros(1, 1, 250, 300, dtype=torch.bool)  # the same window at 2.5 times its resolution
    where[..., 100:110, 120:180] = True
    with torch.inference_mode():
        got = folded.stages(prepare(features, image), masks[:1], window).os1(window, where)
    expected = whole.os1[(slice(0, 1), slice(None), *window.slices())]
    # What counts, and a source pixel around it for bilinear reading, in the window's own pixels.
    near = (..., slice(39, 46), slice(47, 74))
    torch.testing.assert_close(got[near], expected[near], atol=1e-5, rtol=0)
    assert (got == 0).float().mean() > 0.7


def test_folding_takes_a_copy(scene):
    m2m, _, features, image, masks, whole = scene
    folded = fold(m2m)
    weight = m2m.layer2[0].conv2.module.weight_bar
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(-1)
    try:
        with torch.inference_mode():
            got = folded.os8_os4_os1(features, image, masks, Window(0, 0, 40, 40))
        torch.testing.assert_close(got.os8, whole.os8[..., :40, :40], atol=1e-5, rtol=0)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_half_precision_is_near(scene):
    _, folded, features, image, masks, whole = scene
    half = folded.to("cpu", torch.bfloat16)
    assert half.dtype == torch.bfloat16
    with torch.inference_mode():
        got = half.os8_os4_os1(features, image, masks, Window(30, 30, 90, 90))
    for expected, near in zip(whole, got, strict=True):
        assert near.dtype == torch.float32
        assert (near - expected[..., 30:90, 30:90]).abs().mean() < 0.03
