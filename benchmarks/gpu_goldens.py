"""The authors' released program's numbers (tests/golden), against what a device computes: how far is each stage off?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gpu_models import GOLDEN, Networks
from PIL import Image
from torch.nn import functional as F

from matting_anything_core.device import autocast
from matting_anything_core.geometry import Fit, to_square
from matting_anything_core.networks.m2m_fast import fold
from matting_anything_core.pipeline.merging import merge

PICTURES = ("chelsea", "rocket")
CASES = ("box", "point1", "points3", "boxes3_batch")
TOLERANCE = {"input": 1e-5, "embedding": 1e-4, "logits": 2e-4, "iou": 1e-4, "os8": 1e-4, "os4": 1e-4, "os1": 1e-4,
             "alpha": 1e-4, "mask": 1e-4}
"""What float32 is to keep: absolute differences (of logits, whose range is ±50, twice that); of the mask, the share of
pixels that are on the other side."""


@dataclass(frozen=True)
class Difference:
    """Of one stage of one picture and prompt, to the golden numbers: absolute, largest and mean."""

    picture: str
    case: str
    stage: str
    largest: float
    mean: float

    @property
    def kept(self) -> bool:
        """Whether it is within what float32 is to keep."""
        return self.largest <= TOLERANCE[self.stage]


def differences(networks: Networks, dtype: torch.dtype, pictures: tuple[str, ...] = PICTURES,
                cases: tuple[str, ...] = CASES) -> list[Difference]:
    """Every stage in a number type; each stage gets what the one before computed, but for the mask, which is the
    recorded one (a pixel that flips at logit 0 would hide everything behind it)."""
    device = networks.model.device
    folded = fold(networks.m2m.cpu()).to(device, dtype)
    networks.m2m.to(device)
    found: list[Difference] = []
    for picture in pictures:
        rgb = np.asarray(Image.open(GOLDEN / f"{picture}.webp").convert("RGB"))
        fit = Fit(rgb.shape[0], rgb.shape[1], networks.sam.square)
        pixels = to_square(rgb, fit, networks.sam.mean, networks.sam.std, device)
        with torch.inference_mode(), autocast(device, dtype):
            features = networks.sam.encode(pixels).float()
        with np.load(GOLDEN / f"embedding_{picture}.npz") as stored:
            found.append(_difference(picture, "", "input", pixels[..., ::32, ::32], stored["input"]))
            found.append(_difference(picture, "", "embedding", features[:, ::8, ::4, ::4], stored["embedding"]))
        for case in cases:
            with np.load(GOLDEN / f"recipe_{picture}_{case}.npz") as stored:
                expected = {name: stored[name] for name in stored.files}
            found += _prompted(networks, folded, dtype, picture, case, expected, (fit, pixels, features))
    return found


def _prompted(networks: Networks, folded, dtype: torch.dtype, picture: str, case: str,  # type: ignore[no-untyped-def]
              expected: dict[str, np.ndarray], encoded: tuple[Fit, torch.Tensor, torch.Tensor]) -> list[Difference]:
    fit, pixels, features = encoded
    device = pixels.device

    def given(name: str) -> torch.Tensor | None:
        return torch.from_numpy(expected[name]).to(device) if name in expected else None

    boxes = given("bbox")
    with torch.inference_mode():
        with autocast(device, dtype):
            logits, iou = networks.sam.decode(features, None if boxes is None else boxes[:, 0], given("point"),
                                              given("label"))
        logits, iou = logits.float(), iou.float()
        best = logits[torch.arange(len(iou), device=device), iou.argmax(1)][:, None]
        size = fit.height, fit.width
        height, width = fit.scaled

        def large(values: torch.Tensor) -> torch.Tensor:
            return F.interpolate(values[..., :height, :width], size, mode="bilinear", align_corners=False)

        square = F.interpolate(best, (fit.square, fit.square), mode="bilinear", align_corners=False)
        mask = large(square) > 0
        recorded = torch.from_numpy(np.unpackbits(expected["mask"], axis=-1, count=fit.width).astype(bool)).to(device)
        alphas = folded.os8_os4_os1(features.to(dtype), pixels, (best > 0).float())
        merged = merge(recorded, *(large(alpha) for alpha in alphas), guidance="mask", sides="one", reference=True)
    stride = int(expected["stride"])
    wrong = float((mask != recorded).float().mean())
    found = [
        _difference(picture, case, "logits", logits[..., ::8, ::8], expected["logits"]),
        _difference(picture, case, "iou", iou, expected["iou"]),
        Difference(picture, case, "mask", wrong, wrong),
        *(_difference(picture, case, name, alpha[..., ::16, ::16], expected[name])
          for name, alpha in zip(("os8", "os4", "os1"), alphas, strict=True)),
    ]
    for row, alpha in enumerate(merged[:, 0]):
        name = "final_mask_oneside" + (f"_{row}" if len(merged) > 1 else "")
        found.append(_difference(picture, case, "alpha", alpha[::stride, ::stride], expected[name]))
    return found


def _difference(picture: str, case: str, stage: str, got: torch.Tensor, expected: np.ndarray) -> Difference:
    off = np.abs(got.float().cpu().numpy().astype(np.float64) - expected)
    return Difference(picture, case, stage, float(off.max()), float(off.mean()))


def summary(found: list[Difference]) -> dict[str, dict[str, float | bool]]:
    """By stage: the largest and the mean difference over all pictures and prompts, and whether all keep float32's."""
    stages = dict.fromkeys(one.stage for one in found)
    return {stage: {
        "largest": max(one.largest for one in found if one.stage == stage),
        "mean": float(np.mean([one.mean for one in found if one.stage == stage])),
        "kept": all(one.kept for one in found if one.stage == stage),
    } for stage in stages}
