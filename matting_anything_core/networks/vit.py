"""The ViT encoders of Segment Anything ("Segment Anything", 2023), and a tiny one of the same kind for tests."""

from __future__ import annotations

from functools import partial

from segment_anything.modeling import ImageEncoderViT
from torch import nn

from .backbone import Backbone, Shapes, has_hq

SAM_MEAN = (123.675, 116.28, 103.53)
"""Subtracted from RGB in 0..255 before a ViT …"""
SAM_STD = (58.395, 57.12, 57.375)
"""… and divided by."""
PATCH = 16
CHANNELS = 256


def has_vit(shapes: Shapes, width: int, depth: int) -> bool:
    """Whether a file's tensors are of a ViT of that width with so many blocks."""
    patches = shapes.get("image_encoder.patch_embed.proj.weight", ())
    blocks = {name.split(".")[2] for name in shapes if name.startswith("image_encoder.blocks.")}
    return patches[:1] == (width,) and len(patches) == 4 and len(blocks) == depth


def _vit(name: str, width: int, depth: int, heads: int, everywhere: tuple[int, ...], *, window: int = 14,
         input_size: int = 1024, decoder_width: int = 2048, working_bytes: int = 2 << 30) -> Backbone:
    """everywhere: the blocks whose attention is over the whole image; the others look at windows."""

    def build(size: int) -> nn.Module:
        encoder: nn.Module = ImageEncoderViT(
            img_size=size, patch_size=PATCH, embed_dim=width, depth=depth, num_heads=heads, out_chans=CHANNELS,
            norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=window,
            global_attn_indexes=everywhere,
        )
        return encoder

    def recognises(shapes: Shapes) -> bool:
        return has_vit(shapes, width, depth) and not has_hq(shapes)

    return Backbone(name, build, recognises, input_size, SAM_MEAN, SAM_STD, decoder_width=decoder_width,
                    working_bytes=working_bytes)


VIT_B = _vit("vit_b", 768, 12, 12, (2, 5, 8, 11))
VIT_L = _vit("vit_l", 1024, 24, 16, (5, 11, 17, 23), working_bytes=3 << 30)
VIT_H = _vit("vit_h", 1280, 32, 16, (7, 15, 23, 31), working_bytes=4 << 30)
# Small enough to run in milliseconds, and still with everything in it: two heads, windows that stick out of the grid,
# one block over the whole image.
VIT_TINY_TEST = _vit("vit_tiny_test", 32, 3, 2, (1,), window=3, input_size=128, decoder_width=64)
