"""Between HTTP bodies and values: prompts in, pixels out. Nothing in a request names a file or an address."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ..adjust import content_window
from ..errors import PromptError
from ..image import Image, encode_image, read_image
from ..image.arrays import Array, quantise
from ..options import CHOICES, OPTION_HELP, MatteOptions
from ..pipeline.prompting import as_mask
from ..types import Prompt
from .engine import Ask
from .pictures import DTYPES, RAW, header_of
from .problems import Forgotten, Malformed, TooLarge

if TYPE_CHECKING:
    from ..result import Matte
    from .settings import Settings

Room = Callable[[int, str], AbstractContextManager[None]]
"""Memory for work, while it goes on: see Cache.room."""
Find = Callable[[str], "Matte | None"]
"""A kept matte by its id: see Engine.find."""

_FILES = ("png8", "png16", "webp", "tiff8", "tiff16")
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "alpha": (*_FILES, "u8", "u16", "f32"),
    "mask": ("png8", "webp", "tiff8", "u8"),
    "foreground": (*_FILES, "jpeg", "u8", "u16", "f32"),
    "cutout": (*_FILES, "u8", "u16", "f32"),
    "composite": (*_FILES, "jpeg", "u8", "u16", "f32"),
}
"""What can be fetched of a matte, and in which formats; the first is the default."""
PICTURE_FORMATS = ("png8", "webp", "jpeg")
"""In which a picture itself can be fetched, for those who cannot show the file it came in."""
LOSSY = ("webp", "jpeg")
COLOURED = ("foreground", "cutout", "composite")
"""Outputs for which clean colours are made, which is work for the queue."""

_DEPTH = 16
_VALUES = 1_000_000
"""Of a JSON body: lists in lists, and values in it. A mask is one value."""


@dataclass(frozen=True)
class Form:
    """How pixels are sent: a name of OUTPUTS, and for WebP and JPEG the quality 1..100 (None: WebP without loss)."""

    name: str
    quality: int | None = None

    @property
    def bits(self) -> int:
        """Of whole numbers in it."""
        return 16 if self.name.endswith("16") else 8


def form_of(query: Mapping[str, str], known: tuple[str, ...], what: str) -> Form:
    """The format and quality that a query asks for. Raises Malformed."""
    name = query.get("format", known[0])
    if name not in known:
        raise Malformed(f"format is {name[:40]!r}; {what} comes as {', '.join(known)}")
    quality = query.get("quality")
    if quality is None:
        return Form(name)
    if not re.fullmatch("[1-9][0-9]?|100", quality) or name not in LOSSY:
        raise Malformed(f"quality is {quality[:40]!r} with format={name}; expected a whole number 1..100, for webp and "
                        "jpeg")
    return Form(name, int(quality))


def is_cropped(query: Mapping[str, str]) -> bool:
    """Whether only what can be seen is asked for. Raises Malformed."""
    crop = query.get("crop", "0")
    if crop not in ("0", "1"):
        raise Malformed(f"crop is {crop[:40]!r}; expected 1 (to where something can be seen) or 0 (all of it)")
    return crop == "1"


def window_of(cropped: bool, alpha: Array) -> tuple[slice, slice]:
    """The rows and columns that are sent of a matte: all, or those where something can be seen."""
    x0, y0, x1, y1 = content_window(alpha) if cropped else (0, 0, alpha.shape[1], alpha.shape[0])
    return slice(y0, y1), slice(x0, x1)


def colour_of(text: str) -> tuple[int, int, int]:
    """A background: #rrggbb, with or without #, or a colour's name. Raises Malformed."""
    from PIL import ImageColor

    try:
        return ImageColor.getrgb("#" + text if re.fullmatch("[0-9a-fA-F]{6}|[0-9a-fA-F]{3}", text) else text)[:3]
    except ValueError:
        raise Malformed(f"background is {text[:80]!r}; expected #rrggbb, a colour's name, or a picture's id") from None


def read_json(body: bytes) -> Any:
    """The value of a JSON body. Raises Malformed for what is none, and for one that is made to cost time or memory."""
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > _VALUES:
        raise Malformed(f"the JSON holds more than {_VALUES} values; expected prompts, with masks as one text each")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {str(error)[:200]}") from None
    level, depth = [content], 0
    while level:
        if depth > _DEPTH:
            raise Malformed(f"the JSON has lists or objects in each other more than {_DEPTH} deep; expected "
                            '{"prompts": [{"box": [x0, y0, x1, y1]}]}')
        level = [item for value in level if isinstance(value, (list, dict))
                 for item in (value.values() if isinstance(value, dict) else value)]
        depth += 1
    return content


def read_ask(body: bytes, image: Image, settings: Settings, room: Room, find: Find) -> Ask:
    """The request for mattes in a JSON body. Raises Malformed, TooLarge, and PromptError for prompts without sense."""
    content = read_json(body)
    if not isinstance(content, dict):
        raise Malformed('the body is no JSON object; expected {"prompts": [{"box": [x0, y0, x1, y1]}]}')
    known = ("prompts", "model", "all_matches", *OPTION_HELP)
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise Malformed(f"the body has the unknown field {unknown[0][:80]!r}; known are {', '.join(known)}")
    prompts, model = content.get("prompts"), content.get("model")
    everything = content.get("all_matches", False)
    if not isinstance(prompts, list) or not prompts:
        raise Malformed('prompts is missing or no list; expected [{"box": [x0, y0, x1, y1]}, …]')
    if model is not None and not isinstance(model, str):
        raise Malformed("model is no text; expected a name of /v1/status")
    if not isinstance(everything, bool):
        raise Malformed("all_matches is neither true nor false")
    most = settings.mattes(image.width * image.height)
    if len(prompts) > most:
        raise TooLarge(f"{len(prompts)} prompts at once on a picture of {image.width} x {image.height} pixels are more "
                       f"than {most}, this service's limit for it; ask for fewer at a time")
    asked = [prompt_of(item, image, room, find) for item in prompts]
    if everything and any(prompt.text is None for prompt in asked):
        raise PromptError("all_matches needs words in every prompt: {\"text\": \"dogs\"}")
    return Ask(asked, model, options_of(content), everything)


def options_of(content: Mapping[str, Any]) -> MatteOptions:
    """The options of a matte among the fields of a request; null is what is left out. Raises Malformed."""
    given = {name: content[name] for name in OPTION_HELP if content.get(name) is not None}
    if wrong := next((name for name, value in given.items() if name in CHOICES and not isinstance(value, str)), None):
        raise Malformed(f"{wrong} is no text; expected {', '.join(CHOICES[wrong])}")
    try:
        return MatteOptions(**given)
    except PromptError as error:
        raise Malformed(str(error)[:200]) from None


def prompt_of(item: Any, image: Image, room: Room, find: Find) -> Prompt:
    """One prompt of a request. Raises Malformed, and PromptError for one without sense."""
    if not isinstance(item, dict):
        raise Malformed('a prompt is no JSON object; expected {"box": [x0, y0, x1, y1]}, or points, mask, text')
    fields = {name: value for name, value in item.items() if value is not None}
    for name in ("box", "points", "labels"):
        if not _plain(fields.get(name, [])):
            raise Malformed(f"{name} holds something that is no number")
    for name in ("mask", "trimap"):
        if name in fields:
            fields[name] = _mask(fields[name], image, room)
    for name in ("keep", "drop"):
        if name in fields:
            fields[name] = _strokes(fields[name], name, image, room)
    if "previous" in fields:
        fields["previous"] = _alpha(fields["previous"], "previous", image, room, find)
    return Prompt.of(fields)


def _strokes(value: Any, name: str, image: Image, room: Room) -> Any:
    """Strokes as lists of points with widths, or as a mask. Raises Malformed, PromptError and ImageError."""
    if isinstance(value, dict) and "points" not in value:
        return _mask(value, image, room)
    lines = value if isinstance(value, list) else [value]
    for line in lines:
        if not isinstance(line, dict) or not all(_plain(part) for part in line.values()):
            raise Malformed(f'{name} holds a stroke that is none; expected {{"points": [[x, y], …], "width": 5}}, or a '
                            "mask")
    return lines


def _alpha(value: Any, name: str, image: Image, room: Room, find: Find) -> Array:
    """The alpha of a kept matte, or one that came along. Raises Malformed, PromptError, ImageError, and Forgotten when
    the service has it no more."""
    if isinstance(value, dict):
        return _mask(value, image, room)
    if not isinstance(value, str):
        raise Malformed(f"{name} is neither a text nor an object; expected the id of a matte, or its alpha as masks "
                        "are given")
    found = find(value)
    if found is None:
        raise Forgotten(f"the matte {value[:40]!r} is not kept any more; ask for it again, or send its alpha in its "
                        "place, as masks are given")
    if found.alpha.shape != (image.height, image.width):
        raise PromptError(f"the matte {value[:40]!r} is of another picture, {found.image.width} x {found.image.height} "
                          f"pixels; expected one of {image.width} x {image.height}")
    return found.alpha


def read_several(body: bytes, image: Image, settings: Settings, room: Room, find: Find) -> list[Array]:
    """The alphas of a request for one matte of several. Raises what `_alpha` raises, and TooLarge."""
    content = read_json(body)
    several = content.get("of") if isinstance(content, dict) and set(content) == {"of"} else None
    if not isinstance(several, list) or not several:
        raise Malformed('the body names no mattes; expected {"of": ["the id of a matte", …]}')
    most = settings.mattes(image.width * image.height)
    if len(several) > most:
        raise TooLarge(f"{len(several)} mattes of a picture of {image.width} x {image.height} pixels are more than "
                       f"{most}, this service's limit for it")
    return [_alpha(value, "a matte", image, room, find) for value in several]


def _plain(value: Any) -> bool:
    """Numbers in lists of lists: texts, which Python would turn into numbers, and truth values are none."""
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _mask(value: Any, image: Image, room: Room) -> Array:
    """A mask H×W of the picture's size. Raises Malformed, PromptError and ImageError."""
    if not isinstance(value, dict):
        raise Malformed('the mask is no JSON object; expected {"png": "base64"} or {"width", "height", "deflate"}')
    if set(value) == {"png"}:
        return mask_of(_base64(value["png"]), image, room)
    if set(value) != {"width", "height", "deflate"}:
        raise Malformed('the mask has other fields than {"png"} or {"width", "height", "deflate"}')
    if (value["width"], value["height"]) != (image.width, image.height):
        raise PromptError(f"the mask is {value['width']!s:.20} x {value['height']!s:.20} pixels, the picture "
                          f"{image.width} x {image.height}; expected a mask of the picture's size")
    expected = image.width * image.height
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(_base64(value["deflate"]), expected + 1)
    except zlib.error as error:
        raise Malformed(f"the mask's deflate cannot be unpacked: {error}") from None
    if len(pixels) != expected:
        raise Malformed(f"the mask's deflate holds {'more' if len(pixels) > expected else len(pixels)} bytes; expected "
                        f"{expected}, one for each pixel")
    return np.frombuffer(pixels, np.uint8).reshape(image.height, image.width)


def mask_of(data: bytes, image: Image, room: Room) -> Array:
    """A picture file as a mask, read as the command line reads it: through its alpha where it has some.

    Raises PromptError, ImageError, and what `room` raises.
    """
    header = header_of(data)
    if header is not None and {header.width, header.height} != {image.width, image.height}:  # it may lie on its side
        raise PromptError(f"the mask is {header.width} x {header.height} pixels, the picture {image.width} x "
                          f"{image.height}; expected a mask of the picture's size")
    with room(header.peak if header is not None else 0, f"reading the mask of {header}"):
        return as_mask(read_image(data, max_pixels=max(4 * image.width * image.height, 1 << 20)))


def _base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Malformed("the mask's pixels are no base64") from None


def encoding_bytes(pixels: int, channels: int, form: Form) -> int:
    """Bytes that an answer of so many pixels takes at most while it is made and sent: its numbers, a copy of them in
    the encoder, and the file, which noise makes as long as the numbers."""
    return pixels * channels * (4 if form.name == "f32" else 6 if form.bits == 16 else 3)


def encode_pixels(pixels: Array, form: Form) -> tuple[Array | bytes, dict[str, str]]:
    """Pixels H×W(×C), floats 0..1, whole numbers or bool, in a format -> (body, its headers)."""
    kind = re.match("png|webp|tiff|jpeg", form.name)
    pixels = np.ascontiguousarray(pixels)  # parts of pictures are not
    if kind is not None:
        name = cast('Literal["png", "webp", "tiff", "jpeg"]', kind[0])
        return (encode_image(pixels, name, bits=form.bits, quality=form.quality),
                {"Content-Type": f"image/{name}"})
    height, width = pixels.shape[:2]
    if form.name == "f32":
        raw = np.ascontiguousarray(pixels, DTYPES["f32"])
    else:
        raw = quantise(pixels, form.bits).astype(DTYPES[form.name], copy=False)
    return raw, {"Content-Type": RAW, "X-Width": str(width), "X-Height": str(height),
                 "X-Channels": str(math.prod(pixels.shape[2:]))}


def with_alpha(colours: Array, alpha: Array, form: Form) -> Array:
    """H×W×3 and H×W -> H×W×4, in the numbers that the format holds."""
    if form.name == "f32":
        return np.dstack([colours, alpha])
    return np.dstack([quantise(colours, form.bits), quantise(alpha, form.bits)])
