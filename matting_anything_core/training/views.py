"""Views for training prompts on a frozen encoder: images as the model looks at them, with the objects in them.

A view is a photograph, whole or cut about its subject as the model's closer look does, or a scene (see scene.py) with
composites, whole or cut about one of its objects. Each is a function of the seed and its index, so that the encoder's
features of it can be kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..opencv import cv2
from .augment import Array, Rng, bounds, chance, degrade, jitter_colour
from .library import Library, Photo
from .scene import Scene, build

OBJECTS = 3
"""Objects of a view that are kept."""
SMALLEST = 0.004
"""Share of the square that an object covers at least."""


@dataclass(frozen=True)
class ViewSettings:
    """side: the network's input size; photographs: the share of views that are photographs as they are; most,
    generated: see `scene.build`."""

    seed: int
    side: int
    photographs: float
    most: int
    generated: float


@dataclass(frozen=True)
class View:
    """rgb: 3×S×S uint8, zero below and right of the image; size: its height and width in the square; targets:
    K×S/4×S/4 uint8, alpha of each object averaged over 4×4 pixels, 1 <= K <= OBJECTS."""

    rgb: Tensor
    size: tuple[int, int]
    targets: Tensor


def view(library: Library, settings: ViewSettings, index: int) -> View:
    """The view of this index; always the same one."""
    rng = np.random.default_rng((settings.seed, 31, index))
    side = settings.side
    while True:
        if library.photos and chance(rng, settings.photographs):
            scene = photograph(rng, library.draw(rng, library.photos), side)
        else:
            scene = build(rng, library, side, photographs=0.3, most=settings.most, generated=settings.generated)
            scene = _closer(rng, scene, side) if chance(rng, 0.5) else scene
        large = [alpha for alpha in scene.alphas if (alpha > 0.5).sum() > SMALLEST * side * side]
        if large:
            order = rng.permutation(len(large))[:OBJECTS]
            return _packed(scene.rgb, [large[i] for i in order], side)


def photograph(rng: Rng, photo: Photo, side: int) -> Scene:
    """A photograph with its subject, whole or cut about it, in other light; its longer side is `side`."""
    assert photo.alpha is not None
    box = bounds(photo.alpha.astype(np.float32) / 255)
    height, width = photo.alpha.shape
    top, left, bottom, right = 0, 0, height, width
    if box is not None and chance(rng, 0.65):
        top, left, bottom, right = around(rng, box, height, width)
    scale = side / max(bottom - top, right - left)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    parts = []
    for part in (photo.rgb, photo.alpha):
        small = cv2.resize(part[top:bottom, left:right], size,
                           interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        parts.append(small.astype(np.float32) / np.float32(255))
    rgb, alpha = parts
    if chance(rng, 0.5):
        rgb, alpha = np.ascontiguousarray(rgb[:, ::-1]), np.ascontiguousarray(alpha[:, ::-1])
    if chance(rng, 0.7):
        rgb = jitter_colour(rgb, rng, hue=0.15, strength=0.7)
    if chance(rng, 0.5):
        rgb = degrade(rgb, rng)
    return Scene(np.clip(rgb, 0, 1), [alpha], [not photo.hard])


def around(rng: Rng, box: tuple[int, int, int, int], height: int, width: int) -> tuple[int, int, int, int]:
    """A part of the image, top, left, bottom, right, about one and a half times as wide and high as the box in it, as
    `detail.closer` looks at objects; sometimes closer or wider, and not quite in the middle."""
    x0, y0, x1, y1 = box
    context = float(np.clip(np.exp(rng.normal(np.log(1.5), 0.15)), 1.1, 2.2))
    across, down = (x1 - x0) * context, (y1 - y0) * context
    across, down = max(across, down * 0.5, 16.0), max(down, across * 0.5, 16.0)
    shift = rng.normal(0, 0.06, 2)
    edges = []
    for middle, length, limit in (((y0 + y1) / 2 + shift[0] * down, down, height),
                                  ((x0 + x1) / 2 + shift[1] * across, across, width)):
        extent = min(round(length), limit)
        start = min(max(round(middle - extent / 2), 0), limit - extent)
        edges.append((start, start + extent))
    (top, bottom), (left, right) = edges
    return top, left, bottom, right


def _closer(rng: Rng, scene: Scene, side: int) -> Scene:
    """A scene cut about one of its objects and enlarged."""
    boxes = [box for box in map(bounds, scene.alphas) if box is not None]
    if not boxes:
        return scene
    height, width = scene.rgb.shape[:2]
    top, left, bottom, right = around(rng, boxes[int(rng.integers(len(boxes)))], height, width)
    scale = side / max(bottom - top, right - left)
    if scale < 1.15 or scale > 4:
        return scene
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    rgb, *alphas = (cv2.resize(part[top:bottom, left:right], size, interpolation=cv2.INTER_LINEAR)
                    for part in (scene.rgb, *scene.alphas))
    return Scene(rgb, alphas, scene.soft)


def _packed(rgb: Array, alphas: list[Array], side: int) -> View:
    height, width = rgb.shape[:2]
    square = np.zeros((side, side, 3), np.uint8)
    square[:height, :width] = np.round(np.clip(rgb, 0, 1) * 255)
    targets = np.zeros((len(alphas), side // 4, side // 4), np.uint8)
    for target, alpha in zip(targets, alphas, strict=True):
        full = np.zeros((side, side), np.float32)
        full[:height, :width] = alpha
        target[:] = np.round(cv2.resize(full, (side // 4, side // 4), interpolation=cv2.INTER_AREA) * 255)
    pixels = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))
    return View(pixels, (height, width), torch.from_numpy(targets))
