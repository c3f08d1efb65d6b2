"""Alpha from a trimap, without a network: closed-form matting with large kernels.

Alpha is 0 and 1 where the trimap says so, and between them such that in every small window it is nearly a linear
function of the colours (Levin, Lischinski, Weiss, "A Closed-Form Solution to Natural Image Matting", CVPR 2006). The
matrix of that, the matting Laplacian, is never made: its product with a map is the map less its guided filter, times
the number of windows that a pixel is in (He, Sun, Tang, "Fast Matting Using Large Kernel Matting Laplacian Matrices",
CVPR 2010). Conjugate gradients solve it, from coarse to fine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..geometry import mask_window
from .guided_filter import Guide

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RADIUS = 2
"""A window is 5×5 pixels, at every size."""
CONTRAST = 1e-7
"""Variance of colours (0..1) below which they explain nothing."""
HOLD = 100.0
"""How strongly the trimap's certain pixels hold."""
COARSEST = 64
"""The longer side, in pixels, at which solving begins."""
STEPS = 50
"""Steps of conjugate gradients at each size …"""
ENOUGH = 1e-4
"""… or fewer, when the residual has shrunk by this factor."""
MARGIN = 8
"""Pixels around the unknown region that are solved with it."""
MOST = 4_000_000
"""Pixels that are solved at most, some 300 bytes each; of a larger region alpha is solved smaller and enlarged."""


def solve_trimap(rgb: Array, trimap: Array) -> Array:
    """Alpha of a trimap.

    Parameters
    ----------
    rgb : ndarray
        H×W×3 uint8.
    trimap : ndarray
        H×W uint8: 0 and 255 are certain, 128 is to be solved.

    Returns
    -------
    H×W float32 in 0..1; exactly 0 and 1 where the trimap is certain.
    """
    import numpy as np

    from ..opencv import cv2

    alpha = np.asarray(trimap, np.float32) / np.float32(255)
    unknown = trimap == 128
    if not unknown.any():
        return alpha
    part = mask_window(unknown, MARGIN).slices()
    image: Array = rgb[part]
    known: Array = np.where(unknown, -1.0, alpha)[part].astype(np.float64)
    height, width = known.shape
    shrink = min(1.0, (MOST / (height * width)) ** 0.5)
    if shrink < 1:
        size = max(round(width * shrink), 1), max(round(height * shrink), 1)
        image = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
        known = cv2.resize(known, size, interpolation=cv2.INTER_NEAREST)
    # In float64: covariances of nearly flat windows are inverted.
    solved = np.clip(_solved(np.ascontiguousarray(image) / 255.0, known), 0, 1)
    if shrink < 1:
        solved = cv2.resize(solved, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha[part] = np.where(unknown[part], solved, alpha[part])
    return alpha


def _solved(image: Array, known: Array) -> Array:
    """Alpha h×w of an image h×w×3 in 0..1, where `known` is -1."""
    import numpy as np

    from ..opencv import cv2

    height, width = known.shape
    certain = known >= 0
    if max(height, width) <= COARSEST or min(height, width) < 8:
        guess = np.where(certain, known, known[certain].mean() if certain.any() else 0.5)
    else:
        half = ((width + 1) // 2, (height + 1) // 2)
        share = cv2.resize(certain.astype(np.float64), half, interpolation=cv2.INTER_AREA)
        mean = cv2.resize(np.where(certain, known, 0.0), half, interpolation=cv2.INTER_AREA)
        coarse = np.where(share > 0.99, mean / np.maximum(share, 1e-6), -1.0)
        below = _solved(cv2.resize(image, half, interpolation=cv2.INTER_AREA), coarse)
        guess = np.where(certain, known, cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR))
    return _conjugate_gradients(image, certain, guess)


def _conjugate_gradients(image: Array, certain: Array, guess: Array) -> Array:
    """Solve (L + H) alpha = H known, H = HOLD on certain pixels, from a guess that has these right."""
    import numpy as np

    guide = Guide(image, RADIUS, CONTRAST)
    hold = np.where(certain, HOLD, 0.0)
    windows = 1 / guide.per_pixel

    def product(x: Array) -> Array:
        result: Array = windows * (x - guide(x)) + hold * x
        return result

    x = guess
    residual = hold * guess - product(x)
    scale = 1 / (windows + hold)  # Jacobi's preconditioner
    direction = scale * residual
    size = first = float((residual * direction).sum())
    for _ in range(STEPS):
        if size <= first * ENOUGH**2 or size <= 0:
            break
        image_of = product(direction)
        step = size / max(float((direction * image_of).sum()), 1e-20)
        x = x + step * direction
        residual = residual - step * image_of
        scaled = scale * residual
        size, before = float((residual * scaled).sum()), size
        direction = scaled + size / before * direction
    return x
