"""HQ-SAM beside the authors' package segment_anything_hq, with weights made from names."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from recipe import m2m_weights
from segmenters import PREFIX, SHAPES, made, pixels, prompts, published, reference, their_hq_sam, their_vit
from tiny import picture

from matting_anything_core import WeightsError, load_model
from matting_anything_core.networks.backbones import BACKBONES, recognised
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.sam import build_sam
from matting_anything_core.weights.convert import write_model
from matting_anything_core.weights.store import open_checkpoint

SIZES = {"hq_vit_b": (768, 12, 12, (2, 5, 8, 11)), "hq_vit_l": (1024, 24, 16, (5, 11, 17, 23)),
         "hq_vit_h": (1280, 32, 16, (7, 15, 23, 31))}


@cache
def both(name: str) -> tuple:
    """Ours and theirs, with the same weights, at 128 pixels."""
    sam = made(name, 128)
    if name == "hq_light":
        other = their_hq_sam(published(128, sam.state_dict()), 160, 128)
    else:
        other = their_hq_sam(their_vit(32, 3, 2, (1,), 128, 3), 32, 128, width=64)
    missing, spare = other.load_state_dict(sam.state_dict(), strict=False)
    assert not spare
    assert all(name.startswith((PREFIX + "norm_head", PREFIX + "head")) for name in missing)
    return sam, other.eval()


@pytest.mark.parametrize("name", ["hq_vit_tiny_test", "hq_light"])
@pytest.mark.parametrize(("shape", "parts"), zip(SHAPES, ["box", "points", "box points", "box mask"], strict=True))
def test_masks_and_ious_are_those_of_the_authors_package(name, shape, parts):
    """By default: the single mask and HQ's added."""
    sam, other = both(name)
    given, asked = pixels(sam, *shape), prompts(sam, parts)
    with torch.inference_mode():
        features, fine = sam.look(given)
        logits, iou = sam.decode(features, fine=fine, **asked)
        if name == "hq_light":
            expected, early = reference(other.image_encoder, given)
        else:
            expected, [early] = other.image_encoder(given)
        points = (asked["points"], asked["labels"]) if "points" in asked else None
        sparse, dense = other.prompt_encoder(points=points, boxes=asked.get("boxes"), masks=asked.get("masks"))
        masks, scores = other.mask_decoder(
            image_embeddings=expected, image_pe=other.prompt_encoder.get_dense_pe(), sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense, multimask_output=False, hq_token_only=False, interm_embeddings=[early])
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits, masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(iou, scores, atol=1e-4, rtol=1e-4)


def test_many_pictures_are_decoded_each_with_its_own_fine_features():
    sam, _ = both("hq_vit_tiny_test")
    given = torch.cat([pixels(sam, 100, 100), pixels(sam, 60, 128)])
    boxes = prompts(sam, "box", 3)["boxes"]
    with torch.inference_mode():
        features, fine = sam.look(given)
        logits, _ = sam.decode(features, boxes, owner=torch.tensor([1, 0, 1]), fine=fine)
        for row, one in enumerate((1, 0, 1)):
            alone, _ = sam.decode(features[one:one + 1], boxes[row:row + 1], fine=(fine[0][one:one + 1],))
            torch.testing.assert_close(logits[row:row + 1], alone, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", SIZES)
def test_the_published_sizes_have_the_packages_names_and_are_told_from_sam(name):
    width, depth, heads, everywhere = SIZES[name]
    with torch.device("meta"):
        expected = their_hq_sam(their_vit(width, depth, heads, everywhere, 1024, 14), width, 1024).state_dict()
        ours = build_sam(name).state_dict()
    shapes = {key: tuple(value.shape) for key, value in expected.items()}
    assert {key: tuple(value.shape) for key, value in ours.items()} == shapes
    assert recognised(shapes) is BACKBONES[name]
    plain = {key: shape for key, shape in shapes.items() if "hf_" not in key}
    assert recognised(plain) is BACKBONES[name.removeprefix("hq_")]


def test_light_is_told_from_mobile_sam():
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in build_sam("hq_light").state_dict().items()}
    assert recognised(shapes) is BACKBONES["hq_light"]


def test_files_are_recognised_and_matted_with_and_without_the_mask_to_matte_of_the_sam_below(tmp_path):
    state = dict(made("hq_vit_tiny_test", 128).state_dict())
    torch.save(state, tmp_path / "sam_hq_vit_x.pth")
    m2m = m2m_weights(MaskToMatte().state_dict())
    for size in ("vit_tiny_test", "vit_b"):
        write_model(tmp_path / f"{size}.safetensors", m2m=m2m, metadata={"architecture": size})
    image, heads = picture(60, 100), []
    for own in (None, tmp_path / "vit_tiny_test.safetensors"):
        model = load_model(tmp_path / "sam_hq_vit_x.pth", m2m=own, device="cpu")
        embedding = model.embed(image)
        first = model.matte(embedding, (10, 8, 70, 50))[0]
        again = model.matte(embedding.to("cpu"), [(10, 8, 70, 50), (5, 5, 20, 20)])[0]
        assert (first.alpha == again.alpha).all()
        assert embedding.nbytes > 32 * 32 * 32 * 4  # the fine features count
        heads.append(model.defaults.head)
    assert heads == ["guided", "mask_to_matte"]
    with pytest.raises(WeightsError, match="Mask-to-Matte of vit_b"):
        open_checkpoint(tmp_path / "sam_hq_vit_x.pth", m2m=tmp_path / "vit_b.safetensors")


def test_what_has_no_early_features_is_refused():
    sam, _ = both("hq_vit_tiny_test")
    with pytest.raises(WeightsError, match="take the SAM of the same size"):
        sam.decode(torch.zeros(1, 256, 8, 8), prompts(sam, "box")["boxes"])
