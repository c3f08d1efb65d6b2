"""Our prompt encoding against segment_anything's own."""

from __future__ import annotations

import pytest
import torch
from recipe import sam_weights

from matting_anything_core.networks.prompts import embed_prompts
from matting_anything_core.networks.sam import build_sam, load_state


@pytest.fixture(scope="module")
def encoder():
    sam = build_sam("vit_tiny_test", 64)
    load_state(sam, sam_weights(sam.state_dict()), "made weights")
    return sam.prompt_encoder.requires_grad_(False)


def parts(names: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    given = {}
    if "b" in names:
        given["boxes"] = torch.rand((3, 4), generator=generator) * 64
    if "p" in names:
        given["points"] = torch.rand((3, 5, 2), generator=generator) * 64
        given["labels"] = torch.tensor([[1.0, 0, -1, 1, 0]]).repeat(3, 1)
    if "m" in names:
        given["masks"] = torch.randn((3, 1, 16, 16), generator=generator)
    return {name: given.get(name) for name in ("boxes", "points", "labels", "masks")}


@pytest.mark.parametrize("names", ["b", "p", "m", "bp", "bm", "pm", "bpm"])
def test_every_mixture_has_the_same_bits(encoder, names):
    given = parts(names)
    points = None if given["points"] is None else (given["points"], given["labels"])
    sparse, dense = encoder(points, given["boxes"], given["masks"])
    ours = embed_prompts(encoder, **given)
    assert torch.equal(ours[0], sparse)
    assert torch.equal(ours[1].expand_as(dense), dense)
    assert torch.equal(ours[2], encoder.get_dense_pe())


def test_half_precision_around_it_does_not_move_the_prompts(encoder):
    given = parts("bpm")
    exact = embed_prompts(encoder, **given)
    with torch.autocast("cpu", torch.bfloat16):
        ours = embed_prompts(encoder, **given)
        theirs = encoder((given["points"], given["labels"]), given["boxes"], None)[0].float()
    assert all(torch.equal(one, other) for one, other in zip(ours, exact, strict=True))
    assert (theirs - exact[0]).abs().max() > 0.05, "without care it would"
