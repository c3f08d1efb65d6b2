"""The authors' released program's numbers, made with the weights of recipe.py on two photographs (ViT-B, slow)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from recipe import m2m_weights, sam_weights
from torch import Tensor
from torch.nn import functional as F

from matting_anything_core.geometry import Fit, to_square
from matting_anything_core.model import MattingAnything
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.m2m_fast import FoldedMaskToMatte, fold
from matting_anything_core.networks.sam import Sam, build_sam, load_state
from matting_anything_core.pipeline.masks import upsample_mask
from matting_anything_core.pipeline.merging import OS1_WIDTH, OS4_WIDTH, alpha_weight_map, mask_weight_map, merge, start
from matting_anything_core.types import Prompt

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"
PICTURES = ("chelsea", "rocket")
CASES = ("box", "point1", "points3", "boxes3_batch")
STARTS = (("mask", "mask", False), ("alpha_post", "alpha", True), ("alpha", "alpha", False))
MODES = {
    f"{name}_{sides}side": {"guidance": guidance, "postprocess": postprocess, "sides": sides}
    for name, guidance, postprocess in STARTS
    for sides in ("one", "two")
}


class Networks(NamedTuple):
    sam: Sam
    m2m: MaskToMatte
    folded: FoldedMaskToMatte


class Encoded(NamedTuple):
    rgb: np.ndarray
    fit: Fit
    pixels: Tensor
    features: Tensor


@pytest.fixture(scope="module")
def networks() -> Networks:
    with torch.device("meta"):
        sam, m2m = build_sam("vit_b"), MaskToMatte().eval()
    load_state(sam, sam_weights(sam.state_dict()), "the recipe")
    load_state(m2m, m2m_weights(m2m.state_dict()), "the recipe")
    return Networks(sam, m2m, fold(m2m))


@pytest.fixture(scope="module", params=PICTURES)
def encoded(request: pytest.FixtureRequest, networks: Networks) -> tuple[str, Encoded]:
    rgb = np.asarray(Image.open(GOLDEN / f"{request.param}.webp").convert("RGB"))
    fit = Fit(rgb.shape[0], rgb.shape[1], 1024)
    pixels = to_square(rgb, fit, networks.sam.mean, networks.sam.std)
    with torch.inference_mode():
        return request.param, Encoded(rgb, fit, pixels, networks.sam.encode(pixels))


def golden(picture: str, case: str) -> Mapping[str, np.ndarray]:
    with np.load(GOLDEN / f"recipe_{picture}_{case}.npz") as stored:
        return {name: stored[name] for name in stored.files}


def near(got: Tensor, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(got.float().numpy(), expected, atol=tolerance, rtol=0)


def bits(packed: np.ndarray, width: int) -> np.ndarray:
    return np.unpackbits(packed, axis=-1, count=width).astype(bool)


def test_embedding(encoded):
    picture, scene = encoded
    with np.load(GOLDEN / f"embedding_{picture}.npz") as expected:
        near(scene.pixels[..., ::32, ::32], expected["input"], 1e-5)
        near(scene.features[:, ::8, ::4, ::4], expected["embedding"])
        assert float(scene.features.mean()) == pytest.approx(float(expected["mean"]), abs=1e-5)
        assert float(scene.features.std()) == pytest.approx(float(expected["std"]), abs=1e-5)


def decode(networks: Networks, scene: Encoded, expected: Mapping[str, np.ndarray]) -> tuple[Tensor, Tensor]:
    def given(name: str) -> Tensor | None:
        return torch.from_numpy(expected[name]) if name in expected else None

    boxes = given("bbox")
    boxes = None if boxes is None else boxes[:, 0]
    with torch.inference_mode():
        return networks.sam.decode(scene.features, boxes, given("point"), given("label"))


@pytest.mark.parametrize("case", CASES)
def test_every_stage(networks, encoded, case):
    picture, scene = encoded
    expected = golden(picture, case)
    logits, iou = decode(networks, scene, expected)
    near(logits[..., ::8, ::8], expected["logits"], 2e-4)  # of a range of ±50
    near(iou, expected["iou"])

    size = scene.rgb.shape[:2]
    best = logits[torch.arange(len(iou)), iou.argmax(1)]
    masks = torch.zeros(len(best), 1, *size, dtype=torch.bool)
    for row, one in enumerate(best):
        inside, box = upsample_mask(one[None], scene.fit)
        masks[(row, 0, *box.slices())] = inside
    recorded = bits(expected["mask"], size[1])
    assert (masks.numpy() != recorded).mean() <= 1e-4

    with torch.inference_mode():
        alphas = networks.folded.os8_os4_os1(scene.features, scene.pixels, (best[:, None] > 0).float())
    large = []
    for name, alpha in zip(("os8", "os4", "os1"), alphas, strict=True):
        near(alpha[..., ::16, ::16], expected[name])
        height, width = scene.fit.scaled
        large.append(F.interpolate(alpha[..., :height, :width], size, mode="bilinear", align_corners=False))

    given = torch.from_numpy(recorded)
    for mode, options in MODES.items():
        merged = merge(given, *large, **options, reference=True)
        stride = int(expected["stride"])
        for row, alpha in enumerate(merged[:, 0]):
            name = f"final_{mode}" + (f"_{row}" if len(merged) > 1 else "")
            near(alpha[::stride, ::stride], expected[name])
            assert float(alpha.double().mean()) == pytest.approx(float(expected[f"{name}_mean"]), abs=1e-5)
        if case == "box":
            check_weight_maps(given, large, mode, expected)


def check_weight_maps(mask: Tensor, alphas: list[Tensor], mode: str, expected: Mapping[str, np.ndarray]) -> None:
    options = MODES[mode]
    sides, width = options["sides"], mask.shape[-1]
    alpha = start(mask, alphas[0], **options, reference=True)
    if options["guidance"] == "mask":
        assert (mask_weight_map(mask, sides)[0, 0].numpy() == bits(expected[f"w8_{mode}"], width)).all()
    w4 = alpha_weight_map(alpha, OS4_WIDTH, sides)
    assert (w4[0, 0].numpy() == bits(expected[f"w4_{mode}"], width)).all()
    w1 = alpha_weight_map(alphas[1].where(w4, alpha), OS1_WIDTH, sides)
    assert (w1[0, 0].numpy() == bits(expected[f"w1_{mode}"], width)).all()


PROMPTS = {
    "chelsea": (40, 20, 430, 299),
    "rocket": (270, 30, 380, 380),
}


def test_the_whole_way_from_a_box_in_the_picture(networks, encoded):
    picture, scene = encoded
    expected = golden(picture, "box")
    model = MattingAnything(networks.sam, networks.m2m, device="cpu", name="vit_b")
    embedding = model.embed(scene.rgb)
    stride = int(expected["stride"])
    for mode, options in MODES.items():
        [matte] = model.matte(embedding, Prompt(box=PROMPTS[picture]), **options, reference=True)
        assert (matte.mask != bits(expected["mask"], scene.rgb.shape[1])[0, 0]).mean() <= 1e-4
        np.testing.assert_allclose(matte.alpha[::stride, ::stride], expected[f"final_{mode}"], atol=1e-4, rtol=0)


def test_three_boxes_in_one_pass_on_the_picture(networks, encoded):
    picture, scene = encoded
    expected = golden(picture, "boxes3_batch")
    model = MattingAnything(networks.sam, networks.m2m, device="cpu", name="vit_b")
    height, width = scene.fit.scaled
    scale = np.array([scene.rgb.shape[1] / width, scene.rgb.shape[0] / height] * 2)
    boxes = [Prompt(box=tuple(box[0] * scale)) for box in expected["bbox"].astype(float)]
    mattes = model.matte(model.embed(scene.rgb), boxes, guidance="mask", sides="one", reference=True)
    stride = int(expected["stride"])
    for row, matte in enumerate(mattes):
        recorded = expected[f"final_mask_oneside_{row}"]
        np.testing.assert_allclose(matte.alpha[::stride, ::stride], recorded, atol=1e-4, rtol=0)
        assert matte.score == pytest.approx(float(expected["iou"][row].max()), abs=1e-4)
