from __future__ import annotations

import pytest
import torch
from recipe import sam_weights

from matting_anything_core.networks import attention
from matting_anything_core.networks.sam import build_sam, load_state


def encoder(square):
    with torch.device("meta"):
        sam = build_sam("vit_tiny_test", square)
    load_state(sam, sam_weights(sam.state_dict()), "the recipe")
    return sam.image_encoder


def picture(square, count=1):
    return torch.randn(count, 3, square, square, generator=torch.Generator().manual_seed(3))


# Grids of 8 (windows of 3 stick out), 9 (they fit) and 2 (smaller than a window); blocks of queries that end early.
@pytest.mark.parametrize("square", [128, 144, 32])
@pytest.mark.parametrize("block", [7, 512])
def test_blocks_equal_segment_anything(square, block, monkeypatch):
    monkeypatch.setattr(attention, "QUERY_BLOCK", block)
    monkeypatch.setattr(attention, "TOKEN_BLOCK", 5 * block)
    vit, pixels = encoder(square), picture(square, 2)
    assert attention.uses_blocks(pixels)
    with torch.inference_mode():
        torch.testing.assert_close(attention.encode_vit(vit, pixels), vit(pixels), atol=1e-4, rtol=0)


@pytest.mark.parametrize("square", [128, 144, 32])
def test_fused_attention_equals_segment_anything(square, monkeypatch):
    monkeypatch.setattr(attention, "uses_blocks", lambda _pixels: False)
    vit, pixels = encoder(square), picture(square, 2)
    with torch.inference_mode():
        torch.testing.assert_close(attention.encode_vit(vit, pixels), vit(pixels), atol=1e-4, rtol=0)


def test_one_fused_call_a_block_without_a_mask(monkeypatch):
    monkeypatch.setattr(attention, "uses_blocks", lambda _pixels: False)
    calls = []
    real = torch.nn.functional.scaled_dot_product_attention

    def counted(q, k, v, **options):
        calls.append((q.shape, options))
        return real(q, k, v, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    with torch.inference_mode():
        attention.encode_vit(encoder(128), picture(128))
    assert [options for _, options in calls] == [{"scale": 1.0}] * 3
    assert all(shape[-1] % 8 == 0 for shape, _ in calls)  # what CUDA's fused kernels want


def test_half_precision_and_autocast_and_devices_leave_the_blocks():
    pixels = picture(128)
    assert attention.uses_blocks(pixels)
    assert not attention.uses_blocks(pixels.bfloat16())
    assert not attention.uses_blocks(pixels.to("meta"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not attention.uses_blocks(pixels)


def test_autocast_is_near():
    vit, pixels = encoder(128), picture(128)
    with torch.inference_mode():
        exact = vit(pixels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            near = attention.encode_vit(vit, pixels)
    assert (near.float() - exact).abs().mean() < 0.03


def test_inputs_and_weights_stay_as_they_were():
    vit, pixels = encoder(128), picture(128)
    before, weights = pixels.clone(), {name: value.clone() for name, value in vit.state_dict().items()}
    first = attention.encode_vit(vit, pixels)
    assert torch.equal(first, attention.encode_vit(vit, pixels))
    assert torch.equal(pixels, before)
    assert all(torch.equal(value, weights[name]) for name, value in vit.state_dict().items())


@pytest.mark.slow
def test_vit_b_equals_segment_anything():
    with torch.device("meta"):
        sam = build_sam("vit_b", 512)
    load_state(sam, sam_weights(sam.state_dict()), "the recipe")
    pixels = picture(512)
    with torch.inference_mode():
        torch.testing.assert_close(sam.encode(pixels), sam.image_encoder(pixels), atol=1e-4, rtol=0)
