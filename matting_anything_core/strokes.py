"""Strokes: lines that a user draws over what belongs to the object, or over what does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import PromptError

if TYPE_CHECKING:
    import numpy as np

MOST_WIDTH = 100_000.0


@dataclass(frozen=True)
class Stroke:
    """A line through points, with round ends.

    Parameters
    ----------
    points : sequence of (x, y)
        In pixels of the image as seen, x to the right, y down. A single point is a dot.
    width : float
        In pixels, at least 1.

    Raises
    ------
    PromptError
        For coordinates or a width that are no finite numbers, and for a stroke without points.
    """

    points: Sequence[tuple[float, float]]
    width: float = 1.0

    def __post_init__(self) -> None:
        try:
            points = tuple((float(x), float(y)) for x, y in self.points)
            width = float(self.width)
        except (TypeError, ValueError, OverflowError):
            raise PromptError(f"a stroke was given as points={self.points!r:.200}, width={self.width!r:.40}; "
                              "expected points [(x, y), …] and a width in pixels") from None
        if not points:
            raise PromptError("a stroke has no points; give at least one (x, y)")
        if not all(math.isfinite(value) for point in points for value in point):
            raise PromptError("a stroke holds coordinates that are not finite; expected numbers of pixels")
        if not 1 <= width <= MOST_WIDTH:
            raise PromptError(f"a stroke has the width {width:g}; expected at least 1 pixel")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "width", width)

    @classmethod
    def of(cls, value: Any) -> Stroke:
        """A Stroke, a mapping with its fields, or its points alone.

        Raises
        ------
        PromptError
            When the value is none of these.
        """
        if isinstance(value, Stroke):
            return value
        if isinstance(value, Mapping):
            unknown = sorted(str(key) for key in value if key not in ("points", "width"))
            if unknown or "points" not in value:
                raise PromptError(f"a stroke has the fields {', '.join(map(str, value))}; expected points and width")
            return cls(**{str(key): item for key, item in value.items()})
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise PromptError(f"a stroke was given as {value!r:.80}; expected its points [(x, y), …]")
        return cls(list(value))


def draw(strokes: Sequence[Stroke], height: int, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The pixels of an image of height × width that strokes cover, H×W bool; parts outside of it are left out."""
    import numpy as np

    from .opencv import cv2

    covered = np.zeros((height, width), np.uint8)
    bits = 4  # OpenCV takes coordinates in sixteenths of a pixel, and pixel centres are whole numbers there
    for stroke in strokes:
        limit = 4.0 * (height + width) + stroke.width
        places = [(min(max(x - 0.5, -limit), limit), min(max(y - 0.5, -limit), limit)) for x, y in stroke.points]
        line = np.array([[round(x * 2**bits), round(y * 2**bits)] for x, y in places], np.int32)
        thickness = max(1, round(stroke.width))
        if len(line) > 1:
            cv2.polylines(covered, [line[:, None]], False, 255, thickness, cv2.LINE_8, bits)
        if len(line) == 1 or thickness > 2:
            for x, y in (line[0], line[-1]):
                cv2.circle(covered, (int(x), int(y)), max(round((stroke.width - 1) * 2 ** (bits - 1)), 0), 255, -1,
                           cv2.LINE_8, bits)
    return covered > 0
