"""A PNG's chunks: what decoders need of them, and what they stumble over (ISO/IEC 15948).

Decoders bound texts and profiles by fixed sizes and refuse the whole picture for one that is larger or whose checksum
is wrong, though none of it concerns the pixels. So they get the pixels' chunks alone; descriptions are read here.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from typing import NamedTuple

from ..errors import ImageError
from .arrays import check_pixel_count
from .metadata import TEXTS

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"pHYs"}
_LARGEST_PROFILE, _LARGEST_TEXT = 16 << 20, 1 << 20
_LOST = 0.02  # the share of a picture's rows that may be missing at its end
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class Png(NamedTuple):
    """A PNG with nothing but what makes its pixels (and their density), and what it told besides.

    profile, exif: bytes; texts: the keywords that are kept, and XMP under its own.
    """

    data: bytes
    profile: bytes | None
    exif: bytes | None
    texts: dict[str, str]


def tidy(data: bytes, name: str, max_pixels: int | None) -> Png:
    """Sort the chunks of a PNG. A file whose end is missing is ended, with a warning; one of which more than the last
    rows are missing raises ImageError."""
    kept: list[bytes | memoryview] = [_SIGNATURE]
    view, place = memoryview(data), 8
    profile = exif = None
    texts: dict[str, str] = {}
    started = cut = False
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise ImageError(f"{name} is damaged or cut off: it has no header")
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + size
        if end > len(data):
            cut = True
            if kind == b"IDAT":
                kept.append(_chunk(b"IDAT", data[place + 8:place + 8 + size]))
                started = True
            break
        if kind in _PIXELS:
            if kind == b"IEND":
                break
            kept.append(view[place:end])
            started |= kind == b"IDAT"
        elif kind in (b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt") and _sound(view, place, end):
            body = data[place + 8:end - 4] if size <= _LARGEST_PROFILE else b""
            if kind == b"iCCP":
                profile = profile or _unpacked(body.partition(b"\0")[2][1:], _LARGEST_PROFILE) or b"damaged"
            elif kind == b"eXIf":
                exif = body
            else:
                _read_text(kind, body, texts)
        elif kind[0] & 32 == 0:  # a critical chunk of a kind that nobody knows
            raise ImageError(f"{name} is damaged or cut off: it has a part {kind!r} that is not PNG's")
        place = end
    else:
        cut = True
    if cut and not started:
        raise ImageError(f"{name} is damaged or cut off: it ends before its pixels begin")
    kept.append(_chunk(b"IEND", b""))
    whole = b"".join(kept)
    if cut:
        width, height = struct.unpack_from(">II", whole, 16)
        check_pixel_count(width, height, max_pixels, name)
        whole = _ended(whole, name)
        warnings.warn(f"the end of {name} is missing; its last pixels may be wrong", UserWarning, stacklevel=2)
    return Png(whole, profile, exif, texts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _sound(view: memoryview, place: int, end: int) -> bool:
    return zlib.crc32(view[place + 4:end - 4]) == int.from_bytes(view[end - 4:end], "big")


def _unpacked(packed: bytes, most: int) -> bytes | None:
    """What zlib packed; None when it is damaged or longer than `most`."""
    unpacker = zlib.decompressobj()
    try:
        result = unpacker.decompress(packed, most)
    except zlib.error:
        return None
    return result if unpacker.eof else None


def _read_text(kind: bytes, body: bytes, texts: dict[str, str]) -> None:
    """Note a text if it is one of those that are kept."""
    raw, _, rest = body.partition(b"\0")
    key = raw.decode("latin-1")
    if (key not in TEXTS and key != "XML:com.adobe.xmp") or key in texts:
        return
    content: bytes | None = rest
    if kind == b"zTXt":
        content = _unpacked(rest[1:], _LARGEST_TEXT)
    elif kind == b"iTXt":
        content = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        if rest[:1] == b"\1":
            content = _unpacked(content, _LARGEST_TEXT)
    if content and len(content) <= _LARGEST_TEXT:
        texts[key] = content.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")


def _ended(data: bytes, name: str) -> bytes:
    """A PNG whose compressed pixels stop early -> one in which the rows that are missing repeat the last one."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    passes = _PASSES if interlaced == 1 else ((0, 0, 1, 1),)
    rows = []  # bytes of each row, with that of its filter
    for x, y, dx, dy in passes:
        across, down = (width - x + dx - 1) // dx, (height - y + dy - 1) // dy
        if across > 0 and down > 0:
            rows += [(across * bits + 7) // 8 + 1] * down
    expected = sum(rows)
    if not bits or not expected:
        raise ImageError(f"{name} is damaged: its header is wrong")
    head, packed, place = [data[:8]], [], 8
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        part = data[place:place + 12 + size]
        if kind == b"IDAT":
            packed.append(part[8:-4])
        elif kind != b"IEND":
            head.append(part)
        place += 12 + size
    unpacker, joined = zlib.decompressobj(), b"".join(packed)
    try:
        raw = unpacker.decompress(joined, expected)
    except zlib.error as error:
        raise ImageError(f"{name} is damaged or cut off: {error}") from error
    missing = expected - len(raw)
    if missing > max(_LOST * expected, rows[-1]) or missing * 4 > expected:
        raise ImageError(f"{name} is cut off: {missing / expected:.0%} of its pixels are missing")
    if not missing and unpacker.eof:
        return data
    whole, end = bytearray(raw), 0
    whole += bytes(missing)
    for size in rows:
        if end >= len(raw):
            whole[end] = 2  # the filter Up; with zeros it repeats the row above
        end += size
    return b"".join([*head, _chunk(b"IDAT", zlib.compress(bytes(whole), 1)), _chunk(b"IEND", b"")])
