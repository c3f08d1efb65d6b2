"""Small clips for tests: a striped disc that moves over a photograph, with its true alpha."""

from __future__ import annotations

import cv2
import numpy as np


def ground(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something like a photograph, H×W×3 float32: soft noise of several sizes in browns and greens."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells in (3, 9, 30):
        total += cv2.resize(rng.random((cells, cells, 3), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total / 3 * np.array([0.6, 0.75, 0.35], np.float32), 0, 1)


def disc(at: tuple[float, float], radius: float, height: int, width: int) -> np.ndarray:
    """The share of a disc in each pixel, H×W float32."""
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    return np.clip(radius - np.hypot(x - at[0], y - at[1]) + 0.5, 0, 1).astype(np.float32)


def frame(at: tuple[float, float] | None, *, height: int = 96, width: int = 128, radius: float = 18, shift: int = 0,
          seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A frame H×W×3 uint8 and its alpha H×W float32; at: the disc's middle, None for no disc. shift: of the ground."""
    behind = ground(height + 40, width + 40, seed)[20:20 + height, 20 + shift:20 + shift + width]
    if at is None:
        return (behind * 255).astype(np.uint8), np.zeros((height, width), np.float32)
    alpha = disc(at, radius, height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    stripes = np.sin((x - at[0] + y - at[1]) / 2.5)[..., None] > 0
    colour = np.where(stripes, np.array([0.9, 0.15, 0.1]), np.array([0.95, 0.75, 0.8])).astype(np.float32)
    mixed = alpha[..., None] * colour + (1 - alpha[..., None]) * behind
    return (np.clip(mixed, 0, 1) * 255 + 0.5).astype(np.uint8), alpha


def moving(count: int, *, start: tuple[float, float] = (36, 48), step: tuple[float, float] = (3, 0.5)) \
        -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames and alphas of a disc that moves by `step` a frame."""
    both = [frame((start[0] + step[0] * i, start[1] + step[1] * i), shift=i % 20) for i in range(count)]
    return [image for image, _ in both], [alpha for _, alpha in both]


def box_of(alpha: np.ndarray) -> tuple[float, float, float, float]:
    """The box around what is above half."""
    rows, columns = np.flatnonzero((alpha > 0.5).any(1)), np.flatnonzero((alpha > 0.5).any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of what is above half in both; 1 for two empty ones."""
    a, b = one > 0.5, other > 0.5
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
