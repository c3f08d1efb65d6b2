"""The batched mask decoder against segment_anything's, one picture at a time."""

from __future__ import annotations

import pytest
import torch

from matting_anything_core.networks.decoder import decode_masks
from matting_anything_core.networks.sam import build_sam


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return build_sam("vit_tiny_test")


@pytest.mark.parametrize("kind", ["boxes", "points", "masks"])
def test_a_batch_equals_each_picture_alone(sam, kind):
    grid = sam.grid
    features = torch.randn(3, 256, grid, grid)
    owner = torch.tensor([2, 0, 2, 1])
    boxes = torch.tensor([[5.0, 8, 90, 60], [0, 0, 128, 128], [30, 30, 60, 100], [1, 2, 30, 40]])
    prompts = {
        "boxes": (None, boxes, None),
        "points": ((boxes.view(4, 2, 2), torch.tensor([[1, 0], [1, 1], [0, 1], [1, -1]])), None, None),
        "masks": (None, boxes, torch.randn(4, 1, 4 * grid, 4 * grid)),
    }[kind]
    positional = sam.prompt_encoder.get_dense_pe()
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder(*prompts)
        logits, iou = decode_masks(sam.mask_decoder, features, positional, sparse, dense, owner)
        assert logits.shape == (4, 3, 4 * grid, 4 * grid)
        for i, picture in enumerate(owner.tolist()):
            wanted, scores = sam.mask_decoder(features[picture:picture + 1], positional, sparse[i:i + 1],
                                              dense[i:i + 1], multimask_output=True)
            torch.testing.assert_close(logits[i:i + 1], wanted, atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(iou[i:i + 1], scores, atol=1e-5, rtol=1e-4)


def test_gradients_reach_features_and_prompts(sam):
    features = torch.randn(2, 256, sam.grid, sam.grid, requires_grad=True)
    sparse, dense = sam.prompt_encoder(None, torch.tensor([[1.0, 1, 50, 50], [5, 5, 90, 90]]), None)
    logits, iou = decode_masks(sam.mask_decoder, features, sam.prompt_encoder.get_dense_pe(), sparse, dense,
                               torch.tensor([0, 0]))
    (logits.mean() + iou.mean()).backward()
    assert features.grad[0].abs().sum() > 0
    assert not features.grad[1].any()
    assert sam.prompt_encoder.point_embeddings[2].weight.grad.abs().sum() > 0
