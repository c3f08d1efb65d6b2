"""EXIF as a list of entries: what of a picture's description is true of a result as well, written anew.

An EXIF block is a small TIFF file: entries (tag, type, values) in directories. They are copied byte for byte, whatever
the text's encoding is, but for what would be wrong or give away what was cut off: the orientation (the pixels are
upright), the thumbnail, previews and offsets in a maker's note, the number of pixels. TIFF 6.0, section 2; Exif 2.32.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
DESCRIPTION, SOFTWARE, ARTIST, COPYRIGHT = 270, 305, 315, 33432
XMP, EXIF_IFD, GPS_IFD, INTEROP_IFD = 700, 34665, 34853, 40965

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WORDS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# Of the first directory only what describes the picture; everything else there says how a file's pixels lie.
_KEPT = {269, DESCRIPTION, 271, 272, 285, SOFTWARE, 306, ARTIST, 316, 18246, 18249, 36867, COPYRIGHT,
         40091, 40092, 40093, 40094, 40095}
_LEFT = {37500, 40962, 40963, 41492, INTEROP_IFD}  # maker's note, size in pixels, where the subject was
_LARGEST = 1 << 20  # bytes of one entry that is read …
_LARGEST_KEPT = 60_000  # … and of one that is kept: a whole block in a JPEG has at most 65 533


class Entry(NamedTuple):
    """One entry of a directory. kind: TIFF's number of the type. data: its values, little endian."""

    tag: int
    kind: int
    data: bytes


class Exif(NamedTuple):
    """The directories of an EXIF block: of the picture, of how it was taken, of where."""

    picture: tuple[Entry, ...] = ()
    taken: tuple[Entry, ...] = ()
    place: tuple[Entry, ...] = ()

    def text(self, tag: int) -> bytes | None:
        """The bytes of a text of the picture's directory, without the zero at its end."""
        for entry in self.picture:
            if entry.tag == tag and entry.data.strip(b"\0 "):
                return entry.data.rstrip(b"\0")
        return None

    def with_text(self, tag: int, text: bytes) -> Exif:
        """The same with a text that it had not."""
        if self.text(tag) is not None or not text.strip(b"\0 "):
            return self
        others = tuple(entry for entry in self.picture if entry.tag != tag)
        return self._replace(picture=(*others, Entry(tag, 2, text[:_LARGEST_KEPT].rstrip(b"\0") + b"\0")))


def directory(data: bytes, offset: int, order: str, big: bool = False) -> list[Entry]:
    """The entries of the directory at `offset`; order: `<` or `>`, big: BigTIFF. What is damaged is left out."""
    entries: list[Entry] = []
    try:
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
        place, step, inline = offset + (8 if big else 2), 20 if big else 12, 8 if big else 4
        for index in range(min(count, 4096)):
            at = place + index * step
            tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
            size = _SIZES.get(kind, 0) * number
            at += step - inline
            if size > inline:
                (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
            values = data[at:at + size] if size <= _LARGEST else b""
            if size and len(values) == size:
                entries.append(Entry(tag, kind, values if order == "<" else swapped(values, _WORDS[kind])))
    except struct.error:
        pass
    return entries


def swapped(data: bytes, size: int) -> bytes:
    """Words of `size` bytes with their bytes reversed."""
    if size == 1:
        return data
    return b"".join(data[at:at + size][::-1] for at in range(0, len(data), size))


def number(entries: Iterable[Entry], tag: int) -> float | None:
    """The first number of an entry; None when there is none."""
    for entry in entries:
        if entry.tag == tag:
            code = {1: "B", 3: "H", 4: "I", 9: "i", 13: "I", 16: "Q", 18: "Q"}.get(entry.kind)
            if code and len(entry.data) >= struct.calcsize("<" + code):
                return float(struct.unpack_from("<" + code, entry.data)[0])
            if entry.kind == 5 and len(entry.data) >= 8:
                above, below = struct.unpack_from("<II", entry.data)
                return above / below if below else None
    return None


def parse(block: bytes) -> tuple[list[Entry], Exif, str | None]:
    """A TIFF file or an EXIF block -> (all entries of its first directory, what is kept of it, its colour space).

    The last is cameras' two letters and digits, `R98` for sRGB, `R03` for Adobe RGB (DCF 2.0), None when it says none.
    """
    if block.startswith(b"Exif\0\0"):
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 16:
        return [], Exif(), None
    big = block[2:4] in (b"+\0", b"\0+")
    first: int
    (first,) = struct.unpack_from(order + ("Q" if big else "I"), block, 8 if big else 4)
    entries = directory(block, first, order, big)

    def inner(parent: Sequence[Entry], tag: int) -> list[Entry]:
        place = number(parent, tag)
        return [] if place is None else directory(block, int(place), order, big)

    taken = inner(entries, EXIF_IFD)
    index = [entry.data for entry in inner(taken, INTEROP_IFD) if entry.tag == 1]
    space = index[0][:3].decode("ascii", "replace") if index else None
    return entries, Exif(
        tuple(entry for entry in entries if entry.tag in _KEPT and len(entry.data) <= _LARGEST_KEPT),
        tuple(entry for entry in taken if entry.tag not in _LEFT and len(entry.data) <= _LARGEST_KEPT),
        tuple(entry for entry in inner(entries, GPS_IFD) if len(entry.data) <= _LARGEST_KEPT),
    ), space


def write_directories(entries: Sequence[Entry], exif: Exif, start: int) -> bytes:
    """A directory of `entries`, those of `exif` and the directories below them, for a little-endian file in which it
    stands at the even offset `start`."""
    entries, kept = list(entries), {entry.tag for entry in entries}
    entries += [entry for entry in exif.picture if entry.tag not in kept]
    below = [(tag, part) for tag, part in ((EXIF_IFD, exif.taken), (GPS_IFD, exif.place)) if part]
    here = _written([*entries, *(Entry(tag, 4, bytes(4)) for tag, _ in below)], start)
    places, parts = [], []
    end = start + len(here)
    for tag, part in below:
        places.append(Entry(tag, 4, struct.pack("<I", end)))
        parts.append(_written(part, end))
        end += len(parts[-1])
    return b"".join([_written([*entries, *places], start), *parts])


def _written(entries: Sequence[Entry], start: int) -> bytes:
    table, body = struct.pack("<H", len(entries)), b""
    first = start + 2 + 12 * len(entries) + 4
    for tag, kind, data in sorted(entries):
        count = len(data) // _SIZES[kind]
        if len(data) > 4:
            place = first + len(body)
            body += data + b"\0" * (len(data) % 2)
            data = struct.pack("<I", place)
        table += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    return table + b"\0\0\0\0" + body


def block(exif: Exif, dpi: tuple[float, float] | None) -> bytes:
    """An EXIF block (a TIFF file without pixels), with the resolution when it is known."""
    entries = [] if dpi is None else resolution(dpi)
    return b"II*\0\x08\0\0\0" + write_directories(entries, exif, 8)


def resolution(dpi: tuple[float, float]) -> list[Entry]:
    """The three entries that say how many pixels an inch has."""
    across, down = (struct.pack("<II", round(value * 1000), 1000) if value != round(value) else
                    struct.pack("<II", round(value), 1) for value in dpi)
    return [Entry(X_RESOLUTION, 5, across), Entry(Y_RESOLUTION, 5, down),
            Entry(RESOLUTION_UNIT, 3, struct.pack("<H", 2))]
