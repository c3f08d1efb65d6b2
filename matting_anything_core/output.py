"""What is written of a matte: cut-out, alpha, foreground or composite, as a picture file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .adjust import Adjustment, adjusted, cropped, premultiplied
from .image import output_format, write_image

if TYPE_CHECKING:
    import os

    from .result import Background, Matte

Output = Literal["cutout", "alpha", "foreground", "composite"]


def write_output(
    path: str | os.PathLike[str],
    matte: Matte,
    output: Output = "cutout",
    *,
    background: Background = (255, 255, 255),
    bits: int | None = None,
    strip: bool = False,
    srgb: bool = False,
    quality: int | None = None,
    adjustment: Adjustment | None = None,
) -> None:
    """Write one picture file of a matte; the suffix says the format, and it is written whole or not at all.

    Parameters
    ----------
    output
        `cutout` (the object with transparency, clean edge colours), `alpha` (the matte in gray), `foreground` (the
        object's colours, opaque) or `composite` (on `background`, see `Matte.composite`).
    bits
        8, 16, or None for those of the picture, or 8 where the format holds no more.
    strip
        Without the picture's resolution, EXIF, XMP and copyright.
    srgb
        Colours converted to sRGB instead of staying in the picture's own space.
    quality
        1..100 for JPEG and lossy WebP, see `encode_image`.
    adjustment
        What is done to the matte before.

    Raises
    ------
    ImageError
        For what the format cannot hold and for what cannot be written.
    """
    if adjustment is not None:
        matte = adjusted(matte, adjustment)
        matte = cropped(matte, adjustment.window(matte.alpha))
    if output == "alpha":
        if bits is None:
            bits = matte.image.bits if output_format(path) in ("png", "tiff") else 8
        write_image(path, matte.alpha, bits=bits, quality=quality,
                    metadata=None if strip else matte.image.metadata)
        return
    picture = matte.opaque() if output == "foreground" else (
        matte.composite(background) if output == "composite" else matte.cutout())
    if srgb:
        picture = picture.to_srgb()
    if output == "cutout" and adjustment is not None and adjustment.premultiplied:
        picture = premultiplied(picture)
    write_image(path, picture.stripped() if strip else picture, bits=bits, quality=quality)
