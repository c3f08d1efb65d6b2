"""What a file tells of its picture besides pixels and colours: resolution, EXIF, XMP, title, author, copyright.

It is kept, so that a cut-out can stand beside its original: at the same size on paper, with the same copyright. What
would be wrong of the result or shows what was cut off is left out: orientation, thumbnails, a maker's note (exif.py).
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass, replace
from typing import Any

import PIL.Image

from .exif import (
    ARTIST,
    COPYRIGHT,
    DESCRIPTION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
    Entry,
    Exif,
    number,
    parse,
)

TEXTS = ("Title", "Author", "Description", "Copyright", "Creation Time", "Disclaimer", "Source")
"""PNG's keywords that are kept (PNG, 11.3.3.2); others hold workflows, histories and the like of any length."""
_TEXT_TAGS = {"Description": DESCRIPTION, "Author": ARTIST, "Copyright": COPYRIGHT}
_IPTC = {(2, 116): COPYRIGHT, (2, 80): ARTIST, (2, 120): DESCRIPTION}
_LARGEST_XMP = 1 << 20


@dataclass(frozen=True)
class Metadata:
    """What is known of a picture besides its pixels.

    Parameters
    ----------
    dpi
        Pixels an inch, across and down, of the picture as it is seen.
    exif
        EXIF without orientation, thumbnail and maker's note.
    xmp
        The XMP packet (XML) without orientation and thumbnails.
    texts
        Title, author, copyright and the like of a PNG, as (keyword, text).
    """

    dpi: tuple[float, float] | None = None
    exif: Exif | None = None
    xmp: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return self != Metadata()

    def turned(self) -> Metadata:
        """The same for a picture that is turned by a quarter."""
        return self if self.dpi is None else replace(self, dpi=(self.dpi[1], self.dpi[0]))


PLAIN = Metadata()


def checked_dpi(value: Any) -> tuple[float, float] | None:
    """A pair of numbers as a resolution; None for what can be none (0, NaN, 1e9)."""
    try:
        across, down = (float(part) for part in value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (across, down) if all(math.isfinite(part) and 1 <= part <= 1e5 for part in (across, down)) else None


def resolution_of(entries: list[Entry]) -> tuple[float, float] | None:
    """The resolution that TIFF's entries give, in pixels an inch."""
    unit = number(entries, RESOLUTION_UNIT)
    scale = {None: 1.0, 2.0: 1.0, 3.0: 2.54}.get(unit)
    across, down = number(entries, X_RESOLUTION), number(entries, Y_RESOLUTION)
    if scale is None or across is None:
        return None
    return checked_dpi((across * scale, (across if down is None else down) * scale))


def tidy_xmp(packet: bytes | str | None) -> bytes | None:
    """XMP without what is no longer so: orientation, thumbnails, other pictures in the file (depth, HDR gain)."""
    if isinstance(packet, str):
        packet = packet.encode("utf-8", "replace")
    if not isinstance(packet, bytes):
        return None
    packet = packet.strip(b"\0 \r\n\t")
    if not 20 <= len(packet) <= _LARGEST_XMP or b"<" not in packet[:16] or b"<!" in packet:
        return None
    for name in (rb"tiff:Orientation", rb"xmpNote:HasExtendedXMP", rb"hdrgm:\w+", rb"GCamera:\w+", rb"GDepth:\w+",
                 rb"GImage:\w+", rb"exif:PixelXDimension", rb"exif:PixelYDimension", rb"tiff:ImageWidth",
                 rb"tiff:ImageLength"):
        packet = re.sub(rb"\s" + name + rb"\s*=\s*(\"[^\"]*\"|'[^']*')", b"", packet)
        packet = re.sub(rb"<(" + name + rb")(\s[^<>]*)?>[^<]*</\1>", b"", packet)
    for name in (rb"xmp:Thumbnails", rb"xap:Thumbnails", rb"Container:Directory", rb"GContainer:Directory",
                 rb"hdrgm:GainMapMin", rb"hdrgm:GainMapMax", rb"hdrgm:Gamma", rb"hdrgm:OffsetSDR", rb"hdrgm:OffsetHDR",
                 rb"photoshop:History", rb"xmpMM:History"):
        shorter = _without(packet, name)
        if shorter is None:
            return None
        packet = shorter
    return packet


def _without(packet: bytes, name: bytes) -> bytes | None:
    """XML without the elements of that name and what is in them; None when one is not closed."""
    parts, place = [], 0
    for found in re.finditer(rb"<" + name + rb"(\s[^<>]*)?>", packet):
        if found.start() < place:
            continue
        parts.append(packet[place:found.start()])
        place = found.end()
        if not found.group().endswith(b"/>"):
            end = packet.find(b"</" + name + b">", place)
            if end < 0:
                return None
            place = end + len(name) + 3
    return b"".join([*parts, packet[place:]])


def metadata_of(image: PIL.Image.Image, block: bytes | None = None) -> Metadata:
    """The metadata of a picture that Pillow opened, as it lies in the file (see `Metadata.turned`).

    block: its EXIF, or its whole file when that is a TIFF; else what Pillow knows is asked.
    """
    try:
        return _metadata_of(image, block)
    except Exception as error:  # descriptions are damaged in many ways; the pixels are good without them
        warnings.warn(f"the description (EXIF, XMP) of the picture is damaged and left out: {error}", UserWarning,
                      stacklevel=2)
        return Metadata()


def _metadata_of(image: PIL.Image.Image, block: bytes | None) -> Metadata:
    info = image.info
    if block is None:
        block = info.get("exif")
    if block is None and (hasattr(image, "tag_v2") or getattr(image, "_exif", None)):
        block = image.getexif().tobytes()
    entries, exif, _ = parse(block) if isinstance(block, bytes) else ([], Exif(), None)
    exif = _with_iptc(exif, image)
    texts = tuple((key, str(info[key])) for key in TEXTS if isinstance(info.get(key), str) and info[key].strip())
    for key, text in texts:
        if key in _TEXT_TAGS:
            exif = exif.with_text(_TEXT_TAGS[key], text.encode())
    dpi = resolution_of(entries) if "dpi" not in info else checked_dpi(info["dpi"])
    packets = [entry.data for entry in entries if entry.tag == XMP]
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or (packets[0] if packets else None)
    return Metadata(dpi, exif if any(exif) else None, tidy_xmp(xmp), texts)


def _with_iptc(exif: Exif, image: PIL.Image.Image) -> Exif:
    """Copyright, author and description from IPTC (news agencies), where EXIF has none."""
    if "photoshop" not in image.info and not hasattr(image, "tag_v2"):
        return exif
    from PIL import ImageFile, IptcImagePlugin

    try:
        found = IptcImagePlugin.getiptcinfo(image) if isinstance(image, ImageFile.ImageFile) else None
        found = found or {}
    except Exception:  # as above
        return exif
    for key, tag in _IPTC.items():
        value = found.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, bytes):
            exif = exif.with_text(tag, value)
    return exif
