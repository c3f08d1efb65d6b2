"""The guided filter (He, Sun, Tang, "Guided Image Filtering", ECCV 2010): a map made smooth but for an image's edges.

Around every pixel the map is explained as a linear function of the image's colours, a·I + b: a ridge regression. The
mean of the functions of all neighbourhoods that a pixel is in is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array: TypeAlias = "np.ndarray[Any, Any]"

EPSILON = 1e-4
"""Contrast below which colours explain nothing: a variance on the 0..1 scale, about that of a photograph's noise."""


class Linear(NamedTuple):
    """A linear function of the colours for every pixel: alpha = red·R + green·G + blue·B + offset, each H×W."""

    red: Array
    green: Array
    blue: Array
    offset: Array

    def __call__(self, rgb: Array) -> Array:
        """Its values for an image H×W×3 in 0..1."""
        from ..opencv import cv2

        red, green, blue = cv2.split(rgb)
        result: Array = self.red * red + self.green * green + self.blue * blue + self.offset
        return result

    def resized(self, width: int, height: int) -> Linear:
        """The functions of an image of another size, bilinear (He and Sun, "Fast Guided Filter", 2015)."""
        from ..opencv import cv2

        return Linear(*(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in self))


class Guide:
    """One image, prepared for many maps. OpenCV's box filter does the work, which does not grow with the radius."""

    def __init__(self, rgb: Array, radius: int, epsilon: float = EPSILON) -> None:
        """rgb: H×W×3 float32 or float64 in 0..1; a neighbourhood is (2 radius + 1)² pixels; epsilon: see EPSILON."""
        import numpy as np

        from ..opencv import cv2

        # per_pixel: one over the number of pixels of each neighbourhood.
        self.rgb, self._side = rgb, (2 * radius + 1, 2 * radius + 1)
        self.per_pixel = 1 / self._sum(np.ones(rgb.shape[:2], rgb.dtype))  # fewer pixels at the image's edges
        r, g, b = self._colours = cv2.split(rgb)
        self._mean = mr, mg, mb = self._means(rgb)
        rr, rg, rb, gg = self._means(cv2.merge([r * r, r * g, r * b, g * g]))
        gb, bb = self._means(cv2.merge([g * b, b * b]))
        rr, gg, bb = rr - mr * mr + epsilon, gg - mg * mg + epsilon, bb - mb * mb + epsilon
        rg, rb, gb = rg - mr * mg, rb - mr * mb, gb - mg * mb
        # The inverse of the symmetric 3×3 covariance by its adjugate: a solver is slow on so many so small systems.
        i_rr, i_rg, i_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        scale = 1 / (rr * i_rr + rg * i_rg + rb * i_rb)
        self._inverse = [x * scale for x in (i_rr, i_rg, i_rb, rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg)]

    def functions(self, values: Array) -> Linear:
        """A map H×W float32 -> the linear function of every pixel."""
        from ..opencv import cv2

        mean = self._means(cv2.merge([*(colour * values for colour in self._colours), values]))
        r, g, b = (mean[i] - self._mean[i] * mean[3] for i in range(3))
        i_rr, i_rg, i_rb, i_gg, i_gb, i_bb = self._inverse
        slope = (i_rr * r + i_rg * g + i_rb * b, i_rg * r + i_gg * g + i_gb * b, i_rb * r + i_gb * g + i_bb * b)
        offset = mean[3] - slope[0] * self._mean[0] - slope[1] * self._mean[1] - slope[2] * self._mean[2]
        return Linear(*self._means(cv2.merge([*slope, offset])))

    def __call__(self, values: Array) -> Array:
        """A map H×W float32 -> the same, filtered."""
        return self.functions(values)(self.rgb)

    def _means(self, x: Array) -> list[Array]:
        """The planes of x (H×W×C), averaged over those pixels around each that lie inside of the image."""
        from ..opencv import cv2

        return [plane * self.per_pixel for plane in cv2.split(self._sum(x))]

    def _sum(self, x: Array) -> Array:
        from ..opencv import cv2

        return cv2.boxFilter(x, -1, self._side, normalize=False, borderType=cv2.BORDER_CONSTANT)


def functions_on_device(rgb: Tensor, values: Tensor, radius: int, epsilon: float = EPSILON) -> Tensor:
    """`Guide(rgb, radius, epsilon).functions(values)` where the tensors are, without a way over the CPU.

    Parameters
    ----------
    rgb : Tensor
        3×H×W float32 in 0..1.
    values : Tensor
        H×W float32.
    radius, epsilon : as for `Guide`.

    Returns
    -------
    4×H×W: red, green, blue, offset; equal to the CPU's up to rounding.
    """
    import torch
    from torch.nn import functional as F

    def means(planes: Tensor) -> Tensor:
        side = 2 * radius + 1
        return F.avg_pool2d(planes[None], side, stride=1, padding=radius, count_include_pad=False)[0]

    r, g, b = rgb
    products = torch.stack([r * r, r * g, r * b, g * g, g * b, b * b])
    mean = means(torch.cat([rgb, products, rgb * values, values[None]]))
    mr, mg, mb = mean[:3]
    rr, rg, rb, gg, gb, bb = mean[3:9] - torch.stack([mr * mr, mr * mg, mr * mb, mg * mg, mg * mb, mb * mb])
    rr, gg, bb = rr + epsilon, gg + epsilon, bb + epsilon
    i_rr, i_rg, i_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    i_gg, i_gb, i_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = 1 / (rr * i_rr + rg * i_rg + rb * i_rb)
    r, g, b = mean[9:12] - mean[:3] * mean[12]
    slope = scale * torch.stack(
        [i_rr * r + i_rg * g + i_rb * b, i_rg * r + i_gg * g + i_gb * b, i_rb * r + i_gb * g + i_bb * b])
    return means(torch.cat([slope, (mean[12] - (slope * mean[:3]).sum(0))[None]]))
