"""ViTMatte's network: the numbers of transformers' VitMatteForImageMatting with the same weights, and its files."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_vitmatte as tiny
import torch
from torch import Tensor

from matting_anything_core import WeightsError
from matting_anything_core.networks.vitmatte import VitMatte, build, folded, label, recognises, rename
from matting_anything_core.weights.files import RawFile
from matting_anything_core.weights.recognise import recognise

transformers = pytest.importorskip("transformers")


def reference(config, weights: dict[str, Tensor]):
    network = transformers.VitMatteForImageMatting(config)
    network.load_state_dict(weights)
    return network.eval()


def ours(weights: dict[str, Tensor]) -> VitMatte:
    network = build({name: tuple(value.shape) for name, value in weights.items()})
    network.load_state_dict(weights)
    return network


def pictures(batch: int, height: int, width: int) -> Tensor:
    torch.manual_seed(height * width)
    pixels = torch.randn(batch, 4, height, width)
    pixels[:, 3] = torch.randint(0, 3, (batch, height, width)) / 2
    return pixels


@pytest.fixture(scope="module")
def small() -> tuple[torch.nn.Module, VitMatte]:
    config = tiny.tiny_config()
    weights = tiny.made_weights(tiny.shapes_of(config))
    return reference(config, weights), ours(weights)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 32), (2, 64, 96), (1, 96, 480), (1, 512, 224),
                                                        (1, 224, 224), (1, 448, 512)])
def test_alpha_is_the_references(small, batch: int, height: int, width: int) -> None:
    theirs, mine = small
    pixels = pictures(batch, height, width)
    with torch.inference_mode():
        expected, plain, quick = theirs(pixels).alphas, mine(pixels), folded(mine)(pixels)
    assert expected.std() > 0.02  # neither all 0 nor all 1
    torch.testing.assert_close(plain, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(quick, expected, atol=1e-4, rtol=0)


def test_alpha_is_the_references_with_the_published_sizes() -> None:
    config = tiny.published_config("small")
    weights = tiny.made_weights(tiny.shapes_of(config))
    pixels = pictures(1, 160, 288)
    with torch.inference_mode():
        expected, found = reference(config, weights)(pixels).alphas, folded(ours(weights))(pixels)
    assert expected.std() > 0.02
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_plain_operations_give_the_same_and_learn(small) -> None:
    """As in training, where gradients are wanted, and in half precision on a graphics card."""
    theirs, mine = small
    pixels = pictures(2, 64, 96)
    found = mine(pixels)
    torch.testing.assert_close(found, theirs(pixels).alphas, atol=1e-4, rtol=0)
    found.mean().backward()
    assert all(value.grad is not None and bool(value.grad.abs().sum() > 0) for name, value in mine.named_parameters()
               if name != "backbone.embeddings.position_embeddings")


def theirs_of(name: str) -> str:
    """A tensor's name in the authors' own files."""
    if name.startswith("backbone.embeddings.position_embeddings"):
        return "backbone.pos_embed"
    name = name.replace("backbone.embeddings.projection.", "backbone.patch_embed.proj.")
    name = name.replace("backbone.encoder.layer.", "backbone.blocks.").replace(".attention.", ".attn.")
    return name.replace("fusion_blocks.", "fusion_blks.").replace(".batch_norm.", ".bn.")


@pytest.mark.parametrize(("size", "called", "count"), [("small", "vitmatte_s", 25_814_753),
                                                      ("base", "vitmatte_b", None)])
def test_the_published_names_are_the_networks(size: str, called: str, count: int | None) -> None:
    """count: of parameters, as those who have trained the published one say."""
    shapes = tiny.shapes_of(tiny.published_config(size))
    with torch.device("meta"):
        network = build(shapes)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == shapes
    assert count in (None, sum(value.numel() for value in network.parameters()))
    assert label(shapes) == called
    original = {theirs_of(name): shape for name, shape in shapes.items()}
    assert len(set(original) - set(shapes)) > 200
    assert {rename(name): shape for name, shape in original.items()} == shapes


@pytest.mark.parametrize("layout", ["transformers", "authors", "wrapped"])
def test_a_file_is_recognised_in_each_layout(layout: str) -> None:
    weights = tiny.made_weights(tiny.shapes_of(tiny.tiny_config()))
    names = {"transformers": lambda name: name, "authors": theirs_of, "wrapped": lambda name: f"module.{name}"}
    parts = recognise(RawFile(Path("x.pth"), {names[layout](name): value for name, value in weights.items()}, {}))
    assert parts.head_network is not None
    assert parts.head.keys() == weights.keys()
    assert not parts.sam
    assert not parts.m2m


def without(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {each: value for each, value in weights.items() if each != name}


def test_a_file_that_is_no_such_network_is_refused_by_name() -> None:
    weights = tiny.made_weights(tiny.shapes_of(tiny.tiny_config()))
    assert not recognises({"x": (1,)})
    head = "decoder.matting_head.matting_convs.3.bias"
    nan = weights[head].clone()
    nan[0] = float("nan")
    for tensors, said in (
        (without(weights, head), "lacks decoder.matting_head"),
        ({**weights, "foreign": torch.zeros(1)}, "has besides foreign"),
        ({**weights, head: torch.zeros(2)}, "of shape"),
        ({**weights, head: nan}, "NaN or infinite"),
        ({**weights, "backbone.embeddings.position_embeddings": torch.zeros(1, 30, 64)}, "expected a square"),
        ({name: value for name, value in weights.items() if "encoder.layer" not in name}, "parts called"),
        (without(weights, "backbone.encoder.layer.0.attention.rel_pos_h"), "rel_pos_h"),
        ({**weights, "backbone.pos_embed": torch.zeros(1, 197, 64)}, "twice, under two names"),
    ):
        with pytest.raises(WeightsError, match=said):
            recognise(RawFile(Path("damaged.safetensors"), tensors, {}))
    with pytest.raises(WeightsError, match="says it holds vitmatte_s"):
        recognise(RawFile(Path("x.safetensors"), weights, {"architecture": "vitmatte_s"}))
