"""Which part of an image to look at for an object that does not fill it.

Crops lie on a grid: their sides are the image's own, shortened by steps of LEVEL, and they begin at multiples of a
sixteenth of their side. So a box that moves by a pixel is nearly always looked at in the same crop, whose features are
kept, and its matte does not jump; and what is looked at depends on the prompt and the image alone.
"""

from __future__ import annotations

import math

from ..geometry import Window
from ..types import Box

CONTEXT = 1.4
"""An object is looked at in a crop at least this many times as wide and as high as its box …"""
NARROWEST = 0.5
"""… whose shorter side is at least this share of the longer one, as in the images that `lite` learned from …"""
NEARER = 1.15
"""… when it is enlarged at least this much by that."""
LEVEL = 1.15
"""Ratio of one length of a crop's side to the next."""
STEPS = 16
"""A crop begins at a multiple of its side divided by this."""


def crop_for(box: Box, height: int, width: int) -> Window | None:
    """The crop to look at for the object in a box.

    Parameters
    ----------
    box : x0, y0, x1, y1 in pixels, inside of the image.
    height, width : of the image.

    Returns
    -------
    The crop, or None when looking at the whole image shows the object nearly as large.
    """
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * CONTEXT, (y1 - y0) * CONTEXT
    across, down = max(across, down * NARROWEST, 16.0), max(down, across * NARROWEST, 16.0)
    top, bottom = _span((y0 + y1) / 2, down, height)
    left, right = _span((x0 + x1) / 2, across, width)
    crop = Window(top, left, bottom, right)
    return crop if max(crop.height, crop.width) * NEARER <= max(height, width) else None


def _span(middle: float, side: float, length: int) -> tuple[int, int]:
    """A part of 0..length, on the grid, that holds `side` pixels around the middle as far as they are there."""
    needed = side * STEPS / (STEPS - 1)
    if needed >= length:
        return 0, length
    size = length / LEVEL ** math.floor(math.log(length / needed, LEVEL))
    step = size / STEPS
    start = min(max(round((middle - size / 2) / step) * step, 0.0), length - size)
    return round(start), min(round(start + size), length)
