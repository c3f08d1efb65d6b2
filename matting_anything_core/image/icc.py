"""Colour profiles (ICC): from what a file's profile says to sRGB, and the sRGB profile that our own files carry.

8-bit pictures go through littleCMS (Pillow's ImageCms), which has no 16-bit pixels in Pillow; 16-bit pictures are
converted here, for the profiles photographs have: a matrix and three tone curves (Adobe RGB, Display P3, ProPhoto …),
or one curve (gray). ICC.1:2022, sections 10.6 (curv), 10.18 (para) and F.3 (matrix and curves).
"""

from __future__ import annotations

import functools
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
from numpy.typing import NDArray

from .arrays import Array, quantise

# sRGB's primaries in XYZ relative to D50 (columns: red, green, blue), as published by the ICC.
SRGB_COLORANTS = ((0.436065674, 0.385147095, 0.143066406),
                  (0.222488403, 0.716873169, 0.060607910),
                  (0.013916016, 0.097076416, 0.714096069))
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # parameters of a `para` curve of type 3
ADOBE_COLORANTS = ((0.609741211, 0.205276489, 0.149185181),  # Adobe RGB (1998), 4.3.5.3
                   (0.311111450, 0.625671387, 0.063217163),
                   (0.019470215, 0.060867310, 0.744567871))
ADOBE_CURVE = (2.19921875,)
_D50 = (0.964202881, 1.0, 0.824905396)
_D65_TO_D50 = (1.047882080, 0.022918701, -0.050201416, 0.029586792, 0.990478516, -0.017059326,
               -0.009231567, 0.015075684, 0.751678467)


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def build_profile(name: str, colorants: Sequence[Sequence[float]], curve: Sequence[float]) -> bytes:
    """An ICC v4 display profile from 3×3 colorants (XYZ at D50, columns r, g, b) and one tone curve for all three.

    curve: one number is a plain gamma; five numbers are g, a, b, c, d of the `para` curve of type 3. The bytes depend
    on the arguments alone (no creation date), so files that embed it are the same every time.
    """
    def text(value: str) -> bytes:
        encoded = value.encode("utf-16-be")
        return struct.pack(">4sIII2s2sII", b"mluc", 0, 1, 12, b"en", b"US", len(encoded), 28) + encoded

    trc = struct.pack(">4sIHH", b"para", 0, 0 if len(curve) == 1 else 3, 0) + _fixed(*curve)
    tags: list[tuple[bytes, bytes]] = [
        (b"desc", text(name)), (b"cprt", text("No copyright, use freely")),
        (b"wtpt", b"XYZ \0\0\0\0" + _fixed(*_D50)), (b"chad", b"sf32\0\0\0\0" + _fixed(*_D65_TO_D50)),
    ]
    for column, letter in enumerate((b"r", b"g", b"b")):
        tags.append((letter + b"XYZ", b"XYZ \0\0\0\0" + _fixed(*(row[column] for row in colorants))))
        tags.append((letter + b"TRC", trc))
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    placed: dict[bytes, int] = {}
    for tag, data in tags:  # tags of the same content share it, as is usual for the three curves
        if data not in placed:
            placed[data] = offset + len(body)
            body += data + b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", tag, placed[data], len(data))
    header = struct.pack(">I4sI4s4s4s6H4s", offset + len(body), b"", 0x04300000, b"mntr", b"RGB ", b"XYZ ",
                         2020, 1, 1, 0, 0, 0, b"acsp")
    header += b"\0" * 28 + _fixed(*_D50)
    return header.ljust(128, b"\0") + table + body


@functools.lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """The sRGB profile that written files carry (about 500 bytes, always the same)."""
    return build_profile("sRGB", SRGB_COLORANTS, SRGB_CURVE)


def _warn(name: str, why: object) -> None:
    warnings.warn(f"the colour profile of {name} cannot be used ({why}); its colours are taken for sRGB",
                  UserWarning, stacklevel=2)


_TROUBLE = (PIL.ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError)


def own_profile(profile: bytes | None, name: str) -> bytes | None:
    """The profile of an RGB picture that is worth keeping: None for sRGB, whatever it is called, for one that is
    missing, and, with a warning, for one that is damaged or made for other channels."""
    if not profile or profile == srgb_profile():
        return None
    kept, trouble = _examined(profile)
    if trouble:
        _warn(name, trouble)
    return profile if kept else None


@functools.lru_cache(maxsize=16)
def _examined(profile: bytes) -> tuple[bool, str]:
    """Whether a profile is worth keeping; what is wrong with it."""
    try:
        source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = str(source.profile.xcolor_space).strip().upper()
        if space != "RGB":
            return False, f"it is for {space}, the picture has red, green and blue" if space != "GRAY" else \
                "it is for gray, the picture has colours"
        return not _changes_nothing(_transform(source, _srgb(), "RGB"), "RGB"), ""
    except _TROUBLE as error:
        return False, str(error) or type(error).__name__


def profile_name(profile: bytes) -> str:
    """What a profile calls itself, such as `Display P3`."""
    try:
        name = PIL.ImageCms.getProfileDescription(PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except _TROUBLE:
        return "a colour profile"
    return "".join(letter for letter in name if letter.isprintable()).strip()[:60] or "a colour profile"


def _srgb() -> PIL.ImageCms.ImageCmsProfile:
    return PIL.ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))


def _transform(source: PIL.ImageCms.ImageCmsProfile, target: PIL.ImageCms.ImageCmsProfile,
               mode: str) -> PIL.ImageCms.ImageCmsTransform:
    return PIL.ImageCms.buildTransform(source, target, mode, "RGB", PIL.ImageCms.Intent.RELATIVE_COLORIMETRIC,
                                       PIL.ImageCms.Flags.BLACKPOINTCOMPENSATION)


def to_srgb(image: PIL.Image.Image, profile: bytes | None, name: str) -> PIL.Image.Image:
    """Convert an 8-bit picture of mode L, RGB, CMYK or LAB to sRGB (mode L or RGB), as its profile says.

    Relative colorimetric with black point compensation. A profile that is missing means sRGB; one that is damaged or
    made for other channels is left aside with a warning. A profile that changes nothing (sRGB under any name) is not
    applied, so that such pictures keep their exact numbers.
    """
    if image.mode == "LAB" and not profile:
        profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB")).tobytes()
    if profile and profile != srgb_profile():
        try:
            source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = str(source.profile.xcolor_space).strip().upper()
            if image.mode == "L" and space == "RGB":
                image = image.convert("RGB")
            elif image.mode == "RGB" and space == "GRAY":
                raise PIL.ImageCms.PyCMSError("it is for gray, the picture has colours")
            transform = _transform(source, _srgb(), image.mode)
            if image.mode in ("L", "RGB") and _changes_nothing(transform, image.mode):
                return image
            converted = PIL.ImageCms.applyTransform(image, transform)
            if converted is not None:
                return converted
        except _TROUBLE as error:
            _warn(name, error)
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _changes_nothing(transform: Any, mode: str) -> bool:
    """True when the transform moves no colour of a 9×9×9 grid by more than one of 255 steps."""
    levels = np.linspace(0, 255, 256 if mode == "L" else 9).astype(np.uint8)
    grid = levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
    probe = PIL.Image.fromarray(np.ascontiguousarray(grid))
    result = PIL.ImageCms.applyTransform(probe, transform)
    if result is None:
        return False
    before, after = np.asarray(probe.convert("RGB")).astype(int), np.asarray(result).astype(int)
    return bool(np.abs(before - after).max() <= 1)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for index in range(min(count, 100)):
        tag, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[tag] = profile[offset:offset + size]
    return tags


def _curve(data: bytes) -> NDArray[np.float64]:
    """A tone curve as the linear light of each of the 65536 values."""
    x = np.linspace(0, 1, 65536)
    if data[:4] == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        if count == 0:
            return x
        table = np.frombuffer(data, ">u2", count, 12)
        if count == 1:
            return np.asarray(x ** (table[0] / 256))
        return np.interp(x, np.linspace(0, 1, count), table / 65535)
    if data[:4] != b"para":
        raise ValueError("a tone curve of an unknown kind")
    (kind,) = struct.unpack_from(">H", data, 8)
    sizes = (1, 3, 4, 5, 7)
    if kind >= len(sizes):
        raise ValueError("a tone curve of an unknown kind")
    p = np.frombuffer(data, ">i4", sizes[kind], 12) / 65536
    g, (a, b) = p[0], p[1:3] if len(p) > 1 else (1.0, 0.0)
    c, d, e, f = 0.0, -b / a, 0.0, 0.0
    if len(p) == 4:
        e = f = p[3]
    elif len(p) == 5:
        c, d = p[3:]
    elif len(p) == 7:
        c, d, e, f = p[3:]
    return np.asarray(np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f))


def _encode(linear: Array) -> Array:
    """Linear light 0..1 -> sRGB 0..1 (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return np.asarray(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))


def _matrix(profile: bytes) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]] | None:
    """The three tone curves, and the matrix from their linear light to linear sRGB (white on white); None for a profile
    that is made of tables. Raises what damaged ones raise (_DAMAGE)."""
    tags = _tags(profile)
    if any(tag in tags for tag in (b"A2B0", b"A2B1", b"D2B0")):
        return None
    curves = [_curve(tags[letter + b"TRC"]) for letter in (b"r", b"g", b"b")]
    colorants = np.stack([np.frombuffer(tags[letter + b"XYZ"], ">i4", 3, 8) / 65536
                          for letter in (b"r", b"g", b"b")], 1)
    return curves, np.linalg.inv(np.array(SRGB_COLORANTS)) @ colorants


_DAMAGE = (KeyError, ValueError, struct.error, IndexError, ZeroDivisionError, np.linalg.LinAlgError)


def _strips(array: Array) -> Iterator[slice]:
    rows = max(1, (1 << 20) // max(1, array.shape[1]))
    return (slice(y, y + rows) for y in range(0, len(array), rows))


def rgb_to_srgb(array: Array, profile: bytes) -> Array:
    """uint8 or uint16 H×W×3 in the space of a profile -> the same in sRGB; what sRGB lacks is clipped.

    16 bits go through a matrix and curves where the profile is made of these, else through 8 bits.
    """
    if array.dtype == np.uint16:
        converted = to_srgb16(array, profile, "the picture")
        if converted is not None:
            return converted
        return quantise(rgb_to_srgb(quantise(array, 8), profile), 16)
    return np.array(to_srgb(PIL.Image.fromarray(array), profile, "the picture"))


def srgb_to_rgb(array: Array, profile: bytes) -> Array | None:
    """float32 H×W×3 of sRGB in 0..1 -> the same in the space of a profile; None when the profile leads only from its
    space and not into it."""
    try:
        parts = _matrix(profile)
    except _DAMAGE:
        return None
    if parts is None:
        try:
            target = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
            picture = PIL.Image.fromarray(quantise(array, 8))
            changed = PIL.ImageCms.applyTransform(picture, _transform(_srgb(), target, "RGB"))
        except _TROUBLE:
            return None
        return None if changed is None else np.asarray(changed, np.float32) / np.float32(255)
    curves, matrix = parts
    inverse = np.linalg.inv(matrix).T
    levels, result = np.linspace(0, 1, 65536), np.empty(array.shape, np.float32)
    rising = [np.maximum.accumulate(curve) for curve in curves]
    for rows in _strips(array):
        linear = _decode(array[rows].astype(np.float64)) @ inverse
        for channel in range(3):
            result[rows, :, channel] = np.interp(linear[..., channel], rising[channel], levels)
    return result


def _decode(encoded: Array) -> Array:
    """sRGB 0..1 -> linear light 0..1 (IEC 61966-2-1)."""
    return np.asarray(np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4))


def lab_to_srgb(lightness: Array, a: Array, b: Array) -> Array:
    """CIE L*a*b* (L* 0..100, relative to D50) -> sRGB 0..1, what it lacks clipped; float arrays of one shape H×W."""
    result = np.empty((*lightness.shape, 3), np.float32)
    to_rgb = np.linalg.inv(np.array(SRGB_COLORANTS)).T
    for rows in _strips(lightness):
        y = (lightness[rows].astype(np.float64) + 16) / 116
        f = np.stack([y + a[rows] / 500, y, y - b[rows] / 200], -1)
        xyz = np.where(f > 6 / 29, f ** 3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array(_D50)
        result[rows] = _encode(xyz @ to_rgb)
    return result


def to_srgb16(array: Array, profile: bytes | None, name: str) -> Array | None:
    """Convert a uint16 array H×W or H×W×3 to sRGB as its profile says.

    Returns the array itself when there is nothing to do, and None when the profile is one that only littleCMS can apply
    (tables instead of matrix and curves), at 8 bits.
    """
    if not profile or profile == srgb_profile():
        return array
    try:
        if array.ndim == 2:
            tags = _tags(profile)
            if any(tag in tags for tag in (b"A2B0", b"A2B1", b"D2B0")):
                return None
            if b"kTRC" not in tags:
                return array  # an RGB profile on a gray picture: gray stays gray
            table = np.rint(_encode(_curve(tags[b"kTRC"])) * 65535).astype(np.uint16)
            return np.asarray(table[array])
        parts = _matrix(profile)
    except _DAMAGE as error:
        _warn(name, error)
        return array
    if parts is None:
        return None
    curves, matrix = [curve.astype(np.float32) for curve in parts[0]], parts[1]
    if np.abs(matrix - np.eye(3)).max() < 2e-3 and all(
            np.abs(_encode(curve) - np.linspace(0, 1, 65536)).max() < 1 / 255 for curve in curves):
        return array
    result = np.empty_like(array)
    for rows in _strips(array):
        linear = np.stack([curves[c][array[rows, :, c]] for c in range(3)], -1)
        result[rows] = np.rint(_encode(linear @ matrix.T.astype(np.float32)) * 65535)
    return result
