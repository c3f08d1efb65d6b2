"""The bundled model's alpha head: a small U-Net that draws alpha in the image's own pixels about a mask's edge.

Half of a million multiplications a pixel of the finest level would be too slow on a CPU; so pixels are folded 2×2 into
channels, and the widest look is taken at an eighth of the size, where the encoder's features join.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from ..geometry import Window

FOLD = 2
MULTIPLE = 16
"""Height and width that the network takes are multiples of this."""
CHANNELS = (24, 40, 64)
"""At a half, a quarter and an eighth of the size."""
FEATURES = 256
OPINION = 3.0
"""The network is told the tanh of mask logits over this."""
SURE = 4.0
"""Without the network alpha is the sigmoid of so many times that."""


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


class Block(nn.Module):
    """A residual look at 5×5 pixels of each channel, then at all channels."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, 5, padding=2 * dilation, groups=width, dilation=dilation)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + cast(Tensor, self.narrow(F.relu(self.widen(self.spread(x)))))


class FineNetwork(nn.Module):
    """Colours and a mask -> what to add to the mask's logits so that they are alpha's."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth = CHANNELS
        self.enter = _conv(4 * FOLD**2, half)
        self.first = _conv(half, half)
        self.down4 = _conv(half, quarter, 2)
        self.at4 = Block(quarter)
        self.down8 = _conv(quarter, eighth, 2)
        self.context = nn.Conv2d(FEATURES, eighth, 1)
        self.at8 = nn.ModuleList([Block(eighth), Block(eighth, 2), Block(eighth, 4), Block(eighth)])
        self.up4 = nn.Conv2d(eighth, quarter, 1)
        self.back4 = Block(quarter)
        self.up2 = nn.Conv2d(quarter, half, 1)
        self.back2 = _conv(half, half)
        self.leave = _conv(half, FOLD**2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(cast(Tensor, self.leave.bias))

    def forward(self, rgb: Tensor, mask: Tensor, features: Tensor) -> Tensor:
        """What to add.

        Parameters
        ----------
        rgb : Tensor
            B×3×h×w in -1..1; h and w are multiples of MULTIPLE.
        mask : Tensor
            B×1×h×w in -1..1, the tanh of the mask's logits.
        features : Tensor
            B×256×h'×w', the encoder's for the same part of the image, at any scale.

        Returns
        -------
        B×1×h×w logits.
        """
        x2 = F.relu(self.enter(F.pixel_unshuffle(torch.cat([rgb, mask], 1), FOLD)))
        x2 = x2 + F.relu(self.first(x2))
        x4 = self.at4(F.relu(self.down4(x2)))
        x8 = self.down8(x4)
        x8 = x8 + F.interpolate(self.context(features), x8.shape[-2:], mode="bilinear", align_corners=False)
        for block in self.at8:
            x8 = block(x8)
        x4 = self.back4(F.relu(x4 + F.interpolate(self.up4(x8), x4.shape[-2:], mode="bilinear", align_corners=False)))
        x2 = F.relu(x2 + F.interpolate(self.up2(x4), x2.shape[-2:], mode="bilinear", align_corners=False))
        x2 = x2 + F.relu(self.back2(x2))
        return F.pixel_shuffle(self.leave(x2), FOLD)


def alpha_of(added: Tensor, mask: Tensor) -> Tensor:
    """Alpha 0..1 from what the network adds and the mask it was told, both B×1×h×w."""
    return torch.sigmoid(added + SURE * mask)


def features_within(features: Tensor, side: float, window: Window) -> Tensor:
    """The features of a part of a view, at a sixteenth of its size.

    Parameters
    ----------
    features : Tensor
        B×C×g×g of a padded square.
    side : float
        How many of the window's pixels the square has on a side.
    window : Window
        Height and width are multiples of MULTIPLE; it may pass the square's edges.
    """
    rows, columns = window.height // MULTIPLE, window.width // MULTIPLE
    y = (torch.arange(rows, device=features.device) + 0.5) * MULTIPLE + window.top
    x = (torch.arange(columns, device=features.device) + 0.5) * MULTIPLE + window.left
    place = torch.stack(torch.meshgrid(x / side * 2 - 1, y / side * 2 - 1, indexing="xy"), -1)
    return F.grid_sample(features, place.expand(len(features), -1, -1, -1), mode="bilinear", padding_mode="border",
                         align_corners=False)
