"""HQ-SAM ("Segment Anything in High Quality", 2023): SAM, frozen, and one more output token of the mask decoder, whose
mask is made of fine features too: of an early layer of the encoder and of SAM's own.

Names of tensors are those of the published checkpoints, which hold SAM's as well. The mask is SAM's single one and the
new one added, as the authors' program has it unless told otherwise; the encoder's and the prompt encoder's work is that
of the SAM below, so a Mask-to-Matte of the same size fits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from ..errors import WeightsError
from .backbone import Backbone, Shapes, Step, has_hq
from .decoder import decode_tokens
from .sam import CHANNELS, Sam
from .tiny_vit import ALONE, MOBILE_SAM, has_tiny_vit
from .vit import VIT_B, VIT_H, VIT_L, VIT_TINY_TEST, has_vit

FINE = CHANNELS // 8
"""Channels of the fine features."""


def _four_times(inputs: int, hidden: int) -> nn.Sequential:
    """To four times the size."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, hidden, 2, 2), LayerNorm2d(hidden), nn.GELU(),
                         nn.ConvTranspose2d(hidden, FINE, 2, 2))


class HqSam(Sam):
    """SAM with the token, its MLP and the fine features. early: channels of the encoder's early layer."""

    def __init__(self, image_encoder: nn.Module, *, square: int, mean: tuple[float, float, float],
                 std: tuple[float, float, float], decoder_width: int, early: int) -> None:
        super().__init__(image_encoder, square=square, mean=mean, std=std, decoder_width=decoder_width)
        decoder: nn.Module = self.mask_decoder
        decoder.hf_token = nn.Embedding(1, CHANNELS)
        decoder.hf_mlp = MLP(CHANNELS, CHANNELS, FINE, 3)
        decoder.compress_vit_feat = _four_times(early, CHANNELS)
        decoder.embedding_encoder = _four_times(CHANNELS, CHANNELS // 4)
        decoder.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(FINE, CHANNELS // 4, 3, padding=1), LayerNorm2d(CHANNELS // 4), nn.GELU(),
            nn.Conv2d(CHANNELS // 4, FINE, 3, padding=1),
        )

    @torch.no_grad()
    def look(self, pixels: Tensor, step: Step | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features, and the fine ones, B×32×S/4×S/4: they are the same for every prompt, so they are made here."""
        features, early = self._encoded(pixels, step)
        decoder = self.mask_decoder
        fine = decoder.embedding_encoder(features) + decoder.compress_vit_feat(early.permute(0, 3, 1, 2))
        return features, (fine,)

    def _decoded(self, features: Tensor, places: Tensor, sparse: Tensor, dense: Tensor, owner: Tensor,
                 fine: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """One mask for each prompt, N×1×4h×4w, and its predicted IoU, N×1."""
        if len(fine) != 1:
            raise WeightsError("HQ-SAM decodes masks with an early layer's features too, and this work (training, say) "
                               "has only the last one's; take the SAM of the same size for it, whose features are the "
                               "same")
        decoder: MaskDecoder = self.mask_decoder
        output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hf_token.weight])
        states, upscaled = decode_tokens(decoder, output, features, places, sparse, dense, owner)
        # Token 0 predicts the IoUs, token 1 the single mask, then come the candidates, not used here, and HQ's.
        single = decoder.output_hypernetworks_mlps[0](states[:, 1])
        better = decoder.hf_mlp(states[:, len(output) - 1])
        detailed = decoder.embedding_maskfeature(upscaled) + fine[0][owner]
        logits = single[:, None] @ upscaled.flatten(2) + better[:, None] @ detailed.flatten(2)
        return logits.unflatten(2, upscaled.shape[-2:]), cast(Tensor, decoder.iou_prediction_head(states[:, 0])[:, :1])


def _hq(name: str, below: Backbone, early: int, depth: int | None) -> Backbone:
    """The entry of HQ-SAM over the SAM of another entry. depth: of its ViT, None for TinyViT."""

    def assemble(backbone: Backbone, square: int) -> Sam:
        return HqSam(backbone.build(square), square=square, mean=backbone.mean, std=backbone.std,
                     decoder_width=backbone.decoder_width, early=early)

    def recognises(shapes: Shapes) -> bool:
        encoder = has_tiny_vit(shapes) if depth is None else has_vit(shapes, early, depth)
        return encoder and has_hq(shapes)

    return replace(below, name=name, recognises=recognises, assemble=assemble, alone=ALONE,
                   features_of=below.features_of or below.name)


HQ_VIT_B = _hq("hq_vit_b", VIT_B, 768, 12)
HQ_VIT_L = _hq("hq_vit_l", VIT_L, 1024, 24)
HQ_VIT_H = _hq("hq_vit_h", VIT_H, 1280, 32)
HQ_LIGHT = _hq("hq_light", MOBILE_SAM, 160, None)
HQ_TINY_TEST = _hq("hq_vit_tiny_test", VIT_TINY_TEST, 32, 3)
