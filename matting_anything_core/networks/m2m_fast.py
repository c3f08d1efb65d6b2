"""Mask-to-Matte for inference: the same numbers as `m2m.MaskToMatte` in eval mode, for a fraction of the work.

* Spectral norm (with the stored u, v) and BatchNorm are folded into the convolutions once, by `fold`.
* The 1×1 convolution of a shortcut comes before the nearest enlargement, which it commutes with.
* Channels are last in memory, activations are in place.
* Only what can matter is computed: `Stages` predicts each scale inside a window. What a window needs of the layers
  below follows from the kernels' reach, so the cut is exact: beyond the picture's edge it sees the zeros that the
  convolutions pad with, elsewhere its real surroundings (6 tokens of them for the finest scale).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..geometry import Window, resize_window, source_window
from .m2m import Alphas, Block, MaskToMatte, SpectralConv, SpectralUpConv

SLOPE = 0.2
OS1_TILE = 256
"""Side in pixels of the tiles in which the CPU computes the finest scale: its buffers then stay in the cache."""


class _Conv(NamedTuple):
    weight: Tensor
    bias: Tensor | None
    up: bool = False
    """Transposed 4×4 convolution that doubles the size, else one that keeps it."""

    def __call__(self, x: Tensor) -> Tensor:
        if self.up:
            return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)
        return F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> _Conv:
        bias = None if self.bias is None else self.bias.to(device, dtype)
        weight = self.weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
        return _Conv(weight, bias, self.up)


class _Block(NamedTuple):
    first: _Conv
    second: _Conv
    shortcut: _Conv | None

    def __call__(self, x: Tensor) -> Tensor:
        y = self.second(F.leaky_relu_(self.first(x), SLOPE))
        if self.shortcut is not None:
            x = F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")
        return F.leaky_relu_(y.add_(x), SLOPE)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> _Block:
        shortcut = None if self.shortcut is None else self.shortcut.to(device, dtype)
        return _Block(self.first.to(device, dtype), self.second.to(device, dtype), shortcut)


class _Layers(NamedTuple):
    """What leads from one scale to the next, and the head that predicts alpha there."""

    blocks: tuple[_Block | _Conv, ...]
    head: tuple[_Conv, _Conv]
    reach: int
    """Pixels of the output that a cut edge of the input spoils: 1 of the transposed convolution, 1 of every 3×3."""

    def __call__(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x) if isinstance(block, _Block) else F.leaky_relu_(block(x), SLOPE)
        return x

    def predict(self, x: Tensor) -> Tensor:
        first, second = self.head
        return second(F.leaky_relu_(first(x), SLOPE))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> _Layers:
        first, second = self.head
        blocks = tuple(block.to(device, dtype) for block in self.blocks)
        return _Layers(blocks, (first.to(device, dtype), second.to(device, dtype)), self.reach)


def _folded(weight: Tensor, norm: nn.BatchNorm2d, *, up: bool = False) -> _Conv:
    """A convolution and the BatchNorm after it as one."""
    running_mean, running_var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight / torch.sqrt(running_var + norm.eps)
    along = (1, -1, 1, 1) if up else (-1, 1, 1, 1)
    bias = norm.bias - running_mean * scale
    return _Conv((weight * scale.view(along)).contiguous(memory_format=torch.channels_last), bias, up)


def _weight(conv: nn.Module) -> Tensor:
    """The spectrally normalised weight with the stored u and v."""
    holder = cast("SpectralConv | SpectralUpConv", conv).module
    sigma = holder.weight_u.dot(holder.weight_bar.flatten(1).mv(holder.weight_v))
    return holder.weight_bar / sigma


def _fold_block(block: Block) -> _Block:
    shortcut = None
    if block.upsample is not None:
        shortcut = _folded(_weight(block.upsample[1]), cast(nn.BatchNorm2d, block.upsample[2]))
    up = isinstance(block.conv1, SpectralUpConv)
    return _Block(
        _folded(_weight(block.conv1), block.bn1, up=up), _folded(_weight(block.conv2), block.bn2), shortcut
    )


def _fold_head(head: nn.Sequential) -> tuple[_Conv, _Conv]:
    first, norm, _, last = head
    last = cast(nn.Conv2d, last)
    weight = last.weight.contiguous(memory_format=torch.channels_last)
    return _folded(cast(nn.Conv2d, first).weight, cast(nn.BatchNorm2d, norm)), _Conv(weight, last.bias)


def _fold_stage(stage: nn.Sequential, head: nn.Sequential) -> _Layers:
    blocks = tuple(_fold_block(cast(Block, block)) for block in stage)
    return _Layers(blocks, _fold_head(head), 2 * len(blocks))


@torch.no_grad()
def fold(m2m: MaskToMatte) -> FoldedMaskToMatte:
    """The inference form of a MaskToMatte, as in its eval mode: a copy, which later training does not change."""
    middle = tuple(_fold_block(cast(Block, block)) for block in m2m.layer4)
    last = _folded(_weight(m2m.conv1), m2m.bn1, up=True)
    return FoldedMaskToMatte(
        os8=_fold_stage(m2m.layer2, m2m.refine_OS8),
        os4=_fold_stage(m2m.layer3, m2m.refine_OS4),
        os2=middle,
        os1=_Layers((last,), _fold_head(m2m.refine_OS1), 1),
    )


class Prepared(NamedTuple):
    """What all objects of one picture share: the features and the picture at 1/16, 1/8 and 1/4, each 1×C×h×w."""

    features: Tensor
    pictures: tuple[Tensor, Tensor, Tensor]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the square in pixels."""
        return self.features.shape[-2] * 16, self.features.shape[-1] * 16


def prepare(features: Tensor, image: Tensor) -> Prepared:
    """features: 1×256×h×w of the encoder; image: 1×3×16h×16w, normalised and padded as for the encoder."""
    height, width = features.shape[-2:]
    sizes = [(height * scale, width * scale) for scale in (1, 2, 4)]
    one, two, four = (F.interpolate(image, size, mode="bilinear", align_corners=False) for size in sizes)
    return Prepared(features, (one, two, four))


@dataclass(frozen=True)
class FoldedMaskToMatte:
    """Built by `fold`. Holds tensors only and no state, so that it can be shared between threads."""

    os8: _Layers
    os4: _Layers
    os2: tuple[_Block, ...]
    os1: _Layers

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> FoldedMaskToMatte:
        """A copy on another device or in another floating type."""
        os8, os4, os1 = (layers.to(device, dtype) for layers in (self.os8, self.os4, self.os1))
        return FoldedMaskToMatte(os8, os4, tuple(block.to(device, dtype) for block in self.os2), os1)

    @property
    def dtype(self) -> torch.dtype:
        """The type it computes in; what is handed in is converted, alphas are float32."""
        return self.os8.head[0].weight.dtype

    def stages(self, prepared: Prepared, mask: Tensor, window: Window | None = None) -> Stages:
        """Begin with one object: mask 1×1×any×any float 0/1 in the square.

        window: where in the square (in pixels) alpha will be asked for at most; left out, anywhere.
        """
        return Stages(self, prepared, mask, window)

    def os8_os4_os1(self, features: Tensor, image: Tensor, mask: Tensor, region: Window | None = None) -> Alphas:
        """All three scales inside a window of the square, for one or more objects of one picture.

        features: 1×256×h×w; image: 1×3×16h×16w; mask: N×1×any×any float 0/1; region: in pixels of the square, the same
        for all, left out for the whole. Returns alphas N×1×(region's height)×(region's width), equal to
        MaskToMatte.forward in eval mode cut to the region.
        """
        prepared = prepare(features, image)
        window = region or Window(0, 0, *prepared.size)
        stages = self.stages(prepared, mask, window)
        return Alphas(stages.os8(window), stages.os4(window), stages.os1(window))


class _Patch(NamedTuple):
    """A part of a map: what is in it, and where in the whole map it lies."""

    values: Tensor
    window: Window

    def cut(self, window: Window) -> Tensor:
        """The part of it that `window` (of the whole map) names."""
        return self.values[
            ..., window.top - self.window.top : window.bottom - self.window.top,
            window.left - self.window.left : window.right - self.window.left,
        ]


def _wide(window: Window, margin: int, size: tuple[int, int]) -> Window:
    return Window(
        max(window.top - margin, 0), max(window.left - margin, 0),
        min(window.bottom + margin, size[0]), min(window.right + margin, size[1]),
    )


def _below(window: Window, reach: int, size: tuple[int, int]) -> Window:
    """What a doubling layer must see of its input (of `size`) for `window` of its output to be exact."""
    wide = _wide(window, reach, (size[0] * 2, size[1] * 2))
    return Window(wide.top // 2, wide.left // 2, -(-wide.bottom // 2), -(-wide.right // 2))


class Stages:
    """One object on its way through the scales, coarse to fine; asked for a scale where the one before was uncertain.

    Windows are in pixels of the square. Features at 1/8 and 1/4 are computed once, for all that can be asked; alphas
    and the finest scale only where they are asked for. Each answer is N×1×height×width of the window, in 0..1.
    """

    def __init__(self, network: FoldedMaskToMatte, prepared: Prepared, mask: Tensor, window: Window | None) -> None:
        self._network = network
        self._prepared = prepared
        self._mask = mask
        height, width = prepared.size
        self._sizes = {scale: (height // scale, width // scale) for scale in (1, 2, 4, 8, 16)}
        whole = Window(0, 0, height, width)
        window = whole if window is None else window
        need4 = _need(window, 4, network.os4, self._sizes)
        need4 = _union(need4, self._need_of_os1(window))
        need8 = _union(_need(window, 8, network.os8, self._sizes), _below(need4, network.os4.reach, self._sizes[8]))
        self._need4 = need4
        features = self._beside(_Patch(prepared.features, Window(0, 0, *self._sizes[16])), 16,
                                _below(need8, network.os8.reach, self._sizes[16]))
        self._at8 = self._run(network.os8, features, need8)
        self._at4: _Patch | None = None

    def _need_of_os1(self, window: Window) -> Window:
        """The part at 1/4 that the finest scale needs inside a window."""
        at2 = _below(_wide(window, 2, self._sizes[1]), self._network.os1.reach, self._sizes[2])
        return _below(at2, 2 * len(self._network.os2), self._sizes[4])

    def _beside(self, patch: _Patch, scale: int, window: Window) -> _Patch:
        """Features with the picture and the mask, both resized to them, beside (C + 4 channels), within a window."""
        size = self._sizes[scale]
        picture = self._prepared.pictures[(16, 8, 4).index(scale)]
        rows, columns = window.slices()
        parts = [patch.cut(window), picture[..., rows, columns], resize_window(self._mask, size, window)]
        count, dtype = len(self._mask), self._network.dtype
        joined = torch.cat([part.to(dtype).expand(count, -1, -1, -1) for part in parts], dim=1)
        return _Patch(joined.contiguous(memory_format=torch.channels_last), window)

    def _run(self, layers: _Layers | tuple[_Block, ...], patch: _Patch, wanted: Window) -> _Patch:
        """Double a patch and keep what is exact of the result."""
        x = patch.values
        if isinstance(layers, _Layers):
            x = layers(x)
        else:
            for block in layers:
                x = block(x)
        doubled = Window(*(2 * edge for edge in patch.window))
        return _Patch(_Patch(x, doubled).cut(wanted), wanted)

    def _features4(self) -> _Patch:
        if self._at4 is None:
            below = _below(self._need4, self._network.os4.reach, self._sizes[8])
            self._at4 = self._run(self._network.os4, self._beside(self._at8, 8, below), self._need4)
        return self._at4

    def _enlarged(self, patch: _Patch, layers: _Layers, scale: int, window: Window) -> Tensor:
        """Predict inside a window at 1/scale and enlarge bilinearly, as the whole would be."""
        size = self._sizes[scale]
        read = source_window(window, self._sizes[1], size)
        near = _wide(read, 2, size)
        logits = _Patch(layers.predict(patch.cut(near)), near).cut(read).float()
        large = resize_window(logits, self._sizes[1], window, source=size, origin=(read.top, read.left))
        return _alpha(large)

    def os8(self, window: Window) -> Tensor:
        """alpha_os8 inside a window."""
        return self._enlarged(self._at8, self._network.os8, 8, window)

    def os4(self, window: Window) -> Tensor:
        """alpha_os4 inside a window."""
        return self._enlarged(self._features4(), self._network.os4, 4, window)

    def os1(self, window: Window, where: Tensor | None = None) -> Tensor:
        """alpha_os1 inside a window, tile by tile.

        where: bool …×H×W over the same window at any resolution; tiles without anything true are left at zero. On the
        CPU only: elsewhere looking would mean waiting for the device, which costs more than it saves.
        """
        result = self._mask.new_zeros((len(self._mask), 1, window.height, window.width), dtype=torch.float32)
        side = OS1_TILE if result.device.type == "cpu" else max(window.height, window.width, 1)
        for top, bottom in _tiles(window.top, window.bottom, side):
            for left, right in _tiles(window.left, window.right, side):
                tile = Window(top, left, bottom, right)
                if side == OS1_TILE and where is not None and not _any_in(where, tile, window):
                    continue
                rows = slice(top - window.top, bottom - window.top)
                columns = slice(left - window.left, right - window.left)
                result[..., rows, columns] = self._os1_tile(tile)
        return result

    def _os1_tile(self, tile: Window) -> Tensor:
        """Both layers above 1/4 and the head, for one tile."""
        near = _wide(tile, 2, self._sizes[1])
        at2 = _below(near, self._network.os1.reach, self._sizes[2])
        below = _below(at2, 2 * len(self._network.os2), self._sizes[4])
        half = self._run(self._network.os2, self._beside(self._features4(), 4, below), at2)
        full = self._run(self._network.os1, half, near)
        logits = _Patch(self._network.os1.predict(full.values), near)
        return _alpha(logits.cut(tile).float())


def _alpha(logits: Tensor) -> Tensor:
    """(tanh + 1) / 2, in place."""
    return logits.tanh_().add_(1).div_(2)


def _need(window: Window, scale: int, layers: _Layers, sizes: dict[int, tuple[int, int]]) -> Window:
    """The part at 1/scale that the head there needs for alpha inside a window."""
    return _wide(source_window(window, sizes[1], sizes[scale]), 2, sizes[scale])


def _union(first: Window, second: Window) -> Window:
    return Window(
        min(first.top, second.top), min(first.left, second.left),
        max(first.bottom, second.bottom), max(first.right, second.right),
    )


def _tiles(start: int, stop: int, side: int) -> list[tuple[int, int]]:
    """Equal parts of at most `side`."""
    count = max(-(-(stop - start) // side), 1)
    edges = [start + (stop - start) * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def _any_in(where: Tensor, tile: Window, window: Window) -> bool:
    """Whether anything in `where` (over `window`, at its own resolution) reads from a tile."""
    height, width = where.shape[-2:]
    down, across = height / max(window.height, 1), width / max(window.width, 1)
    # A pixel reads bilinearly from its two neighbours: one source pixel more on every side, and one for rounding.
    top, left = int((tile.top - window.top - 2) * down), int((tile.left - window.left - 2) * across)
    bottom, right = int((tile.bottom - window.top + 2) * down), int((tile.right - window.left + 2) * across)
    return bool(where[..., max(top, 0) : bottom + 1, max(left, 0) : right + 1].any())
