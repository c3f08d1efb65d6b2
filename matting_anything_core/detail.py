"""Pictures larger than the network's square: edges from the picture's own pixels, and a closer look at objects.

Mask-to-Matte works in a square of some hundred pixels; enlarged to a photograph of 12 megapixels its alpha is blurred.
`sharpen` takes the linear functions of a guided filter (see guided.py) from the square, enlarges them as in He and Sun,
"Fast Guided Filter", 2015, and applies them to the colours of the whole picture.

`finish` puts a matte and its mask together where the network that made the matte is not to be trusted alone.

`closer` says which part of a picture to look at anew for an object that does not fill it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .geometry import Fit, Window, fit_picture, resize_window
from .guided import Guide

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .types import Box

LARGER = 1.4
"""Pictures that are larger than the square by this factor are sharpened."""
RADIUS = 1
"""Pixels of the square around each that share one linear function: 3×3. On cut-outs composited on photographs and
shrunk 2 and 4 times, larger ones have larger errors."""
COARSE_RADIUS = 2
"""The same for `finish`, whose masks are some pixels off: 5×5."""
STRIP = 1 << 21
"""Pixels of the picture that are computed at once."""

CONTEXT = 1.5
"""An object is looked at in a part of the picture this many times as wide and as high as its box …"""
NARROWEST = 0.5
"""… whose shorter side is at least this share of the longer one, as in the pictures that `lite` learned from …"""
NEARER = 1.15
"""… when it is enlarged at least this much by that."""


def sharpen(alpha: Tensor, rgb: np.ndarray[Any, Any], fit: Fit, window: Window) -> Tensor:
    """Give a matte that was enlarged from the square the edges of the picture.

    alpha: 1×1×h×w float 0..1, the matte inside `window` of the picture. rgb: uint8 H×W×3, the whole picture.
    fit: how the picture lies in the square alpha came from. Returns the same shape, 0..1; alpha itself for a picture
    that is not larger than the square by the factor LARGER.
    """
    if max(fit.height / fit.scaled[0], fit.width / fit.scaled[1]) < LARGER:
        return alpha
    return _guided(alpha, rgb, fit, window, RADIUS)


def finish(alpha: Tensor, mask: Tensor, share: float, rgb: np.ndarray[Any, Any], fit: Fit, window: Window) -> Tensor:
    """The mean of a matte, with the weight `share`, and its mask, with the edges of the picture.

    mask: as alpha, 0 or 1. The others, and the result: as for `sharpen`, but for pictures of any size. fit: how the
    picture lies in the square that the mask comes from.
    """
    import torch

    within = fit.at(min(fit.square, max(fit.height, fit.width)))
    return _guided(torch.lerp(mask, alpha, share), rgb, within, window, COARSE_RADIUS)


def spread(fit: Fit) -> int:
    """How many pixels of the picture `finish` reaches beyond what it is given; `fit` as there."""
    return int(2 * COARSE_RADIUS * max(max(fit.height, fit.width) / fit.square, 1)) + 2


def _guided(alpha: Tensor, rgb: np.ndarray[Any, Any], fit: Fit, window: Window, radius: int) -> Tensor:
    """The guided filter: its linear functions made in the square of `fit`, and used in the picture."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    if not window.height or not window.width:
        return alpha
    down, across = fit.height / fit.scaled[0], fit.width / fit.scaled[1]
    # The window and some pixels more, in whole pixels of the square.
    reach = 2 * radius + 1
    near = Window(
        max(int(window.top / down) - reach, 0), max(int(window.left / across) - reach, 0),
        min(int(window.bottom / down) + reach + 1, fit.scaled[0]),
        min(int(window.right / across) + reach + 1, fit.scaled[1]),
    )
    small = torch.zeros((1, 1, *fit.scaled), device=alpha.device)[(..., *near.slices())]
    small = _shrunk(alpha, fit, window, near, small)
    image = fit_picture(rgb, fit)[near.slices()].astype(np.float32) / np.float32(255)
    made = Guide(image, radius).functions(small[0, 0].float().cpu().numpy())
    function = torch.from_numpy(np.ascontiguousarray(made.transpose(2, 0, 1))).unsqueeze(0).to(alpha.device)
    # Where alpha is 0 or 1 all around, it stays so.
    low = -F.max_pool2d(-small, reach, stride=1, padding=radius)
    high = F.max_pool2d(small, reach, stride=1, padding=radius)
    soft = ((high > 1 / 255) & (low < 254 / 255)).float()

    result = torch.empty_like(alpha)
    rows = max(STRIP // window.width, 1)
    for top in range(0, window.height, rows):
        bottom = min(top + rows, window.height)
        strip = Window(window.top + top, window.left, window.top + bottom, window.right)
        colours = torch.from_numpy(rgb[strip.slices()].copy()).to(alpha.device).permute(2, 0, 1).float() / 255
        parts = resize_window(torch.cat([function, soft], 1), (fit.height, fit.width), strip, source=fit.scaled,
                              origin=(near.top, near.left))[0]
        sharp = (parts[:3] * colours).sum(0).add_(parts[3]).clamp_(0, 1)
        result[0, 0, top:bottom] = torch.lerp(alpha[0, 0, top:bottom], sharp, parts[4])
    return result


def _shrunk(alpha: Tensor, fit: Fit, window: Window, near: Window, into: Tensor) -> Tensor:
    """The matte averaged to the square's pixels inside `near`; what lies outside of `window` counts as 0."""
    import torch
    from torch.nn import functional as F

    down, across = fit.height / fit.scaled[0], fit.width / fit.scaled[1]
    top, bottom = round(near.top * down), min(round(near.bottom * down), fit.height)
    left, right = round(near.left * across), min(round(near.right * across), fit.width)
    # Padded on its own device; negative padding crops.
    padded = F.pad(alpha, (window.left - left, right - window.right, window.top - top, bottom - window.bottom))
    shrunk = F.interpolate(padded, into.shape[-2:], mode="area")
    return torch.clamp(shrunk, 0, 1)


def closer(box: Box, height: int, width: int) -> Window | None:
    """The part of a picture of height × width to look at for the object in `box`, which lies inside of the picture;
    None when that would hardly enlarge it."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * CONTEXT, (y1 - y0) * CONTEXT
    across, down = max(across, down * NARROWEST, 16.0), max(down, across * NARROWEST, 16.0)
    top, bottom = _span((y0 + y1) / 2, down, height)
    left, right = _span((x0 + x1) / 2, across, width)
    part = Window(top, left, bottom, right)
    return part if max(part.height, part.width) * NEARER <= max(height, width) else None


def _span(middle: float, side: float, length: int) -> tuple[int, int]:
    """`side` pixels around `middle`, moved into 0..length."""
    size = min(round(side), length)
    start = min(max(round(middle - side / 2), 0), length - size)
    return start, start + size
