"""Pictures in and out: the only place where picture files are read and written.

    path, bytes, file, Pillow, array, tensor ──► read_image ──► Image ──► write_image, encode_image ──► file, bytes

An `Image` is what the rest of the library works on: upright pixels with 8 or 16 bits in their own colour space, with
what the network sees (sRGB) a call away, and the alpha channel the picture came with.

    formats   which files are read                 picture   the value Image
    read      anything -> Image                    write     Image -> file
    png tiff  what Pillow does not do of them      encode    pixels -> bytes
    salvage   files whose end is missing           layers    layers -> PSD, OpenRaster
    colour    colours by name                      icc       colour profiles
    arrays    what an array of pixels may be       metadata, exif   resolution, copyright …
    memory    running out of it, said in numbers
"""

from __future__ import annotations

from .encode import output_format
from .formats import FORMATS, Format, format_names, readable_formats, readable_media_types, readable_suffixes
from .metadata import Metadata
from .picture import Image
from .read import MAX_PIXELS, ImageInput, read_image
from .write import encode_image, write_image

__all__ = [
    "FORMATS", "MAX_PIXELS", "Format", "Image", "ImageInput", "Metadata", "encode_image", "format_names",
    "output_format", "read_image", "readable_formats", "readable_media_types", "readable_suffixes", "write_image",
]
