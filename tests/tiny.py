"""A whole model in milliseconds: a tiny ViT and the real Mask-to-Matte, with weights made from names."""

from __future__ import annotations

from functools import cache

from recipe import m2m_weights, sam_weights

from matting_anything_core.model import MattingAnything
from matting_anything_core.networks.backbone import Defaults
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.sam import build_sam, load_state


@cache
def tiny_model(square: int = 64, matte_square: int | None = None) -> MattingAnything:
    """One model for all tests: it holds nothing that changes."""
    sam = build_sam("vit_tiny_test", square)
    load_state(sam, sam_weights(sam.state_dict()), "made weights")
    m2m = MaskToMatte().eval()
    load_state(m2m, m2m_weights(m2m.state_dict()), "made weights")
    return MattingAnything(sam, m2m, device="cpu", matte_square=matte_square, name="tiny", defaults=Defaults())


def picture(height: int, width: int, seed: int = 0, channels: int = 3):
    """uint8 noise with some structure, height × width × channels."""
    import numpy as np

    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (-(-height // 7), -(-width // 7), channels), np.uint8)
    return small.repeat(7, 0).repeat(7, 1)[:height, :width]
