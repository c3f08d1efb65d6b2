"""What is written of a matte: cut-out, alpha, foreground or composite, as a picture file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from .adjust import Adjustment, adjusted, cropped, premultiplied
from .image import Image, output_format, write_image
from .image_arrays import quantise

if TYPE_CHECKING:
    from .result import Matte
    from .types import ImageInput

Output = Literal["cutout", "alpha", "foreground", "composite"]


def write_output(
    path: str | os.PathLike[str],
    matte: Matte,
    output: Output = "cutout",
    *,
    background: ImageInput | tuple[int, int, int] = (255, 255, 255),
    bits: int | None = None,
    quality: int | None = None,
    adjustment: Adjustment | None = None,
) -> None:
    """Write one picture file of a matte; the suffix says the format, and it is written whole or not at all.

    output: `cutout` (the object with transparency, clean edge colours), `alpha` (the matte in gray), `foreground` (the
    object's colours, opaque) or `composite` (on `background`: a colour 0..255 or a picture). bits: 8, 16, or None for
    those of the picture, or 8 where the format holds no more. Raises ImageError for what the format cannot hold and
    for what cannot be written.
    quality: 1..100 for JPEG and lossy WebP, see `encode_image`. adjustment: what is done to the matte before.
    """
    if adjustment is not None:
        matte = adjusted(matte, adjustment)
        matte = cropped(matte, adjustment.window(matte.alpha))
    if bits is None:
        form = output_format(path, alpha=output == "cutout")
        bits = 8 * matte.image.rgb.dtype.itemsize if form in ("png", "tiff") else 8
    if output == "alpha":
        write_image(path, matte.alpha, bits=bits, quality=quality)
    elif output == "foreground":
        Image(rgb=quantise(matte.foreground, bits)).save(path, bits=bits, quality=quality)
    elif output == "composite":
        matte.composite(background).save(path, bits=bits, quality=quality)
    else:
        cutout = matte.cutout()
        cutout = premultiplied(cutout) if adjustment is not None and adjustment.premultiplied else cutout
        cutout.save(path, bits=bits, quality=quality)
