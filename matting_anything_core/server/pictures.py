"""Pictures as they come in: which kinds of files, what their headers say, and how much memory reading them takes."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..image import Image, read_image
from .problems import Malformed, TooLarge

FORMATS: Mapping[str, tuple[str, ...]] = {
    "image/png": (".png", ".apng"), "image/jpeg": (".jpg", ".jpeg", ".jfif"), "image/webp": (".webp",),
    "image/tiff": (".tif", ".tiff"), "image/gif": (".gif",), "image/bmp": (".bmp", ".dib"),
    "image/avif": (".avif", ".avifs"), "image/jp2": (".jp2", ".j2k", ".jpx", ".j2c", ".jpf"),
    "image/x-portable-anymap": (".ppm", ".pgm", ".pbm", ".pnm", ".pam"), "image/qoi": (".qoi",),
    "image/heic": (".heic", ".heif", ".hif"), "image/jxl": (".jxl",),
}
"""Content types of picture files, with their suffixes: what `read_image` reads, HEIC and JPEG XL with their plug-ins
for Pillow. The type is only asked whether it is a picture's; what the file is its content decides."""
ALIASES = frozenset({
    "image/jpg", "image/pjpeg", "image/x-png", "image/apng", "image/vnd.mozilla.apng", "image/x-tiff", "image/tif",
    "image/x-bmp", "image/x-ms-bmp", "image/x-windows-bmp", "image/jpeg2000", "image/jpeg2000-image",
    "image/x-jpeg2000-image", "image/jpx", "image/jpm", "image/j2k", "image/j2c", "image/heif", "image/heic-sequence",
    "image/heif-sequence", "image/avif-sequence", "image/x-portable-pixmap", "image/x-portable-graymap",
    "image/x-portable-bitmap", "image/x-qoi",
})
"""Other names under which browsers and programs send them."""
RAW = "application/octet-stream"
DTYPES: Mapping[str, np.dtype[Any]] = {"u8": np.dtype("u1"), "u16": np.dtype("<u2"), "f32": np.dtype("<f4")}

SHALLOW, OTHERS, DEEP = 24, 30, 56
"""Bytes a pixel that reading a file takes at most, the result and every copy on the way: with 8 bits in the first
formats and in others, and with more bits (measured: JPEG, TIFF, GIF, BMP 10 to 15, PNG 22, JPEG 2000 20, WebP with
alpha 23 to 28; 16 bits RGB 33, RGBA 52)."""
LEAN = ("PNG", "JPEG", "MPO", "TIFF", "GIF", "BMP", "PPM")


def is_picture(kind: str) -> bool:
    """Whether a Content-Type (in small letters, without parameters) is that of a picture file."""
    return kind in FORMATS or kind in ALIASES


@dataclass(frozen=True)
class Layout:
    """How raw pixels lie in a body: row-major, tightly packed, little endian."""

    width: int
    height: int
    channels: int
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of the body."""
        return self.width * self.height * self.channels * DTYPES[self.dtype].itemsize


def layout_of(query: Mapping[str, str], limit: int) -> Layout:
    """The layout that a query gives. Raises Malformed, and TooLarge for more than `limit` pixels."""
    numbers = {}
    for name in ("width", "height", "channels"):
        text = query.get(name, "")
        if not text.isascii() or not text.isdecimal() or not 1 <= len(text) <= 9 or int(text) < 1:
            raise Malformed(f"raw pixels came with {name}={text[:40]!r}; expected a whole number above 0, as in "
                            "?width=640&height=480&channels=3&dtype=u8")
        numbers[name] = int(text)
    layout = Layout(dtype=query.get("dtype", ""), **numbers)
    if layout.channels not in (1, 3, 4):
        raise Malformed(f"raw pixels came with channels={layout.channels}; expected 1 (gray), 3 (RGB) or 4 (RGBA)")
    if layout.dtype not in DTYPES:
        raise Malformed(f"raw pixels came with dtype={layout.dtype[:40]!r}; expected u8, u16 or f32")
    if layout.width * layout.height > limit:
        raise TooLarge(f"the picture has {layout.width} x {layout.height} pixels, more than this service's limit of "
                       f"{limit / 1e6:.1f} megapixels; make it smaller, or start the service with more --memory")
    return layout


def content_id(body: bytes | bytearray, layout: Layout | None) -> str:
    """The id of a picture: sha256 of its file, or of a line with its layout (`640x480x3 u8` and a newline) and its
    pixels."""
    digest = hashlib.sha256()
    if layout is not None:
        digest.update(f"{layout.width}x{layout.height}x{layout.channels} {layout.dtype}\n".encode())
    digest.update(body)
    return digest.hexdigest()


@dataclass(frozen=True)
class Header:
    """What the start of a picture file says. form: Pillow's name of the format. deep: whether reading it goes through
    numbers of more than 8 bits."""

    width: int
    height: int
    form: str
    deep: bool

    @property
    def peak(self) -> int:
        """Bytes that reading the file takes at most, besides the file."""
        return self.width * self.height * (DEEP if self.deep else SHALLOW if self.form in LEAN else OTHERS)

    def __str__(self) -> str:
        depth = "more than 8 bits" if self.deep else "8 bits"
        return f"{self.width} x {self.height} pixels ({self.width * self.height / 1e6:.1f} megapixels) of {depth}"


def header_of(body: bytes) -> Header | None:
    """The header of a picture file, without its pixels; None when it cannot be told (reading the file says why)."""
    import PIL.Image

    from ..image import readable_formats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PIL.Image.init()
        for form in (known.pillow for known in readable_formats()):
            factory, accept = PIL.Image.OPEN.get(form, (None, None))
            if factory is None or (accept is not None and accept(body[:32].ljust(32, b"\0")) is not True):
                continue
            try:  # Pillow's own Image.open is passed by, since its limit of pixels is one for the whole process
                image = factory(io.BytesIO(body), "")
            except Exception:  # plug-ins raise what they like on damaged headers
                continue
            return Header(*image.size, str(image.format), _deep(image, body))
    return None


def _deep(image: Any, body: bytes) -> bool:
    if image.mode not in ("1", "L", "P", "LA", "PA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB"):
        return True
    if image.format == "PNG":
        return len(body) > 25 and body[24] == 16
    bits = getattr(image, "tag_v2", {}).get(258, (8,))
    return any(number > 8 for number in (bits if isinstance(bits, tuple) else (bits,)))


def read_picture(body: bytes, layout: Layout | None, limit: int) -> Image:
    """The picture in a body. Raises Malformed for a wrong length, TooManyPixelsError and ImageError."""
    if layout is None:
        return read_image(body, max_pixels=limit)
    if len(body) != layout.nbytes:
        raise Malformed(f"{layout.width} x {layout.height} pixels of {layout.channels} channels in {layout.dtype} are "
                        f"{layout.nbytes} bytes; the body has {len(body)}")
    pixels = np.frombuffer(body, DTYPES[layout.dtype]).reshape(layout.height, layout.width, layout.channels)
    return read_image(pixels)
