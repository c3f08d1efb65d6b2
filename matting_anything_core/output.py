"""What is written of a matte: cut-out (as layers where the format has some), alpha, foreground or composite."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from .adjust import Adjustment, adjusted, cropped, premultiplied
from .errors import ImageError
from .image import encode_image, output_format
from .image.encode import DEEP, layered
from .image.write import check_writable, write_bytes
from .times import Times

if TYPE_CHECKING:
    import os

    from .image.encode import Format
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
    png_level: int | None = None,
    adjustment: Adjustment | None = None,
    times: Times | None = None,
) -> None:
    """Write one picture file of a matte; the suffix says the format, and it is written whole or not at all.

    Parameters
    ----------
    output
        `cutout` (the object with transparency, clean edge colours; in .psd and .ora files as a layer with a mask over
        the hidden picture), `alpha` (the matte in gray), `foreground` (the
        object's colours, opaque) or `composite` (on `background`, see `Matte.composite`).
    bits
        8, 16, or None for those of the picture, or 8 where the format holds no more.
    strip
        Without the picture's resolution, EXIF, XMP and copyright.
    srgb
        Colours converted to sRGB instead of staying in the picture's own space.
    quality
        1..100 for JPEG and lossy WebP, see `encode_image`.
    png_level
        0..9 for PNG, see `encode_image`.
    adjustment
        What is done to the matte before.
    times
        Where the seconds are counted.

    Raises
    ------
    ImageError
        For what the format cannot hold and for what cannot be written.
    """
    times = times or Times()
    form = output_format(path, bits=bits or 8, alpha=output == "cutout")
    check_writable(path)
    data = encode_output(matte, output, form, background=background, bits=bits, strip=strip, srgb=srgb,
                         quality=quality, png_level=png_level, adjustment=adjustment, times=times)
    with times.of("write"):
        write_bytes(path, data)


def encode_output(
    matte: Matte,
    output: Output = "cutout",
    form: Format = "png",
    *,
    background: Background = (255, 255, 255),
    bits: int | None = None,
    strip: bool = False,
    srgb: bool = False,
    quality: int | None = None,
    png_level: int | None = None,
    adjustment: Adjustment | None = None,
    times: Times | None = None,
) -> bytes:
    """The bytes of a picture file of a matte; parameters and errors as for `write_output`.

    Parameters
    ----------
    form
        `png`, `tiff`, `webp`, `jpeg`, `psd` or `ora`.
    """
    check_adjustment(form, adjustment)
    times = times or Times()
    with times.of("colours"):
        if adjustment is not None:
            matte = adjusted(matte, adjustment)
            matte = cropped(matte, adjustment.window(matte.alpha))
        if output == "cutout" and layered(form):
            if srgb:
                matte = replace(matte, image=matte.image.to_srgb())
            matte.foreground  # noqa: B018 - made here, and kept
        elif output != "alpha":
            picture = matte.opaque() if output == "foreground" else (
                matte.composite(background) if output == "composite" else matte.cutout())
            if srgb:
                picture = picture.to_srgb()
            if output == "cutout" and adjustment is not None and adjustment.premultiplied:
                picture = premultiplied(picture)
            if strip:
                picture = picture.stripped()
    with times.of("compress"):
        if output == "cutout" and layered(form):
            return matte.encode_layers(form, bits=bits, png_level=png_level, strip=strip)
        if output != "alpha":
            return encode_image(picture, form, bits=bits, quality=quality, png_level=png_level)
        if bits is None:
            bits = matte.image.bits if form in DEEP else 8
        return encode_image(matte.alpha, form, bits=bits, quality=quality, png_level=png_level,
                            metadata=None if strip else matte.image.metadata)


def check_adjustment(form: Format, adjustment: Adjustment | None) -> None:
    """To be asked before a long computation. Raises ImageError for what the format does not hold."""
    if layered(form) and adjustment is not None and adjustment.premultiplied:
        raise ImageError(f"a {form.upper()} holds straight colours and a mask, nothing premultiplied; write a PNG or "
                         "TIFF, or leave premultiplied out")
