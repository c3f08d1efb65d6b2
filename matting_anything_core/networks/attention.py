"""SAM's ViT image encoder, computed exactly and in half the time of segment_anything's own forward.

The weights are those of `segment_anything.modeling.ImageEncoderViT`; only the order of work differs:

* The decomposed relative position bias ("Segment Anything", after MViTv2) is never held for a whole picture, which
  would be 805 MB for ViT-B. On the CPU it is made per head for blocks of queries and handed to
  `scaled_dot_product_attention` as a mask; elsewhere it rides along in the product of queries and keys, so that one
  fused kernel does the whole block.
* Windows that stick out of the grid are padded by segment_anything before the projections. A padded token is zero, so
  its query, key and value are the projection's bias: only real tokens are projected.
* The patch embedding is one matrix product, and large buffers are made once and used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import Step

if TYPE_CHECKING:
    from segment_anything.modeling import ImageEncoderViT

QUERY_BLOCK = 512
"""Queries that are taken at once on the CPU: their bias against 4096 keys is 8 MB."""
TOKEN_BLOCK = 1024
"""Tokens that pass through the MLP at once on the CPU."""


def encode_vit(encoder: ImageEncoderViT, pixels: Tensor, step: Step | None = None) -> Tensor:
    """Features of pictures: B×3×S×S -> B×256×S/16×S/16, equal to `encoder(pixels)` up to rounding.

    step: called before each transformer block. On the CPU in float32 pictures are taken one by one in cache-sized
    blocks, everywhere else (CUDA, MPS, autocast, half precision) all at once with one fused attention a block. No
    gradients.
    """
    return encode_vit_early(encoder, pixels, step)[0]


@torch.no_grad()
def encode_vit_early(encoder: ImageEncoderViT, pixels: Tensor, step: Step | None = None) -> tuple[Tensor, Tensor]:
    """The same, and the tokens after the first block that looks at the whole picture, B×S/16×S/16×C."""
    if uses_blocks(pixels):
        found = [_encode_blocks(encoder, picture, step) for picture in torch.split(pixels, 1)]
        return torch.cat([features for features, _ in found]), torch.cat([early for _, early in found])
    tokens = _patches(encoder, pixels)
    places: _Places = {}
    early = None
    for block in _stepping(encoder, step):
        tokens = _fused_block(block, tokens, places)
        if early is None and not block.window_size:
            early = tokens
    return project(encoder.neck, tokens), tokens if early is None else early


def _stepping(encoder: ImageEncoderViT, step: Step | None) -> Iterator[nn.Module]:
    """The encoder's blocks, with a step before each."""
    for index, block in enumerate(encoder.blocks):
        if step is not None:
            step(index / len(encoder.blocks))
        yield block


def uses_blocks(pixels: Tensor) -> bool:
    """Whether the CPU's path takes these pictures: float32 on the CPU, outside autocast."""
    return pixels.device.type == "cpu" and pixels.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def _patches(encoder: ImageEncoderViT, pixels: Tensor) -> Tensor:
    """Patch embedding as one matrix product, plus the absolute positions; -> B×h×w×C."""
    projection = encoder.patch_embed.proj
    size = projection.kernel_size[0]
    batch, channels, height, width = pixels.shape
    grid = pixels.reshape(batch, channels, height // size, size, width // size, size)
    flat = grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, height // size, width // size, -1)
    tokens = F.linear(flat, projection.weight.flatten(1), projection.bias)
    return tokens if encoder.pos_embed is None else tokens + encoder.pos_embed


def project(neck: nn.Sequential, tokens: Tensor) -> Tensor:
    """1×1 convolution, norm, 3×3 convolution, norm; channels stay last in memory. B×h×w×C -> B×256×h×w."""

    def norm(x: Tensor, layer: nn.Module) -> Tensor:
        return F.layer_norm(x, layer.weight.shape, layer.weight, layer.bias, layer.eps)  # type: ignore[arg-type]

    first, norm1, second, norm2 = neck
    x = norm(F.linear(tokens, cast(Tensor, first.weight).flatten(1)), norm1)
    x = cast(Tensor, second(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    return norm(x, norm2).permute(0, 3, 1, 2).contiguous()


def _relative(table: Tensor, size: int) -> Tensor:
    """Rows of the table for every query and key position along one side: size×size×C."""
    if len(table) != 2 * size - 1:
        table = F.interpolate(table.t()[None], size=2 * size - 1, mode="linear")[0].t()
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None, :] + (size - 1)]


def _bias_factors(attention: nn.Module, queries: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The bias of N×T×C queries against keys by row (N×T×height) and by column (N×T×width); it is their sum."""
    grid = queries.reshape(len(queries), height, width, -1)
    by_row = torch.einsum("nhwc,hkc->nhwk", grid, _relative(cast(Tensor, attention.rel_pos_h), height).to(grid.dtype))
    by_column = torch.einsum("nhwc,wkc->nhwk", grid, _relative(cast(Tensor, attention.rel_pos_w), width).to(grid.dtype))
    return by_row.flatten(1, 2), by_column.flatten(1, 2)


# --- windows -------------------------------------------------------------------------------------------------------


def _to_windows(qkv: Tensor, bias: Tensor, window: int, heads: int) -> Tensor:
    """B×h×w×3C of real tokens -> 3×(B·windows)×heads×window²×C/heads; tokens outside the grid are the bias."""
    batch, height, width, channels = qkv.shape
    down, across = -(-height // window), -(-width // window)
    if (down * window, across * window) != (height, width):
        padded = bias.to(qkv.dtype).expand(batch, down * window, across * window, channels).contiguous()
        padded[:, :height, :width] = qkv
        qkv = padded
    split = qkv.reshape(batch, down, window, across, window, 3, heads, channels // (3 * heads))
    return split.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, -1, heads, window * window, channels // (3 * heads))


def _from_windows(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """(B·windows)×heads×window²×C -> B×h×w×(heads·C); tokens outside the grid are dropped."""
    down, across = -(-height // window), -(-width // window)
    heads, channels = x.shape[1], x.shape[3]
    split = x.reshape(-1, down, across, heads, window, window, channels)
    grid = split.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, down * window, across * window, heads * channels)
    return grid[:, :height, :width]


# --- blocks of other networks ------------------------------------------------------------------------------------


def transform(blocks: Sequence[nn.Module], tokens: Tensor, after: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Tokens B×h×w×C through transformer blocks with the parts that SAM's have; -> B×h×w×C.

    after: called with each block's index and what it made, and gives what the next one takes. As `encode_vit` does it,
    but with gradients where tokens have them.
    """
    if not uses_blocks(tokens) or tokens.requires_grad:
        places: _Places = {}
        for index, block in enumerate(blocks):
            tokens = after(index, _fused_block(block, tokens, places))
        return tokens
    done = []
    hidden = max(cast(nn.Linear, cast(nn.Module, block.mlp).lin1).out_features for block in blocks)
    buffers: _Buffers | None = None
    for one in tokens:
        one = one.clone()
        count, channels = one.shape[0] * one.shape[1], one.shape[2]
        if buffers is None:
            buffers = _Buffers(
                qkv=one.new_empty(count, 3 * channels), bias=one.new_empty(min(QUERY_BLOCK, count) * count),
                mixed=one.new_empty(count, channels), hidden=one.new_empty(min(TOKEN_BLOCK, count), hidden))
        for index, block in enumerate(blocks):
            one = one.contiguous()
            _attend(block, one, buffers)
            _mlp(block, one.view(count, channels), buffers.hidden)
            one = after(index, one[None])[0]
        done.append(one)
    return torch.stack(done)


# --- one fused attention: CUDA, MPS, half precision ----------------------------------------------------------------


_Places: TypeAlias = "dict[tuple[int, int], Tensor]"
"""By height and width: the one-hot row and column of each key, made once for all blocks of an encoder."""


def _fused_block(block: nn.Module, tokens: Tensor, places: _Places) -> Tensor:
    """One transformer block on B×h×w×C."""
    attention = cast(nn.Module, block.attn)
    batch, height, width, _ = tokens.shape
    heads = cast(int, attention.num_heads)
    linear = cast(nn.Linear, attention.qkv)
    qkv = linear(block.norm1(tokens))  # type: ignore[operator]
    window = cast(int, block.window_size)
    if window:
        q, k, v = _to_windows(qkv, linear.bias, window, heads)
        mixed = _fused_attention(attention, q, k, v, window, window, places)
        mixed = _from_windows(mixed, window, height, width)
    else:
        q, k, v = qkv.reshape(batch, height * width, 3, heads, -1).permute(2, 0, 3, 1, 4)
        mixed = _fused_attention(attention, q, k, v, height, width, places)
        mixed = mixed.transpose(1, 2).reshape(batch, height, width, -1)
    tokens = tokens + attention.proj(mixed)  # type: ignore[operator]
    return cast(Tensor, tokens + block.mlp(block.norm2(tokens)))  # type: ignore[operator]


def _fused_attention(attention: nn.Module, q: Tensor, k: Tensor, v: Tensor, height: int, width: int,
                     places: _Places) -> Tensor:
    """Attention of N×heads×T×C with relative positions and without a mask.

    The bias of a query and a key is by_row[query, row of key] + by_column[query, column of key]. With the factors
    appended to the query and one-hot row and column to the key, their product is the biased logit, so the fused
    kernels that take no mask (and need no T×T matrix) do all of it.
    """
    scale = cast(float, attention.scale)
    by_row, by_column = _bias_factors(attention, q.flatten(0, 1), height, width)
    spare = -(q.shape[-1] + height + width) % 8  # fused kernels want rows of whole 16 bytes
    if (height, width) not in places:
        places[height, width] = _one_hot(height, width, spare, q)
    one_hot = places[height, width]
    if spare:
        by_column = F.pad(by_column, (0, spare))
    q = torch.cat([q * scale, by_row.view(*q.shape[:3], -1), by_column.view(*q.shape[:3], -1)], dim=3)
    k = torch.cat([k, one_hot.expand(*k.shape[:2], -1, -1)], dim=3)
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


def _one_hot(height: int, width: int, spare: int, like: Tensor) -> Tensor:
    """Each place's row and column, one-hot beside each other, and `spare` zeros: T×(height + width + spare)."""
    rows = torch.eye(height, dtype=like.dtype, device=like.device)[:, None].expand(-1, width, -1)
    columns = torch.eye(width, dtype=like.dtype, device=like.device)[None].expand(height, -1, -1)
    return F.pad(torch.cat([rows, columns], dim=2).flatten(0, 1), (0, spare))


# --- cache-sized blocks: CPU, float32 ------------------------------------------------------------------------------


class _Buffers(NamedTuple):
    """Memory that every block of the network uses again (fresh pages cost the plain path seconds of page faults)."""

    qkv: Tensor
    bias: Tensor
    mixed: Tensor
    hidden: Tensor


def _encode_blocks(encoder: ImageEncoderViT, picture: Tensor, step: Step | None) -> tuple[Tensor, Tensor]:
    tokens = _patches(encoder, picture)[0]
    height, width, channels = tokens.shape
    count = height * width
    hidden = max(block.mlp.lin1.out_features for block in encoder.blocks)
    buffers = _Buffers(
        qkv=tokens.new_empty(count, 3 * channels),
        bias=tokens.new_empty(min(QUERY_BLOCK, count) * count),
        mixed=tokens.new_empty(count, channels),
        hidden=tokens.new_empty(min(TOKEN_BLOCK, count), hidden),
    )
    early = None
    for block in _stepping(encoder, step):
        _attend(block, tokens, buffers)
        _mlp(block, tokens.view(count, channels), buffers.hidden)
        if early is None and not block.window_size:
            early = tokens[None].clone()  # the blocks that follow change them in place
    return project(encoder.neck, tokens[None]), tokens[None] if early is None else early


def _attend(block: nn.Module, tokens: Tensor, buffers: _Buffers) -> None:
    """tokens += attention(norm(tokens)), in place; tokens h×w×C."""
    attention = cast(nn.Module, block.attn)
    heads = cast(int, attention.num_heads)
    height, width, channels = tokens.shape
    linear, projection = cast(nn.Linear, attention.qkv), cast(nn.Linear, attention.proj)
    normed = cast(Tensor, block.norm1(tokens)).view(-1, channels)  # type: ignore[operator]
    torch.addmm(linear.bias, normed, linear.weight.t(), out=buffers.qkv)
    window = cast(int, block.window_size)
    if window:
        _attend_windows(attention, buffers.qkv.view(height, width, -1), buffers.mixed.view(height, width, -1), window)
    else:
        _attend_whole(attention, buffers, heads, height, width)
    tokens.view(-1, channels).addmm_(buffers.mixed, projection.weight.t()).add_(projection.bias)


def _attend_windows(attention: nn.Module, qkv: Tensor, mixed: Tensor, window: int) -> None:
    """Attention within windows, one row of windows at a time; h×w×3C -> mixed h×w×C."""
    heads = cast(int, attention.num_heads)
    bias = cast(Tensor, cast(nn.Linear, attention.qkv).bias)
    scale = cast(float, attention.scale)
    width = qkv.shape[1]
    for top in range(0, len(qkv), window):
        rows = qkv[top : top + window]
        q, k, v = _to_windows(rows[None], bias, window, heads)
        by_row, by_column = _bias_factors(attention, q.flatten(0, 1), window, window)
        logits = (by_row[..., :, None] + by_column[..., None, :]).view(*q.shape[:3], -1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=logits, scale=scale)
        mixed[top : top + window] = _from_windows(out, window, len(rows), width)[0]


def _attend_whole(attention: nn.Module, buffers: _Buffers, heads: int, height: int, width: int) -> None:
    """Attention over the whole picture, head by head and QUERY_BLOCK queries at a time."""
    count = height * width
    scale = cast(float, attention.scale)
    split = buffers.qkv.view(count, 3, heads, -1)
    for head in range(heads):
        q, k, v = (split[:, part, head].contiguous() for part in range(3))
        by_row, by_column = (factor[0] for factor in _bias_factors(attention, q[None], height, width))
        for start in range(0, count, QUERY_BLOCK):
            part = slice(start, min(start + QUERY_BLOCK, count))
            length = part.stop - part.start
            bias = buffers.bias[: length * count].view(length, height, width)
            torch.add(by_row[part, :, None], by_column[part, None, :], out=bias)
            out = F.scaled_dot_product_attention(
                q[None, None, part], k[None, None], v[None, None],
                attn_mask=bias.view(1, 1, length, count), scale=scale,
            )
            buffers.mixed.view(count, heads, -1)[part, head] = out[0, 0]


def _mlp(block: nn.Module, tokens: Tensor, hidden: Tensor) -> None:
    """tokens += mlp(norm(tokens)), in place, TOKEN_BLOCK tokens at a time; tokens T×C."""
    mlp = cast(nn.Module, block.mlp)
    first, second = cast(nn.Linear, mlp.lin1), cast(nn.Linear, mlp.lin2)
    for part in torch.split(tokens, len(hidden)):
        inner = hidden[: len(part), : first.out_features]
        torch.addmm(first.bias, block.norm2(part), first.weight.t(), out=inner)  # type: ignore[operator]
        activated = cast(Tensor, mlp.act(inner))  # type: ignore[operator]
        part.addmm_(activated, second.weight.t()).add_(second.bias)
