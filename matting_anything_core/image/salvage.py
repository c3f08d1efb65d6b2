"""Files that stop a little early, as unfinished downloads and old cameras leave them: all is there but the last bytes.

Each function gives the bytes of a file that decoders take, or None when more is missing than the end.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping

import numpy as np
import PIL.Image

_LOST = 0.02  # the share of a picture that may be missing


def mended(data: bytes, kind: str) -> bytes | None:
    """The file with an end; kind: Pillow's name of its format."""
    mend = _MENDERS.get(kind)
    return None if mend is None else mend(data)


def _jpeg(data: bytes) -> bytes | None:
    """JPEG: the end marker is put there; libjpeg makes what is missing mid-gray, so how much that is can be seen."""
    if data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return None
    progressive, complete, (wide, high) = _scans(data)
    whole = data + b"\xff\xd9"
    if progressive:
        return whole if complete else None
    try:
        image = PIL.Image.open(io.BytesIO(whole), formats=["JPEG"])
        image.load()
    except Exception:  # damaged otherwise; the caller tells of the first error
        return None
    pixels = np.asarray(image)
    gray = np.ones((-(-pixels.shape[0] // high), -(-pixels.shape[1] // wide)), bool)
    for row in range(len(gray)):
        strip = pixels[high * row:high * (row + 1)] == 128
        band = strip.reshape(len(strip), pixels.shape[1], -1).all((0, 2))
        gray[row] = np.logical_and.reduceat(band, np.arange(0, len(band), wide))
    filled = gray.ravel()[::-1]
    lost = len(filled) if filled.all() else int(np.argmin(filled))
    return whole if lost <= max(1, _LOST * len(filled)) else None


def _scans(data: bytes) -> tuple[bool, bool, tuple[int, int]]:
    """Whether a JPEG is progressive, whether the last of all its scans, one that only refines, has begun, and the size
    of what it codes at once, in pixels (ISO/IEC 10918-1, B.2)."""
    place, progressive, parts, unit = 2, False, 0, (8, 8)
    left: dict[int, set[int]] = {}  # for each component the coefficients of which the last bit has not come
    refines = False
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            place = data.find(b"\xff", place)
            if place < 0:
                break
            continue
        marker = data[place + 1]
        if marker in (0, 0xFF) or 0xD0 <= marker <= 0xD8:
            place += 1 if marker == 0xFF else 2
            continue
        (size,) = struct.unpack_from(">H", data, place + 2)
        body = data[place + 4:place + 2 + size]
        if marker in (0xC0, 0xC1, 0xC2) and len(body) >= 6:
            progressive, parts = marker == 0xC2, body[5]
            factors = [body[7 + 3 * i] for i in range(parts) if 7 + 3 * i < len(body)]
            if parts > 1 and factors:  # one component alone is coded in blocks of 8
                unit = 8 * max(max(f >> 4 for f in factors), 1), 8 * max(max(f & 15 for f in factors), 1)
            left = {body[6 + 3 * i]: set(range(64)) for i in range(parts) if 6 + 3 * i < len(body)}
        elif marker == 0xDA and body and len(body) >= 4 + 2 * body[0]:
            chosen = [body[1 + 2 * i] for i in range(body[0])]
            first, last, bits = body[1 + 2 * body[0]:4 + 2 * body[0]]
            refines = bits >> 4 != 0
            if bits & 15 == 0:
                for part in chosen:
                    left.get(part, set()).difference_update(range(first, last + 1))
        place += 2 + size
    return progressive, refines and bool(left) and not any(left.values()), unit


def _webp(data: bytes) -> bytes | None:
    """WebP: a description that is cut off is dropped, pixels that are nearly whole are filled up."""
    parts, place = [], 12
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, place)
        part = data[place:place + 8 + size + size % 2]
        missing = 8 + size + size % 2 - len(part)
        if missing:
            if kind in (b"EXIF", b"XMP "):
                break
            if missing > max(16, _LOST / 2 * size):
                return None
            part += bytes(missing)
        parts.append(part)
        place += len(part)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body if parts else None


def _filled(data: bytes) -> bytes | None:
    """Formats of plain rows, and those with a marker at their end: a few zeros."""
    return data + bytes(max(64, int(_LOST / 2 * len(data))))


def _gif(data: bytes) -> bytes | None:
    return data + b"\0;"


_MENDERS: Mapping[str, Callable[[bytes], bytes | None]] = {
    "JPEG": _jpeg, "WEBP": _webp, "BMP": _filled, "PPM": _filled, "QOI": _filled, "GIF": _gif,
    "JPEG2000": lambda data: data + b"\xff\xd9",
}
