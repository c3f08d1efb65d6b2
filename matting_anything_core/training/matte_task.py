"""Mask-to-Matte learns on a frozen SAM (section 4.1 of the paper); the second stage of the small model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..geometry import Fit
from ..networks.m2m import Alphas, MaskToMatte
from ..networks.sam import Sam
from ..pipeline.mask_refinement import refine_mask
from ..pipeline.masks import of_candidates
from ..pipeline.prompting import DecoderPrompt, clip_to_box
from ..types import Box
from .encoder_task import normalised
from .losses import matte_losses
from .losses_sam import measured_iou
from .recipe import DTYPES, Stage
from .weight_maps import maps_for

USABLE = 0.5
"""A mask whose IoU with the truth is below this teaches nothing about mattes: it is of another object."""


class MatteTask(nn.Module):
    """Holds the frozen `sam` and the `m2m` that learns."""

    trained = "m2m."

    def __init__(self, sam: Sam, m2m: MaskToMatte, stage: Stage, seed: int) -> None:
        super().__init__()
        self.sam, self.m2m, self.stage, self.seed = sam, m2m, stage, seed
        sam.requires_grad_(False)
        m2m.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> MatteTask:
        """As nn.Module.train, but SAM stays in eval mode, and so do the norms when the stage freezes them."""
        super().train(mode)
        self.sam.eval()
        if self.stage.freeze_norms:
            for module in self.m2m.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimiser; vectors without decay."""
        result = []
        for vectors in (False, True):
            part = [p for p in self.m2m.parameters() if p.requires_grad and (p.ndim <= 1) == vectors]
            result.append({"params": part, "lr": self.stage.rate, "base": self.stage.rate,
                           "weight_decay": 0.0 if vectors else self.stage.decay})
        return result

    def forward(self, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of `matte_data` or `paper_data` samples, and what to log."""
        features, low = self._frozen(batch)
        crops, mask, inside = self._windows(batch, low)
        image = normalised(self.sam, batch["crops"].flatten(0, 1), inside)
        kind = image.device.type
        with torch.autocast(kind, DTYPES[self.stage.precision], enabled=self.stage.precision != "float32"):
            raw = self.m2m(crops(features), image, mask)
        alphas = Alphas(*(x.float() for x in raw))
        target = batch["alpha"].flatten(0, 1).unsqueeze(1).float() / 255
        enlarged = F.interpolate(mask, target.shape[-2:], mode="bilinear", align_corners=False)
        solid = (enlarged > 0.5).float()
        valid = self._valid(batch, solid, target)
        maps = maps_for(self.stage.schedule, step, self.stage.maps_from, alphas, enlarged,
                        batch["unknown"].flatten(0, 1).unsqueeze(1).float(),
                        np.random.default_rng((self.seed, step, 11)))
        weights = cast("tuple[Tensor, Tensor, Tensor]",
                       tuple(valid if part is None else part * valid for part in maps))
        losses = matte_losses(alphas, target, weights, self.stage.losses)
        with torch.no_grad():
            share = valid.sum().clamp(min=1)
            better = {f"mad_{name}": ((x - target).abs() * valid).sum() / share
                      for name, x in zip(("os8", "os4", "os1"), alphas, strict=True)}
            better["mad_mask"] = ((solid - target).abs() * valid).sum() / share
        return losses.total, better

    @torch.no_grad()
    def _frozen(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features at the matte's square, and the mask logits N×1×h×w as the model has them in use: of the decoder's
        low resolution, or of the encoder's square when they are snapped."""
        pixels = normalised(self.sam, batch["rgb"], batch["size"])
        with torch.autocast(pixels.device.type, DTYPES[self.stage.precision],
                            enabled=self.stage.precision != "float32"):
            features = self.sam.encode(pixels)
        features = features.float()
        owner = torch.arange(len(pixels), device=pixels.device)
        logits, predicted = self.sam.decode(features, boxes=batch["box"], owner=owner)
        low = of_candidates(logits, predicted, blend=self.stage.snap).unsqueeze(1)
        if self.stage.snap:
            rows = zip(low, batch["box"].tolist(), batch["rgb"], batch["size"].tolist(), strict=True)
            low = torch.stack([_mended(*row) for row in rows])
        side = (self.stage.matte_square or self.stage.square) // 16
        if features.shape[-1] != side:
            features = F.interpolate(features, (side, side), mode="bilinear", align_corners=False)
        return features, low

    def _windows(self, batch: Mapping[str, Tensor], low: Tensor) -> tuple[Any, Tensor, Tensor]:
        """A function that cuts the windows out of features, the binary masks of the windows, and what of the windows
        is picture."""
        side = self.stage.matte_square or self.stage.square
        crop = batch["crops"].shape[-1]
        origins = batch["origin"]

        def cut(x: Tensor) -> Tensor:
            # windows begin and end at whole places of x, see matte_data.window_step
            size, count = crop * x.shape[-1] // side, x.shape[-1]
            return torch.stack([row[:, y * count // side:y * count // side + size, x0 * count // side:][..., :size]
                                for row, places in zip(x, origins.tolist(), strict=True) for y, x0 in places])

        return cut, cut((low > 0).float()), batch["inside"].flatten(0, 1)

    def _valid(self, batch: Mapping[str, Tensor], solid: Tensor, target: Tensor) -> Tensor:
        """Where the loss counts: on the picture, away from hard edges, and, in scenes with several
        objects, where the mask is of the right one."""
        weight = batch["weight"].flatten(0, 1).unsqueeze(1).float()
        if self.stage.samples == "paper":
            return weight
        iou = measured_iou(solid - 0.5, target[:, 0])
        empty = (target > 0.5).sum((1, 2, 3)) < 16
        usable = ((iou[:, 0] >= USABLE) | empty).float()
        return weight * usable[:, None, None, None]


def _mended(logits: Tensor, box: Box, rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """One picture's mask logits 1×h×w and its padded uint8 3×S×S, of which `size` is picture -> logits 1×S×S, as the
    small model has them when it is used."""
    height, width = size
    fit = Fit(height, width, rgb.shape[-1])
    colours = rgb[:, :height, :width].permute(1, 2, 0).cpu().numpy()
    return refine_mask(clip_to_box(logits, DecoderPrompt(box=box), fit), colours, fit, whole=True)
