"""Batches for the small model's first stage: scenes with prompts, each a function of its index and the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..opencv import cv2
from .augment import chance
from .library import Library
from .prompting import jittered_box, points_on
from .scene import Scene, build

PROMPTS = 3
"""Prompts a picture: the last one may be points, or a box with points or a mask; the others are boxes."""


@dataclass(frozen=True)
class SceneSettings:
    """side: the network's square; photographs, most, generated: see `scene.build`."""

    seed: int
    side: int
    photographs: float = 0.4
    most: int = 3
    generated: float = 0.36


class PromptedScenes(Dataset[dict[str, Tensor]]):
    """Item i is always the same sample: pixels uint8 3×S×S and a padding mask, boxes, points, labels and targets."""

    def __init__(self, library: Library, settings: SceneSettings, length: int) -> None:
        self.library, self.settings, self.length = library, settings, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self.settings.seed, index))
        side = self.settings.side
        while True:
            scene = build(rng, self.library, side, photographs=self.settings.photographs, most=self.settings.most,
                          generated=self.settings.generated)
            objects = [i for i, alpha in enumerate(scene.alphas) if (alpha > 0.5).sum() > 0.004 * side * side]
            if objects:
                return sample(rng, scene, objects, side)


def sample(rng: np.random.Generator, scene: Scene, objects: list[int], side: int) -> dict[str, Tensor]:
    """Prompts on some objects of a scene, as tensors: rgb 3×S×S uint8, size 2 (height, width), boxes P×4, points
    P×K×2, labels P×K, targets P×S/4×S/4 uint8 (alpha averaged over 4×4 pixels)."""
    order = [objects[i] for i in rng.permutation(len(objects))]
    chosen = [order[i % len(order)] for i in range(PROMPTS)]
    if chance(rng, 0.5):
        chosen.reverse()
    height, width = scene.rgb.shape[:2]
    boxes, points, labels, targets = [], [], [], []
    for which in chosen:
        alpha = scene.alphas[which]
        box = jittered_box(rng, alpha)
        xy, kinds = points_on(rng, alpha, box)
        full = np.zeros((side, side), np.float32)
        full[:height, :width] = alpha
        targets.append(cv2.resize(full, (side // 4, side // 4), interpolation=cv2.INTER_AREA))
        boxes.append(box)
        points.append(xy)
        labels.append(kinds)
    rgb = np.zeros((side, side, 3), np.uint8)
    rgb[:height, :width] = np.round(np.clip(scene.rgb, 0, 1) * 255)
    return {
        "rgb": torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))),
        "size": torch.tensor([height, width]),
        "boxes": torch.from_numpy(np.stack(boxes)),
        "points": torch.from_numpy(np.stack(points)),
        "labels": torch.from_numpy(np.stack(labels)),
        "targets": torch.from_numpy(np.round(np.stack(targets) * 255).astype(np.uint8)),
    }
