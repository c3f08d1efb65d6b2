"""Losses of the small model's first stage: masks by binary cross-entropy and dice, the best of three candidates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def inside_weights(boxes: Tensor, valid: Tensor, size: Sequence[int], stride: float = 4.0) -> Tensor:
    """Weights N×h×w for the cross-entropy: pixels in and about the box count alike for small objects and large ones,
    the rest of the picture a little, its padding hardly.

    boxes: N×4 in the network's square; valid: N×2, height and width of the picture in it; size: h, w of the logits.
    """
    y = (torch.arange(size[0], device=boxes.device, dtype=boxes.dtype) + 0.5) * stride
    x = (torch.arange(size[1], device=boxes.device, dtype=boxes.dtype) + 0.5) * stride
    margin = 0.1 * (boxes[:, 2:] - boxes[:, :2])
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    across = (x >= low[:, :1]) & (x <= high[:, :1])
    down = (y >= low[:, 1:]) & (y <= high[:, 1:])
    near = (down[:, :, None] & across[:, None, :]).to(boxes.dtype)
    inside = ((y < valid[:, :1])[:, :, None] & (x < valid[:, 1:])[:, None, :]).to(boxes.dtype)
    far = inside * (1 - near)
    return near / near.sum((1, 2), keepdim=True).clamp(min=1) + 0.4 * far / far.sum((1, 2), keepdim=True).clamp(min=1)


def mask_losses(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy + dice of each candidate, N×3. logits: N×3×h×w; targets: N×h×w in 0..1; weights: N×h×w."""
    soft = targets.unsqueeze(1).expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    entropy = (entropy * weights.unsqueeze(1)).sum((2, 3))
    chances = logits.sigmoid()
    shared = (chances * soft).sum((2, 3))
    dice = 1 - (2 * shared + 1) / ((chances**2).sum((2, 3)) + (soft**2).sum((2, 3)) + 1)
    return entropy + dice


def measured_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of logits > 0 with targets > 0.5, N×3."""
    found, there = logits > 0, (targets > 0.5).unsqueeze(1)
    both = (found & there).sum((2, 3)).float()
    return both / (found | there).sum((2, 3)).float().clamp(min=1)


def stage_one_loss(logits: Tensor, predicted: Tensor, targets: Tensor, weights: Tensor,
                   others: float = 0.1) -> tuple[Tensor, Tensor]:
    """The loss and the mean IoU of the candidate that the IoU head would choose.

    The candidate with the smallest loss is taught; the mean over all gets the weight `others`, so that none dies. The
    IoU head (predicted: N×3) learns the measured IoU of every candidate by squared error.
    """
    each = mask_losses(logits, targets, weights)
    iou = measured_iou(logits.detach(), targets)
    loss = each.min(1).values.mean() + others * each.mean() + F.mse_loss(predicted, iou)
    chosen = iou.gather(1, predicted.argmax(1, keepdim=True)).mean()
    return loss, chosen
