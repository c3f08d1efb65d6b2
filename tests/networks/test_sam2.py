"""SAM 2.1 on single images beside transformers' Sam2Model, with weights made from names."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from recipe import m2m_weights
from segmenters import SAM2_SIZES, SHAPES, made, pixels, prompts, their_sam2, their_sam2_state
from tiny import picture
from torch import Tensor

from matting_anything_core import WeightsError, load_model
from matting_anything_core.networks.backbones import BACKBONES, recognised
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.sam import build_sam
from matting_anything_core.networks.sam2 import renamed
from matting_anything_core.weights.convert import write_model
from matting_anything_core.weights.store import open_checkpoint

ONLY_FOR_VIDEO = {
    "maskmem_tpos_enc": (7, 1, 1, 64), "no_mem_pos_enc": (1, 1, 256), "no_obj_ptr": (1, 256),
    "no_obj_embed_spatial": (1, 64), "memory_attention.norm.weight": (256,),
    "memory_encoder.out_proj.weight": (64, 256), "mask_downsample.weight": (1, 1, 4, 4),
    "obj_ptr_proj.layers.0.weight": (256, 256), "obj_ptr_tpos_proj.weight": (64, 256),
}
"""Some of them, as they are in the published files."""


@cache
def both() -> tuple:
    sam = made("sam2_tiny_test", 128)
    other = their_sam2("sam2_tiny_test", 128)
    other.load_state_dict(their_sam2_state(sam.state_dict()))
    return sam, other


@pytest.mark.parametrize(("shape", "parts"), zip(
    (*SHAPES, (70, 90)), ["box", "points", "box points", "box mask", "points mask"], strict=True))
def test_masks_and_ious_are_those_of_transformers(shape, parts):
    sam, other = both()
    given, asked = pixels(sam, *shape), prompts(sam, parts)
    assert (given[0, :, -1] != 0).any()  # stretched over the square: there is no padding
    with torch.inference_mode():
        features, fine = sam.look(given)
        logits, iou = sam.decode(features, fine=fine, **asked)
        quarter, eighth, sixteenth = other.get_image_embeddings(given)
        masks = asked.get("masks")
        expected = [other(  # one prompt at a time: with masks it takes no more
            image_embeddings=[quarter, eighth, sixteenth], multimask_output=True,
            input_points=asked["points"][None, row:row + 1] if "points" in asked else None,
            input_labels=asked["labels"][None, row:row + 1] if "labels" in asked else None,
            input_boxes=asked["boxes"][None, row:row + 1] if "boxes" in asked else None,
            input_masks=None if masks is None else masks[row:row + 1]) for row in range(2)]
    torch.testing.assert_close(features, sixteenth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fine[0], eighth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fine[1], quarter, atol=1e-4, rtol=1e-4)
    for row, one in enumerate(expected):
        torch.testing.assert_close(logits[row], one.pred_masks[0, 0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(iou[row], one.iou_scores[0, 0], atol=1e-4, rtol=1e-4)


def test_all_at_once_gives_what_rows_of_windows_give():
    sam, _ = both()
    given = pixels(sam, 100, 100)
    rows = sam.image_encoder.pyramid(given)
    whole = made("sam2_tiny_test", 128).image_encoder.double().pyramid(given.double())
    for one, other in zip(rows, whole, strict=True):
        torch.testing.assert_close(one, other.float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in SAM2_SIZES if name != "sam2_tiny_test"])
def test_the_published_sizes_have_transformers_shapes_and_are_told_apart(name):
    with torch.device("meta"):
        ours, expected = build_sam(name).state_dict(), their_sam2(name, 1024).state_dict()
    assert {key: value.shape for key, value in their_sam2_state(ours).items()} == \
        {key: value.shape for key, value in expected.items()}
    assert recognised({key: tuple(value.shape) for key, value in as_published(ours).items()}) is BACKBONES[name]


def as_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of the published .pt files, with what is for videos alone."""
    found = {}
    for name, value in state.items():
        name = re.sub(r"^(prompt_encoder|mask_decoder)\.", r"sam_\1.", name)
        name = re.sub(r"(transformer\.layers\.\d\.mlp)\.lin([12])",
                      lambda part: f"{part[1]}.layers.{int(part[2]) - 1}", name)
        found[name] = value
    return {**found, **{name: torch.zeros(shape) for name, shape in ONLY_FOR_VIDEO.items()}}


def test_names_are_turned_once():
    for name in as_published(build_sam("sam2_tiny_test").state_dict()):
        assert renamed(renamed(name)) == renamed(name)


def test_the_published_layout_is_recognised_converted_and_matted(tmp_path):
    sam = made("sam2_tiny_test", 128)
    path = tmp_path / "sam2.1_hiera_x.pt"
    torch.save({"model": as_published(sam.state_dict())}, path)
    parts = open_checkpoint(path)
    assert (parts.architecture, set(parts.sam)) == ("sam2_tiny_test", set(sam.state_dict()))
    converted = write_model(tmp_path / "sam2.safetensors", sam=parts.sam, metadata={"architecture": "sam2_tiny_test"})
    image = picture(60, 100)
    alphas = []
    for file in (path, converted):
        model = load_model(file, device="cpu")
        found = model.matte(model.embed(image), [{"box": (10, 8, 70, 50)}, {"points": [(30, 20)], "labels": [1]}])
        assert all(one.alpha.shape == (60, 100) for one in found)
        alphas.append(found[0].alpha)
    assert (alphas[0] == alphas[1]).all()


def test_no_mask_to_matte_belongs_to_it(tmp_path):
    path = write_model(tmp_path / "sam2.safetensors", sam=made("sam2_tiny_test", 128).state_dict(),
                       metadata={"architecture": "sam2_tiny_test"})
    m2m = m2m_weights(MaskToMatte().state_dict())
    for name, metadata in (("unsaid", {}), ("b", {"architecture": "vit_b"})):
        other = write_model(tmp_path / f"{name}.safetensors", m2m=m2m, metadata=metadata)
        with pytest.raises(WeightsError, match=r"sam2_tiny_test"):
            open_checkpoint(path, m2m=other)


def test_dots_in_a_models_name_do_not_make_it_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("MATTING_ANYTHING_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"matting-anything weights fetch sam2\.1_s$"):
        open_checkpoint("sam2.1_s")
