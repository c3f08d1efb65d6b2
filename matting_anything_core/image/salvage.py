"""Files that stop a little early, as unfinished downloads and old cameras leave them: all is there but the last bytes.

Each function gives the bytes of a file that decoders take, or None when more is missing than the end. fill: the byte
that stands for those that are missing; decoders take some values and not others.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import PIL.JpegImagePlugin

_LOST = 0.02  # the share of a picture that may be missing


def mended(data: bytes, kind: str) -> Iterator[bytes]:
    """The file with an end, in the ways that are worth trying; kind: Pillow's name of its format."""
    mend = _MENDERS.get(kind)
    tried: set[bytes] = set()
    for fill in () if mend is None else (b"\0", b"\xff", b"\x55"):
        whole = mend(data, fill) if mend is not None else None
        if whole is None or whole in tried:
            return
        tried.add(whole)
        yield whole


def _jpeg(data: bytes, fill: bytes) -> bytes | None:
    """JPEG: the end marker is put there; libjpeg makes what is missing mid-gray, so how much that is can be seen."""
    if data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return None
    progressive, complete, (wide, high) = _scans(data)
    whole = data + b"\xff\xd9"
    if progressive:
        return whole if complete else None
    try:
        image = PIL.JpegImagePlugin.JpegImageFile(io.BytesIO(whole), "")
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


def _webp(data: bytes, fill: bytes) -> bytes | None:
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
            part += fill * missing
        parts.append(part)
        place += len(part)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body if parts else None


def _filled(data: bytes, fill: bytes) -> bytes | None:
    """Formats of plain rows: a few zeros."""
    return data + bytes(max(64, int(_LOST / 2 * len(data))))


def _gif(data: bytes, fill: bytes) -> bytes | None:
    """GIF: the block that is cut off is filled up and some more follow; zeros are pixels of the first colour."""
    place = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 128 else 0)
    while place + 1 < len(data):
        if data[place] == 0x2C and place + 10 < len(data):  # an image: its own colours, then the size of codes
            place += 11 + (3 << (data[place + 9] & 7) + 1 if data[place + 9] & 128 else 0)
        elif data[place] == 0x21:
            place += 2
        else:
            return None
        while place < len(data) and data[place]:
            place += data[place] + 1
        place += 1
    # place is now behind the length of the block that would have been next, or of the one that was cut
    fill = bytes(max(0, place - 1 - len(data)))
    more = b"".join([b"\xff" + bytes(255)] * (2 + int(_LOST / 2 * len(data)) // 256))
    return data + fill + more + b"\0;"


def _boxes(data: bytes, fill: bytes) -> bytes | None:
    """AVIF, HEIC: the last box is filled up."""
    place = 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place:place + 4], "big")
        if size < 8:
            return None
        place += size
    missing = place - len(data)
    return data + fill * missing if 0 < missing <= max(64, _LOST / 4 * len(data)) else None


def _codestream(data: bytes, fill: bytes) -> bytes | None:
    return data.removesuffix(b"\xff") + b"\xff\xd9"


_MENDERS: Mapping[str, Callable[[bytes, bytes], bytes | None]] = {
    "JPEG": _jpeg, "WEBP": _webp, "BMP": _filled, "PPM": _filled, "QOI": _filled, "GIF": _gif,
    "JPEG2000": _codestream, "AVIF": _boxes, "HEIF": _boxes,
}
