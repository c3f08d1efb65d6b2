"""Where each scale of Mask-to-Matte is taught, by step: the paper's way, the released program's, and two others."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..networks.m2m import Alphas
from ..pipeline.merging import HIGH, LOW, dilate

Schedule: TypeAlias = Literal["paper", "reference", "predicted", "ones"]
Maps: TypeAlias = tuple[Tensor | None, Tensor | None, Tensor | None]

WIDTH_OS4 = 30
"""The released program draws the dilation of where alpha_os8 is uncertain from 1 … 29 pixels …"""
WIDTH_OS1 = 15
"""… and that of where alpha_os4 is from 1 … 14."""
REFERENCE_LATE = 12000
"""The released program's last phase begins here."""


def uncertain(alpha: Tensor, widths: list[int]) -> Tensor:
    """Where an alpha N×1×H×W is from 1/255 to 254/255, dilated by OpenCV's ellipse of each row's width; float 0/1."""
    unknown = (alpha >= LOW) & (alpha <= HIGH)
    rows = [dilate(row, width) for row, width in zip(unknown, widths, strict=True)]
    return torch.stack(rows).to(alpha.dtype)


def interior(mask: Tensor) -> Tensor:
    """The inside of an enlarged binary mask, without its soft edge; float 0/1."""
    return (mask >= 1).to(mask.dtype)


def draw_widths(rng: np.random.Generator, count: int, below: int) -> list[int]:
    """A kernel's width for each picture, from 1 to below - 1."""
    return [int(width) for width in rng.integers(1, below, count)]


def maps_for(schedule: Schedule, step: int, start: int, alphas: Alphas, mask: Tensor, trimap: Tensor,
             rng: np.random.Generator) -> Maps:
    """The weight maps of os1, os4 and os8; None means one everywhere.

    step: steps taken so far; until `start` (4,000 in the paper) all is one. mask: SAM's, N×1×H×W, enlarged
    bilinearly, so that only its inside is 1; trimap: the unknown region, N×1×H×W float 0/1. alphas are used as values,
    no gradient passes.

    - paper: os4 where the mask is, os1 where alpha_os4 is uncertain.
    - reference: to step 12,000 both inside the mask or in the unknown region, by turns at random; then the unknown
      region or where the coarser prediction is uncertain.
    - predicted: both where the coarser prediction is uncertain, which is what merging at inference looks at.
    - ones: everywhere.
    """
    if schedule == "ones" or step < start:
        return None, None, None
    count, mask = len(mask), interior(mask)

    def predicted() -> Maps:
        os4 = uncertain(alphas.os8.detach(), draw_widths(rng, count, WIDTH_OS4))
        return uncertain(alphas.os4.detach(), draw_widths(rng, count, WIDTH_OS1)), os4, None

    if schedule == "paper":
        return uncertain(alphas.os4.detach(), draw_widths(rng, count, WIDTH_OS1)), mask, None
    if schedule == "predicted":
        return predicted()
    first = rng.random() < 0.5
    if step < REFERENCE_LATE:
        return (mask, mask, None) if first else (trimap, trimap, None)
    return (trimap, trimap, None) if first else predicted()
