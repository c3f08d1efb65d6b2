"""Prompts as a person would give them, drawn from the alpha of an object: boxes with jitter, points, rough masks."""

from __future__ import annotations

import numpy as np

from ..opencv import cv2
from .augment import Array, Rng, bounds, chance

POINTS = 3
"""Points a prompt can hold in training; unused places are padded with the label -1."""


def box_of(alpha: Array) -> Array:
    """x0, y0, x1, y1 (exclusive) of alpha > 0.5, or of alpha > a tenth for what is nowhere opaque; float32."""
    found = bounds(alpha, 0.5) or bounds(alpha, 0.1) or (0, 0, alpha.shape[1], alpha.shape[0])
    return np.array(found, np.float32)


def jittered_box(rng: Rng, alpha: Array, most: float = 0.08) -> Array:
    """The box with every side moved by up to `most` of the box's size; exact in a third of the cases."""
    box = box_of(alpha)
    if chance(rng, 0.33):
        return box
    width, height = box[2] - box[0], box[3] - box[1]
    reach = rng.uniform(0, most)
    moved = box + rng.uniform(-reach, reach, 4).astype(np.float32) * np.array([width, height] * 2, np.float32)
    limits = np.array([alpha.shape[1], alpha.shape[0]] * 2, np.float32)
    moved = np.clip(moved, 0, limits)
    return moved if moved[2] - moved[0] >= 2 and moved[3] - moved[1] >= 2 else box


def points_on(rng: Rng, alpha: Array, box: Array) -> tuple[Array, Array]:
    """Up to POINTS points with labels 1 (on the object, rather inside than at the edge), 0 (beside it, inside or near
    its box) and -1 (padding): POINTS×2 and POINTS, float32. The first one is always positive."""
    inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    if inside.max() <= 0:
        inside = alpha + np.float32(1e-6)
    points, labels = np.zeros((POINTS, 2), np.float32), np.full(POINTS, -1, np.float32)
    for i in range(int(rng.choice([1, 1, 2, 3]))):
        positive = i == 0 or chance(rng, 0.5)
        if positive:
            candidates = np.flatnonzero(inside >= inside.max() * rng.uniform(0, 0.6))
        else:
            x0, y0, x1, y1 = box
            outside = np.zeros(alpha.shape, bool)
            margin = 0.1 * max(x1 - x0, y1 - y0)
            outside[max(0, int(y0 - margin)):int(y1 + margin), max(0, int(x0 - margin)):int(x1 + margin)] = True
            candidates = np.flatnonzero(outside & (alpha < 0.05))
        if len(candidates) == 0:
            continue
        y, x = divmod(int(candidates[rng.integers(len(candidates))]), alpha.shape[1])
        points[i], labels[i] = (x + 0.5, y + 0.5), float(positive)
    return points, labels
