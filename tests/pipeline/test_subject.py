"""A box around everything: the object is what does not touch the borders all around."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from matting_anything_core import load_model, matte
from matting_anything_core.geometry import Fit
from matting_anything_core.pipeline.prompting import DecoderPrompt
from matting_anything_core.pipeline.subject import is_whole, not_the_ground

FIT = Fit(60, 80, 64)


def logits(inside: np.ndarray) -> torch.Tensor:
    """Of a mask at the fit's scaled size, a quarter of it as decoded."""
    height, width = FIT.scaled
    full = torch.full((1, 64, 64), -5.0)
    full[0, :height, :width] = torch.from_numpy(np.where(inside, 5.0, -5.0).astype(np.float32))
    return full


def test_the_ground_is_turned_round_and_an_object_is_not() -> None:
    height, width = FIT.scaled
    object_ = np.zeros((height, width), bool)
    object_[10:30, 20:50] = True
    portrait = object_.copy()
    portrait[30:, 15:55] = True
    for mask in (object_, portrait):
        assert torch.equal(not_the_ground(logits(mask), FIT), logits(mask))
        turned = not_the_ground(logits(~mask), FIT)[0] > 0
        np.testing.assert_array_equal(turned[:height, :width].numpy(), mask)
        assert not turned[height:].any()
    everything = np.ones((height, width), bool)
    assert torch.equal(not_the_ground(logits(everything), FIT), logits(everything))


@pytest.mark.parametrize(("prompt", "whole"), [
    (DecoderPrompt(box=(0, 0, 80, 60)), True), (DecoderPrompt(box=(1, 1, 79.5, 59.5)), True),
    (DecoderPrompt(box=(8, 0, 80, 60)), False), (DecoderPrompt(points=((5, 5),), labels=(1,)), False),
    (DecoderPrompt(box=(0, 0, 80, 60), points=((5, 5),), labels=(1,)), False),
])
def test_only_a_box_around_everything_is_the_whole(prompt: DecoderPrompt, whole: bool) -> None:
    assert is_whole(prompt, FIT) == whole


@pytest.mark.parametrize("ground", [(235, 235, 235), (200, 190, 170), (60, 45, 30)])
def test_a_drawn_product_is_kept_and_its_backdrop_is_not(ground: tuple[int, int, int]) -> None:
    """As batches ask for it."""
    rng = np.random.default_rng(1)
    y = np.mgrid[:420, :560][0].astype(np.float32)
    image = np.array(ground, np.float32) * (0.85 + 0.3 * (y / 420))[..., None]
    truth = np.zeros((420, 560), np.uint8)
    cv2.ellipse(truth, (280, 230), (95, 120), 0, 0, 360, 1, -1)
    cv2.rectangle(truth, (250, 60), (310, 130), 1, -1)
    shade = 1 - 0.4 * np.abs(np.mgrid[:420, :560][1] - 280)[..., None] / 280
    image = np.where(truth[..., None] > 0, np.array((170, 60, 50)) * shade, image)
    image = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    found = matte(image, (0, 0, 560, 420), model=load_model("lite", device="cpu")).alpha > 0.5
    assert (found & (truth > 0)).sum() / (found | (truth > 0)).sum() > 0.9
