"""The small encoder."""

from __future__ import annotations

import pytest
import torch

from matting_anything_core.networks.lite import LiteEncoder
from matting_anything_core.training.depthwise import depthwise_in_float32


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return LiteEncoder().eval()


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_features_are_a_sixteenth(encoder, size):
    with torch.no_grad():
        features = encoder(torch.randn(2, 3, *size))
    assert features.shape == (2, 256, size[0] // 16, size[1] // 16)
    # GroupNorm with one group: every picture's features have mean 0 and variance 1 before the affine part
    assert features.flatten(1).mean(1).abs().max() < 0.05


def test_every_scale_and_weight_counts(encoder):
    encoder.zero_grad()
    encoder(torch.randn(1, 3, 64, 64)).square().mean().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias before the final normalisation over everything can cancel, nothing else may be dead
    assert [name for name in without if not name.endswith("bias")] == []


def test_float32_depthwise_keeps_names_and_numbers(encoder):
    torch.manual_seed(0)
    wrapped = LiteEncoder().eval()
    wrapped.load_state_dict(encoder.state_dict())
    depthwise_in_float32(wrapped)
    assert list(wrapped.state_dict()) == list(encoder.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(wrapped(x), encoder(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert (wrapped(x).float() - encoder(x).float()).abs().mean() < 0.05
