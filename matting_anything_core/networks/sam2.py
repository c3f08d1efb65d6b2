"""SAM 2 and 2.1 ("SAM 2: Segment Anything in Images and Videos", 2024) on single images: Hiera under SAM's prompt
encoder and a mask decoder that takes the fine stages of the encoder too.

Tensor names are those of the published checkpoints but for two prefixes and the decoder's MLPs (`renamed`), which are
SAM's here, whose modules these are. What they have for videos (memory) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

import torch
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from ..errors import WeightsError
from .backbone import Backbone, Shapes, Step
from .decoder import transform
from .hiera import HieraEncoder, Lateral
from .sam import CHANNELS, Sam
from .tiny_vit import ALONE
from .vit import SAM_MEAN, SAM_STD

VIDEO = ("memory_attention.", "memory_encoder.", "mask_downsample.", "maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_",
         "obj_ptr_")
"""What the published files have for videos alone."""


class Sam2(Sam):
    """SAM's modules and what SAM 2 adds to them."""

    stretched = True

    def __init__(self, image_encoder: HieraEncoder, *, square: int, mean: tuple[float, float, float],
                 std: tuple[float, float, float], decoder_width: int) -> None:
        super().__init__(image_encoder, square=square, mean=mean, std=std, decoder_width=decoder_width)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, CHANNELS))
        decoder: nn.Module = self.mask_decoder
        decoder.obj_score_token = nn.Embedding(1, CHANNELS)
        decoder.pred_obj_score_head = MLP(CHANNELS, CHANNELS, 1, 3)
        decoder.conv_s0 = nn.Conv2d(CHANNELS, CHANNELS // 8, 1)
        decoder.conv_s1 = nn.Conv2d(CHANNELS, CHANNELS // 4, 1)

    def encode(self, pixels: Tensor, step: Step | None = None) -> Tensor:
        """Features of pictures: B×3×S×S float, (RGB - mean) / std, stretched to the square -> B×256×S/16×S/16."""
        return self.look(pixels, step)[0]

    @torch.no_grad()
    def look(self, pixels: Tensor, step: Step | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same, and what the decoder adds while it enlarges: B×64×S/8×S/8 and B×32×S/4×S/4."""
        encoder, decoder = cast(HieraEncoder, self.image_encoder), self.mask_decoder
        features, quarter, eighth = encoder.pyramid(pixels, step)
        third, fourth = (cast(Lateral, encoder.neck.convs[index]) for index in (2, 3))
        fine = third.then(eighth, decoder.conv_s1), fourth.then(quarter, decoder.conv_s0)
        return features + self.no_mem_embed.view(1, -1, 1, 1), tuple(one.permute(0, 3, 1, 2) for one in fine)

    def _decoded(self, features: Tensor, places: Tensor, sparse: Tensor, dense: Tensor, owner: Tensor,
                 fine: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        if len(fine) != 2:
            raise WeightsError("SAM 2 decodes masks with the encoder's fine stages too, and this work (training, say) "
                               "has only its last one; take a SAM of the first generation for it")
        decoder, count = self.mask_decoder, len(owner)
        output = torch.cat([decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([output.unsqueeze(0).expand(count, -1, -1), sparse], dim=1)
        states, source = transform(decoder, features[owner] + dense, places, tokens)
        grid = source.transpose(1, 2).reshape(count, -1, *features.shape[-2:])
        first, norm, act, second, last = decoder.output_upscaling
        eighth, quarter = (one[owner] for one in fine)
        upscaled = last(second(act(norm(first(grid) + eighth))) + quarter)
        # Token 0 scores whether there is an object, token 1 predicts the IoUs, token 2 is a single mask that is not
        # used here, then come the three candidates.
        weights = torch.stack([decoder.output_hypernetworks_mlps[index](states[:, 2 + index])
                               for index in range(1, decoder.num_mask_tokens)], dim=1)
        logits = (weights @ upscaled.flatten(2)).unflatten(2, upscaled.shape[-2:])
        return logits, decoder.iou_prediction_head(states[:, 1])[:, 1:].sigmoid()

    def _sparse(self, sparse: Tensor, boxes: Tensor | None) -> Tensor:
        """Prompts with a box end in a token for nothing, too."""
        if boxes is None:
            return sparse
        nothing = self.prompt_encoder.not_a_point_embed.weight.expand(len(sparse), 1, -1)
        return torch.cat([sparse, nothing], dim=1)


def renamed(name: str) -> str:
    """A tensor's name in a published checkpoint -> its name here; those that are so already stay."""
    name = re.sub(r"^sam_(prompt_encoder|mask_decoder)\.", r"\1.", name)
    return re.sub(r"(transformer\.layers\.\d\.mlp)\.layers\.([01])\.",
                  lambda found: f"{found[1]}.lin{int(found[2]) + 1}.", name)


def _sam2(name: str, width: int, heads: int, depths: Sequence[int], everywhere: Sequence[int], *, background: int = 7,
          windows: Sequence[int] = (8, 4, 14, 7), input_size: int = 1024, decoder_width: int = 2048,
          working_bytes: int = 2 << 30) -> Backbone:

    def build(_size: int) -> nn.Module:
        return HieraEncoder(width, heads, depths, everywhere, background, windows)

    def assemble(backbone: Backbone, square: int) -> Sam:
        return Sam2(cast(HieraEncoder, backbone.build(square)), square=square, mean=backbone.mean, std=backbone.std,
                    decoder_width=backbone.decoder_width)

    def recognises(shapes: Shapes) -> bool:
        patches = shapes.get("image_encoder.trunk.patch_embed.proj.weight", ())
        blocks = {name.split(".")[3] for name in shapes if name.startswith("image_encoder.trunk.blocks.")}
        return patches[:1] == (width,) and len(blocks) == sum(depths)

    return Backbone(name, build, recognises, input_size, SAM_MEAN, SAM_STD, multiple=32, any_size=True,
                    decoder_width=decoder_width, working_bytes=working_bytes, alone=ALONE, assemble=assemble,
                    unused=VIDEO, renamed=renamed)


SAM21_T = _sam2("sam2.1_t", 96, 1, (1, 2, 7, 2), (5, 7, 9))
SAM21_S = _sam2("sam2.1_s", 96, 1, (1, 2, 11, 2), (7, 10, 13))
SAM21_B = _sam2("sam2.1_b", 112, 2, (2, 3, 16, 3), (12, 16, 20), background=14)
SAM21_L = _sam2("sam2.1_l", 144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8), working_bytes=3 << 30)
# Small enough to run in milliseconds, with windows that stick out of the grid.
SAM2_TINY_TEST = _sam2("sam2_tiny_test", 16, 1, (1, 2, 3, 2), (5,), windows=(4, 2, 6, 2), input_size=128,
                       decoder_width=64)
