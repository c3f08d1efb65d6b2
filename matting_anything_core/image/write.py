"""Pictures -> files: written whole or not at all. How the formats look inside stands in encode.py."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import ImageError
from ..replacing import replacing
from .arrays import Array, check_array, is_tensor, tensor_to_array
from .encode import DEEP, Format, encode_pixels, output_format
from .memory import memory_for
from .metadata import Metadata
from .picture import Image

if TYPE_CHECKING:
    import PIL.Image
    import torch

Target: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
Pixels: TypeAlias = "Image | Array | PIL.Image.Image | torch.Tensor"


def encode_image(
    picture: Pixels, form: Format = "png", *, bits: int | None = None, quality: int | None = None,
    png_level: int | None = None, metadata: Metadata | None = None,
) -> bytes:
    """The bytes of a picture file.

    Parameters
    ----------
    picture
        An Image; or an array H×W or H×W×1 (gray, such as an alpha matte), H×W×3, or H×W×4 (straight alpha) of bool,
        uint8, uint16 or floats in 0..1, sRGB, upright, red first; or a tensor (also channels first) or Pillow picture.
    form
        `png`, `tiff`, `webp`, `jpeg`, `psd` or `ora`; the last two with the picture as their only layer (a
        `Matte` writes the object over the picture).
    bits
        8 or 16, rounded to the nearest value. Unless given 8; of an Image as many as it has and the format holds.
    quality
        1..100 for JPEG (95 unless given) and WebP (lossless unless given); nothing else has one.
    png_level
        0..9, how hard a PNG is compressed: from none at all to small and slow; 4 unless given.
    metadata
        What is written besides pixels, instead of what an Image has.

    Returns
    -------
    bytes
        The same for the same picture. Colours carry their profile, and an Image its metadata. Gray carries no profile:
        a matte is coverage, not light, and no reader must bend it.

    Raises
    ------
    ImageError
        For what is no picture, and for what the format cannot hold.
    """
    pixels, profile, own = _parts(picture)
    metadata = own if metadata is None else metadata
    if bits is None:
        bits = 8 * pixels.itemsize if isinstance(picture, Image) and form in DEEP else 8
    with memory_for(f"writing a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels", pixels.nbytes):
        return encode_pixels(pixels, form, bits=bits, quality=quality, png_level=png_level, profile=profile,
                             metadata=metadata)


def _parts(picture: Any) -> tuple[Array, bytes | None, Metadata]:
    """Pixels, profile and metadata of what is to be written."""
    import PIL.Image

    if isinstance(picture, PIL.Image.Image):
        from .read import read_image

        picture = read_image(picture, max_pixels=None)
    if isinstance(picture, Image):
        return picture.pixels(), picture.profile, picture.metadata
    if is_tensor(picture):
        picture = tensor_to_array(picture, "the picture to write")
    if not isinstance(picture, np.ndarray):
        raise ImageError(f"a picture to write was given as {type(picture).__name__}; expected an Image, an array, a "
                         "tensor or a Pillow picture")
    return check_array(picture, "the picture to write"), None, Metadata()


def write_image(
    target: Target, picture: Pixels, *, bits: int | None = None, quality: int | None = None,
    png_level: int | None = None, form: Format | None = None, metadata: Metadata | None = None,
) -> None:
    """Write a picture file; the suffix says the format (.png .tif .tiff .webp .jpg .jpeg .psd .ora). See
    `encode_image`.

    Parameters
    ----------
    target
        A path, or a file object opened for writing bytes. A path is written to a temporary name in the same folder and
        then renamed: a reader sees the old file or the whole new one, and a full disk leaves the old file and nothing
        else.
    form
        The format, whatever the suffix says; for file objects png unless their name says another.
    metadata
        What is written besides pixels, instead of what an Image has.

    Raises
    ------
    ImageError
        When it is no picture, cannot be held by the format, or cannot be written.
    """
    if isinstance(target, (Image, np.ndarray)):
        raise ImageError("a picture was given where the file to write belongs; expected write_image(path, picture)")
    alpha = (isinstance(picture, Image) and picture.alpha is not None) or (
        not isinstance(picture, Image) and getattr(picture, "ndim", 0) == 3 and picture.shape[2] == 4)  # type: ignore[union-attr]
    write_encoded(target, lambda form: encode_image(picture, form, bits=bits, quality=quality, png_level=png_level,
                                                    metadata=metadata), form=form, bits=bits, alpha=alpha)


def write_encoded(
    target: Target, encode: Callable[[Format], bytes], *, form: Format | None, bits: int | None, alpha: bool,
) -> None:
    """Write what `encode` makes for a format, to a path or a file object, see `write_image`.

    form: the format, whatever the target's name says. bits, alpha: what it has to hold.
    """
    write = getattr(target, "write", None)
    if write is not None:
        data = encode(form or _form_of(target, alpha))
        try:
            write(data)
        except (OSError, ValueError, TypeError) as error:
            raise ImageError(f"the picture cannot be written to {target!r:.200}: {error}; expected a file opened for "
                             "writing bytes") from error
        return
    path = path_of(target)
    form = form or output_format(path, bits=bits or 8, alpha=alpha)
    check_writable(path)
    write_bytes(path, encode(form))


def _form_of(target: Any, alpha: bool) -> Format:
    name = getattr(target, "name", None)
    try:
        return output_format(name, alpha=alpha) if isinstance(name, str) and os.path.splitext(name)[1] else "png"
    except ImageError:
        return "png"


def path_of(target: Any) -> str:
    """A path as text. Raises ImageError for what is none."""
    try:
        path = os.fspath(target)
    except TypeError:
        raise ImageError(f"the file to write was given as {type(target).__name__}; expected a path or a file opened "
                         "for writing bytes") from None
    return os.fsdecode(path)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises ImageError when the folder of `path` is missing or `path` is a folder, a device or the like."""
    name = repr(os.fspath(path))
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise ImageError(f"{name} is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; "
                             "expected the name of a picture file to write")
    except (OSError, ValueError):
        folder = os.path.dirname(os.path.realpath(path)) if "\0" not in os.fspath(path) else ""
        if not os.path.isdir(folder):
            raise ImageError(f"{name} cannot be written: there is no folder {folder!r}; make it first") from None


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, whole or not at all. Raises ImageError; then nothing has changed."""
    try:
        with replacing(path) as file:
            file.write(data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{os.fspath(path)!r} cannot be written: {reason}") from error
