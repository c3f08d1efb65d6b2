"""docs/lite/data/decoder.py: boxes as people draw them, and a step of training on kept features."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from matting_anything_core.networks.sam import build_sam
from matting_anything_core.training.feature_cache import FeatureCache
from matting_anything_core.training.views import View

SCRIPT = Path(__file__).parents[2] / "docs/lite/data/decoder.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("decoder_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["decoder_script"] = module
    spec.loader.exec_module(module)
    return module


def test_boxes_are_drawn_tight_near_and_far_too_large(script: ModuleType) -> None:
    share, rng = np.zeros((128, 128), np.float32), np.random.default_rng(1)
    share[40:80, 50:70] = 1
    tight = np.array([200, 160, 280, 320], np.float32)
    boxes = np.stack([script.drawn_box(rng, share, (400, 512)) for _ in range(600)])
    assert (boxes >= 0).all()
    assert (boxes <= [512, 400, 512, 400]).all()
    exact = (boxes == tight).all(1)
    assert 0.28 < exact.mean() < 0.42
    off = np.abs(boxes - tight) / [80, 160, 80, 160]
    near = ~exact & (off.max(1) <= 0.08)
    assert 0.2 < near.mean() < 0.4
    large = boxes[~exact & ~near]
    assert (large[:, :2] <= tight[:2]).all()
    assert (large[:, 2:] >= tight[2:]).all()
    assert off[~exact & ~near].max() > 0.7


def test_a_step_teaches_the_decoder_and_nothing_else(script: ModuleType, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 12, script.SIDE)
    generator = torch.Generator().manual_seed(0)
    for number in range(0, 12, 4):  # not all views have been made yet
        targets = torch.zeros((2, 128, 128), dtype=torch.uint8)
        targets[0, 20:60, 30:90], targets[1, 50:90, 10:50] = 255, 255
        cache.write(number, torch.randn((256, 32, 32), generator=generator), View(torch.empty(0), (400, 512), targets))
    batches = script.Batches(cache, seed=3)
    with pytest.raises(SystemExit, match="there are 3 views"):
        next(iter(batches))
    batch = batches._batch([0, 4])
    assert batch["features"].shape == (2, 256, 32, 32)
    assert batch["targets"].amax((1, 2)).eq(1).all()
    assert batch["owner"].tolist() == [0, 0, 0, 1, 1, 1]
    sam = build_sam("lite", script.SIDE)
    before, iou = script.loss_of(sam, batch)
    assert 0 <= iou <= 1
    before.backward()
    taught = {name.split(".")[0] for name, one in sam.named_parameters() if one.grad is not None}
    assert taught == {"mask_decoder", "prompt_encoder"}
    optimiser = torch.optim.AdamW(sam.mask_decoder.parameters(), 1e-3)
    for _ in range(3):
        optimiser.step()
        optimiser.zero_grad()
        after, _ = script.loss_of(sam, batch)
        after.backward()
    assert float(after.detach()) < float(before.detach())
