"""The trainable Mask-to-Matte: names of the published checkpoints, spectral norm, ranges."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from matting_anything_core.networks.m2m import MaskToMatte, SpectralConv

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MaskToMatte()


def test_names_and_shapes_are_the_published_ones(network):
    wanted = {}
    for line in (GOLDEN / "m2m_keys.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, shape, *_ = line.split("\t")
            wanted[name] = ast.literal_eval(shape)
    assert {name: tuple(x.shape) for name, x in network.state_dict().items()} == wanted
    assert len(wanted) == 184
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 2_714_619


def test_alphas_have_the_pictures_size_and_range(network):
    network.eval()
    with torch.no_grad():
        alphas = network(torch.randn(2, 256, 4, 6), torch.randn(2, 3, 64, 96), (torch.rand(2, 1, 20, 30) > 0.5).float())
    for alpha in alphas:
        assert alpha.shape == (2, 1, 64, 96)
        assert 0 <= alpha.min() <= alpha.max() <= 1


def test_training_finds_the_largest_singular_value_and_eval_leaves_it():
    torch.manual_seed(1)
    conv = SpectralConv(8, 5, 3)
    x = torch.randn(1, 8, 6, 6)
    for _ in range(200):
        conv(x)
    matrix = conv.module.weight_bar.detach().flatten(1)
    largest = torch.linalg.svdvals(matrix)[0]
    torch.testing.assert_close(conv.module.weight(), conv.module.weight_bar / largest, rtol=1e-3, atol=1e-5)
    conv.eval()
    before = conv.module.weight_u.clone(), conv.module.weight_v.clone()
    expected = F.conv2d(x, conv.module.weight_bar / largest, padding=1)
    torch.testing.assert_close(conv(x), expected, rtol=1e-3, atol=1e-5)
    assert torch.equal(before[0], conv.module.weight_u)
    assert torch.equal(before[1], conv.module.weight_v)


def test_two_forwards_and_one_backward(network):
    """Power iterations change u and v in place; the backward of an earlier forward must not see it."""
    network.train()
    inputs = torch.randn(2, 256, 2, 2), torch.randn(2, 3, 32, 32), torch.ones(2, 1, 8, 8)
    first, second = network(*inputs), network(*inputs)
    (first.os1.mean() + second.os1.mean()).backward()
    assert network.layer2[0].conv1.module.weight_bar.grad.abs().sum() > 0
    assert network.layer2[0].conv1.module.weight_u.grad is None


def test_autocast_leaves_the_norm_exact(network):
    network.eval()
    norm = network.layer2[0].conv1.module
    with torch.autocast("cpu", torch.bfloat16):
        inside = norm.weight()
    assert torch.equal(inside, norm.weight())
