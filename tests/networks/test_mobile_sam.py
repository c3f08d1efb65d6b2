"""MobileSAM beside the published TinyViT (the copy in segment_anything_hq, which is HQ-SAM's package) and SAM's own
prompt encoder and mask decoder, with weights made from names."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from recipe import m2m_weights, segmenter_weights
from segment_anything.utils.transforms import ResizeLongestSide
from segmenters import PREFIX, SHAPES, made, pixels, prompts, published, reference
from tiny import picture
from torch import nn

from matting_anything_core import WeightsError, load_model, read_image, write_image
from matting_anything_core.cli import main
from matting_anything_core.networks.backbones import BACKBONES
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.sam import build_sam
from matting_anything_core.weights.convert import write_model
from matting_anything_core.weights.store import open_checkpoint


@cache
def both(square: int) -> tuple:
    sam = made("mobile_sam", square)
    return sam, published(square, sam.state_dict())


@pytest.mark.parametrize("square", [64, 208, 336])
def test_features_are_those_of_the_published_encoder(square):
    """In strips with a rest, windows that stick out on all grids, a picture smaller than a window."""
    sam, encoder = both(square)
    given = torch.randn(2, 3, square, square, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, early = sam.image_encoder.encode(given)
    expected, expected_early = reference(encoder, given)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(early, expected_early, atol=1e-4, rtol=1e-4)


def test_the_published_forward_at_its_own_size_gives_the_same():
    sam = made("mobile_sam", 1024)
    given = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, _ = published(1024, sam.state_dict())(given)
        torch.testing.assert_close(sam.encode(given), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parts", ["box", "points", "box points mask"])
def test_masks_and_ious_are_those_of_the_published_networks(shape, parts):
    sam, encoder = both(128)
    scaled = ResizeLongestSide(128).apply_image(picture(*shape))
    given = (torch.from_numpy(scaled).permute(2, 0, 1)[None].float() - torch.tensor(sam.mean).view(-1, 1, 1))
    given = given / torch.tensor(sam.std).view(-1, 1, 1)
    given = nn.functional.pad(given, (0, 128 - given.shape[-1], 0, 128 - given.shape[-2]))
    asked = prompts(sam, parts)
    with torch.inference_mode():
        features = sam.encode(pixels(sam, *shape))
        logits, iou = sam.decode(features, **asked)
        expected, _ = reference(encoder, given)
        points = (asked["points"], asked["labels"]) if "points" in asked else None
        sparse, dense = sam.prompt_encoder(points, asked.get("boxes"), asked.get("masks"))
        masks, scores = sam.mask_decoder(expected, sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits, masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(iou, scores, atol=1e-4, rtol=1e-4)


def test_all_at_once_gives_what_strips_give():
    """Other devices and types take whole stages at once."""
    sam, _ = both(208)
    given = torch.randn(1, 3, 208, 208, generator=torch.Generator().manual_seed(0))
    strips, early = sam.image_encoder.encode(given)
    whole, whole_early = made("mobile_sam", 208).image_encoder.double().encode(given.double())
    torch.testing.assert_close(strips, whole.float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(early, whole_early.float(), atol=1e-4, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert float((sam.encode(given).float() - strips).abs().mean()) < 0.1


def test_an_encoder_can_be_stopped_and_says_how_far_it_is():
    sam, _ = both(64)
    shares = []

    def step(share):
        shares.append(share)
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sam.encode(torch.zeros(1, 3, 64, 64), step)
    assert shares[0] == 0
    assert shares == sorted(shares)


def test_the_published_names_are_all_there_and_no_others():
    from segment_anything_hq.modeling import TinyViT

    encoder = TinyViT(img_size=1024, num_classes=1000, embed_dims=[64, 128, 160, 320], num_heads=[2, 4, 5, 10])
    theirs = {PREFIX + name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    with torch.device("meta"):
        ours = build_sam("mobile_sam").state_dict()
    kept = {name: shape for name, shape in theirs.items() if not name.startswith(BACKBONES["mobile_sam"].unused)}
    assert {name: tuple(value.shape) for name, value in ours.items() if name.startswith(PREFIX)} == kept
    assert set(theirs) - set(kept) == {PREFIX + name for name in (
        "norm_head.weight", "norm_head.bias", "head.weight", "head.bias")}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """mobile_sam.pt as it is published, the same at 128 pixels as safetensors, Mask-to-Mattes of two SAMs."""
    folder = tmp_path_factory.mktemp("mobile_sam")
    state = {**made("mobile_sam", 128).state_dict()}
    paths = {name: folder / name for name in ("mobile_sam.pt", "small.safetensors", "h.safetensors", "b.safetensors")}
    head = {"image_encoder.norm_head.weight": torch.ones(320), "image_encoder.norm_head.bias": torch.zeros(320),
            "image_encoder.head.weight": torch.zeros(1000, 320), "image_encoder.head.bias": torch.zeros(1000)}
    torch.save({**state, **head}, paths["mobile_sam.pt"])
    write_model(paths["small.safetensors"], sam=state, metadata={"architecture": "mobile_sam", "square": "128"})
    m2m = m2m_weights(MaskToMatte().state_dict())
    for size in "hb":
        write_model(paths[f"{size}.safetensors"], m2m=m2m, metadata={"architecture": f"vit_{size}"})
    return paths


def test_the_published_file_is_recognised_and_mattes_without_a_mask_to_matte(files):
    model = load_model(files["mobile_sam.pt"], device="cpu")
    assert (model.name, model.square, model.defaults.head) == ("mobile_sam", 1024, "guided")


def test_a_picture_is_matted_from_python_and_the_command_line(files, tmp_path):
    image = picture(60, 100)
    model = load_model(files["small.safetensors"], device="cpu")
    [found] = model.matte(model.embed(image), (10, 8, 70, 50))
    assert found.alpha.shape == (60, 100)
    write_image(tmp_path / "in.png", read_image(image))
    assert main(["matte", str(tmp_path / "in.png"), "--box", "10,8,70,50", "--model", str(files["small.safetensors"]),
                 "--output", "alpha", "-o", str(tmp_path / "out.png")]) == 0
    np.testing.assert_allclose(read_image(tmp_path / "out.png").rgb[..., 0] / 255, found.alpha, atol=1 / 255)


def test_the_mask_to_matte_of_vit_h_may_be_tried_and_is_called_untested(files):
    with pytest.warns(UserWarning, match="trained on the features of vit_h, which mobile_sam only imitates"):
        model = load_model(files["small.safetensors"], m2m=files["h.safetensors"], device="cpu")
    assert model.defaults.head == "mask_to_matte"
    [found] = model.matte(model.embed(picture(60, 100)), (10, 8, 70, 50))
    assert found.alpha.shape == (60, 100)
    with pytest.raises(WeightsError, match="Mask-to-Matte of vit_b"):
        open_checkpoint(files["small.safetensors"], m2m=files["b.safetensors"])


def test_a_name_finds_the_published_file_and_says_what_gets_it(files, tmp_path, monkeypatch):
    monkeypatch.setenv("MATTING_ANYTHING_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"get it with: matting-anything weights fetch mobile_sam$"):
        open_checkpoint("mobile_sam")
    for other in ("lite", "vit_b"):  # another model's own Mask-to-Matte does not belong to it
        assert open_checkpoint(other, sam=files["mobile_sam.pt"]).m2m == {}
    checkpoint = open_checkpoint("mobile_sam", folders=[files["mobile_sam.pt"].parent])
    assert (checkpoint.architecture, checkpoint.m2m) == ("mobile_sam", {})
    assert set(checkpoint.sam) == set(segmenter_weights(build_sam("mobile_sam", 64).state_dict()))


def test_a_head_that_needs_a_mask_to_matte_says_so(files, tmp_path):
    state = made("mobile_sam", 128).state_dict()
    path = write_model(tmp_path / "odd.safetensors", sam=state, metadata={
        "architecture": "mobile_sam", "square": "128", "head": "mask_to_matte"})
    with pytest.raises(WeightsError, match=r"without a Mask-to-Matte; name its file too \(m2m\)"):
        load_model(path, device="cpu")
