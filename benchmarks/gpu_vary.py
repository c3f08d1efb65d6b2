"""More out of each scene, made on the card: copies of a batch, mirrored and in other colours.

Worker processes make scenes more slowly than a card learns from them. Taking each one several times, changed each time,
in one larger batch is Hoffer et al., "Augment Your Batch", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from matting_anything_core.training.augment import _FROM_YIQ, _TO_YIQ

STRIDE = 4
"""Pixels of the square for one of the targets."""


def varying(copies: int, seed: int) -> Callable[[Mapping[str, Tensor], int], dict[str, Tensor]]:
    """What makes `copies` of each sample of the encoder's stages (lite_data.py), the first one as it is. The same seed
    and step make the same ones."""
    return partial(varied, copies=copies, seed=seed)


@torch.no_grad()
def varied(batch: Mapping[str, Tensor], step: int, *, copies: int, seed: int) -> dict[str, Tensor]:
    """A batch of B samples as one of B·copies, where it is."""
    device, count = batch["rgb"].device, len(batch["rgb"])
    generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
    many = {name: x.repeat(copies, *[1] * (x.ndim - 1)) for name, x in batch.items()}
    if copies == 1:
        return many
    changed = torch.arange(count * copies, device=device) >= count
    width = many["size"][:, 1]
    # A picture that ends within a cell of the targets has no mirror image on their grid.
    mirrored = changed & (width % STRIDE == 0) & (torch.rand(len(changed), generator=generator, device=device) < 0.5)
    many = _mirrored(many, mirrored)
    colours = _recoloured(many["rgb"], generator)
    many["rgb"] = torch.where(changed.view(-1, 1, 1, 1), colours, many["rgb"])
    return many


def _mirrored(batch: Mapping[str, Tensor], which: Tensor) -> dict[str, Tensor]:
    """Left and right changed within the picture, which begins at the left of its square; padding stays."""
    width = batch["size"][:, 1]
    result = dict(batch)
    for name, cells in (("rgb", width), ("targets", width // STRIDE)):
        x = batch[name]
        column = torch.arange(x.shape[-1], device=x.device)
        source = torch.where(which[:, None] & (column < cells[:, None]), cells[:, None] - 1 - column, column)
        result[name] = x.gather(3, source[:, None, None].expand(x.shape))
    wide, flip = width.to(batch["boxes"].dtype), which.view(-1, 1, 1)
    x0, y0, x1, y1 = batch["boxes"].unbind(-1)
    boxes = torch.stack([wide[:, None] - x1, y0, wide[:, None] - x0, y1], dim=-1)
    result["boxes"] = torch.where(flip, boxes, batch["boxes"])
    x, y = batch["points"].unbind(-1)
    points = torch.stack([wide[:, None, None] - x, y], dim=-1)
    result["points"] = torch.where(flip.unsqueeze(-1), points, batch["points"])
    return result


def _recoloured(rgb: Tensor, generator: torch.Generator) -> Tensor:
    """Hue, saturation, contrast, brightness and gamma changed, and noise: N×3×S×S uint8, as augment.jitter_colour."""
    count, device = len(rgb), rgb.device

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand((count, *shape), generator=generator, device=device) * (high - low) + low

    angle, saturation = drawn(-0.1, 0.1) * torch.pi, drawn(0.6, 1.4)
    turn = torch.zeros((count, 3, 3), device=device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    there, back = (torch.from_numpy(matrix).to(device) for matrix in (_TO_YIQ, _FROM_YIQ))
    contrast = drawn(0.75, 1.25)
    matrix = contrast.view(-1, 1, 1) * (drawn(0.93, 1.07, 3, 1) * (back @ turn @ there))
    shift = (drawn(-0.12, 0.12) + 0.5 * (1 - contrast)).view(-1, 1, 1, 1)
    values = torch.einsum("nij,njhw->nihw", matrix, rgb.float() / 255) + shift
    values = values.clamp_(0, 1).pow(drawn(-0.3, 0.3).exp().view(-1, 1, 1, 1))
    noise = torch.randn(values.shape, generator=generator, device=device)
    values += noise * (drawn(0, 1) ** 3 * 0.04).view(-1, 1, 1, 1)
    return (values.clamp_(0, 1) * 255).round_().to(torch.uint8)
