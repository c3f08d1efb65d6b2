"""The losses of Mask-to-Matte: L1 and Laplacian, weighted by maps (section 3.2 of the paper).

Equal to those of the authors' released program, gradients included.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..networks.m2m import Alphas

LEVELS = 5
REFERENCE_FACTORS = (2 / 5, 1 / 5, 1 / 5)
"""The released program's factors for os1, os4 and os8; the paper leaves them free and sums the scales evenly."""
_TAPS = (1.0, 4.0, 6.0, 4.0, 1.0)


class MatteLosses(NamedTuple):
    """total: what is minimised; rec_* (L1) and lap_* (Laplacian) of each scale, without factors."""

    total: Tensor
    rec_os1: Tensor
    lap_os1: Tensor
    rec_os4: Tensor
    lap_os4: Tensor
    rec_os8: Tensor
    lap_os8: Tensor


def l1_loss(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference, weighted: sum(w |p - t|) / sum(w); an empty weight gives 0."""
    difference = (predicted - target).abs()
    if weight is None:
        return difference.mean()
    return (difference * weight).sum() / (weight.sum() + 1e-8)


def laplacian_loss(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """L1 over the levels of a Laplacian pyramid, level i times 2^i. N×1×H×W; H and W of at least 48."""
    # The pyramid is linear: that of the difference is the difference of the pyramids.
    current = predicted - target
    total = current.new_zeros(())
    for level in range(LEVELS):
        down = _smooth(current)[:, :, ::2, ::2]
        detail = current - _enlarged(down, current.shape[-2:])
        total = total + 2**level * l1_loss(detail, torch.zeros_like(detail), weight)
        current = down
        weight = None if weight is None else weight[:, :, ::2, ::2]
    return total


def _smooth(x: Tensor, gain: float = 1.0) -> Tensor:
    taps = x.new_tensor(_TAPS)
    kernel = torch.outer(taps, taps) * (gain / taps.sum() ** 2)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel[None, None])


def _enlarged(x: Tensor, size: torch.Size) -> Tensor:
    """Twice the size: zeros between the values, then smoothed with four times the kernel."""
    spread = x.new_zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    spread[:, :, ::2, ::2] = x
    return _smooth(spread, 4.0)[:, :, : size[0], : size[1]]


def matte_losses(
    alphas: Alphas,
    target: Tensor,
    weights: tuple[Tensor | None, Tensor | None, Tensor | None],
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> MatteLosses:
    """All losses of one batch.

    alphas and target: N×1×H×W in 0..1; weights: the maps of os1, os4 and os8 (None: everywhere one), N×1×H×W;
    factors: of os1, os4, os8.
    """
    values: list[Tensor] = []
    total = target.new_zeros(())
    for predicted, weight, factor in zip((alphas.os1, alphas.os4, alphas.os8), weights, factors, strict=True):
        parts = l1_loss(predicted, target, weight), laplacian_loss(predicted, target, weight)
        total = total + factor * (parts[0] + parts[1])
        values += parts
    return MatteLosses(total, *values)
