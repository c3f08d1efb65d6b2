"""SAM's prompt encoder, in an order of work that does not wait for a device.

segment_anything adds the embedding of a point's label where a mask of labels says so, and how many places that are the
host must know: six waits a prompt. Here every label's embedding is offered everywhere and taken where it belongs; the
numbers are the same.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from segment_anything.modeling import PromptEncoder


def embed_prompts(
    encoder: PromptEncoder, boxes: Tensor | None, points: Tensor | None, labels: Tensor | None, masks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Sparse (N×T×256) and dense (N×256×h×w) embeddings of N prompts, as `encoder((points, labels), boxes, masks)`, and
    the places of the features (1×256×h×w), as `encoder.get_dense_pe()`.

    In float32, autocast or not: bfloat16 would place a point of a square of 1024 pixels up to one pixel off.
    """
    kind = encoder.no_mask_embed.weight.device.type
    casting = kind in ("cpu", "cuda", "mps") and torch.is_autocast_enabled(kind)
    with torch.autocast(kind, enabled=False) if casting else contextlib.nullcontext():
        places = encoder.get_dense_pe()
        sparse, dense = encoder(None, boxes, masks)
        if points is not None and labels is not None:
            found = _embed_points(encoder, points, labels, pad=boxes is None)
            sparse = torch.cat([found, sparse.expand(len(points), -1, -1)], dim=1)
            dense = dense.expand(len(points), -1, -1, -1)
        return sparse, dense, places


def _embed_points(encoder: PromptEncoder, points: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
    """N×P×2 and N×P -> N×P×256, or one more (padding) that SAM adds where there is no box."""
    points = points + 0.5  # to the centre of the pixel
    if pad:
        points = torch.cat([points, points.new_zeros((len(points), 1, 2))], dim=1)
        labels = torch.cat([labels, labels.new_full((len(labels), 1), -1)], dim=1)
    place: Tensor = encoder.pe_layer.forward_with_coords(points, encoder.input_image_size)
    kind = labels.unsqueeze(-1)
    result = place.masked_fill(kind == -1, 0.0)
    for label, embedding in ((-1, encoder.not_a_point_embed), *enumerate(encoder.point_embeddings[:2])):
        result = torch.where(kind == label, result + embedding.weight, result)
    return result
