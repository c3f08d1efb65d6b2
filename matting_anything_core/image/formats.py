"""Which picture files are read: the one list that every door takes (command, batch, service, page, plug-ins)."""

from __future__ import annotations

import importlib
import importlib.util
from typing import NamedTuple


class Format(NamedTuple):
    """A kind of picture file.

    Parameters
    ----------
    name
        As people call it.
    pillow
        Its name in Pillow.
    suffixes
        Ends of file names, the usual one first.
    media_types
        Names in HTTP, the registered one first; what programs send besides it follows.
    module, package
        The module that teaches Pillow this format and what it is installed by, for those that Pillow lacks.
    """

    name: str
    pillow: str
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    module: str | None = None
    package: str | None = None


# Each has a signature at its start, and none of them runs another program (as EPS would).
FORMATS = (
    Format("PNG", "PNG", (".png", ".apng"), ("image/png", "image/apng", "image/x-png", "image/vnd.mozilla.apng")),
    Format("JPEG", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), ("image/jpeg", "image/jpg", "image/pjpeg", "image/mpo")),
    Format("TIFF", "TIFF", (".tif", ".tiff"), ("image/tiff", "image/tif", "image/x-tiff")),
    Format("WebP", "WEBP", (".webp",), ("image/webp",)),
    Format("GIF", "GIF", (".gif",), ("image/gif",)),
    Format("BMP", "BMP", (".bmp", ".dib"), ("image/bmp", "image/x-bmp", "image/x-ms-bmp")),
    Format("PPM", "PPM", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
           ("image/x-portable-pixmap", "image/x-portable-graymap", "image/x-portable-bitmap",
            "image/x-portable-anymap")),
    Format("JPEG 2000", "JPEG2000", (".jp2", ".j2k", ".j2c", ".jpx", ".jpf"), ("image/jp2", "image/jpx", "image/j2k")),
    Format("AVIF", "AVIF", (".avif", ".avifs"), ("image/avif", "image/avif-sequence"), "pillow_avif",
           "pillow>=11.3"),
    Format("HEIC", "HEIF", (".heic", ".heif", ".hif"),
           ("image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"), "pillow_heif", "pillow-heif"),
    Format("JPEG XL", "JXL", (".jxl",), ("image/jxl",), "pillow_jxl", "pillow-jxl-plugin"),
    Format("QOI", "QOI", (".qoi",), ("image/qoi", "image/x-qoi")),
)


def readable_formats() -> tuple[Format, ...]:
    """The formats that can be read here: without those whose package is not installed."""
    import PIL.Image

    PIL.Image.init()
    return tuple(form for form in FORMATS if form.pillow in PIL.Image.OPEN or (
        form.module is not None and importlib.util.find_spec(form.module) is not None))


def readable_suffixes() -> tuple[str, ...]:
    """Ends of the names of files that can be read here, such as `.png`."""
    return tuple(suffix for form in readable_formats() for suffix in form.suffixes)


def readable_media_types() -> tuple[str, ...]:
    """Media types (Content-Type) of what can be read here, such as `image/png`."""
    return tuple(kind for form in readable_formats() for kind in form.media_types)


def format_names() -> str:
    """The formats that can be read here, in words: `PNG, JPEG, … or QOI`."""
    names = [form.name for form in readable_formats()]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def register(form: Format) -> bool:
    """Teach Pillow a format by its package; False when that is not installed."""
    import PIL.Image

    PIL.Image.init()
    if form.pillow in PIL.Image.OPEN:
        return True
    if form.module is None or importlib.util.find_spec(form.module) is None:
        return False
    module = importlib.import_module(form.module)
    if form.pillow == "HEIF":
        module.register_heif_opener()
    elif form.pillow == "JXL":
        importlib.import_module("pillow_jxl.JpegXLImagePlugin")
    return form.pillow in PIL.Image.OPEN


def format_at(head: bytes) -> Format | None:
    """The format that the first bytes of a file (32 or more) are of; None for others."""
    for start, name in _SIGNATURES:
        if head.startswith(start):
            return _KINDS[name]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _KINDS["WEBP"]
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[at:at + 4] for at in range(16, min(len(head), _box(head)), 4))}
        if brands & {b"avif", b"avis"}:
            return _KINDS["AVIF"]
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}:
            return _KINDS["HEIF"]
    return None


def _box(head: bytes) -> int:
    return int.from_bytes(head[:4], "big")


_KINDS = {form.pillow: form for form in FORMATS}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"), (b"BM", "BMP"),
    *((b"P" + bytes([kind]), "PPM") for kind in b"123456fFy"), (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"), (b"\xff\x0a", "JXL"), (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
    (b"qoif", "QOI"),
)
