"""The small model's masks, moved to the edges of the picture.

Its mask decoder draws outlines on a grid of four pixels of a small square, and where an object's colours are strange
to it, it is unsure of whole parts. Both are mended by what the colours of this one picture tell: GrabCut (Rother,
Kolmogorov, Blake, "GrabCut: Interactive Foreground Extraction Using Iterated Graph Cuts", SIGGRAPH 2004) decides anew
close to the outline, and farther from it where the network is unsure; all else stays as the network says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .geometry import Fit

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

NEAR = 4
"""So many pixels of the square on either side of the outline are decided anew …"""
FAR = 20
"""… and so many where the network is unsure, which it is …"""
UNSURE = 2.0
"""… where its logits are between minus this and this."""
AROUND = 48
"""Pixels of the square around all that is undecided that tell what the background looks like."""
ITERATIONS = 2
SURE = 10.0
"""Logits of what is decided, about what the mask decoder itself gives."""
NOWHERE = (0, 0, 0, 0)
"""The rectangle that OpenCV asks for and does not read when a mask says where."""


def snapped(logits: Tensor, rgb: np.ndarray[Any, Any], fit: Fit) -> Tensor:
    """Mask logits 1×h×w of one object in the padded square -> logits 1×S×S whose outline follows the picture's edges.

    rgb: uint8, the picture as it lies in the square: as many rows and columns as `fit.scaled` says. Soft for a pixel
    about the outline, ±SURE elsewhere, with the padding negative. An object without an outline inside of the picture
    (nothing, or all of it) stays as it is. The same input gives the same output.
    """
    import cv2
    import numpy as np
    import torch
    from torch.nn import functional as F

    height, width = fit.scaled
    square = F.interpolate(logits.unsqueeze(0), (fit.square, fit.square), mode="bilinear", align_corners=False)[0]
    values = square[0, :height, :width].cpu().numpy()
    object_ = (values > 0).astype(np.uint8)
    undecided = _band(object_, NEAR) | (_band(object_, FAR) & (np.abs(values) < UNSURE))
    part = _around(undecided | (object_ > 0))
    labels = np.where(undecided, cv2.GC_PR_BGD + object_, object_).astype(np.uint8)[part]
    if not (labels & 1).any() or (labels & 1).all():
        return square
    cv2.setRNGSeed(0)  # the mixture of colours starts from a random guess
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(rgb[part][..., ::-1]), labels, NOWHERE, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    object_[part] = labels & 1
    soft = cv2.GaussianBlur(object_.astype(np.float32), (0, 0), 1.0)
    result = torch.full_like(square, -SURE)
    result[0, :height, :width] = torch.from_numpy((soft * 2 - 1) * SURE).clamp_(-SURE, SURE).to(square.device)
    return result


def _band(mask: np.ndarray[Any, Any], reach: int) -> np.ndarray[Any, Any]:
    """Where the outline of a mask is at most `reach` pixels away; the picture's border is no outline. Bool."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    grown, shrunk = cv2.dilate(mask, kernel), cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    band: np.ndarray[Any, Any] = grown > shrunk
    return band


def _around(there: np.ndarray[Any, Any]) -> tuple[slice, slice]:
    """The rows and columns of what is there and AROUND pixels more."""
    import numpy as np

    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return (slice(max(int(rows[0]) - AROUND, 0), int(rows[-1]) + AROUND + 1),
            slice(max(int(columns[0]) - AROUND, 0), int(columns[-1]) + AROUND + 1))
