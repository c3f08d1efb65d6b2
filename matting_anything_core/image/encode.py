"""Arrays -> the bytes of picture files: PNG, TIFF, WebP, JPEG; and files of layers with one of them (layers.py).

Pillow writes the 8-bit files. PNG and TIFF of 16 bits are written here, since Pillow has no such pixels (and OpenCV
embeds no profile): both are little more than rows of numbers behind zlib.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from ..errors import ImageError
from .arrays import Array, quantise
from .exif import XMP, Entry, Exif, block, resolution, write_directories
from .icc import srgb_profile
from .layers import LARGEST_SIDE, LAYERED, Layer, LayeredFormat, check_layered, encode_layers
from .metadata import PLAIN, Metadata

Format: TypeAlias = Literal["png", "tiff", "webp", "jpeg", "psd", "ora"]
SUFFIXES: dict[str, Format] = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".webp": "webp", ".jpg": "jpeg",
                               ".jpeg": "jpeg", ".psd": "psd", ".ora": "ora"}
DEEP: tuple[Format, ...] = ("png", "tiff", "psd", "ora")
"""The formats that hold 16 bits a channel."""
PNG_LEVEL = 4
"""How hard PNGs are compressed: half the time of zlib's own 6, files a few percent larger."""
_LARGEST_SIDE = {"png": 2**31 - 1, "tiff": 2**31 - 1, "webp": 16383, "jpeg": 65500, **LARGEST_SIDE}


def output_format(path: str | os.PathLike[str], *, bits: int = 8, alpha: bool = False) -> Format:
    """The format that `path` asks for by its suffix; to be asked before a long computation.

    Raises ImageError for an unknown suffix, and when that format cannot hold 16 bits or alpha; MissingExtraError when
    what writes it is not installed.
    """
    suffix = Path(path).suffix.lower()
    form = SUFFIXES.get(suffix)
    if form is None:
        known = ", ".join(sorted(SUFFIXES))
        raise ImageError(f"{os.fspath(path)!r} has {'the suffix ' + repr(suffix) if suffix else 'no suffix'}, which "
                         f"names no format that can be written; known are {known}")
    _check_format(form, bits, alpha)
    return form


def _check_format(form: str, bits: int, alpha: bool) -> None:
    if form not in _LARGEST_SIDE:
        raise ImageError(f"the format {form!r} is unknown; known are png, tiff, webp, jpeg, psd and "
                         "ora")
    if bits not in (8, 16):
        raise ImageError(f"bits was given as {bits!r}; expected 8 or 16")
    if alpha and form == "jpeg":
        raise ImageError("JPEG holds no alpha; write a PNG, WebP or TIFF, or composite it on a background first")
    if bits == 16 and form not in DEEP:
        raise ImageError(f"{'JPEG' if form == 'jpeg' else 'WebP'} holds no 16 bits; write a PNG or TIFF, or use bits=8")
    if layered(form):
        check_layered(form)


def layered(form: str) -> TypeGuard[LayeredFormat]:
    """Whether files of this format hold layers."""
    return form in LAYERED


def encode_pixels(
    pixels: Array, form: Format = "png", *, bits: int = 8, quality: int | None = None, png_level: int | None = None,
    profile: bytes | None = None, metadata: Metadata = PLAIN,
) -> bytes:
    """The bytes of a picture file; arguments as for `encode_image`, which checks what may come from anywhere.

    profile: the ICC profile of the colours, None for sRGB.
    """
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, channels = pixels.shape
    _check_format(form, bits, channels == 4)
    if quality is not None and not (isinstance(quality, int) and 1 <= quality <= 100):
        raise ImageError(f"quality was given as {quality!r}; expected a whole number 1..100")
    if png_level is not None and not (isinstance(png_level, int) and 0 <= png_level <= 9):
        raise ImageError(f"png_level was given as {png_level!r}; expected a whole number 0..9")
    level = PNG_LEVEL if png_level is None else png_level
    if max(height, width) > _LARGEST_SIDE[form]:
        raise ImageError(f"a {form.upper()} has at most {_LARGEST_SIDE[form]} pixels a side, the picture has "
                         f"{width} x {height}; write a PNG or TIFF")
    if layered(form):
        return encode_layers([Layer("picture", quantise(pixels, bits))], form, bits=bits, png_level=png_level,
                             profile=profile, metadata=metadata)
    pixels = quantise(pixels, bits)
    icc = None if channels == 1 else profile or srgb_profile()
    if form == "tiff":
        return _tiff(pixels, icc, metadata)
    if form == "png" and bits == 16:
        return _png16(pixels, icc, metadata, level)
    image = PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    options = _described(form, metadata)
    if icc is not None:
        options["icc_profile"] = icc
    if form == "png":
        options["compress_level"] = level
    elif form == "jpeg":
        options |= {"quality": quality or 95, "subsampling": 0}  # 0: colours at full resolution
    else:  # exact: keep the colours where alpha is 0
        options |= {"lossless": quality is None, "quality": quality or 60, "exact": True, "method": 4 if quality else 2}
    buffer = io.BytesIO()
    try:
        image.save(buffer, form, **options)
    except (OSError, ValueError) as error:
        raise ImageError(f"the picture cannot be written as {form.upper()}: {error}") from error
    return buffer.getvalue()


def _described(form: str, metadata: Metadata) -> dict[str, Any]:
    """Pillow's options that write the metadata."""
    options: dict[str, Any] = {}
    if metadata.dpi is not None and form != "webp":
        options["dpi"] = metadata.dpi
    exif = b""
    if metadata.exif is not None or (form == "webp" and metadata.dpi is not None):
        exif = b"Exif\0\0" + block(metadata.exif or Exif(), metadata.dpi)
    xmp = metadata.xmp or b""
    if form == "jpeg":
        for name, data, most in (("EXIF", exif, 65533), ("XMP", xmp, 65502)):
            if len(data) > most:
                warnings.warn(f"the {name} of the picture has {len(data)} bytes; a JPEG holds {most}, so it is left "
                              "out", UserWarning, stacklevel=2)
        exif, xmp = exif if len(exif) <= 65533 else b"", xmp if len(xmp) <= 65502 else b""
        if xmp:
            xmp = b"http://ns.adobe.com/xap/1.0/\0" + xmp
            options["extra"] = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    elif form == "webp" and xmp:
        options["xmp"] = xmp
    elif form == "png" and (xmp or metadata.texts):
        texts = PIL.PngImagePlugin.PngInfo()
        for kind, data in _png_texts(metadata):
            texts.add(kind, data)
        options["pnginfo"] = texts
    if exif:
        options["exif"] = exif
    return options


def _png_texts(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    """Chunks of a PNG for XMP and texts: kind and content."""
    if metadata.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp
    for key, text in metadata.texts:
        yield b"iTXt", key.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8", "replace")


def _strips(pixels: Array) -> Iterator[tuple[Array, Array | None]]:
    """Rows of about a megabyte at a time, each with the row above it (None at the top)."""
    rows = max(1, (1 << 20) // pixels[0].nbytes)
    for y in range(0, len(pixels), rows):
        yield pixels[y:y + rows], pixels[y - 1] if y else None


def _png16(pixels: Array, icc: bytes | None, metadata: Metadata, level: int) -> bytes:
    """A 16-bit PNG (ISO/IEC 15948) of uint16 H×W×C. Each row is filtered by Sub or Up, whichever leaves less."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(
        ">IIBBBBB", width, height, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0))]
    if icc is not None:
        parts.append(chunk(b"iCCP", b"ICC\0\0" + zlib.compress(icc)))
    if metadata.dpi is not None:
        parts.append(chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in metadata.dpi), 1)))
    if metadata.exif is not None:
        parts.append(chunk(b"eXIf", block(metadata.exif, metadata.dpi)))
    parts += [chunk(kind, data) for kind, data in _png_texts(metadata)]
    packer = zlib.compressobj(level)
    step = 2 * channels
    for strip, above in _strips(pixels):
        raw = strip.astype(">u2").view(np.uint8).reshape(len(strip), -1)
        left = np.zeros_like(raw)
        left[:, step:] = raw[:, :-step]
        up = np.zeros_like(raw)
        up[1:] = raw[:-1]
        if above is not None:
            up[0] = above.astype(">u2").view(np.uint8).reshape(-1)
        sub, up = raw - left, raw - up  # modulo 256, as the standard wants
        cost = [np.abs(residual.view(np.int8).astype(np.int16)).sum(1) for residual in (sub, up)]
        use_up = cost[1] < cost[0]
        rows = np.empty((len(raw), raw.shape[1] + 1), np.uint8)
        rows[:, 0] = np.where(use_up, 2, 1)
        rows[:, 1:] = np.where(use_up[:, None], up, sub)
        packed = packer.compress(rows.tobytes())
        if packed:
            parts.append(chunk(b"IDAT", packed))
    return b"".join([*parts, chunk(b"IDAT", packer.flush()), chunk(b"IEND", b"")])


def _tiff(pixels: Array, icc: bytes | None, metadata: Metadata) -> bytes:
    """A TIFF 6.0 of uint8 or uint16 H×W×C: Deflate, differences along rows (predictor 2), orientation top left."""
    height, width, channels = pixels.shape
    body, offsets, counts = bytearray(b"II*\0\0\0\0\0"), [], []
    rows = 0
    for strip, _ in _strips(pixels):
        rows = rows or len(strip)
        difference = strip.copy()
        difference[:, 1:] -= strip[:, :-1]  # modulo the type's range
        packed = zlib.compress(difference.astype(difference.dtype.newbyteorder("<")).tobytes(), 4)
        offsets.append(len(body))
        counts.append(len(packed))
        body += packed + b"\0" * (len(packed) % 2)
        if len(body) > 2**32 - 2**20:
            raise ImageError("the picture is too large for a TIFF (4 GB); write a PNG")
    def entry(tag: int, kind: int, *values: int) -> Entry:
        return Entry(tag, kind, struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values))

    entries = [
        entry(256, 4, width), entry(257, 4, height), entry(258, 3, *[8 * pixels.itemsize] * channels), entry(259, 3, 8),
        entry(262, 3, 1 if channels == 1 else 2), entry(273, 4, *offsets), entry(274, 3, 1), entry(277, 3, channels),
        entry(278, 4, rows), entry(279, 4, *counts), entry(284, 3, 1), entry(317, 3, 2)]
    if metadata.dpi is not None:
        entries += resolution(metadata.dpi)
    else:  # TIFF demands a resolution: square pixels of no known size
        entries += [entry(282, 5, 1, 1), entry(283, 5, 1, 1), entry(296, 3, 1)]
    if channels == 4:
        entries.append(entry(338, 3, 2))  # straight ("unassociated") alpha
    if icc is not None:
        entries.append(Entry(34675, 7, icc))
    if metadata.xmp:
        entries.append(Entry(XMP, 1, metadata.xmp))
    struct.pack_into("<I", body, 4, len(body))
    return bytes(body) + write_directories(entries, metadata.exif or Exif(), len(body))
