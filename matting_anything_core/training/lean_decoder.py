"""SAM's mask decoder with its products in another order: the same numbers for half of the work.

A prompt has some ten tokens, a view a thousand. Where the reference projects all the view's tokens to keys, values or
queries first, here the few tokens' side is multiplied into the projection: with keys K = X Wk the scores Q Kᵀ are
(Q Wkᵀ) Xᵀ, and with values V = X Wv the result A V is (A X) Wv. Nothing of the view's size is split into heads then.
Upscaling's transposed convolutions, whose windows do not overlap, are matrix products of tokens, so that its norms and
activations run over contiguous channels. On one CPU core a training step of this takes half the time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder
    from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock


def lean_decode_masks(
    decoder: MaskDecoder, features: Tensor, positional: Tensor, sparse: Tensor, dense: Tensor, owner: Tensor
) -> tuple[Tensor, Tensor]:
    """As `networks.decoder.decode_masks`, whose arguments and results it has."""
    count, grid = len(owner), features.shape[-2:]
    output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([output.unsqueeze(0).expand(count, -1, -1), sparse], dim=1)
    place = positional[0].flatten(1).t()
    view = features.flatten(2).transpose(1, 2).contiguous()[owner] + dense.flatten(2).transpose(1, 2)
    states = tokens
    transformer = decoder.transformer
    for index, layer in enumerate(transformer.layers):
        states, view = _block(layer, states, view, tokens, place, first=index == 0)
    states = states + _few_to_many(transformer.final_attn_token_to_image, states + tokens, view + place, view)
    states = transformer.norm_final_attn(states)

    candidates = range(1, decoder.num_mask_tokens)
    weights = torch.stack([decoder.output_hypernetworks_mlps[i](states[:, 1 + i]) for i in candidates], dim=1)
    first, norm, act, second, last = decoder.output_upscaling
    upscaled = F.layer_norm(_doubled(first, view), norm.weight.shape, norm.weight, norm.bias, norm.eps)
    upscaled = last(_doubled(second, act(upscaled)))  # N×hw×2×2×2×2×c: token, then rows and columns, coarse to fine
    logits = upscaled.reshape(count, -1, upscaled.shape[-1]) @ weights.transpose(1, 2)
    logits = logits.view(count, *grid, 2, 2, 2, 2, -1).permute(0, 7, 1, 3, 5, 2, 4, 6)
    return logits.reshape(count, -1, 4 * grid[0], 4 * grid[1]), decoder.iou_prediction_head(states[:, 0])[:, 1:]


def _block(layer: TwoWayAttentionBlock, states: Tensor, view: Tensor, tokens: Tensor, place: Tensor, *,
           first: bool) -> tuple[Tensor, Tensor]:
    if first:
        states = layer.self_attn(states, states, states)
    else:
        asked = states + tokens
        states = states + layer.self_attn(asked, asked, states)
    states = layer.norm1(states)
    placed = view + place
    states = layer.norm2(states + _few_to_many(layer.cross_attn_token_to_image, states + tokens, placed, view))
    states = layer.norm3(states + layer.mlp(states))
    view = layer.norm4(view + _many_to_few(layer.cross_attn_image_to_token, placed, states + tokens, states))
    return states, view


def _heads(layer: nn.Linear, heads: int) -> Tensor:
    """A projection's weight, heads×c×width."""
    return layer.weight.view(heads, -1, layer.in_features)


def _few_to_many(attention: Attention, few: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention from N×T×C to N×M×C, M being many. The keys' bias adds the same to all scores of a query: no effect."""
    heads = attention.num_heads
    count, asking, _ = few.shape
    query = attention.q_proj(few).view(count, asking, heads, -1).transpose(1, 2)
    query = query @ _heads(attention.k_proj, heads) / math.sqrt(query.shape[-1])  # N×heads×T×C
    scores = query.flatten(1, 2) @ keys.transpose(1, 2)
    mixed = (scores.softmax(-1) @ values).view(count, heads, asking, -1)
    mixed = mixed @ _heads(attention.v_proj, heads).transpose(1, 2)  # N×heads×T×c
    mixed = mixed.transpose(1, 2).flatten(2) + attention.v_proj.bias  # a row of the attention sums to 1
    return cast(Tensor, attention.out_proj(mixed))


def _many_to_few(attention: Attention, many: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention from N×M×C, M being many, to N×T×C."""
    heads = attention.num_heads
    count, there, _ = keys.shape
    key = attention.k_proj(keys).view(count, there, heads, -1).transpose(1, 2)
    key = key / math.sqrt(key.shape[-1])
    bias = (key * attention.q_proj.bias.view(1, heads, 1, -1)).sum(-1).flatten(1).unsqueeze(1)  # N×1×headsT
    key = (key @ _heads(attention.q_proj, heads)).flatten(1, 2)
    scores = torch.baddbmm(bias, many, key.transpose(1, 2))
    share = scores.view(count, -1, heads, there).softmax(-1).flatten(2)
    value = attention.v_proj(values).view(count, there, heads, -1).transpose(1, 2)
    value = value @ attention.out_proj.weight.view(-1, heads, value.shape[-1]).permute(1, 2, 0)  # N×heads×T×C
    return torch.baddbmm(attention.out_proj.bias.view(1, 1, -1), share, value.flatten(1, 2))


def _doubled(layer: nn.ConvTranspose2d, tokens: Tensor) -> Tensor:
    """A transposed convolution with windows of 2×2 that do not overlap: N×…×C -> N×…×2×2×c."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)  # 4c×C
    assert layer.bias is not None
    doubled = F.linear(tokens, weight, layer.bias.repeat(4))
    return doubled.reshape(*doubled.shape[:-1], 2, 2, layer.out_channels)
