"""Where the picture lies in the window. Nothing here knows of GIMP or GTK.

Lengths in the window are its pixels; scale is so many of them for one of the picture's. The picture's corner lies on
whole pixels, so that at whole scales its pixels are exact squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

LEAST, MOST, FITTED = 16, 64.0, 8.0
"""Of the picture's longer side that stays visible when one zooms out; the largest scale; that of small pictures to
begin with."""
VISIBLE = 48
"""Pixels of the picture that cannot be panned out of sight."""


@dataclass(frozen=True)
class View:
    """A picture of `picture` pixels, its corner at (x, y) of a window of `window` pixels."""

    picture: tuple[int, int]
    window: tuple[int, int]
    scale: float
    x: int
    y: int
    fitted: bool = False

    @classmethod
    def fit(cls, picture: tuple[int, int], window: tuple[int, int]) -> View:
        """All of the picture in sight."""
        scale = _fitting(picture, window)
        return cls(picture, window, scale, round((window[0] - picture[0] * scale) / 2),
                   round((window[1] - picture[1] * scale) / 2), fitted=True)

    def resized(self, window: tuple[int, int]) -> View:
        """Another size of the window. What was in its middle stays there."""
        if self.fitted:
            return View.fit(self.picture, window)
        return replace(self, window=window).panned((window[0] - self.window[0]) / 2, (window[1] - self.window[1]) / 2)

    def zoomed(self, scale: float, at: tuple[float, float] | None = None) -> View:
        """Another scale; what is at that place of the window, its middle unless given, stays there."""
        at = (self.window[0] / 2, self.window[1] / 2) if at is None else at
        least = min(LEAST / max(self.picture), _fitting(self.picture, self.window))
        scale = min(max(scale, least), MOST)
        px, py = self.to_picture(*at)
        return replace(self, scale=scale, fitted=False)._settled(at[0] - px * scale, at[1] - py * scale)

    def step(self, steps: int) -> float:
        """The next of the scales 1/2, 1/1.4, 1, 1.4 …: steps of half an octave, up or down."""
        octaves = math.log2(self.scale) * 2
        start = math.floor(octaves + 1e-6) if steps > 0 else math.ceil(octaves - 1e-6)
        return float(2 ** ((start + steps) / 2))

    def panned(self, dx: float, dy: float) -> View:
        """The picture moved in the window."""
        return replace(self, fitted=False)._settled(self.x + dx, self.y + dy)

    def _settled(self, x: float, y: float) -> View:
        def inside(at: float, size: float, whole: int) -> int:
            return round(min(max(at, VISIBLE - size), whole - VISIBLE))

        return replace(self, x=inside(x, self.picture[0] * self.scale, self.window[0]),
                       y=inside(y, self.picture[1] * self.scale, self.window[1]))

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """A place of the window in the picture's pixels."""
        return (x - self.x) / self.scale, (y - self.y) / self.scale

    def to_window(self, x: float, y: float) -> tuple[float, float]:
        """A place of the picture in the window."""
        return x * self.scale + self.x, y * self.scale + self.y

    def shown(self) -> tuple[int, int, int, int]:
        """The part of the window that shows the picture: left, top, right, bottom; empty where it is out of sight."""
        width, height = (max(round(side * self.scale), 1) for side in self.picture)
        return (max(self.x, 0), max(self.y, 0),
                max(min(self.x + width, self.window[0]), max(self.x, 0)),
                max(min(self.y + height, self.window[1]), max(self.y, 0)))


def _fitting(picture: tuple[int, int], window: tuple[int, int]) -> float:
    return max(min(window[0] / picture[0], window[1] / picture[1], FITTED), 1e-4)
