"""What the mask decoder found: candidates over the encoder's square, and the mask of the picture they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .geometry import Fit, Window, resize_window
from .refine import bounds


class Candidate(NamedTuple):
    """One prompt's best mask: logits 1×any×any over the encoder's square (4h×4w as decoded), its predicted IoU."""

    logits: Tensor
    score: float


def united_masks(candidates: Sequence[Candidate]) -> Candidate:
    """The union of masks: in each place the most confident of them."""
    logits = torch.stack([candidate.logits for candidate in candidates]).amax(0)
    return Candidate(logits, min(candidate.score for candidate in candidates))


def upsample_mask(logits: Tensor, fit: Fit) -> tuple[Tensor, Window]:
    """A mask's logits 1×any×any over the square -> the mask of the picture, as (bool inside its box, box).

    Enlarged bilinearly to the square, cropped to the picture, resized bilinearly to its pixels, true above 0 (as
    SAM does); only around what is positive, since what bilinear weights mix of negative values is negative.
    """
    size = fit.height, fit.width
    square = F.interpolate(logits.unsqueeze(0), (fit.square, fit.square), mode="bilinear", align_corners=False)
    square = square[..., : fit.scaled[0], : fit.scaled[1]]
    [box] = bounds(square[0] > 0)
    if not box.height:
        return torch.zeros((0, 0), dtype=torch.bool, device=logits.device), box
    # The picture's pixels that read from the box: one source pixel more on every side, enlarged.
    down, across = size[0] / fit.scaled[0], size[1] / fit.scaled[1]
    near = Window(
        max(int((box.top - 1) * down) - 1, 0), max(int((box.left - 1) * across) - 1, 0),
        min(int((box.bottom + 1) * down) + 2, size[0]), min(int((box.right + 1) * across) + 2, size[1]),
    )
    mask = resize_window(square, size, near)[0] > 0
    [inner] = bounds(mask)
    found = Window(inner.top + near.top, inner.left + near.left, inner.bottom + near.top, inner.right + near.left)
    return mask[0][inner.slices()], found if inner.height else Window(0, 0, 0, 0)
