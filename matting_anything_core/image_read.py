"""Files and Pillow pictures -> arrays of upright sRGB pixels. The face of it is image.read_image."""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from .errors import ImageError
from .image_arrays import Array, check_array, check_pixel_count, quantise
from .image_icc import to_srgb, to_srgb16

# Only these are tried: each has a signature at its start, and none of them runs another program (as EPS would).
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF", "QOI")
WANTED = "expected a picture: PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, JPEG 2000 or AVIF"
_RAW_SUFFIXES = {".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"}
_ORIENTATION, _BITS, _PHOTOMETRIC, _EXTRA_SAMPLES, _DNG_VERSION = 274, 258, 262, 338, 50706


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file. Raises ImageError for what is known to be no picture, without reading it all."""
    name = repr(os.fspath(path))
    if isinstance(path, str) and path.split("://", 1)[0].lower() in ("http", "https", "ftp", "s3", "gs"):
        raise ImageError(f"{name} is an address, not a file; download it first and give the file's path or its bytes")
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(f"{name} is not a regular file; {WANTED}")
            head = file.read(4096)
            refuse_foreign(head, name)
            if Path(path).suffix.lower() in _RAW_SUFFIXES:
                raise ImageError(f"{name} is a camera raw file; develop it to a TIFF, PNG or JPEG first")
            return head + file.read()
    except FileNotFoundError:
        raise ImageError(f"there is no file {name}") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder; expected a picture file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if os.path.isdir(path):  # Windows calls this a denied permission
            raise ImageError(f"{name} is a folder; expected a picture file") from None
        raise ImageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def refuse_foreign(head: bytes, name: str) -> None:
    """Raises ImageError that names what `head`, the start of a file, is, when it is known to be no picture."""
    kind = None
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if not head:
        kind = "is empty"
    elif head.startswith(b"version https://git-lfs"):
        raise ImageError(f"{name} is a Git LFS pointer, not the picture itself; run `git lfs pull`")
    elif start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in head.lower()):
        kind = "is an SVG drawing; render it to a PNG first"
    elif start.startswith((b"<!doctype html", b"<html", b"<head")):
        kind = "is a web page (HTML), often an error page of a failed download"
    elif start.startswith(b"%pdf"):
        kind = "is a PDF document; render its page to a PNG first"
    elif start.startswith((b"%!ps", b"\xc5\xd0\xd3\xc6")):
        kind = "is a PostScript document; render it to a PNG first"
    elif (head[4:8] == b"ftyp" and head[8:12] not in _still_brands()) or head.startswith(b"\x1a\x45\xdf\xa3") or (
            head[:4] == b"RIFF" and head[8:12] == b"AVI ") or head[:3] == b"FLV":
        kind = "is a video; give one frame of it as a picture"
    elif head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"heim") \
            and "HEIF" not in PIL.Image.OPEN:
        kind = "is a HEIC picture, which Pillow does not read; convert it to a JPEG or PNG"
    elif head.startswith(b"8BPS"):
        kind = "is a Photoshop document; export it as a PNG or TIFF"
    elif head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        kind = "is a compressed archive; unpack it first"
    elif start and not head.startswith((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF")) \
            and all(byte >= 32 or byte in b"\t\r\n\f\x1b" for byte in head[:512]) and _is_text(head[:512]):
        kind = "is a text file"
    if kind:
        raise ImageError(f"{name} {kind}; {WANTED}")


def _still_brands() -> tuple[bytes, ...]:
    return (b"avif", b"avis", b"heic", b"heix", b"heim", b"mif1", b"msf1")


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and error.start > 0  # a character cut in two
    return True


def _open(data: bytes, name: str) -> PIL.Image.Image:
    """Read the header. Pillow's own Image.open is passed by: its limit of pixels is one setting for the whole process,
    and ours is an argument."""
    PIL.Image.init()
    problem: Exception | None = None
    for form in FORMATS:
        if form not in PIL.Image.OPEN:
            continue
        factory, accept = PIL.Image.OPEN[form]
        accepted = accept is None or accept(data[:32].ljust(32, b"\0"))
        if not accepted or isinstance(accepted, str):  # a string says why this Pillow cannot
            continue
        try:
            return factory(io.BytesIO(data), "")
        except Exception as error:  # plugins raise what they like on damaged headers; what they say is passed on
            problem = error
    if problem is None:
        raise ImageError(f"{name} is not a picture of a known format; {WANTED}")
    raise ImageError(f"{name} is damaged, cut off or of a kind that cannot be read ({problem}); {WANTED}") from problem


def decode(data: bytes, name: str, max_pixels: int | None) -> tuple[Array, Array | None]:
    """The bytes of a picture file -> (colours H×W×3, alpha H×W or None), uint8 or uint16, upright, sRGB."""
    refuse_foreign(data[:4096], name)
    image = _open(data, name)
    if _DNG_VERSION in getattr(image, "tag_v2", ()) or data[8:10] == b"CR":
        raise ImageError(f"{name} is a camera raw file; develop it to a TIFF, PNG or JPEG first")
    check_pixel_count(*image.size, max_pixels, name)
    return decode_pillow(image, name, max_pixels, data)


def decode_pillow(image: PIL.Image.Image, name: str, max_pixels: int | None,
                  data: bytes | None = None) -> tuple[Array, Array | None]:
    """A Pillow picture, and where it is known the file it is of -> (colours H×W×3, alpha H×W or None)."""
    check_pixel_count(*image.size, max_pixels, name)
    before = _orientation(image, name) if image.format == "TIFF" else 1
    try:
        image.load()
    except MemoryError:
        raise ImageError(f"{name} ({image.width} x {image.height}) needs more memory than there is") from None
    except Exception as error:  # decoders raise many kinds of errors on damaged data
        raise ImageError(f"{name} is damaged or cut off: {error}") from error
    check_pixel_count(*image.size, max_pixels, name)
    try:
        orientation = _orientation(image, name)  # after loading: for TIFF Pillow has turned the pixels already
        pixels = _deep(image, data, name, before) if data is not None else None
        rgb, alpha = _colours(image, name) if pixels is None else _colours16(pixels, image, name)
    except MemoryError:
        raise ImageError(f"{name} ({image.width} x {image.height}) needs more memory than there is") from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, SyntaxError) as error:
        raise ImageError(f"{name} is damaged or of a kind that cannot be read: {error}") from error
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., None], 3, 2)
    rgb = np.ascontiguousarray(upright(rgb, orientation))
    return rgb, None if alpha is None else np.ascontiguousarray(upright(alpha, orientation))


def upright(array: Array, orientation: int) -> Array:
    """Turn the first two axes as the EXIF orientation 1..8 says (a view)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _orientation(image: PIL.Image.Image, name: str) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # a damaged EXIF block fails in many ways; the pixels are good without it
        warnings.warn(f"the EXIF data of {name} is damaged ({error}) and left aside", UserWarning, stacklevel=2)
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _profile(image: PIL.Image.Image) -> bytes | None:
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and profile else None


def _colours(image: PIL.Image.Image, name: str) -> tuple[Array, Array | None]:
    """What Pillow decoded: any mode -> colours H×W or H×W×3 and alpha."""
    profile = _profile(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        return _gray16(image, profile, name)
    if image.mode == "F":
        gray = quantise(check_array(np.asarray(image), name), 16)[..., 0]
        return gray, None
    if image.mode in ("PA", "RGBa") or (image.mode in ("P", "RGB", "L", "1") and "transparency" in image.info):
        image = image.convert("RGBA")
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        image = image.convert("RGB")
    alpha = None
    if image.mode in ("LA", "RGBA"):
        alpha = np.array(image.getchannel("A"))
        image = image.convert(image.mode[:-1])
    return np.array(to_srgb(image, profile, name)), alpha


def _gray16(image: PIL.Image.Image, profile: bytes | None, name: str) -> tuple[Array, Array | None]:
    values = np.asarray(image)
    if image.mode == "I":
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ImageError(f"{name} holds whole numbers from {low} to {high}; expected at most 16 bits: 0..65535")
    values = values.astype(np.uint16)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # TIFF, "white is zero"
        values = 65535 - values
    key = image.info.get("transparency")
    alpha = np.where(values == key, 0, 65535).astype(np.uint16) if isinstance(key, int) else None
    converted = to_srgb16(values, profile, name)
    if converted is None:
        gray = PIL.Image.fromarray(quantise(values, 8))
        return quantise(np.array(to_srgb(gray, profile, name)), 16), alpha
    return converted, alpha


def _deep(image: PIL.Image.Image, data: bytes, name: str, orientation: int) -> Array | None:
    """The 16-bit pixels of a PNG or TIFF with colours, of which Pillow keeps 8 bits; None where there are none.

    Pillow has decoded the picture before, so damage is found; its result is what OpenCV's must agree with.
    """
    if image.format == "PNG":
        deep = len(data) > 25 and data[24] == 16
    else:
        bits: Any = getattr(image, "tag_v2", {}).get(_BITS, ())
        deep = image.format == "TIFF" and isinstance(bits, tuple) and set(bits) == {16}
    if not deep or image.mode not in ("RGB", "RGBA", "LA"):
        return None
    try:
        import cv2
    except ImportError as error:  # OpenCV's desktop build on a machine without libGL
        raise ImageError(
            f"{name} has colours of 16 bits, for which OpenCV is needed, and that cannot be imported here ({error}); "
            "install opencv-python-headless, or save the picture with 8 bits"
        ) from error
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is not None and pixels.dtype == np.uint16 and pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., [2, 1, 0, 3][:pixels.shape[2]]]
        for candidate in (pixels, upright(pixels, orientation)):  # some versions turn TIFFs upright, some do not
            if _agree(candidate, image):
                return np.ascontiguousarray(candidate)
    warnings.warn(f"{name} is a 16-bit picture of a rare kind; it is read with 8 bits", UserWarning, stacklevel=2)
    return None


def _agree(pixels: Array, image: PIL.Image.Image) -> bool:
    shallow = np.asarray(image)
    if pixels.shape[:2] != shallow.shape[:2]:
        return False
    premultiplied = 1 in tuple(getattr(image, "tag_v2", {}).get(_EXTRA_SAMPLES, ()))
    if premultiplied or image.mode == "LA":  # colours differ by design; compare alpha
        pixels, shallow = pixels[..., 3:], shallow[..., -1:]
    channels = min(pixels.shape[2], shallow.shape[2])
    top = (pixels[..., :channels] >> 8).astype(np.int16)
    return bool((np.abs(top - shallow[..., :channels]) <= 1).all())


def _colours16(pixels: Array, image: PIL.Image.Image, name: str) -> tuple[Array, Array | None]:
    profile = _profile(image)
    alpha = None
    if pixels.shape[2] == 4:
        alpha = np.array(pixels[..., 3])
        if 1 in tuple(getattr(image, "tag_v2", {}).get(_EXTRA_SAMPLES, ())):  # TIFF: colours are premultiplied
            rows = max(1, (1 << 21) // max(1, pixels.shape[1]))
            pixels = np.array(pixels[..., :3])
            for y in range(0, len(pixels), rows):
                share = np.maximum(alpha[y:y + rows, :, None], 1).astype(np.float32) / 65535
                pixels[y:y + rows] = np.rint(np.minimum(pixels[y:y + rows] / share, 65535))
        pixels = np.ascontiguousarray(pixels[..., :3])
    rgb = to_srgb16(pixels, profile, name)
    if rgb is None:
        warnings.warn(f"the colour profile of {name} is made of tables; its colours are converted with 8 bits",
                      UserWarning, stacklevel=2)
        shallow = PIL.Image.fromarray(quantise(pixels, 8))
        rgb = quantise(np.array(to_srgb(shallow, profile, name)), 16)
    return rgb, alpha
