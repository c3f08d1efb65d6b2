"""Between HTTP bodies and values: pictures and prompts in, pixels out. Nothing in a request names a file or address."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ..errors import PromptError
from ..image import Image, encode_image, read_image
from ..image.arrays import Array, quantise
from ..types import Prompt
from .engine import Ask

if TYPE_CHECKING:
    from .settings import Settings

ENCODED = ("image/png", "image/jpeg", "image/webp", "image/tiff")
RAW = "application/octet-stream"
DTYPES: Mapping[str, np.dtype[Any]] = {"u8": np.dtype("u1"), "u16": np.dtype("<u2"), "f32": np.dtype("<f4")}

OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "alpha": ("png8", "png16", "u8", "u16", "f32"),
    "mask": ("png8", "u8"),
    "foreground": ("png8", "png16", "u8", "f32"),
    "cutout": ("png8", "png16", "u8", "f32"),
}
"""What can be fetched of a matte, and in which formats; the first is the default."""


class Malformed(Exception):
    """A request that does not follow the protocol: 400."""


class TooLarge(Exception):
    """A request for more than the limits allow: 413."""


@dataclass(frozen=True)
class Layout:
    """How raw pixels lie in a body: row-major, tightly packed, little endian."""

    width: int
    height: int
    channels: int
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of the body."""
        return self.width * self.height * self.channels * DTYPES[self.dtype].itemsize


def layout_of(query: Mapping[str, str], limit: int) -> Layout:
    """The layout that a query gives. Raises Malformed, and TooLarge for more than `limit` pixels."""
    numbers = {}
    for name in ("width", "height", "channels"):
        text = query.get(name, "")
        if not text.isascii() or not text.isdecimal() or not 1 <= len(text) <= 9 or int(text) < 1:
            raise Malformed(f"raw pixels came with {name}={text[:40]!r}; expected a whole number above 0, as in "
                            "?width=640&height=480&channels=3&dtype=u8")
        numbers[name] = int(text)
    layout = Layout(dtype=query.get("dtype", ""), **numbers)
    if layout.channels not in (1, 3, 4):
        raise Malformed(f"raw pixels came with channels={layout.channels}; expected 1 (gray), 3 (RGB) or 4 (RGBA)")
    if layout.dtype not in DTYPES:
        raise Malformed(f"raw pixels came with dtype={layout.dtype[:40]!r}; expected u8, u16 or f32")
    if layout.width * layout.height > limit:
        raise TooLarge(f"the picture has {layout.width} x {layout.height} pixels, more than this service's limit of "
                       f"{limit / 1e6:.1f} megapixels; make it smaller, or start the service with more --memory")
    return layout


def content_id(body: bytes | bytearray, layout: Layout | None) -> str:
    """The id of a picture: sha256 of its file, or of a line with its layout (`640x480x3 u8` and a newline) and its
    pixels."""
    digest = hashlib.sha256()
    if layout is not None:
        digest.update(f"{layout.width}x{layout.height}x{layout.channels} {layout.dtype}\n".encode())
    digest.update(body)
    return digest.hexdigest()


def read_picture(body: bytes | bytearray, layout: Layout | None, limit: int) -> Image:
    """The picture in a body. Raises Malformed for a wrong length, TooManyPixelsError and ImageError."""
    if layout is None:
        return read_image(bytes(body), max_pixels=limit)
    if len(body) != layout.nbytes:
        raise Malformed(f"{layout.width} x {layout.height} pixels of {layout.channels} channels in {layout.dtype} are "
                        f"{layout.nbytes} bytes; the body has {len(body)}")
    pixels = np.frombuffer(body, DTYPES[layout.dtype]).reshape(layout.height, layout.width, layout.channels)
    return read_image(pixels)


def read_ask(body: bytes | bytearray, image: Image, settings: Settings) -> Ask:
    """The request for mattes in a JSON body. Raises Malformed, TooLarge, and PromptError for prompts without sense."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {str(error)[:200]}") from None
    if not isinstance(content, dict):
        raise Malformed('the body is no JSON object; expected {"prompts": [{"box": [x0, y0, x1, y1]}]}')
    unknown = sorted(set(content) - {"prompts", "model", "guidance", "all_matches"})
    if unknown:
        raise Malformed(f"the body has the unknown field {unknown[0][:80]!r}; known are prompts, model, guidance and "
                        "all_matches")
    prompts, model = content.get("prompts"), content.get("model")
    guidance, everything = content.get("guidance", "auto"), content.get("all_matches", False)
    if not isinstance(prompts, list) or not prompts:
        raise Malformed('prompts is missing or no list; expected [{"box": [x0, y0, x1, y1]}, …]')
    if model is not None and not isinstance(model, str):
        raise Malformed("model is no text; expected a name of /v1/status")
    if guidance not in ("auto", "mask", "alpha"):
        raise Malformed(f"guidance is {str(guidance)[:40]!r}; expected auto, mask or alpha")
    if not isinstance(everything, bool):
        raise Malformed("all_matches is neither true nor false")
    most = settings.mattes(image.width * image.height)
    if len(prompts) > most:
        raise TooLarge(f"{len(prompts)} prompts at once on a picture of {image.width} x {image.height} pixels are more "
                       f"than {most}, this service's limit for it; ask for fewer at a time")
    asked = [_prompt(item, image) for item in prompts]
    if everything and any(prompt.text is None for prompt in asked):
        raise PromptError("all_matches needs words in every prompt: {\"text\": \"dogs\"}")
    return Ask(asked, model, cast('Literal["auto", "mask", "alpha"]', guidance), everything)


def _prompt(item: Any, image: Image) -> Prompt:
    if not isinstance(item, dict):
        raise Malformed('a prompt is no JSON object; expected {"box": [x0, y0, x1, y1]}, or points, mask, text')
    fields = {name: value for name, value in item.items() if value is not None}
    for name in ("box", "points", "labels"):
        if not _plain(fields.get(name, [])):
            raise Malformed(f"{name} holds something that is no number")
    if "mask" in fields:
        fields["mask"] = _mask(fields["mask"], image)
    return Prompt.of(fields)


def _plain(value: Any) -> bool:
    """Numbers in lists of lists: texts, which Python would turn into numbers, and truth values are none."""
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _mask(value: Any, image: Image) -> Array:
    """A mask H×W of the picture's size, uint8. Raises Malformed, PromptError and ImageError."""
    if not isinstance(value, dict):
        raise Malformed('the mask is no JSON object; expected {"png": "base64"} or {"width", "height", "deflate"}')
    if set(value) == {"png"}:
        picture = read_image(_base64(value["png"]), max_pixels=max(4 * image.width * image.height, 1 << 20))
        return picture.rgb8()[..., 0]
    if set(value) != {"width", "height", "deflate"}:
        raise Malformed('the mask has other fields than {"png"} or {"width", "height", "deflate"}')
    if (value["width"], value["height"]) != (image.width, image.height):
        raise PromptError(f"the mask is {value['width']!s:.20} x {value['height']!s:.20} pixels, the picture "
                          f"{image.width} x {image.height}; expected a mask of the picture's size")
    wanted = image.width * image.height
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(_base64(value["deflate"]), wanted + 1)
    except zlib.error as error:
        raise Malformed(f"the mask's deflate cannot be unpacked: {error}") from None
    if len(pixels) != wanted:
        raise Malformed(f"the mask's deflate holds {'more' if len(pixels) > wanted else len(pixels)} bytes; expected "
                        f"{wanted}, one for each pixel")
    return np.frombuffer(pixels, np.uint8).reshape(image.height, image.width)


def _base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Malformed("the mask's pixels are no base64") from None


def encode_pixels(pixels: Array, form: str) -> tuple[Array | bytes, dict[str, str]]:
    """Pixels H×W(×C), floats 0..1 or bool, in a format -> (body, its headers)."""
    if form in ("png8", "png16"):
        return encode_image(pixels, "png", bits=int(form[3:])), {"Content-Type": "image/png"}
    height, width = pixels.shape[:2]
    if form == "f32":
        raw = np.ascontiguousarray(pixels, DTYPES["f32"])
    else:
        raw = quantise(pixels, int(form[1:])).astype(DTYPES[form], copy=False)
    return raw, {"Content-Type": RAW, "X-Width": str(width), "X-Height": str(height),
                 "X-Channels": str(math.prod(pixels.shape[2:]))}


def with_alpha(colours: Array, alpha: Array, form: str) -> Array:
    """H×W×3 and H×W -> H×W×4, in the numbers that the format holds."""
    if form == "f32":
        return np.dstack([colours, alpha])
    bits = 16 if form == "png16" else 8
    return np.dstack([quantise(colours, bits), quantise(alpha, bits)])
