"""Samples for Mask-to-Matte: a picture with the box of one object, and windows of it at the matte's resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..opencv import cv2
from .augment import Array, Rng, bounds, chance
from .library import Library
from .prompting import jittered_box
from .recipe import Stage
from .scene import Scene, build
from .trimap import UNKNOWN, random_trimap

HARD_BAND = 25
"""About the edge of a hard mask so many pixels (diameter, on a square of 768) teach nothing."""
TOKEN = 16
"""Pixels of the matte's square for one token of the features."""


@dataclass(frozen=True)
class Example:
    """rgb H×W×3 and alpha H×W of one object, float32 in 0..1, no side above the matte's square; soft: whether alpha
    is a matte, not a mask."""

    rgb: Array
    alpha: Array
    soft: bool


class SceneMattes(Dataset[dict[str, Tensor]]):
    """Item i is always the same sample, made of a scene (`scene.build`)."""

    def __init__(self, library: Library, stage: Stage, seed: int, length: int) -> None:
        self.library, self.stage, self.seed, self.length = library, stage, seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        cv2.setNumThreads(1)
        rng, stage = np.random.default_rng((self.seed, index)), self.stage
        side = stage.matte_square or stage.square
        while True:
            scene = build(rng, self.library, side, photographs=stage.photographs, most=stage.most_objects,
                          generated=stage.generated)
            example = _subject(rng, scene, side)
            if example is not None:
                return matte_sample(rng, example, stage)


def _subject(rng: Rng, scene: Scene, side: int) -> Example | None:
    large = [i for i, alpha in enumerate(scene.alphas) if (alpha > 0.3).sum() > 0.01 * side * side]
    soft = [i for i in large if scene.soft[i]]
    pool = soft if soft and chance(rng, 0.8) else large
    if not pool:
        return None
    which = pool[rng.integers(len(pool))]
    return Example(scene.rgb, scene.alphas[which], scene.soft[which])


def matte_sample(rng: Rng, example: Example, stage: Stage) -> dict[str, Tensor]:
    """rgb 3×S×S uint8, size 2, box 4 (in the encoder's square), and of K windows of c×c pixels of the matte's square:
    crops K×3×c×c, alpha, weight and unknown K×c×c uint8, origin K×2 (y, x) and inside K×2 (its height, width that are
    picture and not padding)."""
    square, side = stage.square, stage.matte_square or stage.square
    crop, count = stage.crop or side, stage.crops if stage.crop else 1
    height, width = example.alpha.shape
    h, w = max(1, round(height * square / side)), max(1, round(width * square / side))
    rgb = np.zeros((square, square, 3), np.uint8)
    colours = np.round(np.clip(example.rgb, 0, 1) * 255).astype(np.uint8)
    rgb[:h, :w] = cv2.resize(colours, (w, h), interpolation=cv2.INTER_AREA) if side != square else colours
    box = jittered_box(rng, example.alpha, 0.05) * np.array([w / width, h / height] * 2, np.float32)
    weight = np.ones((height, width), np.uint8) if example.soft else _away_from_edge(example.alpha, side)
    unknown = (random_trimap(rng, example.alpha) == UNKNOWN).astype(np.uint8)
    layers = np.dstack([colours, np.round(example.alpha * 255).astype(np.uint8), weight, unknown])
    full = np.zeros((side, side, 6), np.uint8)
    full[:height, :width] = layers
    step = window_step(side, square)
    origins = [_origin(rng, example, unknown, side, crop, step) for _ in range(count)]
    windows = np.stack([full[y:y + crop, x:x + crop] for y, x in origins])
    inside = np.clip(np.array([[height, width]]) - np.array(origins), 0, crop)
    return {
        "rgb": torch.from_numpy(rgb.transpose(2, 0, 1).copy()),
        "size": torch.tensor([h, w]),
        "box": torch.from_numpy(box.astype(np.float32)),
        "crops": torch.from_numpy(windows[..., :3].transpose(0, 3, 1, 2).copy()),
        "alpha": torch.from_numpy(windows[..., 3].copy()),
        "weight": torch.from_numpy(windows[..., 4].copy()),
        "unknown": torch.from_numpy(windows[..., 5].copy()),
        "origin": torch.tensor(origins),
        "inside": torch.from_numpy(inside),
    }


def _away_from_edge(alpha: Array, side: int) -> np.ndarray:
    """One but for a band about the edge of a hard mask, uint8."""
    size = max(3, round(HARD_BAND * side / 768)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    solid = (alpha > 0.5).astype(np.uint8)
    return 1 - (cv2.dilate(solid, kernel) - cv2.erode(solid, kernel))


def window_step(side: int, square: int) -> int:
    """Windows begin at multiples of this: at whole tokens of the features and whole pixels of the low-resolution mask,
    which has a quarter of the encoder's square."""
    return math.lcm(TOKEN, side // math.gcd(side, square // 4))


def _origin(rng: Rng, example: Example, unknown: np.ndarray, side: int, crop: int, step: int) -> tuple[int, int]:
    """Top and left of a window: about a pixel of the unknown region, or of the object's box."""
    if crop >= side:
        return 0, 0
    places = np.flatnonzero(unknown)
    if len(places) and chance(rng, 0.8):
        y, x = divmod(int(places[rng.integers(len(places))]), unknown.shape[1])
    else:
        x0, y0, x1, y1 = bounds(example.alpha) or (0, 0, unknown.shape[1], unknown.shape[0])
        y, x = int(rng.integers(y0, y1)), int(rng.integers(x0, x1))
    corner = np.array([y, x]) - crop // 2 + rng.integers(-crop // 4, crop // 4 + 1, 2)
    top, left = (int(np.clip(round(v / step), 0, (side - crop) // step)) * step for v in corner)
    return top, left
