"""Going on from an earlier matte: its alpha as a mask to begin with, and where a change of it counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..geometry import Fit, Window, mask_window, resize_window
from .merging import grow
from .prompting import MASK_LOGIT

AROUND = 24
"""Pixels of the network's input about a change in which alpha is predicted anew …"""
NEAR = 5
"""… and about which the new alpha counts."""


def as_logits(alpha: np.ndarray[Any, Any], fit: Fit) -> Tensor:
    """Alpha h×w in 0..1 of a view's pixels as logits 1×S×S over the padded input."""
    from ..opencv import cv2

    height, width = fit.scaled
    smaller = fit.scaled != (fit.height, fit.width) and fit.height >= height
    small = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    logits = torch.full((1, fit.square, fit.square), -MASK_LOGIT)
    logits[0, :height, :width] = torch.from_numpy(small * np.float32(2 * MASK_LOGIT) - np.float32(MASK_LOGIT))
    return logits


def around(changed: np.ndarray[Any, np.dtype[np.bool_]], fit: Fit) -> Window:
    """The part of a view's pixels in which a change of its mask, at the scaled size, can matter."""
    found = mask_window(changed)
    if found.empty:
        return found
    down, across = fit.height / fit.scaled[0], fit.width / fit.scaled[1]
    inner = Window(int(found.top * down), int(found.left * across), int(found.bottom * down) + 1,
                   int(found.right * across) + 1)
    return grow(inner, int(AROUND * max(down, across)), (fit.height, fit.width))


def weight_of(
    changed: np.ndarray[Any, np.dtype[np.bool_]], fit: Fit, where: Window
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """How much of the new alpha counts inside a window of a view's pixels, in 0..1: all of it where the mask changed
    and about there, nothing elsewhere."""
    from ..opencv import cv2

    if where.empty:
        return np.zeros((0, 0), np.float32)
    side = 2 * NEAR + 1
    near = cv2.dilate(changed.astype(np.float32), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    soft = cv2.blur(near, (NEAR, NEAR), borderType=cv2.BORDER_REPLICATE)
    size = fit.height, fit.width
    return resize_window(torch.from_numpy(soft)[None], size, where)[0].numpy()
