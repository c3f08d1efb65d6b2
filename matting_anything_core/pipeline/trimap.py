"""A trimap from a mask: where a matting network has to look.

Certain is what the mask says far from its edge. How far differs along the edge: at a table's edge a few pixels are
unknown, in hair all of what may be a strand. Two things make a pixel near the edge unknown beside the narrow band along
it: the decoder was not sure of it, or its colour says the opposite of the mask. For that each pixel near the edge is
compared with what the object and the background look like around it, a little way off the edge: a strand outside of
the mask has the object's colour, a gap between strands the background's. Where the two look alike, colours say nothing,
and the decoder alone counts.

What the user says counts first: a trimap of theirs is taken as it is, and strokes and points are certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..geometry import Window
from ..options import Band
from .seeds import DROP, KEEP

if TYPE_CHECKING:
    import numpy as np

    from .seeds import Marks

    Array = np.ndarray[Any, Any]
    Trimap = np.ndarray[Any, np.dtype[np.uint8]]

BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255
NARROW = 3
"""Pixels of the input on each side of the mask's edge that are always unknown, …"""
AT_LEAST = 3
"""… and as many of the image's at least."""
REACH = 0.2
"""Farther from the edge than this share of the object's size (the root of its area) nothing is unknown …"""
NEAREST, FARTHEST = 10, 72
"""… which is this many pixels of the input at least, and at most."""
UNSURE = 1.5
"""Logits of a smaller amount are the decoder's "I do not know" (0.18..0.82)."""
APART = 12.0
"""How far apart colours of object and background must be (0..255, root mean square over the channels) to say
anything."""
OPPOSITE = 0.3
"""A pixel's colour says the opposite of the mask when it is this far on the way from its own side's colours to the
other's …"""
CROWDED = 0.04
"""… and a part of the edge is hair where at least this share of the pixels around says so: a few are noise."""


class Hand(NamedTuple):
    """What the user said of a view's pixels.

    trimap : H×W uint8, 0 and 255 certain, 128 unknown; None for none.
    marks : H×W int8, KEEP, DROP, or 0 where nothing is said; None for none.
    """

    trimap: Trimap | None = None
    marks: Marks | None = None

    def within(self, rows: slice, columns: slice) -> Hand:
        """The same of a part of the pixels."""
        part = rows, columns
        return Hand(None if self.trimap is None else self.trimap[part],
                    None if self.marks is None else self.marks[part])


UNSAID = Hand()
"""Nothing."""


@dataclass(frozen=True)
class Widths:
    """How wide a trimap's band may be, in pixels of the image: always (narrow), and at most (reach)."""

    narrow: int
    reach: int


def widths(area: int, scale: float) -> Widths:
    """Of an object that has so many pixels in the input, in an image that is `scale` times as large as the input."""
    reach = min(max(REACH * area ** 0.5, NEAREST), FARTHEST)
    narrow = max(round(NARROW * scale), AT_LEAST)
    return Widths(narrow, max(round(reach * scale), narrow + 1))


def make_trimap(
    inside: np.ndarray[Any, np.dtype[np.bool_]], logits: Array, rgb: Array, band: Band, hand: Hand = UNSAID, *,
    transparent: bool = False, where: Window | None = None, size: tuple[int, int] | None = None,
) -> Trimap:
    """The trimap of one object.

    Parameters
    ----------
    inside : ndarray
        H×W bool, the mask in the image's pixels.
    logits : ndarray
        h×w float, the same as the decoder said it, at any size; above 0 on the object.
    rgb : ndarray
        h×w×3 uint8, the image at that size.
    band : {"auto", "narrow", "wide"}
        How wide the unknown band is: by the decoder's doubts and the image's structure, narrow everywhere, or as wide
        as it may be everywhere.
    hand : Hand
        What the user said.
    transparent : bool
        The object is one that is seen through: all of its inside is unknown.
    where, size : optional
        `inside` and `hand` are of this part of an image of so many rows and columns, and so is the result; logits and
        rgb are of all of it.

    Returns
    -------
    H×W uint8: 0, 128, 255.
    """
    import numpy as np

    from ..opencv import cv2

    if hand.trimap is not None:
        trimap = hand.trimap.copy()
    else:
        height, width = inside.shape if size is None else size
        part = Window(0, 0, height, width) if where is None else where
        scale = max(height / logits.shape[0], width / logits.shape[1])
        wide = widths(int((logits > 0).sum()), scale)
        trimap = np.where(inside, np.uint8(FOREGROUND), np.uint8(BACKGROUND))
        distance = _distance(inside)
        trimap[distance <= (wide.reach if band == "wide" else wide.narrow)] = UNKNOWN
        if band == "auto":
            doubted = unsure(np.asarray(logits, np.float32), rgb, max(round(wide.reach / scale), 2))
            doubted = cv2.resize(doubted.astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR) > 0
            trimap[doubted[part.slices()] & (distance <= wide.reach)] = UNKNOWN
        if transparent:
            trimap[inside] = UNKNOWN
    if hand.marks is not None:
        trimap[hand.marks == KEEP], trimap[hand.marks == DROP] = FOREGROUND, BACKGROUND
    return trimap


def unsure(logits: Array, rgb: Array, reach: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where a mask may be wrong near its edge: the decoder is not sure, or colours say the opposite.

    logits: h×w float. rgb: h×w×3 uint8. reach: pixels, how far the edge may be. Returns h×w bool, which may be true
    elsewhere as well.
    """
    import numpy as np

    from ..opencv import cv2

    inside = logits > 0
    doubt = np.abs(logits) < UNSURE
    colours = rgb.astype(np.float32)
    distance = _distance(inside)
    off = max(reach // 2, NARROW + 1)
    size = (2 * reach + 1, 2 * reach + 1)
    means, there = [], []
    for side in (inside, ~inside):
        # What is a little off the edge; all of a thin object.
        sure = (side & (distance > off) & (distance <= 3 * reach)).astype(np.float32)
        if not sure.any():
            sure = side.astype(np.float32)
        weight = cv2.blur(sure, size, borderType=cv2.BORDER_ISOLATED)
        weight = cv2.blur(weight, size, borderType=cv2.BORDER_ISOLATED)
        total = cv2.blur(cv2.blur(colours * sure[..., None], size, borderType=cv2.BORDER_ISOLATED), size,
                         borderType=cv2.BORDER_ISOLATED)
        means.append(total / np.maximum(weight, 1e-6)[..., None])
        there.append(weight > 1e-3)
    way = means[0] - means[1]
    length = (way * way).sum(-1)
    share = ((colours - means[1]) * way).sum(-1) / np.maximum(length, 1e-6)  # 0 as the background, 1 as the object
    telling = there[0] & there[1] & (length > 3 * APART * APART)
    opposite = telling & np.where(inside, share < 1 - OPPOSITE, share > OPPOSITE) & (distance <= reach)
    near = max(reach // 2, 2)
    beyond = opposite & (distance > 1)  # an edge that is a pixel off is none of hair
    crowd = cv2.blur(beyond.astype(np.float32), (2 * near + 1, 2 * near + 1))
    hair = opposite & (crowd > CROWDED)
    hair = cv2.dilate(hair.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    # Between strands nothing is certain.
    hair = cv2.morphologyEx(hair, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))) > 0
    found: np.ndarray[Any, np.dtype[np.bool_]] = doubt | hair
    return found


def _distance(inside: np.ndarray[Any, np.dtype[np.bool_]]) -> Array:
    """How far each pixel is from the mask's edge, on either side of it: 1 for those that touch it."""
    import numpy as np

    from ..opencv import cv2

    both = [cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 3) for side in (inside, ~inside)]
    far = np.float32(inside.size)
    if inside.all() or not inside.any():  # then there is no edge, and the transform says so by its largest number
        return np.full(inside.shape, far, np.float32)
    return np.asarray(np.where(inside, both[0], both[1]), np.float32)
