"""ViTMatte (Yao et al., "Boosting Image Matting with Pre-trained Plain Vision Transformers", 2023): alpha from an image
and a trimap.

    image, trimap ─┬─► ViT, windowed and global attention, a convolutional neck after each global block ─► 1/16
                   └─► three convolutions ─► 1/2, 1/4, 1/8 ─► fused with the ViT's features from coarse to fine ─► alpha

The tensors have the names of the published files (transformers' `VitMatteForImageMatting`; `rename` takes the authors'
own); sizes are told by the tensors' shapes. The blocks are computed as SAM's are (attention.py), the rest as the
published code does up to rounding; `folded` puts the BatchNorms into the convolutions.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from .attention import transform
from .backbone import Shapes, Step
from .head_network import HeadNetwork

PATCH = 16
MULTIPLE = 32
"""Height and width of what it takes are multiples of this, as in training."""
SIDE = 512
"""Side in pixels of the crops that it was trained on."""
MEAN = (0.485, 0.456, 0.406)
"""Subtracted from RGB in 0..1, as the authors trained it (configs/common/model.py). The preprocessor's file that lies
beside the published weights says one half instead, which is not what they were trained with …"""
STD = (0.229, 0.224, 0.225)
"""… and divided by."""
WINDOW = 14
"""Tokens along each side of a window, in blocks whose table of relative positions is made for that."""


class Attention(nn.Module):
    """Weights of multi-head attention with relative positions (attention.py computes it)."""

    def __init__(self, width: int, head_width: int, rows: int, columns: int) -> None:
        super().__init__()
        self.num_heads = width // head_width
        self.scale = head_width ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(rows, head_width))
        self.rel_pos_w = nn.Parameter(torch.zeros(columns, head_width))


class Mlp(nn.Module):
    """Two layers; attention.py knows them under the names that SAM's have."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    @property
    def lin1(self) -> nn.Linear:
        """The first layer."""
        return self.fc1

    @property
    def lin2(self) -> nn.Linear:
        """The second layer."""
        return self.fc2

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(self.act(self.fc1(x))))


class Norm(nn.Module):
    """LayerNorm over the channels, which are last here."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-6)


class Neck(nn.Module):
    """The convolutional bottleneck after a block, on B×h×w×C; its first and last convolutions are 1×1."""

    def __init__(self, width: int, middle: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, middle, 1, bias=False)
        self.norm1 = Norm(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.norm2 = Norm(middle)
        self.conv3 = nn.Conv2d(middle, width, 1, bias=False)
        self.norm3 = Norm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.norm1(F.linear(x, self.conv1.weight.flatten(1))))
        y = self.conv2(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y = F.linear(F.gelu(self.norm2(y)), self.conv3.weight.flatten(1))
        return x + cast(Tensor, self.norm3(y))


class Block(nn.Module):
    """A transformer block; window_size: in tokens, 0 for attention over everything."""

    def __init__(self, width: int, hidden: int, head_width: int, table: tuple[int, int], neck: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, head_width, *table)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)
        self.window_size = WINDOW if table == (2 * WINDOW - 1, 2 * WINDOW - 1) else 0
        self.residual = Neck(width, neck) if neck else None

    @property
    def attn(self) -> Attention:
        """The attention, under the name that SAM's blocks have."""
        return self.attention


class Embeddings(nn.Module):
    """Patches to tokens, with their positions; B×4×H×W -> B×h×w×C."""

    def __init__(self, width: int, positions: int) -> None:
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.zeros(1, positions, width))
        self.projection = nn.Conv2d(4, width, PATCH, stride=PATCH)

    def forward(self, pixels: Tensor) -> Tensor:
        batch, channels, height, width = pixels.shape
        grid = pixels.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
        flat = grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, height // PATCH, width // PATCH, -1)
        tokens = F.linear(flat, self.projection.weight.flatten(1), self.projection.bias)
        places = self.position_embeddings[:, 1:]  # the first is a class token's
        side = round(places.shape[1] ** 0.5)
        places = places.reshape(1, side, side, -1)
        if places.shape[1:3] != tokens.shape[1:3]:
            places = F.interpolate(places.permute(0, 3, 1, 2), tokens.shape[1:3], mode="bicubic",
                                   align_corners=False).permute(0, 2, 3, 1)
        return tokens + places


class Encoder(nn.Module):
    """The blocks, under the name that they have in the files."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(blocks)


class Backbone(nn.Module):
    """B×4×H×W -> B×C×H/16×W/16, channels last in memory."""

    def __init__(self, embeddings: Embeddings, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.encoder = Encoder(blocks)

    def forward(self, pixels: Tensor, step: Step) -> Tensor:
        blocks = cast("list[Block]", list(self.encoder.layer))

        def after(index: int, tokens: Tensor) -> Tensor:
            step((index + 1) / len(blocks))
            neck = blocks[index].residual
            return tokens if neck is None else neck(tokens)

        return transform(blocks, self.embeddings(pixels), after).permute(0, 3, 1, 2)


class Convolution(nn.Module):
    """3×3, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.batch_norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.batch_norm(self.conv(x)))


class Stream(nn.Module):
    """Details of the image and the trimap, at 1/2, 1/4, 1/8."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Convolution(a, b, 2) for a, b in zip((4, *widths), widths, strict=False))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        found = [pixels]
        for convolution in self.convs:
            found.append(convolution(found[-1]))
        return found


class Fusion(nn.Module):
    """Features, enlarged twice, with the details of that size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Convolution(inputs, outputs, 1)

    def forward(self, features: Tensor, details: Tensor) -> Tensor:
        features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        return cast(Tensor, self.conv(torch.cat([details.to(features.dtype), features], dim=1)))


class Head(nn.Module):
    """Features to the logits of alpha."""

    def __init__(self, inputs: int, middle: int) -> None:
        super().__init__()
        self.matting_convs = nn.Sequential(nn.Conv2d(inputs, middle, 3, padding=1), nn.BatchNorm2d(middle), nn.ReLU(),
                                           nn.Conv2d(middle, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.matting_convs(features))


class Decoder(nn.Module):
    """The detail capture module (section 3.3 of the paper): features B×C×H/16×W/16 and B×4×H×W -> logits B×1×H×W."""

    def __init__(self, width: int, stream: Sequence[int], fusion: Sequence[int], middle: int) -> None:
        super().__init__()
        self.convstream = Stream(stream)
        details = (*reversed(stream), 4)
        self.fusion_blocks = nn.ModuleList(
            Fusion(above + beside, here)
            for above, beside, here in zip((width, *fusion), details, fusion, strict=False))
        self.matting_head = Head(fusion[-1], middle)

    def forward(self, features: Tensor, pixels: Tensor, step: Step) -> Tensor:
        details = self.convstream(pixels.contiguous(memory_format=torch.channels_last))
        for index, fuse in enumerate(self.fusion_blocks):
            step(index / len(self.fusion_blocks))
            features = fuse(features, details.pop())
        return cast(Tensor, self.matting_head(features))


class VitMatte(nn.Module):
    """B×4×H×W float -> alpha B×1×H×W float32 in 0..1.

    The first three channels are (RGB in 0..1 - MEAN) / STD, the last is the trimap: 0 background, 1 foreground, and one
    half (128 / 255) between them. H and W are multiples of MULTIPLE: what was padded is 0 in all channels. step: called
    now and then with the share that is done; it may raise to cancel.
    """

    def __init__(self, backbone: Backbone, decoder: Decoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.backbone.embeddings.projection.weight.device

    def forward(self, pixels: Tensor, step: Step = lambda _share: None) -> Tensor:
        features = self.backbone(pixels, lambda share: step(share / 2))
        return torch.sigmoid(self.decoder(features, pixels, lambda share: step((1 + share) / 2)).float())


def folded(network: VitMatte) -> VitMatte:
    """A copy for inference: BatchNorms are part of the convolutions, whose weights have their channels last."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for part in list(network.decoder.modules()):
        if isinstance(part, Convolution):
            part.conv = fuse_conv_bn_eval(part.conv, cast(nn.BatchNorm2d, part.batch_norm))
            part.batch_norm = nn.Identity()
    convolutions = network.decoder.matting_head.matting_convs
    convolutions[0] = fuse_conv_bn_eval(cast(nn.Conv2d, convolutions[0]), cast(nn.BatchNorm2d, convolutions[1]))
    convolutions[1] = nn.Identity()
    network.decoder.to(memory_format=torch.channels_last)
    return network


# --- files ---------------------------------------------------------------------------------------------------------

_PATCHES = "backbone.embeddings.projection.weight"
_PLACES = "backbone.embeddings.position_embeddings"
_RENAMED = (
    ("backbone.blocks.", "backbone.encoder.layer."), (".attn.", ".attention."), ("fusion_blks.", "fusion_blocks."),
    (".bn.", ".batch_norm."), ("backbone.pos_embed", _PLACES),
    ("backbone.patch_embed.proj.", "backbone.embeddings.projection."),
)
"""What the authors' own files call things, and what transformers' do."""


def rename(name: str) -> str:
    """A tensor's name in the authors' files, or in transformers', as the network has it."""
    for theirs, ours in _RENAMED:
        name = name.replace(theirs, ours)
    return name


def recognises(shapes: Shapes) -> bool:
    """Whether these are the tensors of a ViTMatte, of any size."""
    return len(shapes.get(_PATCHES, ())) == 4 and "decoder.matting_head.matting_convs.0.weight" in shapes


def build(shapes: Shapes) -> VitMatte:
    """The network of these tensors, with fresh weights, in eval mode; ValueError when they are of no such network."""
    layer = "backbone.encoder.layer."
    width = _size(shapes, _PATCHES, 0)
    places = _size(shapes, _PLACES, 1)
    if round(max(places - 1, 1) ** 0.5) ** 2 != places - 1:
        raise ValueError(f"{_PLACES} is for {places - 1} places and a class token; expected a square of places")
    blocks = []
    for index in range(_count(shapes, layer)):
        part = f"{layer}{index}."
        head_width = _size(shapes, f"{part}attention.rel_pos_h", 1)
        if width % head_width:
            raise ValueError(f"{part}attention has heads of width {head_width} in a network of width {width}")
        table = (_size(shapes, f"{part}attention.rel_pos_h", 0), _size(shapes, f"{part}attention.rel_pos_w", 0))
        neck = _size(shapes, f"{part}residual.conv1.weight", 0) if f"{part}residual.conv1.weight" in shapes else 0
        blocks.append(Block(width, _size(shapes, f"{part}mlp.fc1.weight", 0), head_width, table, neck))
    stream, fusion = "decoder.convstream.convs.", "decoder.fusion_blocks."
    decoder = Decoder(
        width, [_size(shapes, f"{stream}{index}.conv.weight", 0) for index in range(_count(shapes, stream))],
        [_size(shapes, f"{fusion}{index}.conv.conv.weight", 0) for index in range(_count(shapes, fusion))],
        _size(shapes, "decoder.matting_head.matting_convs.0.weight", 0))
    if len(decoder.fusion_blocks) != len(decoder.convstream.convs) + 1 or not blocks:
        raise ValueError(f"it has {len(blocks)} blocks, {len(decoder.convstream.convs)} convolutions for details and "
                         f"{len(decoder.fusion_blocks)} fusions; expected some blocks, and one fusion more than those")
    return VitMatte(Backbone(Embeddings(width, places), blocks), decoder).eval()


def label(shapes: Shapes) -> str:
    """vitmatte_s, vitmatte_b, or one with its width."""
    width = _size(shapes, _PATCHES, 0)
    return "vitmatte_" + {384: "s", 768: "b"}.get(width, str(width))


def _size(shapes: Shapes, name: str, axis: int) -> int:
    shape = shapes.get(name, ())
    if len(shape) <= axis or not 0 < shape[axis] <= 1 << 16:
        raise ValueError(f"it lacks {name}, or that has another shape")
    return shape[axis]


def _count(shapes: Shapes, prefix: str) -> int:
    """How many parts with a number there are behind a prefix; ValueError when they are absurdly many."""
    count = len({name[len(prefix):].partition(".")[0] for name in shapes if name.startswith(prefix)})
    if not 0 < count <= 100:
        raise ValueError(f"it has {count} parts called {prefix}N; expected some")
    return count


VITMATTE = HeadNetwork("vitmatte", "ViTMatte", rename, recognises, build, label)
