"""Segment Anything, out of segment_anything's modules, with our own building, loading and encoding.

One class for the ViTs of the published checkpoints and for the small bundled encoder (`lite`): both turn a padded
square picture into 256 channels at a sixteenth of its size, and share prompt encoder and mask decoder. Tensor names
are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from ..errors import WeightsError
from .attention import encode_vit_early
from .backbone import Backbone, Step, SteppedEncoder
from .decoder import decode_masks
from .prompts import embed_prompts

PATCH = 16
"""Pixels of the input for one token of the features, along each side."""
CHANNELS = 256
"""Channels of the features."""


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder. Built by `build_sam`, filled by `load_state`.

    square: side in pixels of the picture the encoder takes; mean, std: its normalisation, on the 0..255 scale.
    stretched: the picture fills the square, whatever its shape, instead of keeping its own.
    """

    stretched = False

    def __init__(
        self,
        image_encoder: nn.Module,
        *,
        square: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        decoder_width: int,
    ) -> None:
        super().__init__()
        self.square = square
        self.mean = mean
        self.std = std
        grid = square // PATCH
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(
            embed_dim=CHANNELS, image_embedding_size=(grid, grid), input_image_size=(square, square), mask_in_chans=16
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=CHANNELS,
            transformer=TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=decoder_width, num_heads=8),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        )

    @property
    def grid(self) -> int:
        """Tokens along each side of the features; low-resolution masks are four times as large."""
        return self.square // PATCH

    def encode(self, pixels: Tensor, step: Step | None = None) -> Tensor:
        """Features of pictures: B×3×S×S float, (RGB - mean) / std, zero-padded right and below -> B×256×S/16×S/16.

        A ViT is frozen (section 3.1 of the paper) and runs without gradients, the small encoder with them where they
        are enabled. step: called before each of a ViT's blocks with the share that is done; it may raise to cancel.
        """
        return self._encoded(pixels, step)[0]

    def look(self, pixels: Tensor, step: Step | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same, and what the mask decoder needs of the pictures besides: nothing, for SAM itself."""
        return self.encode(pixels, step), ()

    def _encoded(self, pixels: Tensor, step: Step | None) -> tuple[Tensor, Tensor]:
        """Features, and those of an early layer, B×S/16×S/16×C, where the encoder gives them."""
        if isinstance(self.image_encoder, ImageEncoderViT):
            return encode_vit_early(self.image_encoder, pixels, step)
        if isinstance(self.image_encoder, SteppedEncoder):
            return self.image_encoder.encode(pixels, step)
        features = cast(Tensor, self.image_encoder(pixels))
        return features, features

    def decode(
        self,
        features: Tensor,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
        owner: Tensor | None = None,
        fine: tuple[Tensor, ...] = (),
    ) -> tuple[Tensor, Tensor]:
        """Three candidate masks for each of N prompts (of HQ-SAM and such one).

        features: B×256×h×w. boxes: N×4 (x0, y0, x1, y1); points: N×P×2 with labels N×P (1 on the object, 0 not,
        -1 padding); coordinates in pixels of the square. masks: N×1×4h×4w logits (above 0 = object). What is given
        must have the same N. owner: N integers, the picture of each prompt; left out, all are of the first. fine: what
        `look` gave beside the features.

        Returns logits N×3×4h×4w and the predicted IoU of each candidate, N×3. Padding is a token like any other
        (as in SAM): prompts with unequal numbers of points give the numbers of their own only when decoded apart.
        """
        sparse, dense, places = embed_prompts(self.prompt_encoder, boxes, points, labels, masks)
        sparse = self._sparse(sparse, boxes)
        if owner is None:
            owner = torch.zeros(len(dense), dtype=torch.long, device=features.device)
        return self._decoded(features, places, sparse, dense, owner, fine)

    def _sparse(self, sparse: Tensor, boxes: Tensor | None) -> Tensor:
        """The prompts' tokens N×T×256, as the decoder wants them."""
        return sparse

    def _decoded(self, features: Tensor, places: Tensor, sparse: Tensor, dense: Tensor, owner: Tensor,
                 fine: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return decode_masks(self.mask_decoder, features, places, sparse, dense, owner)


def build_sam(architecture: str, square: int | None = None) -> Sam:
    """A Sam with fresh weights, in eval mode.

    Under `with torch.device("meta")` nothing is allocated; `load_state` then puts a checkpoint's tensors in place.

    Parameters
    ----------
    architecture : str
        A name in `BACKBONES`.
    square : int, optional
        Side of the encoder's input in pixels; left out, the backbone's own (1024 for the published ViTs).

    Raises
    ------
    WeightsError
        For an unknown architecture, or an input size that the encoder cannot have.
    """
    from .backbones import backbone_of

    backbone = backbone_of(architecture)
    side = backbone.input_size if square is None else square
    if side < backbone.multiple or side % backbone.multiple:
        raise WeightsError(f"an input size of {side} pixels does not fit {architecture}; "
                           f"expected a multiple of {backbone.multiple}")
    return (backbone.assemble or assemble_sam)(backbone, side).eval()


def assemble_sam(backbone: Backbone, square: int) -> Sam:
    """The backbone's encoder under SAM's own prompt encoder and mask decoder."""
    return Sam(backbone.build(square), square=square, mean=backbone.mean, std=backbone.std,
               decoder_width=backbone.decoder_width)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Put `tensors` in the place of the module's own, without a copy where the types agree.

    Half-precision tensors become the module's type (float32 unless it was changed). The module may be on the meta
    device. what: how to call the weights in an error, e.g. a file's name.
    Raises WeightsError that lists what is missing, unexpected, or of another shape or kind; nothing is loaded then.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in tensors]
    unexpected = [name for name in tensors if name not in wanted]
    wrong = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    kind = [
        f"{name} holds {tensors[name].dtype}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].is_floating_point() != value.is_floating_point()
    ]
    problems = [
        f"{title}: {_some(names)}"
        for title, names in (
            ("missing", missing), ("unexpected", unexpected), ("of another shape", wrong), ("of another kind", kind)
        )
        if names
    ]
    if problems:
        raise WeightsError(
            f"{what} does not fit {type(module).__name__} ({len(wanted)} tensors wanted, {len(tensors)} given); "
            + "; ".join(problems)
        )
    ready: dict[str, Any] = {name: tensors[name].detach().to(value.dtype) for name, value in wanted.items()}
    module.load_state_dict(ready, strict=True, assign=True)
