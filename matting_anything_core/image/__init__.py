"""Pictures in and out: the only place where picture files are read and written.

    path, bytes, Pillow, array, tensor ──► read_image ──► Image ──► … ──► write_image / encode_image ──► file, bytes

An `Image` is what the rest of the library works on: upright sRGB pixels with 8 or 16 bits, and the alpha channel the
picture came with. How files are decoded stands in read.py, colour profiles in icc.py, writing in
write.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import ImageError
from .arrays import Array, check_array, is_tensor, quantise, tensor_to_array
from .write import encode_image, output_format, write_image

if TYPE_CHECKING:
    import PIL.Image
    import torch

ImageInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | PIL.Image.Image | np.ndarray[Any, Any] | torch.Tensor | Image"
)

__all__ = ["MAX_PIXELS", "Image", "ImageInput", "encode_image", "output_format", "read_image", "write_image"]

MAX_PIXELS = 200_000_000
"""The largest picture that is read unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class Image:
    """A picture as it is seen: upright, sRGB.

    rgb: H×W×3, uint8 or uint16 (pictures with 16 bits, and floats). alpha: H×W of the same dtype, or None when the
    source has no alpha; colours are straight, not multiplied by it. Both are this picture's own memory; treat them as
    constants.
    """

    rgb: Array
    alpha: Array | None = None

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    def rgb8(self) -> Array:
        """The colours as uint8 H×W×3; `rgb` itself when it is that already."""
        return self.rgb if self.rgb.dtype == np.uint8 else quantise(self.rgb, 8)

    def save(self, path: str | os.PathLike[str], *, bits: int | None = None, quality: int | None = None) -> None:
        """Write a picture file, with alpha when there is one; see write_image.

        bits: 8 or 16; unless given those of the picture, or 8 where the format holds no more.
        """
        form = output_format(path, alpha=self.alpha is not None)
        if bits is None:
            bits = 8 * self.rgb.itemsize if form in ("png", "tiff") else 8
        pixels = self.rgb if self.alpha is None else np.dstack([self.rgb, self.alpha])
        write_image(path, pixels, bits=bits, quality=quality)

    def rgb_float(self) -> Array:
        """The colours as a new float32 array H×W×3 in 0..1, all bits kept."""
        return np.multiply(self.rgb, np.float32(1 / 255 if self.rgb.dtype == np.uint8 else 1 / 65535), dtype=np.float32)


def read_image(source: ImageInput, *, max_pixels: int | None = MAX_PIXELS) -> Image:
    """Read a picture from nearly anything; the source is never changed, and the result shares no memory with it.

    source:
    - a path or the bytes of a PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, JPEG 2000 (AVIF, HEIC where Pillow reads them);
      of animations the first frame, of several pages the first one. PNG and TIFF keep their 16 bits;
    - a Pillow picture of any mode, turned upright if it still carries an EXIF orientation;
    - an array H×W (gray) or H×W×1, 3, 4 of bool, uint8, uint16, or floats 0..1; sRGB; red, green, blue(, alpha);
    - a torch tensor on any device, H×W, C×H×W or H×W×C, of the same types. The first axis is taken for the channels
      when its length is 1, 3 or 4, only otherwise the last one;
    - an Image, returned as it is.

    Floats become 16 bits. Colour profiles are applied, so the result is sRGB; a damaged profile is left aside with a
    warning (module `warnings`).

    max_pixels: pictures with more pixels are refused before they are decoded; None for no limit.

    Raises ImageError for whatever cannot be read; the message names the file, what it is and what is wanted.
    """
    if isinstance(source, Image):
        return source
    import PIL.Image

    from .read import decode, decode_pillow, read_file

    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        return Image(*decode(read_file(path), repr(path), max_pixels))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Image(*decode(bytes(source), "the picture given as bytes", max_pixels))
    if isinstance(source, PIL.Image.Image):
        return Image(*decode_pillow(source, "the Pillow picture", max_pixels))
    if is_tensor(source):
        return _from_array(tensor_to_array(source, "the tensor"), "the tensor", max_pixels)
    if isinstance(source, np.ndarray):
        return _from_array(source, "the array", max_pixels)
    raise ImageError(f"a picture was given as {type(source).__name__}; expected a path, the bytes of a file, "
                     "a Pillow picture, an array or a tensor")


def _from_array(array: Array, name: str, max_pixels: int | None) -> Image:
    array = check_array(np.asarray(array), name, max_pixels)
    bits = 8 if array.dtype in (np.dtype(bool), np.dtype(np.uint8)) else 16
    if array.shape[2] == 4:
        return Image(quantise(array[..., :3], bits), quantise(array[..., 3], bits))
    pixels = quantise(array, bits)
    return Image(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, 2))
