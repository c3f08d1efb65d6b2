"""From the network's input to the image's own pixels: alpha with the edges that the image has.

A head works at a size of some hundred pixels; enlarged to a photograph of 12 megapixels its alpha is blurred. The
linear functions of a guided filter (see guided_filter.py) are made at the input's size, enlarged as in He and Sun,
"Fast Guided Filter", 2015, and applied to the colours of the whole image. `sharpen` does so for a head that predicts
soft alpha, `soften` for a hard mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..geometry import Fit, Window, fit_picture, resize_window
from ..transfers import uploaded
from .guided_filter import Guide, functions_on_device

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Rgb = np.ndarray[Any, np.dtype[np.uint8]]

LARGER = 1.4
"""Alpha of images that are larger than the network's input by this factor is sharpened."""
RADIUS = 1
"""Pixels of the input around each that share one linear function: 3×3. On cut-outs composited on photographs and
shrunk 2 and 4 times, larger ones have larger errors."""
MASK_RADIUS = 2
"""The same for masks, whose edge is some pixels off: 5×5."""
STRIP = 1 << 21
"""Pixels of the image that are computed at once."""


def sharpen(alpha: Tensor, rgb: Rgb, fit: Fit, window: Window, small: Rgb | None = None) -> Tensor:
    """Give alpha that was enlarged from the network's input the edges of the image.

    Parameters
    ----------
    alpha : Tensor
        1×1×h×w float in 0..1, inside `window` of the image.
    rgb : ndarray
        H×W×3 uint8, the whole image.
    fit : Fit
        How the image lies in the input that alpha came from.
    window : Window
        In the image's pixels.
    small : ndarray, optional
        The image as it lies in that input, when it was scaled already.

    Returns
    -------
    The same shape, 0..1; alpha itself for an image that is not larger than the input by the factor LARGER.
    """
    if max(fit.height / fit.scaled[0], fit.width / fit.scaled[1]) < LARGER:
        return alpha
    return _guided(alpha, rgb, fit, window, RADIUS, small)


def soften(mask: Tensor, rgb: Rgb, fit: Fit, window: Window, small: Rgb | None = None) -> Tensor:
    """Alpha of a hard mask: soft where the image's edges are. Arguments as for `sharpen`, for images of any size."""
    return _guided(mask, rgb, fit.at(min(fit.square, max(fit.height, fit.width))), window, MASK_RADIUS, small)


def reach(fit: Fit) -> int:
    """How many of the image's pixels `soften` reaches beyond the mask; `fit` as there."""
    return int(2 * MASK_RADIUS * max(max(fit.height, fit.width) / fit.square, 1)) + 2


def _guided(alpha: Tensor, rgb: Rgb, fit: Fit, window: Window, radius: int, small_rgb: Rgb | None) -> Tensor:
    """The guided filter: its linear functions made in the input of `fit`, and used in the image."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    if not window.height or not window.width:
        return alpha
    down, across = fit.height / fit.scaled[0], fit.width / fit.scaled[1]
    # The window and some pixels more, in whole pixels of the input.
    reach = 2 * radius + 1
    near = Window(
        max(int(window.top / down) - reach, 0), max(int(window.left / across) - reach, 0),
        min(int(window.bottom / down) + reach + 1, fit.scaled[0]),
        min(int(window.right / across) + reach + 1, fit.scaled[1]),
    )
    small = torch.zeros((1, 1, *fit.scaled), device=alpha.device)[(..., *near.slices())]
    small = _shrunk(alpha, fit, window, near, small)
    if small_rgb is None or small_rgb.shape[:2] != fit.scaled:
        small_rgb = fit_picture(rgb, fit)
    if alpha.device.type == "cpu":
        image = small_rgb[near.slices()].astype(np.float32) / np.float32(255)
        function = torch.from_numpy(np.stack(Guide(image, radius).functions(small[0, 0].float().numpy())))
    else:  # where fetching and uploading would take longer than the filter
        pixels = uploaded(torch.from_numpy(small_rgb[near.slices()].copy()), alpha.device)
        function = functions_on_device(pixels.permute(2, 0, 1).float() / 255, small[0, 0].float(), radius)
    # Where alpha is 0 or 1 all around, it stays so.
    low = -F.max_pool2d(-small, reach, stride=1, padding=radius)
    high = F.max_pool2d(small, reach, stride=1, padding=radius)
    soft = ((high > 1 / 255) & (low < 254 / 255)).float()

    result = torch.empty_like(alpha)
    rows = max(STRIP // window.width, 1)
    for top in range(0, window.height, rows):
        bottom = min(top + rows, window.height)
        strip = Window(window.top + top, window.left, window.top + bottom, window.right)
        colours = uploaded(torch.from_numpy(rgb[strip.slices()].copy()), alpha.device).permute(2, 0, 1).float() / 255
        parts = resize_window(torch.cat([function[None], soft], 1), (fit.height, fit.width), strip, source=fit.scaled,
                              origin=(near.top, near.left))[0]
        sharp = (parts[:3] * colours).sum(0).add_(parts[3]).clamp_(0, 1)
        result[0, 0, top:bottom] = torch.lerp(alpha[0, 0, top:bottom], sharp, parts[4])
    return result


def _shrunk(alpha: Tensor, fit: Fit, window: Window, near: Window, into: Tensor) -> Tensor:
    """The matte averaged to the input's pixels inside `near`; what lies outside of `window` counts as 0."""
    import torch
    from torch.nn import functional as F

    down, across = fit.height / fit.scaled[0], fit.width / fit.scaled[1]
    top, bottom = round(near.top * down), min(round(near.bottom * down), fit.height)
    left, right = round(near.left * across), min(round(near.right * across), fit.width)
    # Padded on its own device; negative padding crops.
    padded = F.pad(alpha, (window.left - left, right - window.right, window.top - top, bottom - window.bottom))
    shrunk = F.interpolate(padded, into.shape[-2:], mode="area")
    return torch.clamp(shrunk, 0, 1)
