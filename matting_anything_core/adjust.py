"""What can be done to a matte after it was made: grow, shrink, feather, invert, crop. Plain functions on arrays.

    alpha H x W ──► grown ──► feathered ──► inverted ──► content_window ──► the part of the image that is kept

Lengths are pixels of the image. Nothing here changes its input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .errors import PromptError
from .geometry import mask_window

if TYPE_CHECKING:
    from .image import Image
    from .result import Matte

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

VISIBLE = 1 / 512
"""Alpha below this is 0 in a file of 8 bits, and no content."""
_STEP = 6
"""Radius of the largest disc that is slid over the image at once; larger ones are made of several."""


@dataclass(frozen=True)
class Adjustment:
    """What is done to a matte before it is written, in this order.

    Parameters
    ----------
    grow : pixels by which the object gets larger on all sides; negative: smaller.
    feather : pixels over which its edge gets softer, to either side.
    invert : keep what is around the object instead.
    crop : None to keep the image's size, else the margin in pixels that stays around what is left of the image.
    margin_in_shares : the margin is a share of the content's longer side instead.
    premultiplied : colours of cut-outs are multiplied by alpha.

    Raises
    ------
    PromptError : numbers that are negative where that means nothing, infinite or NaN.
    """

    grow: float = 0.0
    feather: float = 0.0
    invert: bool = False
    crop: float | None = None
    margin_in_shares: bool = False
    premultiplied: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.grow):
            raise PromptError(f"grow was given as {self.grow}; expected a finite number of pixels")
        for name, value in (("feather", self.feather), ("the margin of crop", self.crop or 0.0)):
            if not math.isfinite(value) or value < 0:
                raise PromptError(f"{name} was given as {value:g}; expected 0 or a positive number of pixels")

    def alpha(self, alpha: Array) -> Array:
        """Alpha H x W (float32, 0..1) as it is to be written, of the same size."""
        result = feathered(grown(alpha, self.grow), self.feather)
        return inverted(result) if self.invert else result

    def window(self, alpha: Array) -> tuple[int, int, int, int]:
        """The part of the image that is kept, x0, y0, x1, y1 in whole pixels: all of it unless `crop` is given."""
        height, width = alpha.shape
        if self.crop is None:
            return 0, 0, width, height
        tight = content_window(alpha, 0)
        margin = self.crop * max(tight[2] - tight[0], tight[3] - tight[1]) if self.margin_in_shares else self.crop
        return content_window(alpha, math.ceil(margin))


def grown(alpha: Array, pixels: float) -> Array:
    """Alpha of an object that is `pixels` larger on all sides (negative: smaller); soft edges stay as soft.

    Parameters
    ----------
    alpha : float32 H x W, 0..1.
    pixels : radius of the disc whose highest (lowest) value each pixel gets; parts of a pixel are mixed.
    """
    from .opencv import cv2

    radius = min(abs(pixels), float(max(alpha.shape)))
    if radius == 0 or not alpha.size:
        return alpha
    step = cv2.dilate if pixels > 0 else cv2.erode
    whole = int(radius)
    result: Array = np.ascontiguousarray(alpha, np.float32)
    for part in [_STEP] * (whole // _STEP) + [whole % _STEP]:
        if part:
            result = step(result, _disc(part))
    share = radius - whole
    if share:
        result = (1 - share) * result + share * step(result, _disc(1))
    limited: Array = np.clip(result, 0, 1, dtype=np.float32)
    return limited


def _disc(radius: int) -> Array:
    offsets = np.arange(-radius, radius + 1)
    return (offsets[:, None] ** 2 + offsets[None] ** 2 <= (radius + 0.25) ** 2).astype(np.uint8)


def feathered(alpha: Array, pixels: float) -> Array:
    """Alpha with its edge softened over about `pixels` to either side (a Gaussian of half that). Where the object meets
    the border of the image it stays as it is there."""
    from .opencv import cv2

    if pixels == 0 or not alpha.size:
        return alpha
    sigma = min(pixels, 2.0 * max(alpha.shape)) / 2
    blurred = cv2.GaussianBlur(np.ascontiguousarray(alpha, np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    limited: Array = np.clip(blurred, 0, 1, dtype=np.float32)
    return limited


def inverted(alpha: Array) -> Array:
    """Alpha of everything else: 1 - alpha."""
    result: Array = np.subtract(1, alpha, dtype=np.float32)
    return result


def content_window(alpha: Array, margin: int = 0) -> tuple[int, int, int, int]:
    """Where something can be seen: x0, y0, x1, y1 in whole pixels, right and bottom excluded.

    Parameters
    ----------
    alpha : H x W, 0..1.
    margin : pixels around it, as far as the image goes.

    Returns
    -------
    The whole image when nothing can be seen at all.
    """
    height, width = alpha.shape
    seen = mask_window(alpha >= VISIBLE, margin)
    return (0, 0, width, height) if seen.empty else (seen.left, seen.top, seen.right, seen.bottom)


def premultiplied(image: Image) -> Image:
    """The image with its colours multiplied by its alpha, rounded to the nearest value; itself when it has no alpha."""
    if image.alpha is None:
        return image
    top = 255 if image.rgb.dtype.itemsize == 1 else 65535
    wide = image.rgb.astype(np.uint32) * image.alpha[..., None]
    return replace(image, rgb=((wide + top // 2) // top).astype(image.rgb.dtype))


def adjusted(matte: Matte, adjustment: Adjustment) -> Matte:
    """The matte with its alpha as `adjustment` makes it, still of the image's size."""
    alpha = adjustment.alpha(matte.alpha)
    return matte if alpha is matte.alpha else replace(matte, alpha=alpha)


def cropped(matte: Matte, window: tuple[int, int, int, int]) -> Matte:
    """The matte of a part of its image. Its prompt stays in the coordinates of the whole image."""
    x0, y0, x1, y1 = window
    if window == (0, 0, matte.image.width, matte.image.height):
        return matte
    part = slice(y0, y1), slice(x0, x1)
    alpha = matte.image.alpha
    image = replace(matte.image, rgb=np.ascontiguousarray(matte.image.rgb[part]),
                    alpha=None if alpha is None else np.ascontiguousarray(alpha[part]))
    return replace(matte, image=image, alpha=np.ascontiguousarray(matte.alpha[part]),
                   mask=np.ascontiguousarray(matte.mask[part]))
