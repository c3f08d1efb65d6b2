"""What is written of a matte: cut-out, alpha, foreground or composite, as a picture file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from .image import Image, output_format, write_image
from .image.arrays import quantise

if TYPE_CHECKING:
    from .image import ImageInput
    from .result import Matte

Output = Literal["cutout", "alpha", "foreground", "composite"]


def write_output(
    path: str | os.PathLike[str],
    matte: Matte,
    output: Output = "cutout",
    *,
    background: ImageInput | tuple[int, int, int] = (255, 255, 255),
    bits: int | None = None,
) -> None:
    """Write one picture file of a matte; the suffix says the format, and it is written whole or not at all.

    output: `cutout` (the object with transparency, clean edge colours), `alpha` (the matte in gray), `foreground` (the
    object's colours, opaque) or `composite` (on `background`: a colour 0..255 or a picture). bits: 8, 16, or None for
    those of the picture, or 8 where the format holds no more. Raises ImageError for what the format cannot hold and
    for what cannot be written.
    """
    if bits is None:
        form = output_format(path, alpha=output == "cutout")
        bits = 8 * matte.image.rgb.dtype.itemsize if form in ("png", "tiff") else 8
    if output == "alpha":
        write_image(path, matte.alpha, bits=bits)
    elif output == "foreground":
        Image(rgb=quantise(matte.foreground, bits)).save(path, bits=bits)
    elif output == "composite":
        matte.composite(background).save(path, bits=bits)
    else:
        matte.cutout().save(path, bits=bits)
