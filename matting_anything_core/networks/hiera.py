"""SAM 2's image encoder: Hiera ("Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles", 2023) and
the pyramid over it ("SAM 2: Segment Anything in Images and Videos", 2024).

Tensor names are those of the published checkpoints. Beside the order of work (strips of rows on the CPU, only real
tokens projected where windows stick out of the grid: a padded token's query, key and value are the projection's bias)
nothing differs from what they were trained as. The networks are frozen: no gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import uses_blocks
from .backbone import Step
from .fused import linear_gelu

PYRAMID = 256
"""Channels of the pyramid."""
TOKENS = 2048
"""Tokens that pass through an MLP at once on the CPU."""


class PatchEmbed(nn.Module):
    """A 7×7 convolution of stride 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 7, 4, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        """B×3×S×S -> B×S/4×S/4×C."""
        return cast(Tensor, self.proj(pixels)).permute(0, 2, 3, 1).contiguous()


class Attention(nn.Module):
    """The projections of multi-head attention; window and pooling are its block's."""

    def __init__(self, inputs: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(inputs, 3 * width)
        self.proj = nn.Linear(width, width)


class Mlp(nn.Module):
    """Two linear layers, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, 4 * width), nn.Linear(4 * width, width)])


class Block(nn.Module):
    """Attention within windows (0: over the whole grid), and MLP. pooled: queries, and the shortcut, are the largest of
    2×2, and the block gives half the resolution."""

    def __init__(self, inputs: int, width: int, heads: int, window: int, pooled: bool) -> None:
        super().__init__()
        self.window, self.pooled = window, pooled
        self.norm1 = nn.LayerNorm(inputs, eps=1e-6)
        self.attn = Attention(inputs, width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.proj: nn.Linear | None = nn.Linear(inputs, width) if inputs != width else None

    def forward(self, x: Tensor) -> Tensor:
        """B×H×W×C -> B×H×W×C', or half of the rows and columns."""
        if self.window and uses_blocks(x):
            rows = self.window  # a row of windows at a time
            parts = [self._attended(x[:, top : top + rows]) for top in range(0, x.shape[1], rows)]
            x = torch.cat(parts, dim=1)
        else:
            x = self._attended(x)
        return self._mlp(x)

    def _attended(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        shortcut = x if self.proj is None else self.proj(normed)
        if self.pooled:
            shortcut = _pool(shortcut)
        height, width = shortcut.shape[1:3]
        return cast(Tensor, shortcut + self._mixed(normed)[:, :height, :width])

    def _mixed(self, normed: Tensor) -> Tensor:
        """What attention finds; B×h×w×C', h and w filled up to whole windows."""
        batch, height, width, _ = normed.shape
        heads, linear = self.attn.heads, self.attn.qkv
        channels = linear.out_features // 3
        tall, wide = (self.window, self.window) if self.window else (height, width)
        down, across = -(-height // tall), -(-width // wide)
        if (down * tall, across * wide) == (height, width):
            # Brought together by window before the projection: what it gives then needs no copy.
            qkv = linear(_windows(normed, down, tall, across, wide))
        else:  # a padded token is zero, and its projection the bias: only real ones are projected
            real = linear(normed)
            qkv = linear.bias.to(real.dtype).expand(batch, down * tall, across * wide, -1).contiguous()
            qkv[:, :height, :width] = real
            qkv = _windows(qkv, down, tall, across, wide)
        q, k, v = qkv.view(-1, tall, wide, 3, channels).unbind(3)
        if self.pooled:
            q = _pool(q)
            tall, wide = tall // 2, wide // 2
        q, k, v = (part.flatten(1, 2).unflatten(2, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(q), -1, channels)
        grid = self.attn.proj(found).view(batch, down, across, tall, wide, channels).transpose(2, 3)
        return cast(Tensor, grid.reshape(batch, down * tall, across * wide, channels))

    def _mlp(self, x: Tensor) -> Tensor:
        first, second = (cast(nn.Linear, layer) for layer in self.mlp.layers)
        flat = x.flatten(0, 2)
        for part in torch.split(flat, TOKENS if uses_blocks(x) else len(flat)):
            part += second(linear_gelu(self.norm2(part), first.weight, first.bias))
        return x


def _windows(x: Tensor, down: int, tall: int, across: int, wide: int) -> Tensor:
    """B×(down·tall)×(across·wide)×C -> windows of tall × wide tokens, (B·down·across)×(tall·wide)×C."""
    split = x.reshape(len(x), down, tall, across, wide, -1).transpose(2, 3)
    return split.reshape(-1, tall * wide, x.shape[-1])


def _pool(x: Tensor) -> Tensor:
    """The largest of each 2×2; B×H×W×C -> B×H/2×W/2×C."""
    x = torch.maximum(x[:, 0::2], x[:, 1::2])
    return torch.maximum(x[:, :, 0::2], x[:, :, 1::2])


class Trunk(nn.Module):
    """Four stages, each of twice the width and half the resolution of the one before.

    width, heads: of the first stage. depths: blocks of each stage. everywhere: the blocks whose attention is over the
    whole grid. windows: of each stage; its first block still has the one before's. background: side of the position
    embedding that is enlarged to the grid, below that of the first stage's windows.
    """

    def __init__(self, width: int, heads: int, depths: Sequence[int], everywhere: Sequence[int], background: int,
                 windows: Sequence[int]) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, width, background, background))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, width, windows[0], windows[0]))
        blocks: list[nn.Module] = []
        for stage, depth in enumerate(depths):
            for place in range(depth):
                first = stage > 0 and place == 0
                window = 0 if len(blocks) in everywhere else windows[stage - first]
                blocks.append(Block(width << (stage - first), width << stage, heads << stage, window, first))
        self.blocks = nn.ModuleList(blocks)
        self.ends = [sum(depths[: stage + 1]) - 1 for stage in range(len(depths))]

    def stages(self, pixels: Tensor, step: Step | None) -> list[Tensor]:
        """What each stage gives, B×h×w×C, at a quarter, an eighth, a sixteenth and a thirty-second of S."""
        x = self.patch_embed(pixels)
        x = x + self._positions(*x.shape[1:3])
        found = []
        for index, block in enumerate(self.blocks):
            if step is not None:
                step(index / len(self.blocks))
            x = block(x)
            if index in self.ends:
                found.append(x)
        return found

    def _positions(self, height: int, width: int) -> Tensor:
        coarse = self.pos_embed.float()[0]
        down, across = (_bicubic(coarse.shape[-1], size, coarse) for size in (height, width))
        far = down @ coarse @ across.t()
        window = self.pos_embed_window.shape[-1]
        near = self.pos_embed_window.repeat(1, 1, -(-height // window), -(-width // window))[..., :height, :width]
        return (far + near).permute(0, 2, 3, 1)


def _bicubic(before: int, after: int, like: Tensor) -> Tensor:
    """What makes `after` values of `before` ones by bicubic interpolation along one axis, after×before. Along both axes
    it is two such products, which cost nothing beside torch's own way to a large grid."""
    one = torch.eye(before, dtype=like.dtype, device=like.device)[None, :, :, None]
    return F.interpolate(one, (after, 1), mode="bicubic")[0, :, :, 0].t()


class Lateral(nn.Module):
    """A 1×1 convolution to the pyramid's channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, PYRAMID, 1)

    def forward(self, x: Tensor) -> Tensor:
        """B×h×w×C -> B×h×w×256."""
        return F.linear(x, self.conv.weight.flatten(1), self.conv.bias)

    def then(self, x: Tensor, following: nn.Conv2d) -> Tensor:
        """The same and another 1×1 convolution, as the one that both are together."""
        weight = following.weight.flatten(1)
        both = weight @ self.conv.weight.flatten(1)
        return F.linear(x, both, F.linear(cast(Tensor, self.conv.bias), weight, following.bias))


class Neck(nn.Module):
    """The pyramid; its convolutions stand in the order of the trunk's last stage to its first."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Lateral(width) for width in reversed(widths))


class HieraEncoder(nn.Module):
    """Trunk and pyramid; takes any square that 32 divides, and whose quarter the first stage's windows divide."""

    def __init__(self, width: int, heads: int, depths: Sequence[int], everywhere: Sequence[int], background: int,
                 windows: Sequence[int]) -> None:
        super().__init__()
        self.trunk = Trunk(width, heads, depths, everywhere, background, windows)
        self.neck = Neck([width << stage for stage in range(len(depths))])

    def forward(self, pixels: Tensor) -> Tensor:
        """B×3×S×S -> B×256×S/16×S/16."""
        return self.pyramid(pixels, None)[0]

    @torch.no_grad()
    def pyramid(self, pixels: Tensor, step: Step | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The pyramid at a sixteenth, B×256×S/16×S/16, and the trunk's stages at a quarter and at an eighth, B×h×w×C,
        which the mask decoder's convolutions and the pyramid's are applied to in one (`Lateral.then`)."""
        quarter, eighth, sixteenth, last = self.trunk.stages(pixels, step)
        lowest, lower = self.neck.convs[0](last), self.neck.convs[1](sixteenth)
        enlarged = lowest.repeat_interleave(2, 1).repeat_interleave(2, 2)
        return (lower + enlarged).permute(0, 3, 1, 2).contiguous(), quarter, eighth
