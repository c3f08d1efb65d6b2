"""Files, Pillow pictures, arrays and tensors -> Image."""

from __future__ import annotations

import io
import math
import os
import stat
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import PIL.Image

from ..errors import ImageError
from ..memory import in_words
from . import png
from .arrays import Array, check_array, check_pixel_count, is_tensor, quantise, tensor_to_array
from .exif import parse
from .formats import FORMATS, Format, format_at, format_names, register
from .icc import ADOBE_COLORANTS, ADOBE_CURVE, build_profile, own_profile, to_srgb, to_srgb16
from .memory import memory_for, shortage
from .metadata import Metadata, metadata_of
from .picture import Image
from .salvage import mended
from .tiff import Planes, ended, read_tiff

if TYPE_CHECKING:
    import torch

ImageInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | IO[bytes] | PIL.Image.Image | np.ndarray[Any, Any] | torch.Tensor | Image"
)

MAX_PIXELS = 200_000_000
"""The largest picture that is read unless the caller says otherwise."""

_LARGEST_PIXEL = 16  # bytes of a pixel in a file: four floats
_LARGEST_REST = 1 << 28  # bytes of everything else in a file
_WHOLE = ("WEBP", "AVIF", "HEIF")  # whose decoders look at all of a file before they tell its size
_RAW_SUFFIXES = {".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"}
_ORIENTATION, _PHOTOMETRIC, _DNG_VERSION = 274, 262, 50706


def read_image(source: ImageInput, *, max_pixels: int | None = MAX_PIXELS, bgr: bool = False) -> Image:
    """Read a picture from nearly anything; the source is never changed, and the result shares no memory with it.

    Parameters
    ----------
    source
        - a path, the bytes or an opened file (from where it stands) of a PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, JPEG
          2000, AVIF or QOI, of HEIC with the package pillow-heif and of JPEG XL with pillow-jxl-plugin; of animations
          the first frame, of several pages the first one. PNG and TIFF keep their 16 bits;
        - a Pillow picture of any mode, turned upright if it still carries an EXIF orientation;
        - an array H×W (gray) or H×W×1, 3, 4 of bool, uint8, uint16, or floats 0..1; sRGB; the channels are red, green,
          blue(, alpha), the alpha straight;
        - a torch tensor on any device, H×W, C×H×W or H×W×C, of the same types. The first axis is taken for the channels
          when its length is 1, 3 or 4, only otherwise the last one;
        - an Image, returned as it is.
    max_pixels
        Pictures with more pixels are refused before they are decoded; None for no limit.
    bgr
        The channels of the array or tensor are blue, green, red(, alpha), as OpenCV has them.

    Returns
    -------
    Image
        Floats become 16 bits. Colours stay in their own space (`Image.profile`) when that is another one than sRGB;
        gray, CMYK and L*a*b* become sRGB. Resolution, EXIF and XMP are kept in `Image.metadata`.

    Raises
    ------
    ImageError
        For whatever cannot be read; the message names the file, what it is and what is expected. A damaged profile or
        description, and a few bytes that are missing at the end, are warned of (module `warnings`) instead.
    PictureMemoryError
        When memory does not suffice.
    """
    from_array = isinstance(source, np.ndarray) or is_tensor(source)
    if bgr and not from_array:
        raise ImageError(f"bgr=True was given with {type(source).__name__}; it is for arrays and tensors, files say "
                         "themselves which channel is which")
    if isinstance(source, Image):
        return source
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        return decode(read_file(path, max_pixels), repr(path), max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode(bytes(source), "the picture given as bytes", max_pixels)
    if isinstance(source, PIL.Image.Image):
        return decode_pillow(source, "the Pillow picture", max_pixels)
    if is_tensor(source):
        return _from_array(tensor_to_array(source, "the tensor"), "the tensor", max_pixels, bgr)
    if isinstance(source, np.ndarray):
        return _from_array(source, "the array", max_pixels, bgr)
    if callable(getattr(source, "read", None)):
        return decode(*_read_object(source, max_pixels), max_pixels)
    raise ImageError(f"a picture was given as {type(source).__name__}; expected a path, the bytes of a file, "
                     "an opened file, a Pillow picture, an array or a tensor")


def _from_array(array: Array, name: str, max_pixels: int | None, bgr: bool) -> Image:
    array = check_array(np.asarray(array), name, max_pixels)
    with memory_for(f"{name} of {array.shape[1]} x {array.shape[0]} pixels", array.nbytes):
        if bgr and array.shape[2] >= 3:
            array = array[..., [2, 1, 0, 3][:array.shape[2]]]
        bits = 8 if array.dtype in (np.dtype(bool), np.dtype(np.uint8)) else 16
        if array.shape[2] == 4:
            return Image(quantise(array[..., :3], bits), quantise(array[..., 3], bits))
        pixels = quantise(array, bits)
        return Image(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, 2))


def wanted() -> str:
    """What belongs where something else was given."""
    return f"expected a picture: {format_names()}"


def most_bytes(max_pixels: int | None) -> int | None:
    """The most bytes that a file of so many pixels may have; None for no limit."""
    return None if max_pixels is None else max_pixels * _LARGEST_PIXEL + _LARGEST_REST


def _check_size(size: int, name: str, max_pixels: int | None) -> None:
    most = most_bytes(max_pixels)
    if most is not None and size > most:
        raise ImageError(f"{name} has {in_words(size)}, more than a picture of {max_pixels or 0:,} pixels can have "
                         f"({in_words(most)}); make it smaller, or raise max_pixels if you trust it")


def _read_object(file: Any, max_pixels: int | None) -> tuple[bytes, str]:
    """The bytes of an opened file, from where it stands, and its name."""
    known = getattr(file, "name", None)
    name = repr(known) if isinstance(known, str) else "the picture in the file object"
    most = most_bytes(max_pixels)
    try:
        data = file.read() if most is None else file.read(most + 1)
    except MemoryError:
        raise shortage(f"reading {name}", most or 0) from None
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ImageError(f"{name} cannot be read: {error}; expected a file opened for reading bytes ('rb')") from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ImageError(f"{name} gives {type(data).__name__}; expected a file opened for reading bytes ('rb')")
    _check_size(len(data), name, max_pixels)
    return bytes(data), name


def read_file(path: str | os.PathLike[str], max_pixels: int | None = MAX_PIXELS) -> bytes:
    """The content of a regular file. Raises ImageError for what is known to be no picture, without reading it all."""
    name = repr(os.fspath(path))
    if isinstance(path, str) and path.split("://", 1)[0].lower() in ("http", "https", "ftp", "s3", "gs"):
        raise ImageError(f"{name} is an address, not a file; download it first and give the file's path or its bytes")
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{name} is not a regular file; {wanted()}")
            head = file.read(4096)
            refuse_foreign(head, name)
            if Path(path).suffix.lower() in _RAW_SUFFIXES:
                raise ImageError(f"{name} is a camera raw file; develop it to a TIFF, PNG or JPEG first")
            _check_size(status.st_size, name, max_pixels)
            with memory_for(f"reading {name}", status.st_size):
                file.seek(0)
                return file.read()
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
    elif (head[4:8] == b"ftyp" and format_at(head) is None and head[8:12] != b"crx ") or head.startswith(
            b"\x1a\x45\xdf\xa3") or (head[:4] == b"RIFF" and head[8:12] == b"AVI ") or head[:3] == b"FLV":
        kind = "is a video; give one frame of it as a picture"
    elif head[4:12] == b"ftypcrx ":
        raise ImageError(f"{name} is a camera raw file; develop it to a TIFF, PNG or JPEG first")
    elif head.startswith(b"8BPS"):
        kind = "is a Photoshop document; export it as a PNG or TIFF"
    elif head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        kind = "is a compressed archive; unpack it first"
    elif start and not head.startswith((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF")) \
            and all(byte >= 32 or byte in b"\t\r\n\f\x1b" for byte in head[:512]) and _is_text(head[:512]):
        kind = "is a text file"
    if kind:
        raise ImageError(f"{name} {kind}; {wanted()}")
    form = format_at(head)
    if form is not None and form.package is not None and not register(form):
        raise ImageError(f"{name} is a picture of the format {form.name}, which needs a package that is not installed; "
                         f"run: pip install '{form.package}', or convert the picture to a JPEG or PNG")


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
        if form.pillow not in PIL.Image.OPEN:
            continue
        factory, accept = PIL.Image.OPEN[form.pillow]
        accepted = accept is None or accept(data[:32].ljust(32, b"\0"))
        if not accepted or isinstance(accepted, str):  # a string says why this Pillow cannot
            continue
        try:
            return factory(io.BytesIO(data), "")
        except MemoryError:
            raise shortage(f"reading {name}", 4 * len(data)) from None
        except Exception as error:  # plugins raise what they like on damaged headers; what they say is passed on
            problem = error
    if problem is None:
        raise ImageError(f"{name} is not a picture of a known format; {wanted()}")
    raise ImageError(
        f"{name} is damaged, cut off or of a kind that cannot be read ({problem}); {wanted()}") from problem


def decode(data: bytes, name: str, max_pixels: int | None, least: int | None = None) -> Image:
    """The bytes of a picture file -> Image. least: a JPEG may be decoded at an eighth to a half of its size, as long as
    its longer side keeps so many pixels; that costs a fraction of the time."""
    refuse_foreign(data[:4096], name)
    form, found = format_at(data[:512]), None
    if form is not None and form.pillow == "PNG":
        return _decode_png(data, name, max_pixels)
    if form is not None and form.pillow == "TIFF":
        with memory_for(f"reading {name}", len(data)):
            whole = ended(data)
            planes = read_tiff(whole, name, max_pixels)
            if whole is not data:
                data = whole
                _warn_of_end(name)
        if planes is not None:
            return _of_planes(planes, metadata_of(PIL.Image.Image(), data))
    need = 0
    if form is not None and form.pillow in ("JXL", "WEBP"):  # decoders that begin with memory for the pixels
        width, height = jxl_size(data, name) if form.pillow == "JXL" else webp_size(data)
        check_pixel_count(width, height, max_pixels, name)
        need = 8 * width * height
    with memory_for(f"reading {name}", need):
        image = _opened(data, name, form, max_pixels)
    if _DNG_VERSION in getattr(image, "tag_v2", ()) or data[8:10] == b"CR":
        raise ImageError(f"{name} is a camera raw file; develop it to a TIFF, PNG or JPEG first")
    check_pixel_count(*image.size, max_pixels, name)
    image = _loaded(image, data, name, form, least)
    found = data if image.format == "TIFF" else None
    return decode_pillow(image, name, max_pixels, block=found)


def _opened(data: bytes, name: str, form: Format | None, max_pixels: int | None) -> PIL.Image.Image:
    try:
        return _open(data, name)
    except ImageError:
        for whole in mended(data, form.pillow) if form is not None and form.pillow in _WHOLE else ():
            try:
                image = _open(whole, name)
                check_pixel_count(*image.size, max_pixels, name)
                image.load()
            except MemoryError:
                raise
            except Exception:  # the first error is the one that tells
                continue
            _warn_of_end(name)
            return image
        raise


def _warn_of_end(name: str) -> None:
    warnings.warn(f"the end of {name} is missing; its last pixels may be wrong", UserWarning, stacklevel=3)


def _smaller(image: PIL.Image.Image, least: int | None) -> None:
    """Let a JPEG's decoder give fewer pixels, but no fewer than `least` on the longer side."""
    if least is not None and image.format == "JPEG":
        share = least / max(image.size)
        image.draft(None, (math.ceil(image.width * share), math.ceil(image.height * share)))


def upright_size(data: bytes, name: str, max_pixels: int | None) -> tuple[int, int]:
    """Width and height of a JPEG as it is seen, from its header."""
    with memory_for(f"reading {name}", 0):
        image = _opened(data, name, format_at(data[:512]), max_pixels)
    width, height = image.size
    return (height, width) if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8) else (width, height)


def _loaded(image: PIL.Image.Image, data: bytes, name: str, form: Format | None, least: int | None = None
            ) -> PIL.Image.Image:
    """The picture with its pixels; where only the end of the file is missing, with a warning."""
    _smaller(image, least)
    size = image.size
    with memory_for(f"{name} ({size[0]} x {size[1]})", 3 * size[0] * size[1]):
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # decoders raise many kinds of errors on damaged data
            for whole in () if form is None else mended(data, form.pillow):
                try:
                    again = _open(whole, name)
                    _smaller(again, least)
                    if again.size != size:
                        break
                    again.load()
                except MemoryError:
                    raise
                except Exception:  # the first error is the one that tells
                    continue
                _warn_of_end(name)
                return again
            raise ImageError(f"{name} is damaged or cut off: {error}") from error
    return image


def _decode_png(data: bytes, name: str, max_pixels: int | None) -> Image:
    clean = png.tidy(data, name, max_pixels)
    image = _open(clean.data, name)
    check_pixel_count(*image.size, max_pixels, name)
    image = _loaded(image, clean.data, name, None)
    if clean.profile is not None:
        image.info["icc_profile"] = clean.profile
    if clean.exif is not None:
        image.info["exif"] = clean.exif
    image.info.update(clean.texts)
    return decode_pillow(image, name, max_pixels, deep=clean.data if clean.data[24] == 16 else None)


def decode_pillow(image: PIL.Image.Image, name: str, max_pixels: int | None, *, deep: bytes | None = None,
                  block: bytes | None = None) -> Image:
    """A Pillow picture -> Image. deep: the PNG of 16 bits that it is of. block: the TIFF that it is of."""
    check_pixel_count(*image.size, max_pixels, name)
    image = _loaded(image, b"", name, None)
    check_pixel_count(*image.size, max_pixels, name)
    with memory_for(f"{name} ({image.width} x {image.height})", 3 * image.width * image.height):
        try:
            orientation = _orientation(image, name)  # after loading: for TIFF Pillow has turned the pixels already
            pixels = _deep(image, deep, name) if deep is not None else None
            rgb, alpha, profile = _colours(image, name) if pixels is None else _colours16(pixels, image, name)
            turned = _file_orientation(block) if block is not None else orientation
            metadata = metadata_of(image, block)
            if block is not None and turned >= 5:  # Pillow has turned the pixels, the block tells of the file
                metadata = metadata.turned()
            return _of_planes(Planes(rgb, alpha, profile, orientation), metadata)
        except (OSError, ValueError, TypeError, KeyError, IndexError, SyntaxError) as error:
            raise ImageError(f"{name} is damaged or of a kind that cannot be read: {error}") from error


def _of_planes(planes: Planes, metadata: Metadata) -> Image:
    rgb, alpha, profile, orientation = planes
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., None], 3, 2)
    if orientation >= 5:
        metadata = metadata.turned()
    rgb = np.ascontiguousarray(upright(rgb, orientation))
    alpha = None if alpha is None else np.ascontiguousarray(upright(alpha, orientation))
    return Image(rgb, alpha, profile, metadata)


def _file_orientation(block: bytes) -> int:
    """The orientation in a TIFF's own directory."""
    from .exif import number

    value = number(parse(block)[0], _ORIENTATION)
    return int(value) if value is not None and 1 <= value <= 8 else 1


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
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # its decoder has turned the pixels; what EXIF says does not count (ISO/IEC 18181-2)
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # a damaged EXIF block fails in many ways; the pixels are good without it
        warnings.warn(f"the EXIF data of {name} is damaged ({error}) and left aside", UserWarning, stacklevel=2)
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _profile(image: PIL.Image.Image) -> bytes | None:
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return profile
    block = image.info.get("exif")
    if isinstance(block, bytes) and parse(block)[2] == "R03":  # cameras' way of saying Adobe RGB (DCF 2.0)
        return build_profile("Adobe RGB (1998) compatible", ADOBE_COLORANTS, ADOBE_CURVE)
    return None


def _colours(image: PIL.Image.Image, name: str) -> tuple[Array, Array | None, bytes | None]:
    """What Pillow decoded: any mode -> colours H×W or H×W×3, alpha, and their profile unless they are sRGB."""
    profile = _profile(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        return *_gray16(image, profile, name), None
    if image.mode == "F":
        gray = quantise(check_array(np.asarray(image), name), 16)[..., 0]
        return gray, None, None
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
    if image.mode == "RGB":
        return np.array(image), alpha, own_profile(profile, name)
    return np.array(to_srgb(image, profile, name)), alpha, None


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


def _deep(image: PIL.Image.Image, data: bytes, name: str) -> Array | None:
    """The 16-bit pixels of a PNG with colours, of which Pillow keeps 8 bits; None where there are none.

    Pillow has decoded the picture before, so damage is found; its result is what OpenCV's must agree with.
    """
    if image.mode not in ("RGB", "RGBA", "LA"):
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
    except cv2.error as error:
        if getattr(error, "code", 0) == -4:  # its word for running out of memory
            raise MemoryError from None
        pixels = None
    if pixels is not None and pixels.dtype == np.uint16 and pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., [2, 1, 0, 3][:pixels.shape[2]]]
        if _agree(pixels, image):
            return np.ascontiguousarray(pixels)
    warnings.warn(f"{name} is a 16-bit picture of a rare kind; it is read with 8 bits", UserWarning, stacklevel=2)
    return None


def _agree(pixels: Array, image: PIL.Image.Image) -> bool:
    shallow = np.asarray(image)
    if pixels.shape[:2] != shallow.shape[:2]:
        return False
    if image.mode == "LA":  # colours differ by design; compare alpha
        pixels, shallow = pixels[..., 3:], shallow[..., -1:]
    channels = min(pixels.shape[2], shallow.shape[2])
    top = (pixels[..., :channels] >> 8).astype(np.int16)
    return bool((np.abs(top - shallow[..., :channels]) <= 1).all())


def _colours16(pixels: Array, image: PIL.Image.Image, name: str) -> tuple[Array, Array | None, bytes | None]:
    alpha = None
    if pixels.shape[2] == 4:
        alpha = np.array(pixels[..., 3])
        pixels = np.ascontiguousarray(pixels[..., :3])
    return pixels, alpha, own_profile(_profile(image), name)


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP (RFC 9649), before anything of it is decoded; 1, 1 when it does not say."""
    kind, body = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        size = tuple(max(1, int.from_bytes(body[at:at + 2], "little") & 0x3FFF) for at in (6, 8))
        return size[0], size[1]
    return 1, 1


def jxl_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height of a JPEG XL (ISO/IEC 18181-1, annex D.2), before anything of it is decoded."""
    stream = data
    if data[:4] == b"\0\0\0\x0c":
        place, stream = 0, b""
        while place + 8 <= len(data) and not stream:
            size, kind = int.from_bytes(data[place:place + 4], "big"), data[place + 4:place + 8]
            head = 16 if size == 1 else 8
            if size == 1:
                size = int.from_bytes(data[place + 8:place + 16], "big")
            if kind in (b"jxlc", b"jxlp"):
                stream = data[place + head + 4 * (kind == b"jxlp"):][:64]
            if size < head:
                break
            place += size
    bits = int.from_bytes(stream[2:34].ljust(32, b"\0"), "little")
    if stream[:2] != b"\xff\x0a":
        raise ImageError(f"{name} is damaged or cut off: it has no header")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def length() -> int:
        return take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = (take(5) + 1) * 8 if small else length()
    ratio = take(3)
    if ratio == 0:
        return (take(5) + 1) * 8 if small else length(), height
    above, below = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height * above // below, height
