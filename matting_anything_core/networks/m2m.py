"""Mask-to-Matte: from SAM's features, the picture and a binary mask to alpha mattes at three scales.

"Matting Anything" (arXiv 2306.05399), section 3.2. 2.7 million parameters; names of the tensors are those of the
published checkpoints. This is the form that trains; `m2m_fast` holds an exact, faster form for inference.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-12


class Alphas(NamedTuple):
    """The three predictions, each N×1×H×W in 0..1 at the size of the picture that was given.

    os8 and os4 were predicted at an eighth and a quarter of it and enlarged bilinearly.
    """

    os8: Tensor
    os4: Tensor
    os1: Tensor


class _Normed(nn.Module):
    """Holder of one spectrally normalised weight: `weight_bar` divided by its largest singular value.

    The singular value is u' W v with W the weight flattened to out × rest (for transposed convolutions: in × rest, as
    the published weights have it). While training, u and v take one power iteration a forward; in eval they stay.
    """

    weight_bar: nn.Parameter
    weight_u: nn.Parameter
    weight_v: nn.Parameter

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.weight_bar = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_uniform_(self.weight_bar, a=5**0.5)
        rows, columns = shape[0], shape[1] * shape[2] * shape[3]
        self.weight_u = nn.Parameter(F.normalize(torch.randn(rows), dim=0, eps=NORM_EPS), requires_grad=False)
        self.weight_v = nn.Parameter(F.normalize(torch.randn(columns), dim=0, eps=NORM_EPS), requires_grad=False)

    def weight(self) -> Tensor:
        """The normalised weight, differentiable with respect to `weight_bar`; in its own precision, autocast or not."""
        matrix = self.weight_bar.flatten(1)
        with torch.autocast(matrix.device.type, enabled=False):
            if self.training:
                with torch.no_grad():
                    self.weight_v.copy_(F.normalize(matrix.t().mv(self.weight_u), dim=0, eps=NORM_EPS))
                    self.weight_u.copy_(F.normalize(matrix.mv(self.weight_v), dim=0, eps=NORM_EPS))
            # Copies: the next forward changes u and v in place, which a backward through this one must not see.
            sigma = self.weight_u.clone().dot(matrix.mv(self.weight_v.clone()))
            return self.weight_bar / sigma


class SpectralConv(nn.Module):
    """Convolution without bias, size kept, spectrally normalised; its weight is called `module.weight_bar`."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.module = _Normed((outputs, inputs, kernel, kernel))
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W -> N×outputs×H×W."""
        return F.conv2d(x, self.module.weight(), padding=self.padding)


class SpectralUpConv(nn.Module):
    """Transposed 4×4 convolution without bias that doubles the size, spectrally normalised."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.module = _Normed((inputs, outputs, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W -> N×outputs×2H×2W."""
        return F.conv_transpose2d(x, self.module.weight(), stride=2, padding=1)


class Block(nn.Module):
    """Residual block; the first one of a stage doubles the size and changes the width."""

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.conv1: nn.Module = SpectralUpConv(inputs, inputs) if up else SpectralConv(inputs, inputs, 3)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = SpectralConv(inputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.upsample: nn.Sequential | None = None
        if up:
            self.upsample = nn.Sequential(
                nn.UpsamplingNearest2d(scale_factor=2), SpectralConv(inputs, outputs, 1), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """N×inputs×H×W -> N×outputs×H×W, or twice the size."""
        y = F.leaky_relu(self.bn1(self.conv1(x)), 0.2)
        y = self.bn2(self.conv2(y))
        shortcut = x if self.upsample is None else self.upsample(x)
        return F.leaky_relu(y + shortcut, 0.2)


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    first = Block(inputs, outputs, up=True)
    return nn.Sequential(first, *(Block(outputs, outputs, up=False) for _ in range(blocks - 1)))


def _head(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 1, 3, padding=1),
    )


def _beside(x: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Features with the picture and the mask, both resized to them, beside (section 3.2: C + 4 channels)."""
    small = [F.interpolate(y, x.shape[-2:], mode="bilinear", align_corners=False) for y in (image, mask)]
    return torch.cat([x, *small], dim=1)


class MaskToMatte(nn.Module):
    """The trainable Mask-to-Matte network; see the module's text."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.conv1 = SpectralUpConv(32, 32)
        self.bn1 = nn.BatchNorm2d(32)
        self.layer2 = _stage(channels + 4, 128, 3)
        self.layer3 = _stage(128 + 4, 64, 3)
        self.layer4 = _stage(64 + 4, 32, 2)
        self.refine_OS1 = _head(32)
        self.refine_OS4 = _head(64)
        self.refine_OS8 = _head(128)

    def forward(self, features: Tensor, image: Tensor, mask: Tensor) -> Alphas:
        """Predict the matte of one object a row.

        features: N×256×h×w of the (frozen) encoder; image: N×3×16h×16w, normalised as for the encoder;
        mask: N×1×any×any, float, 0 or 1.
        """
        size = image.shape[-2:]
        x = self.layer2(_beside(features, image, mask))
        os8 = self.refine_OS8(x)
        x = self.layer3(_beside(x, image, mask))
        os4 = self.refine_OS4(x)
        x = self.layer4(_beside(x, image, mask))
        x = F.leaky_relu(self.bn1(self.conv1(x)), 0.2)
        os1 = self.refine_OS1(x)
        logits = [F.interpolate(y, size, mode="bilinear", align_corners=False) for y in (os8, os4)]
        os8, os4, os1 = ((torch.tanh(y) + 1) / 2 for y in (*logits, os1))
        return Alphas(os8, os4, os1)
