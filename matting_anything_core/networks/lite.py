"""The small image encoder of the bundled model: EfficientNet-Lite0 whose four scales are summed at stride 16.

It stands where SAM's ViT stands: a padded square picture in, 256 channels at a sixteenth of the size out, so that
SAM's prompt encoder, mask decoder and Mask-to-Matte follow unchanged. 4.5 million parameters, 0.4 s a step where
ViT-B needs 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import Backbone, Defaults, Shapes

LITE_MEAN = (127.0, 127.0, 127.0)
"""Subtracted from RGB in 0..255 (the backbone's own normalisation) …"""
LITE_STD = (128.0, 128.0, 128.0)
"""… and divided by."""

SCALES = (24, 40, 112, 320)
"""Channels of the backbone at strides 4, 8, 16 and 32."""


def _fuse(width: int) -> nn.Sequential:
    """Two depthwise-separable 3×3 convolutions."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 1),
    )


class LiteEncoder(nn.Module):
    """EfficientNet-Lite0 with a fusion of its scales; takes any square (or rectangle) that 32 divides."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        import timm

        self.body = timm.create_model(
            "tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)
        )
        self.lat = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in SCALES)
        self.down4 = nn.Sequential(
            nn.Conv2d(width, 64, 1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
            nn.Conv2d(128, width, 3, stride=2, padding=1),
        )
        self.fuse = _fuse(width)
        self.norm = nn.GroupNorm(1, width)

    def forward(self, pixels: Tensor) -> Tensor:
        """B×3×S×S, (RGB - LITE_MEAN) / LITE_STD, zero-padded right and below -> B×256×S/16×S/16."""
        s4, s8, s16, s32 = cast("Sequence[Tensor]", self.body(pixels))
        y = self.lat[2](s16)
        y = y + F.interpolate(self.lat[3](s32), y.shape[-2:], mode="bilinear", align_corners=False)
        y = y + F.avg_pool2d(self.lat[1](s8), 2)
        y = y + self.down4(self.lat[0](s4))
        y = y + self.fuse(y)
        return cast(Tensor, self.norm(y))


def _recognises(shapes: Shapes) -> bool:
    return "image_encoder.lat.0.weight" in shapes


LITE = Backbone(
    "lite", lambda _size: LiteEncoder(), _recognises, input_size=384, mean=LITE_MEAN, std=LITE_STD, multiple=32,
    any_size=True, decoder_width=1024, working_bytes=512 << 20,
    defaults=Defaults(crops=True, clip_to_box=True, refine_masks=True, points_correct=True,
                      blend_candidates=True, head="guided"),
)
