"""From light and coverage, as a renderer gives them, to a straight RGBA picture without fringes.

A pixel at the edge of something holds the light that came from it, premultiplied: with coverage a, a times its colour.
Its colour is the quotient, noisy where a is small and unknown where it is 0; there the colours around it say what is
likely. So what is written can be laid over any background, scaled and blurred without a dark or light line.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]
Rng: TypeAlias = np.random.Generator

LIGHT = np.array([0.2126, 0.7152, 0.0722], np.float32)


def continued(rgb: Array, weight: Array) -> Array:
    """Colours for every pixel, from those that have a weight.

    Parameters
    ----------
    rgb : H×W×3 float32, premultiplied by `weight`.
    weight : H×W float32, 0 or more; above 0 somewhere, or the result is 0.

    Returns
    -------
    H×W×3 float32: near pixels with weight nearly rgb / weight, elsewhere the mean of what is around, the farther from
    anything known the wider.
    """
    layers = [np.dstack([rgb, weight]).astype(np.float32)]
    while max(layers[-1].shape[:2]) > 1:
        layers.append(cv2.pyrDown(layers[-1]))
    below = layers[-1][..., :3] / np.maximum(layers[-1][..., 3:], 1e-6)
    for layer in reversed(layers[:-1]):
        below = cv2.resize(below, layer.shape[1::-1], interpolation=cv2.INTER_LINEAR).reshape(*layer.shape[:2], 3)
        # A hundredth of a pixel's worth of what is around it: decides where nothing is known, and nowhere else.
        below = (layer[..., :3] + 0.01 * below) / (layer[..., 3:] + 0.01)
    return np.asarray(below, np.float32)


def straight(rgb: Array, coverage: Array, samples: int) -> Array:
    """The colour of what covers each pixel, continued where nothing does.

    Parameters
    ----------
    rgb : H×W×3 float32, premultiplied light.
    coverage : H×W float32 in 0..1 of the very same samples, so that the quotient has none of coverage's noise.
    samples : how many rays a pixel got; where only one or two of them hit, the neighbours have a say.

    Returns
    -------
    H×W×3 float32, linear light, not clipped.
    """
    near = cv2.GaussianBlur(np.dstack([rgb, coverage]), (0, 0), 1.2)
    around = continued(near[..., :3], near[..., 3])
    doubt = np.float32(1.5 / samples)
    return np.asarray((rgb + doubt * around) / (coverage[..., None] + doubt), np.float32)


def exposure(rgb: Array, alpha: Array, grey: float) -> float:
    """The factor that makes the subject's mean logarithm of luminance that of `grey`; 1 for nothing at all."""
    solid = alpha > 0.5 * float(alpha.max())
    light = np.maximum((rgb @ LIGHT)[solid], 1e-4)
    if not len(light) or alpha.max() <= 0:
        return 1.0
    # No more than lets one pixel in a hundred be white, else bright things lose their colours.
    most = 1.1 / max(float(np.percentile(light, 99)), 1e-4)
    return float(np.clip(grey / np.exp(np.log(light).mean()), 0.02, max(most, 0.02)))


def developed(rgb: Array, factor: float, shoulder: float = 0.7) -> Array:
    """Linear light to a display's values in 0..1 (sRGB): straight up to `shoulder`, then rolled off towards 1."""
    light = np.maximum(rgb * np.float32(factor), 0)
    over = np.maximum(light - shoulder, 0) / (1 - shoulder)
    light = np.where(light > shoulder, shoulder + (1 - shoulder) * (1 - np.exp(-over)), light)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(np.maximum(light, 1e-9), 1 / 2.4) - 0.055)
    return np.asarray(curve, np.float32)


def with_glints(rgb: Array, alpha: Array, factor: float) -> Array:
    """Alpha that is enough for the light: glass covers little, but what it mirrors may be as bright as the sun.

    rgb is straight and linear. Where it, exposed, is brighter than white, alpha grows until white is enough.
    """
    peak = rgb.max(axis=2) * np.float32(factor)
    return np.asarray(np.clip(alpha * np.maximum(peak, 1), 0, 1), np.float32)


def as_bytes(rgb: Array, alpha: Array) -> Bytes:
    """H×W×4 uint8, both given in 0..1."""
    return np.asarray(np.clip(np.dstack([rgb, alpha]) * 255 + 0.5, 0, 255), np.uint8)


def cropped(rgba: Bytes, margin: int = 6) -> Bytes:
    """The part of a picture that is not empty, with a margin. Raises ValueError when all of it is empty."""
    rows, columns = np.flatnonzero(rgba[..., 3].max(1) > 2), np.flatnonzero(rgba[..., 3].max(0) > 2)
    if not len(rows):
        raise ValueError("the picture is empty: alpha is 0 everywhere")
    y0, x0 = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return np.ascontiguousarray(rgba[y0:rows[-1] + margin + 1, x0:columns[-1] + margin + 1])


def over(rgba: Bytes, background: Any) -> Bytes:
    """A picture laid over a colour, or over a picture of its size."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.asarray(rgba[..., :3] * alpha + np.asarray(background, np.float32) * (1 - alpha) + 0.5, np.uint8)
