"""Colours as people write them: names, `#fff`, three numbers 0..255, three shares of one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ImageError
from .arrays import Array

WANTED = ("expected a name ('white'), '#rrggbb', three whole numbers 0..255 (red, green, blue) or three floats 0..1")


def parse_colour(text: str) -> tuple[int, int, int] | None:
    """A colour by name, as `#rgb`, `#rrggbb` or `rgb(…)` -> (red, green, blue) 0..255; None when it is no colour.

    Raises ImageError for one that is transparent: what it lies on would show.
    """
    from PIL import ImageColor

    if len(text) > 100:
        return None
    try:
        colour = ImageColor.getrgb(text.strip())
    except ValueError:
        return None
    if len(colour) == 4 and colour[3] != 255:
        raise ImageError(f"the colour {text!r} is partly transparent; {WANTED}, or 'transparent' for a cut-out")
    return colour[:3]


def is_colour(value: Any) -> bool:
    """Whether `value` is meant for a colour: a tuple, a list, an array of one axis, or a text that names one."""
    if isinstance(value, str):
        return value.strip().startswith("#") or parse_colour(value) is not None
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim == 1)


def colour_of(value: Any) -> Array:
    """A colour as float32 (red, green, blue) in 0..1, sRGB.

    Whole numbers are 0..255. Floats of which none is above 1 are shares of one: (1.0, 1.0, 1.0) is white, while
    (1, 1, 1) is nearly black. Raises ImageError for everything else, with what was expected.
    """
    if isinstance(value, str):
        parsed = parse_colour(value)
        if parsed is None:
            raise ImageError(f"the colour {value!r} is unknown; {WANTED}")
        return (np.asarray(parsed, np.float64) / 255).astype(np.float32)
    try:
        parts = list(value)
        numbers = np.asarray(parts, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0)
    if numbers.shape != (3,) or not ((numbers >= 0) & (numbers <= 255)).all() or any(
            isinstance(part, (bool, np.bool_)) for part in parts):
        raise ImageError(f"the background colour is {value!r}; {WANTED}")
    shares = numbers.max() <= 1 and any(isinstance(part, (float, np.floating)) for part in parts)
    return (numbers if shares else numbers / 255).astype(np.float32)
