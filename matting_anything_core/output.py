"""What is written of a matte: cut-out (as layers where the format has some), alpha, foreground or composite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypedDict

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


class OutputKeywords(TypedDict, total=False):
    """The fields of `OutputOptions` as keywords."""

    output: Output
    background: Background
    bits: int | None
    strip: bool
    srgb: bool
    quality: int | None
    png_level: int | None
    adjustment: Adjustment | None


@dataclass(frozen=True)
class OutputOptions:
    """What is written of a matte, and how.

    Parameters
    ----------
    output : {"cutout", "alpha", "foreground", "composite"}
        `cutout` (the object with transparency, clean edge colours; in .psd and .ora files as a layer with a mask over
        the hidden image), `alpha` (the matte in gray), `foreground` (the object's colours, opaque) or `composite` (on
        `background`).
    background
        Of a composite, see `Matte.composite`.
    bits : {8, 16}, optional
        Bits a channel; left out, those of the image, or 8 where the format holds no more.
    strip : bool
        Without the image's resolution, EXIF, XMP and copyright.
    srgb : bool
        Colours converted to sRGB instead of staying in the image's own space.
    quality : int, optional
        1..100 for JPEG and lossy WebP, see `encode_image`.
    png_level : int, optional
        0..9 for PNG, see `encode_image`.
    adjustment : Adjustment, optional
        What is done to the matte before.
    """

    output: Output = "cutout"
    background: Background = (255, 255, 255)
    bits: int | None = None
    strip: bool = False
    srgb: bool = False
    quality: int | None = None
    png_level: int | None = None
    adjustment: Adjustment | None = None


CUTOUT = OutputOptions()


def write_output(
    path: str | os.PathLike[str], matte: Matte, options: OutputOptions = CUTOUT, *, times: Times | None = None
) -> None:
    """Write one image file of a matte; the suffix says the format, and it is written whole or not at all.

    Parameters
    ----------
    path
        The file.
    matte
        What is written.
    options
        What of it, and how.
    times
        Where the seconds are counted.

    Raises
    ------
    ImageError
        For what the format cannot hold and for what cannot be written.
    """
    times = times or Times()
    form = output_format(path, bits=options.bits or 8, alpha=options.output == "cutout")
    check_writable(path)
    data = encode_output(matte, form, options, times=times)
    with times.of("write"):
        write_bytes(path, data)


def encode_output(
    matte: Matte, form: Format = "png", options: OutputOptions = CUTOUT, *, times: Times | None = None
) -> bytes:
    """The bytes of an image file of a matte; parameters and errors as for `write_output`.

    Parameters
    ----------
    form
        `png`, `tiff`, `webp`, `jpeg`, `psd` or `ora`.
    """
    times, output, bits = times or Times(), options.output, options.bits
    adjustment = options.adjustment
    check_adjustment(form, adjustment)
    with times.of("colours"):
        if adjustment is not None:
            matte = adjusted(matte, adjustment)
            matte = cropped(matte, adjustment.window(matte.alpha))
        if output == "cutout" and layered(form):
            if options.srgb:
                matte = replace(matte, image=matte.image.to_srgb())
            matte.foreground  # noqa: B018 - made here, and kept
        elif output != "alpha":
            picture = matte.opaque() if output == "foreground" else (
                matte.composite(options.background) if output == "composite" else matte.cutout())
            if options.srgb:
                picture = picture.to_srgb()
            if output == "cutout" and adjustment is not None and adjustment.premultiplied:
                picture = premultiplied(picture)
            if options.strip:
                picture = picture.stripped()
    with times.of("compress"):
        if output == "cutout" and layered(form):
            return matte.encode_layers(form, bits=bits, png_level=options.png_level, strip=options.strip)
        if output != "alpha":
            return encode_image(picture, form, bits=bits, quality=options.quality, png_level=options.png_level)
        if bits is None:
            bits = matte.image.bits if form in DEEP else 8
        return encode_image(matte.alpha, form, bits=bits, quality=options.quality, png_level=options.png_level,
                            metadata=None if options.strip else matte.image.metadata)


def check_adjustment(form: Format, adjustment: Adjustment | None) -> None:
    """To be asked before a long computation. Raises ImageError for what the format does not hold."""
    if layered(form) and adjustment is not None and adjustment.premultiplied:
        raise ImageError(f"a {form.upper()} holds straight colours and a mask, nothing premultiplied; write a PNG or "
                         "TIFF, or leave premultiplied out")
