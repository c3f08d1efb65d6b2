"""What the mask decoder found: logits over a view, and the mask of the view's pixels that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..geometry import Fit, Window, resize_window
from .merging import bounds

BLEND = 0.1
"""How much better than the others a candidate's predicted IoU must be to outweigh them."""


class MaskLogits(NamedTuple):
    """One prompt's mask.

    logits: 1×any×any float over the padded input (4h×4w as decoded, finer when refined), above 0 on the object.
    score: the decoder's own estimate of the mask's IoU with the object.
    """

    logits: Tensor
    score: float


def united_masks(masks: Sequence[MaskLogits]) -> MaskLogits:
    """The union of masks over one view: in each place the most confident of them."""
    logits = torch.stack([mask.logits for mask in masks]).amax(0)
    return MaskLogits(logits, min(mask.score for mask in masks))


def of_candidates(logits: Tensor, iou: Tensor, *, blend: bool) -> Tensor:
    """One mask of the decoder's candidates for each prompt.

    Parameters
    ----------
    logits, iou : Tensor
        B×K×h×w and B×K: the candidates and their predicted IoU.
    blend : bool
        Their mean, weighted by the softmax of the predicted IoU over BLEND; else the one whose predicted
        IoU is largest.

    Returns
    -------
    B×h×w float32.
    """
    if blend:
        weight = torch.softmax(iou.float() / BLEND, dim=1)
        return (weight[:, :, None, None] * logits.float()).sum(1)
    best = iou.argmax(1)
    return logits[torch.arange(len(best), device=best.device), best].float()


def at_input_size(logits: Tensor, fit: Fit) -> Tensor:
    """Logits 1×any×any over the padded input -> 1×S×S, bilinear."""
    if logits.shape[-1] == fit.square:
        return logits
    size = (fit.square, fit.square)
    return F.interpolate(logits.unsqueeze(0), size, mode="bilinear", align_corners=False)[0]


def upsample_mask(
    logits: Tensor, fit: Fit, where: Window | None = None, *, tight: bool | None = None
) -> tuple[Tensor, Window]:
    """A mask's logits 1×any×any over the padded input -> the mask in pixels, as (bool inside a window, the window).

    Enlarged bilinearly to the input's size, cropped to what is not padding, resized bilinearly to the pixels, true
    above 0 (as SAM does).

    Parameters
    ----------
    where : Window, optional
        Only in this window.
    tight : bool, optional
        The window is the mask's bounds (empty for an empty mask), and only what is around them is computed, since what
        bilinear weights mix of negative values is negative. Else it is `where`, or all of the view. Left out, tight on
        the CPU alone: to find the bounds means to wait for a device, which costs more than computing it everywhere.
    """
    size = fit.height, fit.width
    square = at_input_size(logits, fit).unsqueeze(0)[..., : fit.scaled[0], : fit.scaled[1]]
    if not (logits.device.type == "cpu" if tight is None else tight):
        everywhere = Window(0, 0, *size).shared(where)
        if everywhere.empty:
            return torch.zeros((0, 0), dtype=torch.bool, device=logits.device), Window(0, 0, 0, 0)
        return resize_window(square, size, everywhere)[0, 0] > 0, everywhere
    [box] = bounds(square[0] > 0)
    if not box.height:
        return torch.zeros((0, 0), dtype=torch.bool, device=logits.device), box
    # The pixels that read from the box: one source pixel more on every side, enlarged.
    down, across = size[0] / fit.scaled[0], size[1] / fit.scaled[1]
    near = Window(
        max(int((box.top - 1) * down) - 1, 0), max(int((box.left - 1) * across) - 1, 0),
        min(int((box.bottom + 1) * down) + 2, size[0]), min(int((box.right + 1) * across) + 2, size[1]),
    )
    near = near.shared(where)
    if near.empty:
        return torch.zeros((0, 0), dtype=torch.bool, device=logits.device), Window(0, 0, 0, 0)
    mask = resize_window(square, size, near)[0] > 0
    [inner] = bounds(mask)
    found = Window(inner.top + near.top, inner.left + near.left, inner.bottom + near.top, inner.right + near.left)
    return mask[0][inner.slices()], found if inner.height else Window(0, 0, 0, 0)
