"""The first stage of the small model: encoder, prompt encoder and mask decoder learn masks from prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..networks.m2m import MaskToMatte
from ..networks.sam import Sam
from .depthwise import depthwise_in_float32
from .lite_data import PROMPTS
from .losses_sam import inside_weights, stage_one_loss
from .recipe import DTYPES, Stage

KINDS = ("points", "box and points", "box, points and mask")
"""What the last prompt of every picture is, drawn anew each step; the other prompts are boxes."""
SHARES = (0.4, 0.35, 0.25)


class EncoderTask(nn.Module):
    """Holds `sam` and, untouched, `m2m`, so that its state is that of the whole model."""

    trained = "sam."

    def __init__(self, sam: Sam, m2m: MaskToMatte, stage: Stage, seed: int) -> None:
        super().__init__()
        self.sam, self.m2m, self.stage, self.seed = sam, m2m, stage, seed
        m2m.requires_grad_(False)
        depthwise_in_float32(sam.image_encoder)
        sam.image_encoder.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> EncoderTask:
        """As nn.Module.train; the statistics of the backbone's norms stay as they are when the stage says so."""
        super().train(mode)
        self.m2m.eval()
        if self.stage.freeze_norms:
            for module in self._body().modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def _body(self) -> nn.Module:
        body = self.sam.image_encoder.body
        assert isinstance(body, nn.Module)
        return body

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimiser: the pretrained backbone slower than the rest, no decay on vectors."""
        body = {id(p) for p in self._body().parameters()}
        result = []
        for backbone, rate in ((True, self.stage.backbone_rate), (False, self.stage.rate)):
            mine = [p for p in self.sam.parameters() if p.requires_grad and (id(p) in body) == backbone]
            for vectors in (False, True):
                part = [p for p in mine if (p.ndim <= 1) == vectors]
                result.append({"params": part, "lr": rate, "base": rate,
                               "weight_decay": 0.0 if vectors else self.stage.decay})
        return result

    def forward(self, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of `lite_data.PromptedScenes`, and what to log."""
        sizes = batch["size"]
        pixels = normalised(self.sam, batch["rgb"], sizes)
        kind = pixels.device.type
        with torch.autocast(kind, DTYPES[self.stage.precision], enabled=self.stage.precision != "float32"):
            features = self.sam.encode(pixels)
        features = features.float()
        count, boxes_each = len(pixels), PROMPTS - 1
        with torch.autocast(kind, enabled=False):
            owner = torch.arange(count, device=features.device).repeat_interleave(boxes_each)
            boxes = batch["boxes"][:, :boxes_each].reshape(-1, 4)
            targets = batch["targets"].float() / 255
            logits, predicted = self.sam.decode(features, boxes=boxes, owner=owner)
            first, iou = stage_one_loss(logits, predicted, targets[:, :boxes_each].flatten(0, 1),
                                        inside_weights(boxes, sizes[owner].float(), logits.shape[-2:]))
            logits, predicted = self._last_prompt(features, batch, step)
            boxes = batch["boxes"][:, -1]
            second, other = stage_one_loss(logits, predicted, targets[:, -1],
                                           inside_weights(boxes, sizes.float(), logits.shape[-2:]))
        loss = (boxes_each * first + second) / PROMPTS
        return loss, {"box_loss": first.detach(), "box_iou": iou, "other_loss": second.detach(), "other_iou": other}

    def _last_prompt(self, features: Tensor, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, Tensor]:
        kind = KINDS[np.random.default_rng((self.seed, step, 7)).choice(len(KINDS), p=SHARES)]
        boxes, points, labels = (batch[name][:, -1] for name in ("boxes", "points", "labels"))
        owner = torch.arange(len(boxes), device=features.device)
        if kind == "points":
            return self.sam.decode(features, points=points, labels=labels, owner=owner)
        masks = None
        if kind == "box, points and mask":  # the mask of a first pass, as in SAM's own training
            with torch.no_grad():
                logits, predicted = self.sam.decode(features, boxes=boxes, owner=owner)
                masks = logits[owner, predicted.argmax(1)].unsqueeze(1).clamp(-20, 20)
        return self.sam.decode(features, boxes=boxes, points=points, labels=labels, masks=masks, owner=owner)


def normalised(sam: Sam, rgb: Tensor, sizes: Tensor) -> Tensor:
    """B×3×S×S uint8 with the pictures' heights and widths B×2 -> the encoder's input: normalised, padding zero."""
    mean = rgb.new_tensor(sam.mean, dtype=torch.float32).view(3, 1, 1)
    std = rgb.new_tensor(sam.std, dtype=torch.float32).view(3, 1, 1)
    steps = torch.arange(rgb.shape[-1], device=rgb.device)
    inside = (steps[:, None] < sizes[:, 0, None, None]) & (steps < sizes[:, 1, None, None])
    return ((rgb.float() - mean) / std * inside.unsqueeze(1)).contiguous(memory_format=torch.channels_last)
