"""Scenes for training: objects in front of photographs, and photographs as they are, with the alpha of every object.

A scene is a picture of any aspect whose longer side is the network's square, and up to some objects, each with its
visible alpha: what stands in front is taken off what stands behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..opencv import cv2
from . import generator
from .augment import (
    Array,
    Rng,
    blur,
    chance,
    degrade,
    jitter_colour,
    motion_blur,
    placed,
    random_crop,
)
from .library import Bytes, Library, Photo, cut_from

GENERATED = 0.36
"""Weight of generated foregrounds beside those of the sources of cut-outs …"""
PEOPLE = 0.22
"""… and of the subjects of photographs."""
BACKGROUNDS = 0.5
"""How often a composite's background is one of the sources' backgrounds, and not a photograph with a subject."""


@dataclass(frozen=True)
class Scene:
    """rgb H×W×3 float32 in 0..1; alphas: one H×W float32 for each object, with `soft` telling whether its edge is the
    true alpha (a composite) or a hard mask's (a photograph), whose band near the edge teaches nothing."""

    rgb: Array
    alphas: list[Array]
    soft: list[bool]


def random_size(rng: Rng, side: int) -> tuple[int, int]:
    """Height and width of a picture whose longer side is `side`; from 2:1 to 1:2."""
    aspect = float(np.clip(np.exp(rng.normal(0, 0.35)), 0.5, 2.0))
    return (side, max(32, round(side / aspect))) if aspect > 1 else (max(32, round(side * aspect)), side)


def build(rng: Rng, library: Library, side: int, *, photographs: float = 0.4, most: int = 3,
          generated: float = GENERATED) -> Scene:
    """One scene.

    side: its longer side; photographs: the share of scenes whose first object is the subject of a photograph, not a
    composite; most: the largest number of objects laid over it; generated: how often an object is a generated one, on
    the scale of the sources' weights.
    """
    size = random_size(rng, side)
    if library.photos and chance(rng, photographs):
        scene = _photograph(rng, library.draw(rng, library.photos), size)
        count = int(chance(rng, 0.3)) * int(rng.integers(1, most + 1))
        small = True
    else:
        scene = _background(rng, library, size)
        count = 1 if chance(rng, 0.5) else int(rng.integers(1, most + 1))
        small = False
    for index in range(count):
        scene = _add(rng, library, scene, small=small or index > 0, generated=generated)
    rgb = jitter_colour(scene.rgb, rng, hue=0.06, strength=0.6)
    return Scene(degrade(np.clip(rgb, 0, 1), rng), scene.alphas, scene.soft)


def _window(rng: Rng, photo: Photo, size: tuple[int, int], smallest: float) -> tuple[Array, Array | None]:
    """A random crop of a photograph at this size, sometimes turned, half of the times mirrored."""
    height, width = photo.rgb.shape[:2]
    y0, x0, y1, x1 = random_crop(rng, height, width, size[0] / size[1], smallest)
    return _resample(rng, photo, (y0, x0, y1, x1), size)


def _resample(rng: Rng, photo: Photo, crop: tuple[int, int, int, int], size: tuple[int, int],
              turn: float = 0.0) -> tuple[Array, Array | None]:
    y0, x0, y1, x1 = crop
    parts = [photo.rgb] if photo.alpha is None else [photo.rgb, photo.alpha]
    out = []
    mirror = chance(rng, 0.5)
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    for part in parts:
        if turn:
            matrix = cv2.getRotationMatrix2D(centre, turn, 1.0)
            part = cv2.warpAffine(part, matrix, (part.shape[1], part.shape[0]), flags=cv2.INTER_LINEAR,
                                  borderMode=cv2.BORDER_REFLECT)
        cut = part[y0:y1, x0:x1]
        shrinking = cut.shape[0] >= size[0]
        cut = cv2.resize(cut, size[::-1], interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        cut = cut[:, ::-1] if mirror else cut
        out.append(np.ascontiguousarray(cut).astype(np.float32) / np.float32(255))
    return out[0], out[1] if len(out) > 1 else None


def _photograph(rng: Rng, photo: Photo, size: tuple[int, int]) -> Scene:
    """A photograph with its subject: whole, or a crop around a part of it, so that the subject fills the picture."""
    assert photo.alpha is not None
    height, width = photo.alpha.shape
    aspect = size[0] / size[1]
    columns, rows = np.flatnonzero(photo.alpha.max(0) > 127), np.flatnonzero(photo.alpha.max(1) > 127)
    if chance(rng, 0.75) and len(columns) and len(rows):
        # a crop about some part of the subject: from a head or a shoe to the whole with a margin
        left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
        share = rng.uniform(0.25, 1.15)
        h = (bottom - top) * share
        w = max(h / aspect, (right - left) * rng.uniform(0.6, 1.2))
        h, w = min(w * aspect, height), min(w, width)
        cy = rng.uniform(*sorted((top + 0.45 * h, bottom - 0.45 * h)))
        cx = rng.uniform(left, right) if chance(rng, 0.4) else (left + right) / 2 + rng.normal(0, 0.15) * w
        y0, x0 = int(np.clip(cy - h / 2, 0, height - h)), int(np.clip(cx - w / 2, 0, width - w))
        crop = (y0, x0, min(height, y0 + max(16, int(h))), min(width, x0 + max(16, int(w))))
    else:
        crop = random_crop(rng, height, width, aspect, 0.6)
    turn = float(rng.normal(0, 12)) if chance(rng, 0.3) else 0.0
    rgb, alpha = _resample(rng, photo, crop, size, turn)
    assert alpha is not None
    if chance(rng, 0.25):  # what is behind out of focus
        soft = blur(alpha, 1.0)[..., None]
        rgb = rgb * soft + blur(rgb, rng.uniform(0.5, 4)) * (1 - soft)
    if chance(rng, 0.3):
        rgb = jitter_colour(rgb, rng, hue=0.5)
    return Scene(rgb, [alpha], [not photo.hard])


def _background(rng: Rng, library: Library, size: tuple[int, int]) -> Scene:
    alone = library.backgrounds and (not library.photos or chance(rng, BACKGROUNDS))
    pool = library.backgrounds if alone else library.photos
    if not pool:
        tone = np.full((*size, 3), rng.uniform(0, 1, 3), np.float32)
        return Scene(tone, [], [])
    photo = library.draw(rng, pool)
    if photo.alpha is not None and chance(rng, 0.7):
        photo = beside(rng, photo)
    rgb, alpha = _window(rng, photo, size, 0.2 if photo.alpha is not None else 0.6)
    if chance(rng, 0.5):
        rgb = jitter_colour(rgb, rng, hue=0.3)
    if chance(rng, 0.3):
        sigma = float(np.exp(rng.uniform(np.log(0.5), np.log(10)))) * max(size) / 320
        rgb = blur(rgb, sigma)
        alpha = None if sigma > 1.5 else alpha
    if chance(rng, 0.06):  # a studio's wall
        wall = rng.uniform(0, 1, 3)
        slope = cv2.resize(rng.uniform(0.8, 1.2, (2, 2)).astype(np.float32), size[::-1])[..., None]
        return Scene(np.clip(wall * slope, 0, 1).astype(np.float32), [], [])
    return Scene(rgb, [] if alpha is None else [alpha], [] if alpha is None else [not photo.hard])


def beside(rng: Rng, photo: Photo) -> Photo:
    """What is to the left or right of a photograph's subject, mirrored to twice its width: a background without it."""
    assert photo.alpha is not None
    columns = np.flatnonzero(photo.alpha.max(0) > 20)
    if len(columns) == 0:
        return Photo(photo.rgb)
    left, right = int(columns[0]) - 4, photo.rgb.shape[1] - int(columns[-1]) - 5
    if max(left, right) < 40:
        return photo
    take_left = left >= 40 and (right < 40 or chance(rng, left / (left + right)))
    strip = photo.rgb[:, :left] if take_left else photo.rgb[:, -right:]
    return Photo(np.ascontiguousarray(np.concatenate([strip, strip[:, ::-1]], axis=1)))


def _cutout(rng: Rng, library: Library, generated: float, side: int) -> tuple[Array, str]:
    """A cut-out as float32 RGBA and its kind: one of a source's, a photograph's subject, or a generated one."""
    kinds = ["generator", "person", *range(len(library.cutouts))]
    weights = np.array([generated, PEOPLE if library.photos else 0.0, *library.weights], np.float64)
    kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
    if kind == "generator":
        return generator.foreground(rng, library.texture, max(generator.SIDE, int(0.8 * side))), "generator"
    if kind == "person":
        return _body(rng, cut_from(library.draw(rng, library.photos))), "person"
    photo = library.draw(rng, library.cutouts[int(kind)])
    return cut_from(photo).astype(np.float32) / np.float32(255), "cutout"


def _body(rng: Rng, rgba: Bytes) -> Array:
    """A person, whole or cut at a random height (a bust, legs), so that the outline is not always the same."""
    rows = np.flatnonzero(rgba[..., 3].max(1) > 127)
    if len(rows) and chance(rng, 0.5):
        top, bottom = rows[0], rows[-1] + 1
        length = (bottom - top) * rng.uniform(0.25, 0.8)
        start = top if chance(rng, 0.6) else rng.uniform(top, bottom - length)
        rgba = rgba[int(start):int(start + length) + 1]
    return rgba.astype(np.float32) / np.float32(255)


def _recoloured(rng: Rng, rgba: Array, kind: str, library: Library) -> Array:
    """Other colours, or another surface: what an object is made of must not tell that it is one."""
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    if kind == "cutout" and chance(rng, 0.3):
        photo = library.texture(rng)
        y0, x0, y1, x1 = random_crop(rng, photo.shape[0], photo.shape[1], rgb.shape[0] / rgb.shape[1], 0.2)
        texture = cv2.resize(photo[y0:y1, x0:x1], rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        light = rgb.mean(2, keepdims=True)
        mixed = np.clip(texture * (0.35 + 1.3 * light), 0, 1)
        rgb = rgb + (mixed - rgb) * np.float32(rng.uniform(0.4, 1.0))
    if chance(rng, 0.6):
        rgb = jitter_colour(np.ascontiguousarray(rgb, dtype=np.float32), rng, hue=1.0 if kind != "person" else 0.3)
    return np.concatenate([rgb, alpha], axis=2).astype(np.float32)


def _add(rng: Rng, library: Library, scene: Scene, *, small: bool, generated: float) -> Scene:
    """Lay one more object over the scene."""
    height, width = scene.rgb.shape[:2]
    cut, kind = _cutout(rng, library, generated, max(height, width))
    cut = _recoloured(rng, cut, kind, library)
    extent = float(rng.uniform(0.15, 0.7) if small else rng.beta(2.0, 1.5) * 0.85 + 0.3)
    turn = 180.0 if chance(rng, 0.1) else 25.0
    layer = placed(cut, rng, height, width, extent=extent, turn=turn, warp=float(rng.uniform(0, 1)))
    rgb, alpha = layer[..., :3], layer[..., 3]
    if chance(rng, 0.15):
        alpha_rgb = np.dstack([rgb * alpha[..., None], alpha])
        sigma = rng.uniform(0.5, 2.5) * max(height, width) / 320
        alpha_rgb = blur(alpha_rgb, sigma) if chance(rng, 0.6) else motion_blur(alpha_rgb, rng, 6 * sigma)
        alpha = alpha_rgb[..., 3]
        rgb = np.clip(alpha_rgb[..., :3] / np.maximum(alpha[..., None], 1e-3), 0, 1)
    if chance(rng, 0.45):
        rgb = _harmonised(rng, rgb, alpha, scene.rgb)
    below = scene.rgb
    if chance(rng, 0.25):
        below = _shadowed(rng, below, alpha)
    veil = alpha[..., None]
    alphas = [other * (1 - alpha) for other in scene.alphas]
    return Scene(rgb * veil + below * (1 - veil), [*alphas, alpha], [*scene.soft, kind != "person"])


def _harmonised(rng: Rng, rgb: Array, alpha: Array, below: Array) -> Array:
    """The object's mean and spread of colour moved towards those of what is behind it."""
    weight = alpha[..., None]
    total = weight.sum() + np.float32(1)
    mean = (rgb * weight).sum((0, 1)) / total
    spread = np.sqrt((((rgb - mean) ** 2) * weight).sum((0, 1)) / total) + np.float32(0.02)
    share = np.float32(rng.uniform(0.2, 0.95))
    near = cv2.dilate(alpha, np.ones((15, 15), np.uint8))[..., None]
    there = (below * near).sum((0, 1)) / (near.sum() + np.float32(1))
    wide = below.std((0, 1)) + np.float32(0.02)
    moved = (rgb - mean) * (1 + (np.clip(wide / spread, 0.5, 2) - 1) * share * np.float32(0.5)) + mean
    result: Array = np.clip(moved + (there - mean) * share, 0, 1)
    return result


def _shadowed(rng: Rng, rgb: Array, alpha: Array) -> Array:
    side = max(alpha.shape)
    shift = rng.uniform(-0.08, 0.08, 2) * side
    matrix = np.array([[1, rng.uniform(-0.4, 0.4), shift[0]], [0, rng.uniform(0.4, 1.1), abs(shift[1])]], np.float32)
    shade = cv2.warpAffine(alpha, matrix, alpha.shape[::-1])
    shade = blur(shade, rng.uniform(0.01, 0.05) * side) * np.float32(rng.uniform(0.2, 0.7))
    return rgb * (1 - shade[..., None])
