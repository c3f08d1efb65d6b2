from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recipe import sam_weights
from segment_anything.modeling import MaskDecoder

from matting_anything_core.errors import WeightsError
from matting_anything_core.networks.sam import build_sam, load_state

GOLDEN = Path(__file__).parents[1] / "golden"


def tiny(square=None):
    with torch.device("meta"):
        sam = build_sam("vit_tiny_test", square)
    load_state(sam, sam_weights(sam.state_dict()), "the recipe")
    return sam


def test_names_and_shapes_of_vit_b_are_the_published_ones():
    with torch.device("meta"):
        sam = build_sam("vit_b")
    published = {}
    for line in (GOLDEN / "sam_vit_b_keys.txt").read_text().splitlines():
        name, shape, _ = line.split("\t")
        published[name] = tuple(int(side) for side in shape.strip("()").split(",") if side.strip())
    assert {name: tuple(value.shape) for name, value in sam.state_dict().items()} == published


@pytest.mark.parametrize(("architecture", "width", "depth"), [("vit_l", 1024, 24), ("vit_h", 1280, 32)])
def test_larger_vits_have_their_sizes(architecture, width, depth):
    with torch.device("meta"):
        sam = build_sam(architecture)
    assert sam.image_encoder.pos_embed.shape == (1, 64, 64, width)
    assert len(sam.image_encoder.blocks) == depth
    assert sam.square == 1024


def test_lite_takes_its_square_and_gives_256_channels():
    sam = build_sam("lite", 96)
    with torch.no_grad():
        assert sam.encode(torch.zeros(2, 3, 96, 96)).shape == (2, 256, 6, 6)
    assert build_sam("lite").square == 384
    assert sam.mean == (127.0, 127.0, 127.0)


def test_lite_can_be_trained_and_a_vit_is_frozen():
    assert build_sam("lite", 64).encode(torch.zeros(1, 3, 64, 64)).requires_grad
    assert not tiny().encode(torch.zeros(1, 3, 128, 128)).requires_grad


def test_unknown_architectures_and_squares_are_refused():
    with pytest.raises(WeightsError, match=r"vit_x.*vit_b"):
        build_sam("vit_x")
    with pytest.raises(WeightsError, match=r"100.*multiple of 16"):
        build_sam("vit_b", 100)
    with pytest.raises(WeightsError, match="multiple of 32"):
        build_sam("lite", 16)


def prompts(sam, count=3):
    generator = torch.Generator().manual_seed(1)
    boxes = torch.rand(count, 2, 2, generator=generator).mul(sam.square).sort(1).values.reshape(count, 4)
    points = torch.rand(count, 4, 2, generator=generator) * sam.square
    labels = torch.tensor([[1, 0, 1, -1]] * count)
    masks = torch.randn(count, 1, 4 * sam.grid, 4 * sam.grid, generator=generator) * 5
    return boxes, points, labels, masks


@pytest.mark.parametrize("parts", ["box", "points", "mask", "box points", "box mask", "points mask", "box points mask"])
def test_decode_equals_segment_anything_for_every_mixture_of_prompts(parts):
    sam = tiny()
    features = torch.randn(1, 256, sam.grid, sam.grid, generator=torch.Generator().manual_seed(0))
    boxes, points, labels, masks = prompts(sam)
    boxes = boxes if "box" in parts else None
    masks = masks if "mask" in parts else None
    if "points" not in parts:
        points = labels = None
    with torch.inference_mode():
        logits, iou = sam.decode(features, boxes, points, labels, masks)
        sparse, dense = sam.prompt_encoder(None if points is None else (points, labels), boxes, masks)
        decoder: MaskDecoder = sam.mask_decoder
        expected, expected_iou = decoder(features, sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
    assert logits.shape == (3, 3, 4 * sam.grid, 4 * sam.grid)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(iou, expected_iou, atol=1e-5, rtol=1e-5)


def test_decode_of_many_pictures_takes_each_prompt_to_its_own():
    sam = tiny()
    features = torch.randn(2, 256, sam.grid, sam.grid, generator=torch.Generator().manual_seed(0))
    boxes = prompts(sam)[0]
    with torch.inference_mode():
        logits, _ = sam.decode(features, boxes, owner=torch.tensor([1, 0, 1]))
        for row, picture in enumerate((1, 0, 1)):
            alone, _ = sam.decode(features[picture : picture + 1], boxes[row : row + 1])
            torch.testing.assert_close(logits[row : row + 1], alone, atol=1e-4, rtol=1e-5)


def test_loading_says_everything_that_is_wrong_and_loads_nothing():
    sam = tiny()
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    tensors = dict(before)
    del tensors["mask_decoder.iou_token.weight"]
    tensors["mask_decoder.extra"] = torch.zeros(1)
    tensors["image_encoder.pos_embed"] = torch.zeros(1, 2, 2, 32)
    tensors["image_encoder.neck.1.bias"] = torch.zeros(256, dtype=torch.long)
    with pytest.raises(WeightsError) as caught:
        load_state(sam, tensors, "some.safetensors")
    message = str(caught.value)
    assert message.startswith("some.safetensors")
    for part in ("missing: mask_decoder.iou_token.weight", "unexpected: mask_decoder.extra",
                 "image_encoder.pos_embed (1, 2, 2, 32) instead of (1, 8, 8, 32)", "image_encoder.neck.1.bias holds"):
        assert part in message
    assert all(torch.equal(value, before[name]) for name, value in sam.state_dict().items())


def test_loading_makes_half_precision_float32_and_shares_memory_otherwise():
    with torch.device("meta"):
        sam = build_sam("vit_tiny_test")
    tensors = sam_weights(sam.state_dict())
    name = "mask_decoder.iou_token.weight"
    load_state(sam, {**tensors, name: tensors[name].half()}, "x")
    assert all(value.dtype == torch.float32 for value in sam.state_dict().values())
    assert sam.state_dict()["image_encoder.pos_embed"].data_ptr() == tensors["image_encoder.pos_embed"].data_ptr()
    assert not any(value.is_meta for value in (*sam.parameters(), *sam.buffers()))
