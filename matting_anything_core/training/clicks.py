"""Clicks as people make them: where the mask is wrong, near the middle of the error, with the label that mends it.

The protocol is that of RITM (Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive
Segmentation", 2021): the next click lies deep in the largest region of false negatives or false positives, and the
previous mask is an input of the next round. Regions and depths are measured on the mask decoder's grid, four pixels of
the input a cell; points are in pixels of the input.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..geometry import mask_bounds
from ..opencv import cv2
from .augment import Array, Rng, blur, chance

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

STRIDE = 4
"""Pixels of the input for one cell of the grid, along each side."""
CLEAR = 0.25
"""A cell belongs to the object, or to the background, when at most this share of it does not."""
MISSED = 0.2
"""How often another error than the largest one is clicked."""


class Click(NamedTuple):
    """x, y in pixels of the input; label: 1 on the object, 0 beside it."""

    x: float
    y: float
    label: int


def depth(region: Mask) -> Array:
    """The distance of each cell of a region to what is not in it, the grid's border included, h×w in cells."""
    padded = np.pad(region, 1).astype(np.uint8)
    result: Array = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return result


def next_click(rng: Rng, found: Mask, share: Array, inside: tuple[int, int]) -> Click:
    """Where a person would click next.

    Parameters
    ----------
    found: h×w, the mask as it is.
    share: h×w float 0..1, how much of each cell is the object; what is neither clearly the object nor clearly not is
        not clicked.
    inside: rows and columns of the grid that the image covers; what is padded is not clicked.

    Returns a click that mends the largest error (by depth; sometimes another one), near its middle; where nothing is
    wrong, one that confirms what is right.
    """
    valid = np.zeros(found.shape, bool)
    valid[: inside[0], : inside[1]] = True
    errors = (depth(~found & (share > 1 - CLEAR) & valid), depth(found & (share < CLEAR) & valid))
    deepest = [float(error.max()) for error in errors]
    if max(deepest) > 0:
        label = int(deepest[0] > deepest[1])
        if min(deepest) > 0 and chance(rng, MISSED):
            label = 1 - label
        field = errors[1 - label]
        if chance(rng, MISSED):
            field = _one_of(rng, field)
        return _near_middle(rng, field, label)
    return confirming_click(rng, share, valid)


def confirming_click(rng: Rng, share: Array, valid: Mask) -> Click:
    """A click that says what the truth says anyway: mostly on the object, rather inside than at its edge."""
    on, beside = depth((share > 1 - CLEAR) & valid), depth((share < CLEAR) & valid)
    label = int(on.max() > 0 and (beside.max() <= 0 or chance(rng, 0.6)))
    field = on if label else beside
    if field.max() <= 0:  # neither: soft everywhere
        field, label = np.where(valid, share + np.float32(1e-6), 0).astype(np.float32), 1
    return _near_middle(rng, field, label)


def _one_of(rng: Rng, field: Array) -> Array:
    """The field in one of its connected regions alone, larger ones more likely."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats((field > 0).astype(np.uint8), connectivity=4)
    areas = stats[1:count, cv2.CC_STAT_AREA].astype(np.float64)
    chosen = 1 + int(rng.choice(count - 1, p=areas / areas.sum()))
    result: Array = np.where(regions == chosen, field, 0)
    return result


def _near_middle(rng: Rng, field: Array, label: int) -> Click:
    """A point where the field is high: its maximum or, as a hand is not exact, somewhere about it."""
    least = field.max() * (1.0 if chance(rng, 0.3) else rng.uniform(0.4, 1.0))
    cells = np.flatnonzero(field >= max(float(least), 1e-9))
    row, column = divmod(int(cells[rng.integers(len(cells))]), field.shape[1])
    dx, dy = rng.random(2)
    return Click((column + float(dx)) * STRIDE, (row + float(dy)) * STRIDE, label)


def rough_mask(rng: Rng, share: Array) -> Array:
    """A mask as a person or another program would give it: the true one, grown or shrunk by up to 14 pixels, with holes
    and islands, or with a wavering edge. share: h×w float 0..1 on the grid; returns the same."""
    kind = int(rng.choice(4, p=(0.3, 0.35, 0.2, 0.15)))
    if kind == 0:
        return share
    height, width = share.shape
    fine = cv2.resize(share, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    mask: np.ndarray[Any, Any] = (fine > 0.5).astype(np.uint8)
    extent = float(np.sqrt(max(int(mask.sum()), 1)))  # in half-cells
    if kind == 1:
        most = min(7.0, 0.2 * extent)  # half a cell is two pixels
        radius = max(1, round(rng.uniform(0.5, max(most, 1.0))))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        mask = cv2.erode(mask, kernel) if chance(rng, 0.5) else cv2.dilate(mask, kernel)
    elif kind == 2:
        for _ in range(int(rng.integers(1, 6))):
            value = 0 if chance(rng, 0.5) else 1
            places = np.flatnonzero(mask != value)
            if len(places):
                y, x = divmod(int(places[rng.integers(len(places))]), mask.shape[1])
                cv2.circle(mask, (x, y), max(1, round(rng.uniform(0.02, 0.2) * extent)), (value,), -1)
    else:
        rough = rng.standard_normal(mask.shape, dtype=np.float32)
        wave = blur(rough, float(rng.uniform(3, 10)))
        soft = blur(mask.astype(np.float32), float(rng.uniform(1.5, 5)))
        mask = (soft + wave / (wave.std() + 1e-6) * np.float32(rng.uniform(0.05, 0.2)) > 0.5).astype(np.uint8)
    if not mask.any():
        return share
    result: Array = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return result


def bounds_of(share: Array) -> Array:
    """x0, y0, x1, y1 in pixels of the input around what a mask on the grid holds."""
    inside = share > 0.5
    edges = mask_bounds(inside) if inside.any() else (0, 0, share.shape[1], share.shape[0])
    return np.array(edges, np.float32) * STRIDE


def some_region(rng: Rng, shape: tuple[int, int]) -> Mask:
    """A random part of the grid with a smooth outline, between none and all of it."""
    coarse = rng.standard_normal((5, 5)).astype(np.float32)
    smooth = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    region: Mask = smooth > rng.uniform(-1, 1)
    return region
