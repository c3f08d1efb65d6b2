"""TinyViT ("TinyViT: Fast Pretraining Distillation for Small Vision Transformers", 2022) as MobileSAM has it ("Faster
Segment Anything", 2023): its last stage keeps the resolution, and a neck makes SAM's 256 channels of it.

Tensor names are those of the published checkpoints. What is computed is what these networks compute, in another order
of work, up to rounding:

* Batch norms are folded into their convolutions. That is done anew for each picture: of five million weights it takes
  no time, and a network whose weights are exchanged or moved needs no second copy that could be forgotten.
* Channels stay last in memory, so that 1×1 convolutions are matrix products on what is there, and GELU is computed
  along with what comes before it.
* On the CPU the convolutional stages go in strips of rows whose 4 times wider inner layers fit into the cache, and
  attention goes by rows of windows; what a strip needs of its neighbours is computed twice.

The networks are frozen: no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, cast

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import project, uses_blocks
from .backbone import Backbone, Defaults, Shapes, Step, has_hq
from .fused import convolution_gelu, linear_gelu
from .vit import SAM_MEAN, SAM_STD

STRIP = 16
"""Rows that a convolutional stage gives at once on the CPU."""
CHANNELS = 256
Strip: TypeAlias = Callable[[int, int], Tensor]
"""Makes the rows top..bottom of a result."""


class Folded(NamedTuple):
    """A convolution with its batch norm."""

    weight: Tensor
    bias: Tensor
    stride: int
    groups: int

    def pointwise(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        """A 1×1 convolution of B×H×W×C, and GELU."""
        weight = self.weight.flatten(1)
        return linear_gelu(x, weight, self.bias) if gelu else F.linear(x, weight, self.bias)

    def rows(self, x: Tensor, origin: int, height: int, top: int, bottom: int, *, gelu: bool = False) -> Tensor:
        """Rows top..bottom of a 3×3 convolution's result, and GELU.

        x: B×h×W×C, rows origin.. of an input of `height` rows, with those that the result needs.
        """
        first, last = self.reads(top, bottom)
        part = x[:, max(first, 0) - origin : min(last, height) - origin]
        if first < 0 or last > height:
            part = F.pad(part, (0, 0, 0, 0, max(-first, 0), max(last - height, 0)))
        part = part.permute(0, 3, 1, 2)
        if gelu:
            found = convolution_gelu(part, self.weight, self.bias, self.stride, (0, 1), self.groups)
        else:
            found = F.conv2d(part, self.weight, self.bias, self.stride, (0, 1), groups=self.groups)
        return found.permute(0, 2, 3, 1)

    def reads(self, top: int, bottom: int) -> tuple[int, int]:
        """The rows of the input that rows top..bottom of a 3×3 convolution's result are made of, padding included."""
        return self.stride * top - 1, self.stride * (bottom - 1) + 2


class ConvNorm(nn.Module):
    """A convolution without bias and its batch norm."""

    def __init__(self, inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def folded(self) -> Folded:
        """Both as one."""
        scale = self.bn.weight / (cast(Tensor, self.bn.running_var) + self.bn.eps).sqrt()
        bias = self.bn.bias - cast(Tensor, self.bn.running_mean) * scale
        weight = self.c.weight * scale[:, None, None, None]
        return Folded(weight, bias, self.c.stride[0], self.c.groups)


class PatchEmbed(nn.Module):
    """Two 3×3 convolutions of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, width // 2, 3, 2), nn.GELU(), ConvNorm(width // 2, width, 3, 2))

    def forward(self, pixels: Tensor) -> Tensor:
        """B×3×S×S -> B×S/4×S/4×C."""
        first, second = (cast(ConvNorm, self.seq[index]).folded() for index in (0, 2))
        pixels = pixels.permute(0, 2, 3, 1).contiguous()
        height = pixels.shape[1]

        def strip(top: int, bottom: int) -> Tensor:
            start, stop = _within(second.reads(top, bottom), height // 2)
            inner = first.rows(pixels, 0, height, start, stop, gelu=True)
            return second.rows(inner, start, height // 2, top, bottom)

        return _in_strips(strip, height // 4, pixels)


class _Bottleneck(nn.Module):
    """1×1, depthwise 3×3 and 1×1 convolution, GELU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, stride, hidden)
        self.conv3 = ConvNorm(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """B×H×W×C -> B×H/stride×W/stride×C'."""
        one, two, three = self.conv1.folded(), self.conv2.folded(), self.conv3.folded()
        height = x.shape[1]

        def strip(top: int, bottom: int) -> Tensor:
            start, stop = _within(two.reads(top, bottom), height)
            inner = one.pointwise(x[:, start:stop], gelu=True)
            inner = two.rows(inner, start, height, top, bottom, gelu=True)
            return self.joined(three.pointwise(inner), x[:, top:bottom])

        return _in_strips(strip, height // two.stride, x)

    def joined(self, found: Tensor, given: Tensor) -> Tensor:
        """What becomes of a strip; given: the same rows of the input."""
        raise NotImplementedError


class Inverted(_Bottleneck):
    """MobileNet's inverted bottleneck, four times as wide inside, with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 4 * width, width, 1)

    def joined(self, found: Tensor, given: Tensor) -> Tensor:
        """The shortcut, and GELU behind it."""
        return F.gelu(found + given)


class Downsample(_Bottleneck):
    """From one stage to the next."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, outputs, stride)

    def joined(self, found: Tensor, given: Tensor) -> Tensor:
        """There is no shortcut."""
        return found


class WindowAttention(nn.Module):
    """Attention within windows, with a learned bias for each distance of rows and of columns."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def bias(self) -> Tensor:
        """What is added to the logits: heads×window²×window²."""
        place = torch.arange(self.window, device=self.attention_biases.device)
        apart = (place[:, None] - place[None, :]).abs()
        index = apart[:, None, :, None] * self.window + apart[None, :, None, :]
        return self.attention_biases[:, index.flatten(0, 1).flatten(1)]

    def forward(self, x: Tensor) -> Tensor:
        """B×H×W×C -> the same plus what attention finds; x is changed."""
        bias = self.bias()[None]
        rows = self.window if uses_blocks(x) else x.shape[1]
        for top in range(0, x.shape[1], rows):
            part = x[:, top : top + rows]
            part += self._mixed(part, bias)
        return x

    def _mixed(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        window, heads = self.window, self.heads
        down, across = -(-height // window), -(-width // window)
        if (down * window, across * window) != (height, width):
            x = F.pad(x, (0, 0, 0, across * window - width, 0, down * window - height))
        # Tokens are brought together by window first: queries, keys and values then need no copy of their own.
        windows = x.reshape(batch, down, window, across, window, channels).transpose(2, 3)
        normed = self.norm(windows.reshape(-1, window * window, channels))
        q, k, v = self.qkv(normed).view(len(normed), -1, heads, 3, channels // heads).permute(3, 0, 2, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        found = self.proj(found.transpose(1, 2).reshape(normed.shape))
        grid = found.view(batch, down, across, window, window, channels).transpose(2, 3)
        return cast(Tensor, grid.reshape(batch, down * window, across * window, channels)[:, :height, :width])


class Mlp(nn.Module):
    """Norm, and two linear layers, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """B×H×W×C -> the same plus what the layers make of it; x is changed."""
        rows = STRIP if uses_blocks(x) else x.shape[1]
        for top in range(0, x.shape[1], rows):
            part = x[:, top : top + rows]
            part += self.fc2(linear_gelu(self.norm(part), self.fc1.weight, self.fc1.bias))
        return x


class TransformerBlock(nn.Module):
    """Attention, a depthwise 3×3 convolution, MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window)
        self.mlp = Mlp(width)
        self.local_conv = ConvNorm(width, width, 3, 1, width)

    def forward(self, x: Tensor) -> Tensor:
        """B×H×W×C -> the same shape; x is changed."""
        x = self.attn(x)
        x = self.local_conv.folded().rows(x, 0, x.shape[1], 0, x.shape[1])
        return cast(Tensor, self.mlp(x.contiguous()))


class Stage(nn.Module):
    """Blocks, and what leads to the next stage."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: Downsample | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


class TinyViT(nn.Module):
    """MobileSAM's image encoder; takes any square (or rectangle) that 16 divides.

    widths, depths, heads, windows: of the four stages; the first one is convolutional.
    """

    def __init__(
        self, widths: Sequence[int] = (64, 128, 160, 320), depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (2, 4, 5, 10), windows: Sequence[int] = (7, 7, 14, 7),
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(widths[0])
        stages = []
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks: list[nn.Module] = [
                TransformerBlock(width, heads[index], windows[index]) if index else Inverted(width)
                for _ in range(depth)
            ]
            last = index == len(widths) - 1
            # TinyViT halves the resolution before each stage; here the last one keeps it, at a sixteenth.
            stages.append(Stage(blocks, None if last else Downsample(width, widths[index + 1], 2 if index < 2 else 1)))
        self.layers = nn.ModuleList(stages)
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], CHANNELS, 1, bias=False), LayerNorm2d(CHANNELS),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False), LayerNorm2d(CHANNELS),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """B×3×S×S, normalised, zero-padded right and below -> B×256×S/16×S/16."""
        return self.encode(pixels)[0]

    @torch.no_grad()
    def encode(self, pixels: Tensor, step: Step | None = None) -> tuple[Tensor, Tensor]:
        """The same, and the second stage's result, B×S/16×S/16×C, which HQ-SAM looks at.

        step: called before each block with the share that is done; it may raise to cancel.
        """
        if uses_blocks(pixels) and len(pixels) > 1:  # one by one: what a strip needs then fits into the cache
            found = [self.encode(picture, step) for picture in torch.split(pixels, 1)]
            return torch.cat([features for features, _ in found]), torch.cat([early for _, early in found])
        early = pixels
        x = self.patch_embed(pixels)
        for index, stage in enumerate(self.layers):
            for block in self._stepping(cast(Stage, stage), index, step):
                x = block(x)
            if stage.downsample is not None:
                x = stage.downsample(x)  # type: ignore[operator]
            if index == 1:
                early = x.clone()
        return project(self.neck, x), early

    def _stepping(self, stage: Stage, index: int, step: Step | None) -> Iterator[nn.Module]:
        """A stage's blocks, with a step before each."""
        for place, block in enumerate(stage.blocks):
            if step is not None:
                step((index + place / len(stage.blocks)) / len(self.layers))
            yield block


def _within(rows: tuple[int, int], height: int) -> tuple[int, int]:
    return max(rows[0], 0), min(rows[1], height)


def _in_strips(strip: Strip, height: int, like: Tensor) -> Tensor:
    """Rows 0..height of what `strip` gives, some at a time on the CPU, all at once elsewhere."""
    if not uses_blocks(like):
        return strip(0, height)
    first = strip(0, min(STRIP, height))
    result = first.new_empty(first.shape[0], height, *first.shape[2:])
    result[:, : len(first[0])] = first
    for top in range(STRIP, height, STRIP):
        bottom = min(top + STRIP, height)
        result[:, top:bottom] = strip(top, bottom)
    return result


def has_tiny_vit(shapes: Shapes) -> bool:
    """Whether a file's tensors are of this encoder."""
    return "image_encoder.layers.0.blocks.0.conv1.c.weight" in shapes


ALONE = Defaults(refine_masks=True, head="guided")
"""Without a Mask-to-Matte: the mask, refined with the image's colours and filtered along its edges."""
CLASSIFIER = ("image_encoder.norm_head.", "image_encoder.head.")
"""What ImageNet's classes were told apart with; the published files still have it."""

MOBILE_SAM = Backbone(
    "mobile_sam", lambda _size: TinyViT(), lambda shapes: has_tiny_vit(shapes) and not has_hq(shapes), input_size=1024,
    mean=SAM_MEAN, std=SAM_STD, any_size=True, working_bytes=1 << 30, alone=ALONE, features_of="vit_h", imitates=True,
    unused=CLASSIFIER,
)
