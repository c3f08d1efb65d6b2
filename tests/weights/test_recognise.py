"""Every published layout is recognised; what is not these networks is refused by file name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from matting_anything_core import WeightsError
from matting_anything_core.weights.files import RawFile, read_file
from matting_anything_core.weights.recognise import recognise

from .conftest import published_shapes


def raw(tensors, **metadata):
    return RawFile(Path("some.pth"), dict(tensors), metadata)


def under(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def test_flat_files_are_recognised(sam, m2m):
    first, second = recognise(raw(sam)), recognise(raw(m2m))
    assert (first.architecture, first.square, list(first.sam), first.m2m) == ("vit_tiny_test", 128, list(sam), {})
    assert (second.architecture, second.sam, list(second.m2m)) == (None, {}, list(m2m))


@pytest.mark.parametrize("layers", [1, 2])
def test_the_wrappers_prefix_is_cut_and_only_that(m2m, layers):
    found = recognise(raw(under("module." * layers, m2m))).m2m
    assert set(found) == set(m2m)
    assert "layer2.0.upsample.1.module.weight_bar" in found


@pytest.mark.parametrize(("outer", "seg"), [("module.", "seg_model."), ("", "seg_model."), ("", "sam.")])
def test_joint_layouts_are_taken_apart(sam, m2m, outer, seg):
    parts = recognise(raw({**under(outer + "m2m.", m2m), **under(outer + seg, sam)}))
    assert set(parts.sam) == set(sam)
    assert set(parts.m2m) == set(m2m)
    assert torch.equal(parts.m2m["conv1.module.weight_bar"], m2m["conv1.module.weight_bar"])


def test_the_published_vit_b_is_recognised_by_its_shapes():
    shapes = published_shapes("sam_vit_b_keys.txt")
    parts = recognise(raw({name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}))
    assert (parts.architecture, parts.square, len(parts.sam)) == ("vit_b", 1024, 314)


def test_constants_stored_along_with_sam_are_dropped(sam):
    parts = recognise(raw({**sam, "pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}))
    assert set(parts.sam) == set(sam)


@pytest.mark.parametrize(("change", "says"), [
    (lambda sam: sam.pop("mask_decoder.iou_token.weight"), "lacks mask_decoder.iou_token.weight"),
    (lambda sam: sam.update({"mask_decoder.of_another": torch.zeros(1, 256)}), "besides mask_decoder.of_another"),
    (lambda sam: sam.update({"mask_decoder.hf_token.weight": torch.zeros(1, 256)}), "hq_vit_tiny_test.* lacks mask_"),
    (lambda sam: sam.update({"mask_decoder.iou_token.weight": torch.zeros(2, 256)}), "instead of"),
    (lambda sam: sam.update({"mask_decoder.iou_token.weight": torch.zeros(1, 256).long()}), "int64"),
    (lambda sam: sam.pop("image_encoder.pos_embed"), "position embedding"),
    (lambda sam: sam.pop("image_encoder.patch_embed.proj.weight"), "unknown image encoder"),
    (lambda sam: sam.update({"mask_decoder.iou_token.weight": torch.full((1, 256), float("nan"))}), "NaN"),
])
def test_another_sam_is_refused_by_file_name(sam, change, says):
    changed = dict(sam)
    change(changed)
    with pytest.raises(WeightsError, match=f"some.pth.*{says}"):
        recognise(raw(changed))


@pytest.mark.parametrize(("metadata", "says"), [
    ({"architecture": "vit_b"}, "says it holds vit_b"),
    ({"square": "1024"}, "position embedding is for 128"),
    ({"square": "-1"}, "expected a number"),
    ({"square": "9" * 5000}, "expected a number"),
])
def test_a_header_that_contradicts_the_tensors_is_refused(sam, metadata, says):
    with pytest.raises(WeightsError, match=f"some.pth.*{says}"):
        recognise(raw(sam, **metadata))


def test_another_network_is_refused():
    with pytest.raises(WeightsError, match=r"some\.pth holds the weights of another network \(1 tensors, such as fc"):
        recognise(raw({"fc.weight": torch.zeros(2, 2)}))
    with pytest.raises(WeightsError, match=r"belongs to neither"):
        recognise(raw({"sam.a": torch.zeros(2), "vae.b": torch.zeros(2)}))


def test_a_tensor_that_only_claims_its_size_takes_no_memory(m2m):
    name = "conv1.module.weight_bar"
    with pytest.raises(WeightsError, match="instead of"):
        recognise(raw({**m2m, name: torch.zeros(1).expand(1 << 40)}))


def test_a_training_checkpoint_loses_everything_but_its_weights(tmp_path, m2m):
    path = tmp_path / "mam_vitb.pth"
    optimiser = {"state": {0: {"exp_avg": torch.zeros(1000)}}, "param_groups": [{"lr": 0.001, "params": [0]}]}
    torch.save({"state_dict": under("module.", m2m), "iter": 20000, "opt_state_dict": optimiser}, path)
    parts = recognise(read_file(path))
    assert set(parts.m2m) == set(m2m)


def test_files_of_old_torch_are_read(tmp_path, m2m):
    path = tmp_path / "old.pth"
    torch.save(m2m, path, _use_new_zipfile_serialization=False)
    found = recognise(read_file(path)).m2m
    assert all(torch.equal(found[name], tensor) for name, tensor in m2m.items())


def test_large_values_are_no_infinite_ones(m2m):
    """A sum that overflows proves nothing of the values."""
    large = {**m2m, "conv1.module.weight_bar": torch.full_like(m2m["conv1.module.weight_bar"], 1e38)}
    assert recognise(raw(large)).architecture is None
    with pytest.raises(WeightsError, match=r"some\.pth holds NaN or infinite values in conv1\.module\.weight_bar"):
        recognise(raw({**m2m, "conv1.module.weight_bar": torch.full_like(m2m["conv1.module.weight_bar"], torch.inf)}))


def test_mask_to_matte_says_what_it_was_trained_for(m2m):
    assert recognise(raw(m2m, architecture="vit_l")).architecture == "vit_l"
    assert recognise(raw(m2m)).square is None


def test_a_part_that_comes_twice_is_refused(sam, m2m):
    with pytest.raises(WeightsError, match="belongs to neither"):
        recognise(raw({**under("sam.", sam), **under("seg_model.", sam), **under("m2m.", m2m)}))


def test_the_damage_in_either_part_is_found(sam, m2m):
    for part in ("sam.", "m2m."):
        whole = {**under("sam.", sam), **under("m2m.", m2m)}
        name = next(key for key, value in whole.items() if key.startswith(part) and value.is_floating_point())
        with pytest.raises(WeightsError, match="NaN"):
            recognise(raw({**whole, name: torch.full_like(whole[name], torch.nan)}))
        with pytest.raises(WeightsError, match="lacks"):
            recognise(raw({key: value for key, value in whole.items() if key != name}))


@pytest.mark.parametrize("shape", [(1, 8, 64), (1, 0, 0, 64), (1, 1025, 1025, 64)])
def test_position_embeddings_that_cannot_be_are_refused(sam, shape):
    with pytest.raises(WeightsError, match="position embedding"):
        recognise(raw({**sam, "image_encoder.pos_embed": torch.zeros(1).expand(shape)}))


def test_what_an_unknown_encoder_looks_like_is_said(sam):
    width = sam["image_encoder.patch_embed.proj.weight"].shape[0] + 1
    odd = {**sam, "image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 16, 16)}
    with pytest.raises(WeightsError, match=f"an image encoder of width {width} with 3 blocks; known are lite, vit_b"):
        recognise(raw(odd))
