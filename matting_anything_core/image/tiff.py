"""TIFF in all its layouts: planes one after the other, extra channels, premultiplied alpha, CMYK, L*a*b*, floats …

Pillow reads the plain ones with 8 bits. All others are read here by tifffile, which knows the layouts; compressions
that it has only with imagecodecs are undone by Pillow's libtiff. Every tag that changes what a number means is looked
at, and what is not understood is refused, never guessed. TIFF 6.0 (18 alpha, 20 L*a*b*); Adobe's technical notes for
ICCLab and floats.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin

from ..errors import ImageError
from .arrays import Array, check_array, check_pixel_count, quantise
from .exif import Entry, number, parse
from .icc import lab_to_srgb, own_profile, to_srgb, to_srgb16
from .memory import memory_for

if TYPE_CHECKING:
    from tifffile import TiffPage

_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 8: 3, 9: 3}  # channels of each PhotometricInterpretation
_PILLOW_PIXELS = 80_000_000  # beyond 89 million Pillow warns or refuses, in a setting of the whole process
_RAW = (32803, 34892)
_PREDICTORS = (1, 2, 3)
_LOST = 0.01  # the share of a file that may be missing at its end
_SILENT = logging.NullHandler()


class Planes(NamedTuple):
    """What a TIFF holds: colours H×W×3 or gray H×W, alpha H×W or None, uint8 or uint16, not yet turned upright."""

    rgb: Array
    alpha: Array | None
    profile: bytes | None
    orientation: int


def read_tiff(data: bytes, name: str, max_pixels: int | None) -> Planes | None:
    """Read a TIFF; None for the plain ones, which are Pillow's.

    Raises ImageError for what is damaged and for what is not understood.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(f"{name} is a TIFF, for which the package tifffile is needed ({error}); "
                         "run: pip install tifffile") from error
    logging.getLogger("tifffile").addHandler(_SILENT)  # what it says of damaged files is said in our errors
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            if not isinstance(page, tifffile.TiffPage):
                raise ImageError(f"{name} holds no picture")
            check_pixel_count(page.imagewidth, page.imagelength, max_pixels, name)
            _refuse(page, data, name)
            if _plain(page):
                return None
            return _planes(page, data, name)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # tifffile raises what it likes on damaged files
        raise ImageError(f"{name} is damaged, cut off or of a kind that cannot be read: {error!s:.200}") from error


def ended(data: bytes) -> bytes:
    """A TIFF of plain rows whose last bytes are missing -> one that ends with zeros; others as they are."""
    try:
        entries = parse(data)[0]
    except (struct.error, ValueError):
        return data
    pack, places, counts = number(entries, 259), _all(entries, 273, 324), _all(entries, 279, 325)
    if pack not in (None, 1) or not places or len(places) != len(counts):
        return data
    missing = max(place + count for place, count in zip(places, counts, strict=True)) - len(data)
    return data + bytes(missing) if 0 < missing <= max(64, _LOST * len(data)) else data


def _all(entries: Sequence[Entry], *tags: int) -> tuple[int, ...]:
    for entry in entries:
        code = {3: "H", 4: "I", 16: "Q"}.get(entry.kind)
        if entry.tag in tags and code:
            return struct.unpack(f"<{len(entry.data) // struct.calcsize(code)}{code}", entry.data)
    return ()


def _tag(page: TiffPage, number: int, default: Any = None) -> Any:
    tag = page.tags.get(number)
    return default if tag is None else tag.value


def _numbers(page: TiffPage, number: int) -> tuple[int, ...]:
    value = _tag(page, number, ())
    return tuple(int(part) for part in value) if isinstance(value, (tuple, list)) else (int(value),)


def _refuse(page: TiffPage, data: bytes, name: str) -> None:
    """Raises ImageError for what is no picture as people see it, or says too little of itself."""
    photometric = int(page.photometric)
    if photometric in _RAW or 50706 in page.tags or data[8:10] == b"CR":
        raise ImageError(f"{name} is a camera raw file; develop it to a TIFF, PNG or JPEG first")
    if photometric not in (*_COLOURS, 6):
        raise ImageError(f"{name} is a TIFF of a rare kind (PhotometricInterpretation {photometric}); save it as RGB")
    if page.imagedepth > 1:
        raise ImageError(f"{name} is a volume of {page.imagedepth} slices; save one of them as a picture")
    text = page.description[:1 << 16]
    found = re.match(r"ImageJ=.*?^channels=(\d{1,6})", text, re.DOTALL | re.MULTILINE) or (
        re.search(r'SizeC="(\d{1,6})"', text) if "<OME" in text[:500] else None)
    if found and int(found[1]) > 1 and page.samplesperpixel == 1:
        raise ImageError(f"{name} holds {found[1]} channels of a microscope on pages of their own, and which colours "
                         "they are is not known here; save it as an RGB picture")
    if photometric == 5 and (int(_tag(page, 332, 1)) != 1 or page.samplesperpixel < 4):
        raise ImageError(f"{name} is separated into inks other than cyan, magenta, yellow and black; save it as RGB")
    bits, kinds = set(_numbers(page, 258)), set(_numbers(page, 339))
    if len(bits) > 1 or len(kinds) > 1:
        raise ImageError(f"{name} has channels of different kinds (bits {sorted(bits)}); save it with 8 or 16 bits")
    if kinds - {1, 3, 4} or (page.bitspersample > 16 and kinds != {3}):
        raise ImageError(f"{name} holds {'signed ' if 2 in kinds else ''}whole numbers of {page.bitspersample} bits, "
                         "whose black and white are not known; save it with 8 or 16 bits, or as floats 0..1")


def _plain(page: TiffPage) -> bool:
    """Whether Pillow reads all of it, exactly."""
    extra = _numbers(page, 338)
    layout = int(page.photometric), page.samplesperpixel, extra
    if 3 in _numbers(page, 339) or page.imagewidth * page.imagelength > _PILLOW_PIXELS:
        return False
    if page.samplesperpixel == 1 and int(page.photometric) in (0, 1, 3):
        return page.bitspersample in (1, 2, 4, 8) or (page.bitspersample == 16 and int(page.photometric) == 1)
    return page.bitspersample == 8 and int(page.planarconfig) == 1 and layout in (
        (2, 3, ()), (2, 4, (2,)), (5, 4, ()), (6, 3, ()), (6, 1, ()))


def _planes(page: TiffPage, data: bytes, name: str) -> Planes:
    photometric, samples = int(page.photometric), page.samplesperpixel
    count = _COLOURS.get(photometric)
    if count is None or samples < count:
        raise ImageError(f"{name} is a TIFF of a rare kind (PhotometricInterpretation {photometric}, {samples} "
                         "channels); save it as RGB")
    alpha_at = _alpha(page, count, name)
    array = _pixels(page, data, name)
    colours = array[..., :count]
    alpha = None if alpha_at is None else array[..., alpha_at]
    if alpha is not None and alpha_at is not None and \
            _numbers(page, 338)[alpha_at - count:alpha_at - count + 1] == (1,):
        colours = _divided(colours, alpha)
    icc = _tag(page, 34675)
    profile = bytes(icc) if isinstance(icc, (bytes, tuple)) and icc else None
    rgb, kept = _in_rgb(colours, photometric, page, profile, name)
    if alpha is not None:
        alpha = quantise(check_array(np.ascontiguousarray(alpha), f"the alpha of {name}")[..., 0], 8 * rgb.itemsize)
    turn = _tag(page, 274, 1)
    return Planes(rgb, alpha, kept, turn if isinstance(turn, int) and 1 <= turn <= 8 else 1)


def _alpha(page: TiffPage, colours: int, name: str) -> int | None:
    """Which channel is alpha. Other extra channels (spots, saved selections) are left aside with a warning."""
    extra = _numbers(page, 338)
    more = page.samplesperpixel - colours
    if more == 0:
        return None
    known = [index for index, kind in enumerate(extra[:more]) if kind in (1, 2, 999)]  # 999: Corel Draw's 2
    if not known and colours == 1 and more > 1:
        raise ImageError(f"{name} holds {more + 1} channels and does not say which colours they are; save it as RGB, "
                         "or save one channel")
    if not extra and colours == 3 and more == 1:  # older programs' RGBA
        warnings.warn(f"{name} does not say what its fourth channel is; it is taken for alpha", UserWarning,
                      stacklevel=2)
        return 3
    if not extra and colours != 5:
        raise ImageError(f"{name} holds {page.samplesperpixel} channels and does not say what the last {more} are; "
                         "save it as RGB or RGBA")
    if more - len(known[:1]):
        warnings.warn(f"{name} holds {more - len(known[:1])} more channels than a picture has; they are left aside",
                      UserWarning, stacklevel=2)
    return colours + known[0] if known else None


def _divided(colours: Array, alpha: Array) -> Array:
    """Premultiplied colours -> straight ones; black where alpha is 0."""
    result = np.empty_like(colours)
    top: Any = 1.0 if colours.dtype.kind == "f" else float(np.iinfo(colours.dtype).max)
    rows = max(1, (1 << 20) // max(1, colours.shape[1]))
    for y in range(0, len(colours), rows):
        share: Array = np.asarray(alpha[y:y + rows, :, None], np.float64) / np.float64(top)
        straight = np.divide(colours[y:y + rows], share, out=np.zeros(colours[y:y + rows].shape), where=share > 0)
        straight = np.clip(straight, 0, top)
        result[y:y + rows] = straight if colours.dtype.kind == "f" else np.rint(straight)
    return result


def _in_rgb(colours: Array, photometric: int, page: TiffPage, profile: bytes | None,
            name: str) -> tuple[Array, bytes | None]:
    """Channels of any kind -> RGB or gray of uint8 or uint16, and the profile where that is kept."""
    if photometric in (8, 9):
        return _from_lab(colours, photometric, name), None
    if photometric == 3:
        return _from_palette(colours[..., 0], page, profile, name)
    depth = page.bitspersample
    if colours.dtype.kind == "u" and depth not in (8, 16):  # 10, 12, 14 bits: the whole range counts
        colours = (colours.astype(np.uint32) * 65535 // (2 ** depth - 1)).astype(np.uint16)
    colours = check_array(np.ascontiguousarray(colours), name) if photometric != 5 else colours
    bits = 8 if colours.dtype == np.uint8 else 16
    if photometric == 2:
        return quantise(colours, bits), own_profile(profile, name)
    if photometric == 5:
        return _from_cmyk(colours, profile, name), None
    gray = quantise(colours[..., 0], bits)
    if photometric == 0:
        gray = np.iinfo(gray.dtype).max - gray
    if bits == 8:
        return np.array(to_srgb(PIL.Image.fromarray(gray), profile, name)), None
    converted = to_srgb16(gray, profile, name)
    if converted is None:
        converted = quantise(np.array(to_srgb(PIL.Image.fromarray(quantise(gray, 8)), profile, name)), 16)
    return converted, None


def _from_lab(colours: Array, photometric: int, name: str) -> Array:
    """CIELab (a*, b* signed) and ICCLab (shifted by 128) of 8 or 16 bits -> sRGB."""
    if colours.dtype.kind == "f":
        raise ImageError(f"{name} holds L*a*b* as floats; save it as RGB, or with 16 bits")
    deep = colours.dtype.itemsize == 2
    scale = 256.0 if deep else 1.0
    if photometric == 8:
        lightness = colours[..., 0].astype(np.float32) * np.float32(100 / (65535 if deep else 255))
        signed: Any = np.int16 if deep else np.int8
        planes = [np.ascontiguousarray(colours[..., part]).view(signed) for part in (1, 2)]
        a, b = (np.asarray(plane, np.float64) / scale for plane in planes)
    else:
        lightness = colours[..., 0].astype(np.float32) * np.float32(100 / (65280 if deep else 255))
        a, b = (np.asarray(colours[..., part], np.float64) / scale - 128 for part in (1, 2))
    return quantise(lab_to_srgb(np.minimum(lightness, 100), a, b), 16 if deep else 8)


def _from_palette(index: Array, page: TiffPage, profile: bytes | None, name: str) -> tuple[Array, bytes | None]:
    colours = page.colormap
    if colours is None or colours.shape[1] <= int(index.max()):
        raise ImageError(f"{name} is damaged: its colour table is missing or too short")
    table = np.ascontiguousarray(colours.T)
    if index.dtype == np.uint8:
        table = (table >> 8).astype(np.uint8)
    return table[index], own_profile(profile, name)


def _from_cmyk(colours: Array, profile: bytes | None, name: str) -> Array:
    """Inks (0 none, 1 full) -> sRGB: by the profile at 8 bits, without one as (1 - ink)(1 - black)."""
    if colours.dtype.kind == "f":
        raise ImageError(f"{name} holds inks as floats; save it as RGB, or with 8 or 16 bits")
    if profile is None:
        light = (np.iinfo(colours.dtype).max - colours).astype(np.uint32)
        top = np.uint32(np.iinfo(colours.dtype).max)
        result: Array = ((light[..., :3] * light[..., 3:] + top // 2) // top).astype(colours.dtype)
        return result
    if colours.dtype != np.uint8:
        warnings.warn(f"the colours of {name} are converted from inks with 8 bits", UserWarning, stacklevel=2)
    inks = PIL.Image.fromarray(np.ascontiguousarray(quantise(colours, 8)), "CMYK")
    return np.array(to_srgb(inks, profile, name))


def _pixels(page: TiffPage, data: bytes, name: str) -> Array:
    """The numbers of a page as H×W×C in native byte order."""
    itemsize = max(1, -(-page.bitspersample // 8))
    need = page.imagewidth * page.imagelength * page.samplesperpixel * itemsize
    with memory_for(f"{name} ({page.imagewidth} x {page.imagelength}, {page.samplesperpixel} channels of "
                    f"{page.bitspersample} bits)", 2 * need):
        _check_segments(page, data, name)
        try:
            known = page.compression in (1, 8, 32946) and page.predictor in (1, 2)
            array = page.asarray(maxworkers=1) if known else None
        except (ValueError, KeyError) as error:
            if "imagecodecs" not in str(error):
                raise
            array = None
        if array is None:
            array = _unpacked(page, data, name)
        expected = page.imagelength, page.imagewidth
        if int(page.planarconfig) == 2 and page.samplesperpixel > 1:
            array = np.moveaxis(array.reshape(page.samplesperpixel, *expected), 0, 2)
        else:
            array = array.reshape(*expected, page.samplesperpixel)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_segments(page: TiffPage, data: bytes, name: str) -> None:
    """Raises ImageError when a strip or tile lies outside of the file: what is missing would be black."""
    if not page.dataoffsets or len(page.dataoffsets) != len(page.databytecounts):
        raise ImageError(f"{name} is damaged: it does not say where its pixels are")
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset <= 0 or count <= 0 or offset + count > len(data):
            raise ImageError(f"{name} is cut off or damaged: some of its pixels are not in the file")


def _unpacked(page: TiffPage, data: bytes, name: str) -> Array:
    """Pixels whose compression or prediction tifffile has only with imagecodecs: undone here, then read as plain."""
    import importlib.util

    import tifffile

    if importlib.util.find_spec("imagecodecs") is not None:
        return page.asarray(maxworkers=1)
    if page.predictor not in _PREDICTORS or page.jpegtables is not None or page.compression in (6, 7, 33003, 33005):
        raise ImageError(f"{name} is a TIFF with a compression ({page.compression}) for which the package imagecodecs "
                         "is needed; run: pip install imagecodecs, or save it with LZW or Deflate")
    planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
    channels = page.samplesperpixel // planes
    across = page.tilewidth if page.is_tiled else page.imagewidth
    down = page.tilelength if page.is_tiled else min(page.rowsperstrip or page.imagelength, page.imagelength)
    each, rows = len(page.dataoffsets) // planes, page.imagelength
    row_bytes = (across * channels * page.bitspersample + 7) // 8
    whole = io.BytesIO()
    whole.write(data)
    offsets, counts = [], []
    for plane in range(planes):
        parts = range(plane * each, plane * each + each)
        heights = [down] * each if page.is_tiled else [min(down, rows - down * index) for index in range(each)]
        if min(heights) <= 0:
            raise ImageError(f"{name} is damaged: it has more strips than rows")
        raw = _by_libtiff(page, data, parts, heights, row_bytes, name)
        place = 0
        for height in heights:
            segment = raw[place:place + height * row_bytes]
            place += len(segment)
            if page.predictor in (2, 3):
                segment = _unpredicted(segment, height, across, channels, page)
            offsets.append(whole.tell())
            counts.append(len(segment))
            whole.write(segment)
    whole.seek(0)
    with tifffile.TiffFile(whole) as file:
        plain = file.pages[0]
        assert isinstance(plain, tifffile.TiffPage)
        plain.compression = 1
        plain.predictor = 1
        plain.dataoffsets, plain.databytecounts = tuple(offsets), tuple(counts)
        return plain.asarray(maxworkers=1)


def _by_libtiff(page: TiffPage, data: bytes, parts: range, heights: list[int], row_bytes: int, name: str) -> bytes:
    """Strips or tiles of one plane, unpacked: they are given to Pillow as the strips of a gray picture of bytes."""
    body, offsets, counts = [], [], []
    entries = 11
    place = 8 + 2 + 12 * entries + 4
    table = place
    place += 8 * len(parts)
    for index in parts:
        segment = data[page.dataoffsets[index]:page.dataoffsets[index] + page.databytecounts[index]]
        offsets.append(place)
        counts.append(len(segment))
        body.append(segment)
        place += len(segment)
    one = len(parts) == 1
    tags = [(256, 4, 1, row_bytes), (257, 4, 1, sum(heights)), (258, 3, 1, 8), (259, 3, 1, page.compression),
            (262, 3, 1, 1), (266, 3, 1, page.fillorder or 1), (273, 4, len(parts), offsets[0] if one else table),
            (277, 3, 1, 1), (278, 4, 1, heights[0]),
            (279, 4, len(parts), counts[0] if one else table + 4 * len(parts)), (284, 3, 1, 1)]
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    head += b"".join(struct.pack("<HHI", tag, kind, count) + struct.pack("<I", value)
                     for tag, kind, count, value in tags) + bytes(4)
    head += struct.pack(f"<{len(offsets)}I{len(counts)}I", *offsets, *counts)
    try:
        image = PIL.TiffImagePlugin.TiffImageFile(io.BytesIO(head + b"".join(body)), "")
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"{name} is damaged, cut off, or packed in a way ({page.compression}) that needs the package "
                         f"imagecodecs (pip install imagecodecs): {error}") from error
    return image.tobytes()


def _unpredicted(segment: bytes, height: int, width: int, channels: int, page: TiffPage) -> bytes:
    """Undo predictor 2 (differences of numbers) or 3 (Adobe's technical note 3: a row's highest bytes first, then the
    lower ones, and of all the differences)."""
    size, order = page.bitspersample // 8, page.parent.byteorder
    if page.predictor == 2:
        numbers = np.frombuffer(segment, f"{order}u{size}").reshape(height, width, channels)
        summed = np.add.accumulate(numbers, axis=1, dtype=numbers.dtype.newbyteorder("="))
        return summed.astype(numbers.dtype).tobytes()
    rows = np.frombuffer(segment, np.uint8).reshape(height, size * width, channels)
    parts = np.add.accumulate(rows, axis=1, dtype=np.uint8).reshape(height, size, width * channels)
    values = np.moveaxis(parts, 1, 2)  # height × numbers × bytes, the highest one first
    return np.ascontiguousarray(values[..., ::-1] if order == "<" else values).tobytes()
