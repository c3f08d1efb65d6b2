"""The guided filter (He, Sun, Tang, "Guided Image Filtering", ECCV 2010): a map made smooth but for a picture's edges.

Around every pixel the map is explained as a linear function of the picture's colours, a·I + b: a ridge regression. The
mean of the functions of all neighbourhoods that a pixel is in is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = "np.ndarray[Any, Any]"

EPSILON = 1e-4
"""Contrast below which colours explain nothing: a variance on the 0..1 scale, about that of a photograph's noise."""


class Guide:
    """One picture, prepared for many maps. OpenCV's box filter does the work, which does not grow with the radius."""

    def __init__(self, rgb: Array, radius: int) -> None:
        """rgb: H×W×3 float32 in 0..1; a neighbourhood is (2 radius + 1)² pixels."""
        import numpy as np

        self.rgb, self.radius = rgb, radius
        self._inside = _sum(np.ones(rgb.shape[:2], np.float32), radius)[..., None]
        self._colour = self._mean(rgb)
        (r, g, b), (mr, mg, mb) = np.moveaxis(rgb, 2, 0), np.moveaxis(self._colour, 2, 0)
        second = self._mean(np.dstack([r * r, r * g, r * b, g * g])), self._mean(np.dstack([g * b, b * b]))
        rr, rg, rb, gg, gb, bb = np.moveaxis(np.dstack(second), 2, 0)
        rr, gg, bb = rr - mr * mr + EPSILON, gg - mg * mg + EPSILON, bb - mb * mb + EPSILON
        rg, rb, gb = rg - mr * mg, rb - mr * mb, gb - mg * mb
        # The inverse of the symmetric 3×3 covariance by its adjugate: a solver is slow on so many so small systems.
        i_rr, i_rg, i_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        scale = 1 / (rr * i_rr + rg * i_rg + rb * i_rb)
        self._inverse = [x * scale for x in (i_rr, i_rg, i_rb, rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg)]

    def functions(self, values: Array) -> Array:
        """A map H×W float32 -> H×W×4, the linear function (a, b) of every pixel."""
        import numpy as np

        mean = self._mean(values[..., None])
        r, g, b = np.moveaxis(self._mean(self.rgb * values[..., None]) - self._colour * mean, 2, 0)
        i_rr, i_rg, i_rb, i_gg, i_gb, i_bb = self._inverse
        slope = np.dstack([i_rr * r + i_rg * g + i_rb * b, i_rg * r + i_gg * g + i_gb * b,
                           i_rb * r + i_gb * g + i_bb * b])
        offset = mean[..., 0] - np.einsum("hwc,hwc->hw", slope, self._colour)
        return self._mean(np.dstack([slope, offset]))

    def __call__(self, values: Array) -> Array:
        """A map H×W float32 -> the same, filtered."""
        import numpy as np

        function = self.functions(values)
        result: Array = np.einsum("hwc,hwc->hw", function[..., :3], self.rgb) + function[..., 3]
        return result

    def _mean(self, x: Array) -> Array:
        """Over those pixels around each that lie inside of the picture: H×W×C."""
        total = _sum(x, self.radius)
        return (total[..., None] if total.ndim == 2 else total) / self._inside


def _sum(x: Array, radius: int) -> Array:
    from .opencv import cv2

    side = (2 * radius + 1, 2 * radius + 1)
    return cv2.boxFilter(x, cv2.CV_32F, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
