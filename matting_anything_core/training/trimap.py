"""Trimaps from alpha: what is surely background, surely foreground, and the unknown between."""

from __future__ import annotations

import numpy as np

from ..opencv import cv2
from .augment import Array, Rng

BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255


def random_trimap(rng: Rng, alpha: Array) -> np.ndarray:
    """H×W uint8 of BACKGROUND, UNKNOWN and FOREGROUND.

    Both sides are eroded with ellipses of random size, from 1 to 30 pixels on pictures of up to 2048 (in proportion
    on larger ones), as in section 4.1's training.
    """
    most = max(30, int(30 * max(alpha.shape) / 2048))
    result = np.full(alpha.shape, UNKNOWN, np.uint8)
    for value, sure in ((BACKGROUND, alpha <= 1 / 255), (FOREGROUND, alpha >= 254 / 255)):
        size = int(rng.integers(1, most + 1))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        # Outside of the picture the object goes on, so the border is no edge.
        eroded = cv2.erode(sure.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        result[eroded > 0] = value
    return result
