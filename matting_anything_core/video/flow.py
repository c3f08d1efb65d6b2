"""Where things were a frame ago: dense optical flow (Kroeger et al., "Fast Optical Flow using Dense Inverse Search",
ECCV 2016, OpenCV's DIS) at a bounded size, checked forward and backward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SIDE = 384
"""Flow is computed on frames whose longer side is at most so many pixels: about what a small network sees as well."""
CLOSE = 1.0
"""A way there and back that ends within this many pixels of its beginning (of the size at which flow is computed) and
…"""
ALIKE = 10.0
"""… that leads to a colour within so many levels (of 255) is believed by more than a third."""


class Flow(NamedTuple):
    """How a frame follows from the one before it, at the size of `small`.

    back: h×w×2 float32, for each pixel the step in pixels, right and down, to where it was.
    sure: h×w float32 in 0..1, how far that can be believed: low where something is hidden, uncovered or lit anew.
    """

    back: Array
    sure: Array


def small(rgb: Array) -> Array:
    """A frame at the size at which flow is computed: h×w×3 uint8."""
    import numpy as np

    from ..opencv import cv2

    height, width = rgb.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    if scale == 1:
        return np.ascontiguousarray(rgb)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def flow_between(before: Array, now: Array) -> Flow:
    """The flow from one frame to the next one.

    Parameters
    ----------
    before, now : ndarray
        h×w×3 uint8, from `small`.
    """
    import numpy as np

    from ..opencv import cv2

    height, width = now.shape[:2]
    if min(height, width) < 16:  # nothing to search in
        return Flow(np.zeros((height, width, 2), np.float32), np.ones((height, width), np.float32))
    old, new = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before, now))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    nothing: Any = None  # an array here would be where the search begins
    back, forth = (np.asarray(search.calc(one, other, nothing)) for one, other in ((new, old), (old, new)))
    there = warp(forth, back)
    away = ((back + there) ** 2).sum(-1)
    shade = cv2.blur(cv2.absdiff(now, warp(before, back)).astype(np.float32).mean(-1), (3, 3))
    sure = np.exp(-away / CLOSE**2 - (shade / ALIKE) ** 2)
    # What came from outside of the frame was not seen.
    y, x = np.mgrid[:height, :width].astype(np.float32)
    from_x, from_y = x + back[..., 0], y + back[..., 1]
    sure[(from_x < -1) | (from_y < -1) | (from_x > width) | (from_y > height)] = 0
    return Flow(back, sure.astype(np.float32))


def warp(values: Array, back: Array) -> Array:
    """What was there a frame ago, where it is now: any h×w(×c) at the size of the flow, bilinear."""
    import numpy as np

    from ..opencv import cv2

    height, width = back.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(values, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved)


def resized(values: Array, height: int, width: int) -> Array:
    """h×w(×c) float32 at another size, bilinear."""
    import numpy as np

    from ..opencv import cv2

    if values.shape[:2] == (height, width):
        return values
    smaller = height < values.shape[0]
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA if smaller else
                                 cv2.INTER_LINEAR))


def enlarged(back: Array, height: int, width: int) -> Array:
    """A flow's steps at the size of a larger frame, in its pixels."""
    import numpy as np

    h, w = back.shape[:2]
    if (h, w) == (height, width):
        return back
    return resized(back, height, width) * np.array([width / w, height / h], np.float32)
