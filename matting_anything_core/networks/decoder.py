"""SAM's mask decoder for many prompts on many pictures at once.

segment_anything's `MaskDecoder` decodes one picture with its prompts; here every prompt names its picture, so that a
batch of pictures is one pass, in training as in inference. The weights and the numbers are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder


def decode_masks(
    mask_decoder: MaskDecoder,
    features: Tensor,
    positional: Tensor,
    sparse: Tensor,
    dense: Tensor,
    owner: Tensor,
) -> tuple[Tensor, Tensor]:
    """Decode N prompts on B pictures to three candidate masks each.

    features: B×256×h×w of the encoder; positional: 1×256×h×w (`prompt_encoder.get_dense_pe()`); sparse: N×T×256 and
    dense: N×256×h×w (or with size 1 where it is expanded) of the prompt encoder; owner: N integers, the picture of
    each prompt. Returns logits N×3×4h×4w and the predicted IoU of each candidate, N×3.
    """
    output = torch.cat([mask_decoder.iou_token.weight, mask_decoder.mask_tokens.weight])
    states, upscaled = decode_tokens(mask_decoder, output, features, positional, sparse, dense, owner)
    # Token 0 predicts the IoUs, token 1 the single mask that is not used here, 2.. the three candidates.
    candidates = range(1, mask_decoder.num_mask_tokens)
    weights = torch.stack([mask_decoder.output_hypernetworks_mlps[i](states[:, 1 + i]) for i in candidates], dim=1)
    logits = (weights @ upscaled.flatten(2)).reshape(*weights.shape[:2], *upscaled.shape[-2:])
    return logits, mask_decoder.iou_prediction_head(states[:, 0])[:, 1:]


def decode_tokens(
    mask_decoder: MaskDecoder, output: Tensor, features: Tensor, positional: Tensor, sparse: Tensor, dense: Tensor,
    owner: Tensor,
) -> tuple[Tensor, Tensor]:
    """What the transformer makes of T output tokens (T×256) for each prompt, N×T'×256 with the prompt's own behind
    them, and of its picture, four times as large: N×32×4h×4w."""
    count = len(owner)
    tokens = torch.cat([output.unsqueeze(0).expand(count, -1, -1), sparse], dim=1)
    source = features[owner] + dense
    states, source = transform(mask_decoder, source, positional, tokens)
    height, width = features.shape[-2:]
    grid = source.transpose(1, 2).reshape(count, -1, height, width)
    return states, mask_decoder.output_upscaling(grid)


def transform(mask_decoder: MaskDecoder, source: Tensor, positional: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The two-way transformer; N×C×h×w and N×T×C -> tokens N×T×C and picture N×hw×C.

    The positional encoding stays one row that broadcasts: segment_anything repeats it for every prompt.
    """
    states, keys = mask_decoder.transformer(source, positional, tokens)
    return states, keys
