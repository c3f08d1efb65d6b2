"""Changes to pictures that keep what the picture is of: colour, blur, noise, compression, geometry.

Pictures are float32 numpy arrays H×W×3 (RGB) or H×W×4 (straight alpha) in 0..1. Every function draws from the
generator it is given, so that a sample depends on its seed alone.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ..geometry import mask_window
from ..opencv import cv2

Array: TypeAlias = np.ndarray[Any, Any]
"""float32 unless a docstring says otherwise."""
Rng: TypeAlias = np.random.Generator

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)
_FROM_YIQ = np.linalg.inv(_TO_YIQ).astype(np.float32)


def chance(rng: Rng, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def jitter_colour(rgb: Array, rng: Rng, *, hue: float = 0.1, strength: float = 1.0, gray: float = 0.05) -> Array:
    """Hue rotated (hue: share of half a turn), saturation, contrast, brightness and gamma changed; gray sometimes."""
    angle = rng.uniform(-hue, hue) * np.pi
    saturation = 0.0 if chance(rng, gray) else 1 + rng.uniform(-0.5, 0.5) * strength
    turn = np.array(
        [[1, 0, 0],
         [0, saturation * np.cos(angle), -saturation * np.sin(angle)],
         [0, saturation * np.sin(angle), saturation * np.cos(angle)]], np.float32)
    tint = 1 + rng.uniform(-0.08, 0.08, 3) * strength
    contrast = 1 + rng.uniform(-0.3, 0.3) * strength
    matrix = contrast * np.diag(tint) @ _FROM_YIQ @ turn @ _TO_YIQ
    shift = rng.uniform(-0.15, 0.15) * strength + 0.5 * (1 - contrast)
    result = cv2.transform(rgb, matrix.astype(np.float32)) + np.float32(shift)
    np.clip(result, 0, 1, out=result)
    if chance(rng, 0.3):
        result = np.power(result, np.float32(np.exp(rng.uniform(-0.4, 0.4) * strength)))
    return result


def motion_blur(x: Array, rng: Rng, length: float) -> Array:
    """Blurred along a random straight line of this many pixels; any number of channels."""
    size = max(3, int(length) | 1)
    kernel = np.zeros((size, size), np.float32)
    angle = rng.uniform(0, np.pi)
    half = np.array([np.cos(angle), np.sin(angle)]) * (size // 2)
    start, end = np.round(size // 2 - half).astype(int), np.round(size // 2 + half).astype(int)
    cv2.line(kernel, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1.0, 1)
    return cv2.filter2D(x, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def blur(x: Array, sigma: float) -> Array:
    """Gaussian blur; any number of channels."""
    return cv2.GaussianBlur(x, (0, 0), sigma) if sigma > 0.2 else x


def jpeg(rgb: Array, quality: int) -> Array:
    """Through JPEG and back."""
    _, code = cv2.imencode(".jpg", (rgb[..., ::-1] * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded: Array = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return decoded[..., ::-1].astype(np.float32) / np.float32(255)


def degrade(rgb: Array, rng: Rng) -> Array:
    """What a camera and a web site do: blur, lost resolution, noise, compression, each sometimes."""
    side = max(rgb.shape[:2])
    if chance(rng, 0.15):
        rgb = blur(rgb, rng.uniform(0.3, 1.2) * side / 320)
    if chance(rng, 0.15):
        height, width = rgb.shape[:2]
        factor = rng.uniform(0.4, 0.9)
        smaller = max(8, int(width * factor)), max(8, int(height * factor))
        small = cv2.resize(rgb, smaller, interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if chance(rng, 0.3):
        noise = rng.standard_normal(rgb.shape[:2] + ((1,) if chance(rng, 0.4) else (3,)), dtype=np.float32)
        rgb = np.clip(rgb + noise * np.float32(rng.uniform(0.005, 0.05)), 0, 1)
    if chance(rng, 0.4):
        rgb = jpeg(np.clip(rgb, 0, 1), int(rng.integers(35, 96)))
    return rgb


def random_crop(rng: Rng, height: int, width: int, aspect: float, smallest: float) -> tuple[int, int, int, int]:
    """A random rectangle y0, x0, y1, x1 of this aspect (height / width) that covers between `smallest` and all of the
    longest one that fits."""
    longest = min(width, height / aspect)
    w = max(8.0, longest * rng.uniform(smallest, 1.0))
    h = min(float(height), max(8.0, w * aspect))
    y0, x0 = rng.uniform(0, max(height - h, 0.0)), rng.uniform(0, max(width - w, 0.0))
    return int(y0), int(x0), min(height, int(y0 + h) + 1), min(width, int(x0 + w) + 1)


def bounds(alpha: Array, threshold: float = 0.5) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 (exclusive) around alpha > threshold; None when nothing is."""
    inside = mask_window(alpha > threshold)
    return None if inside.empty else (inside.left, inside.top, inside.right, inside.bottom)


def placed(rgba: Array, rng: Rng, height: int, width: int, *, extent: float, turn: float, warp: float) -> Array:
    """A cut-out set somewhere on a transparent canvas: turned, sheared, mirrored, in perspective.

    rgba: h×w×4, straight alpha. extent: share of the canvas that its bounds reach along the tighter axis (may pass 1);
    turn: largest angle in degrees; warp: shear and perspective, 0..1. Returns H×W×4, straight alpha.
    """
    box = bounds(rgba[..., 3], 0.05) or (0, 0, rgba.shape[1], rgba.shape[0])
    cut = rgba[box[1]:box[3], box[0]:box[2]]
    h, w = cut.shape[:2]
    angle = np.deg2rad(rng.uniform(-turn, turn))
    stretch = np.exp(rng.uniform(-0.35, 0.35) * warp)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.array(
        [[stretch, rng.uniform(-0.3, 0.3) * warp], [0, 1 / stretch]])
    if chance(rng, 0.5):
        linear[:, 0] *= -1
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]], np.float64) / 2 @ linear.T
    corners += rng.uniform(-0.12, 0.12, (4, 2)) * warp * [w, h]
    low, high = corners.min(0), corners.max(0)
    scale = extent * min(width / (high[0] - low[0]), height / (high[1] - low[1]))
    size = (high - low) * scale
    centre = [rng.uniform(*sorted((0.38 * s, n - 0.38 * s))) for s, n in zip(size, (width, height), strict=True)]
    target = (corners - (low + high) / 2) * scale + centre
    if scale < 0.7:  # warping samples four pixels only: shrink first
        factor = max(scale, 4 / min(h, w))
        cut = cv2.resize(cut, (max(2, round(w * factor)), max(2, round(h * factor))), interpolation=cv2.INTER_AREA)
        h, w = cut.shape[:2]
    premultiplied = np.dstack([cut[..., :3] * cut[..., 3:], cut[..., 3]])
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target.astype(np.float32))
    result = cv2.warpPerspective(premultiplied, matrix, (width, height), flags=cv2.INTER_LINEAR)
    alpha = np.clip(result[..., 3:], 0, 1)
    return np.concatenate([np.clip(result[..., :3] / np.maximum(alpha, 1e-3), 0, 1), alpha], axis=2)
