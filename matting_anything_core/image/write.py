"""Arrays -> picture files: PNG, TIFF, WebP, JPEG; written whole or not at all.

Pillow writes the 8-bit files. PNG and TIFF of 16 bits are written here, since Pillow has no such pixels (and OpenCV
embeds no profile): both are little more than rows of numbers behind zlib.
"""

from __future__ import annotations

import io
import os
import secrets
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import PIL.Image

from ..errors import ImageError
from .arrays import Array, check_array, is_tensor, quantise
from .icc import srgb_profile

Format: TypeAlias = Literal["png", "tiff", "webp", "jpeg"]
SUFFIXES: dict[str, Format] = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".webp": "webp", ".jpg": "jpeg",
                               ".jpeg": "jpeg"}
_LARGEST_SIDE = {"png": 2**31 - 1, "tiff": 2**31 - 1, "webp": 16383, "jpeg": 65500}


def output_format(path: str | os.PathLike[str], *, bits: int = 8, alpha: bool = False) -> Format:
    """The format that `path` asks for by its suffix; to be asked before a long computation.

    Raises ImageError for an unknown suffix, and when that format cannot hold 16 bits or alpha.
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
        raise ImageError(f"the format {form!r} is unknown; known are png, tiff, webp and jpeg")
    if bits not in (8, 16):
        raise ImageError(f"bits was given as {bits!r}; expected 8 or 16")
    if alpha and form == "jpeg":
        raise ImageError("JPEG holds no alpha; write a PNG, WebP or TIFF, or composite it on a background first")
    if bits == 16 and form in ("jpeg", "webp"):
        raise ImageError(f"{'JPEG' if form == 'jpeg' else 'WebP'} holds no 16 bits; write a PNG or TIFF, or use bits=8")


def encode_image(array: Array, form: Format = "png", *, bits: int = 8, quality: int | None = None) -> bytes:
    """The bytes of a picture file.

    array: H×W or H×W×1 (gray, such as an alpha matte), H×W×3, or H×W×4 (straight alpha); bool, uint8, uint16 or floats
    in 0..1; sRGB, upright. A tensor of these shapes does as well. Converted to `bits`, rounded to the nearest value.
    quality: 1..100 for JPEG (95 unless given) and WebP (lossless unless given); nothing else has one.

    Colour pictures carry an sRGB profile. Gray ones carry none: a matte is coverage, not light, and no reader must
    bend it. The same array gives the same bytes. Raises ImageError for what the format cannot hold.
    """
    if is_tensor(array):
        tensor: Any = array
        array = tensor.detach().cpu().numpy()
    if not isinstance(array, np.ndarray):
        raise ImageError(f"a picture to write was given as {type(array).__name__}; expected an array")
    pixels = check_array(array, "the picture to write")
    height, width, channels = pixels.shape
    _check_format(form, bits, channels == 4)
    if quality is not None and not (isinstance(quality, int) and 1 <= quality <= 100):
        raise ImageError(f"quality was given as {quality!r}; expected a whole number 1..100")
    if max(height, width) > _LARGEST_SIDE[form]:
        raise ImageError(f"a {form.upper()} has at most {_LARGEST_SIDE[form]} pixels a side, the picture has "
                         f"{width} x {height}; write a PNG or TIFF")
    pixels = quantise(pixels, bits)
    if form == "tiff":
        return _tiff(pixels)
    if form == "png" and bits == 16:
        return _png16(pixels)
    image = PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    options: dict[str, Any] = {} if channels == 1 else {"icc_profile": srgb_profile()}
    if form == "png":
        options["compress_level"] = 4  # half the time of zlib's 6, files a few percent larger
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


def write_image(path: str | os.PathLike[str], array: Array, *, bits: int = 8,
                quality: int | None = None) -> None:
    """Write a picture file; the suffix says the format (.png .tif .tiff .webp .jpg .jpeg). See encode_image.

    Written to a temporary name in the same folder and then renamed: a reader sees the old file or the whole new one,
    and a full disk leaves the old file and nothing else. Raises ImageError when it cannot be written.
    """
    channels = array.shape[2] if getattr(array, "ndim", 0) == 3 else 1
    form = output_format(path, bits=bits, alpha=channels == 4)
    check_writable(path)
    write_bytes(path, encode_image(array, form, bits=bits, quality=quality))


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises ImageError when the folder of `path` is missing or `path` is a folder, a device or the like."""
    name = repr(os.fspath(path))
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise ImageError(f"{name} is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; "
                             "expected the name of a picture file to write")
    except (OSError, ValueError):
        folder = os.path.dirname(os.path.realpath(path)) if "\0" not in os.fspath(path) else ""
        if not os.path.isdir(folder):
            raise ImageError(f"{name} cannot be written: there is no folder {folder!r}; make it first") from None


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to a temporary name beside `path` and rename it. Raises ImageError; then nothing has changed."""
    target = os.path.realpath(path)  # a link stays a link: what it points to is replaced
    temporary = os.path.join(os.path.dirname(target), f".matting-{secrets.token_hex(6)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
            os.replace(temporary, target)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{os.fspath(path)!r} cannot be written: {reason}") from error


def _strips(pixels: Array) -> Iterator[tuple[Array, Array | None]]:
    """Rows of about a megabyte at a time, each with the row above it (None at the top)."""
    rows = max(1, (1 << 20) // pixels[0].nbytes)
    for y in range(0, len(pixels), rows):
        yield pixels[y:y + rows], pixels[y - 1] if y else None


def _png16(pixels: Array) -> bytes:
    """A 16-bit PNG (ISO/IEC 15948) of uint16 H×W×C. Each row is filtered by Sub or Up, whichever leaves less."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(
        ">IIBBBBB", width, height, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0))]
    if channels > 1:
        parts.append(chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile())))
    packer = zlib.compressobj(4)
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


def _tiff(pixels: Array) -> bytes:
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
    tags: list[tuple[int, str, list[int] | bytes]] = [
        (256, "I", [width]), (257, "I", [height]), (258, "H", [8 * pixels.itemsize] * channels), (259, "H", [8]),
        (262, "H", [1 if channels == 1 else 2]), (273, "I", offsets), (274, "H", [1]), (277, "H", [channels]),
        (278, "I", [rows]), (279, "I", counts), (282, "R", [72, 1]), (283, "R", [72, 1]), (284, "H", [1]),
        (296, "H", [2]), (317, "H", [2])]
    if channels == 4:
        tags.append((338, "H", [2]))  # straight ("unassociated") alpha
    if channels > 1:
        tags.append((34675, "B", srgb_profile()))
    entries = b""
    for tag, kind, value in tags:
        code = kind.replace("R", "I")
        data = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}{code}", *value)
        count = len(value) // (2 if kind == "R" else 1)
        if len(data) > 4:
            place = len(body)
            body += data + b"\0" * (len(data) % 2)
            data = struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, {"H": 3, "I": 4, "R": 5, "B": 7}[kind], count) + data.ljust(4, b"\0")
    struct.pack_into("<I", body, 4, len(body))
    return bytes(body) + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
