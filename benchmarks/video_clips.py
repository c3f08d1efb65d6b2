"""Twelve clips with true alpha, made of the project's generated subjects and scikit-image's photographs.

A subject moves, turns, grows and bends before a photograph that a camera pans and zooms over; in some clips things pass
in front of it, in one it leaves and comes back. The same name and size give the same clip. Used by benchmarks/video.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from matting_anything_core.training.generator import foreground, noise

PHOTOGRAPHS = ("coffee", "astronaut", "rocket", "stereo_motorcycle", "retina", "chelsea", "immunohistochemistry",
               "hubble_deep_field")
"""Of scikit-image, in its package; the subjects' surfaces and the backgrounds are cut from them."""


@dataclass(frozen=True)
class Plan:
    """What happens in a clip. seed: of the subject and the photographs. speed: pixels a frame, as a share of the
    height. turn: radians a frame. swell: share by which the size goes up and down. bend: pixels, as a share of the
    subject's side, by which it is deformed. occluders: things that pass in front. leaves: goes out of the image and
    comes back. camera: pixels a frame of the background, as a share of the height. light: share by which the exposure
    changes. frames: how many."""

    name: str
    seed: int
    frames: int = 72
    speed: float = 0.006
    turn: float = 0.0
    swell: float = 0.0
    bend: float = 0.0
    occluders: int = 0
    leaves: bool = False
    camera: float = 0.004
    light: float = 0.0


PLANS = (
    Plan("glides", 11, frames=60),
    Plan("turns", 12, turn=0.03, frames=72),
    Plan("bends", 13, bend=0.05, speed=0.002),
    Plan("comes-near", 14, swell=0.35, speed=0.003),
    Plan("runs", 15, speed=0.018, bend=0.04, frames=60),
    Plan("behind-a-post", 16, occluders=1, speed=0.008),
    Plan("behind-things", 17, occluders=3, speed=0.006, frames=96),
    Plan("leaves", 18, leaves=True, speed=0.012, frames=96),
    Plan("camera", 19, camera=0.016, speed=0.003),
    Plan("light", 20, light=0.3, turn=0.015),
    Plan("all", 21, speed=0.009, turn=0.02, swell=0.2, bend=0.03, occluders=1, light=0.15, frames=96),
    Plan("long", 22, bend=0.04, turn=0.012, swell=0.15, frames=120),
)


@cache
def photographs() -> tuple[np.ndarray, ...]:
    """The photographs: H×W×3 float32 in 0..1 each."""
    import skimage.data

    found = []
    for name in PHOTOGRAPHS:
        loaded = getattr(skimage.data, name)()
        image = loaded[0] if isinstance(loaded, tuple) else loaded
        found.append(image[..., :3].astype(np.float32) / 255)
    return tuple(found)


def _subject(rng: np.random.Generator, side: int) -> np.ndarray:
    """A cut-out side×side×4 that is mostly opaque and not tiny."""
    for _ in range(60):
        made = foreground(rng, lambda r: photographs()[int(r.integers(len(photographs())))], side)
        alpha = made[..., 3]
        if 0.12 < alpha.mean() < 0.5 and (alpha > 0.9).sum() > 0.75 * (alpha > 0.1).sum():
            return made
    return made


def _warped(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], field: np.ndarray | None = None,
            border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """A picture seen through an inverse affine map (2×3, from the result's pixels to the picture's) and a displacement
    in the picture's pixels."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    map_x = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]).astype(np.float32)
    map_y = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]).astype(np.float32)
    if field is not None:
        moved = cv2.remap(field, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        map_x, map_y = map_x + moved[..., 0], map_y + moved[..., 1]
    return cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=border)


def _placed(rgba: np.ndarray, centre: tuple[float, float], scale: float, angle: float, size: tuple[int, int],
            field: np.ndarray | None = None) -> np.ndarray:
    """A cut-out of premultiplied colours with its middle at `centre`, scaled and turned."""
    side = rgba.shape[0]
    c, s = np.cos(angle) / scale, np.sin(angle) / scale
    matrix = np.array([[c, s, side / 2 - c * centre[0] - s * centre[1]],
                       [-s, c, side / 2 + s * centre[0] - c * centre[1]]])
    return _warped(rgba, matrix, size, field)


def frames(plan: Plan, height: int = 288, width: int = 384) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The frames of a clip, each (colours H×W×3 uint8, true alpha H×W float32)."""
    rng = np.random.default_rng(plan.seed)
    side = round(0.85 * height)
    subject = _subject(rng, side)
    subject = np.dstack([subject[..., :3] * subject[..., 3:], subject[..., 3]]).astype(np.float32)
    bends = [np.dstack([noise(rng, side, 2, 1), noise(rng, side, 2, 1)]) - 0.5 for _ in range(2)]
    ground = photographs()[int(rng.integers(len(photographs())))]
    heading, phase = rng.uniform(0, 2 * np.pi, 2)
    things = []
    for number in range(plan.occluders):
        kind = rng.integers(2)
        thing = _subject(rng, side) if kind else None
        if thing is None or number == 0:
            photo = photographs()[int(rng.integers(len(photographs())))]
            thing = np.zeros((side, side, 4), np.float32)
            wide = round(0.16 * side)
            thing[:, (side - wide) // 2:(side + wide) // 2, :3] = cv2.resize(photo[:200, :200], (wide, side))
            thing[:, (side - wide) // 2:(side + wide) // 2, 3] = 1
        things.append(np.dstack([thing[..., :3] * thing[..., 3:], thing[..., 3]]).astype(np.float32))
    for index in range(plan.frames):
        way = plan.speed * height * index
        reach = 0.22 * width, 0.12 * height
        if plan.leaves:
            x = width / 2 + (0.75 * width) * np.sin(plan.speed * 3.2 * index)
            y = height / 2 + reach[1] * np.sin(0.05 * index)
        else:
            x = width / 2 + reach[0] * np.sin(way / reach[0] + heading)
            y = height / 2 + reach[1] * np.sin(1.3 * way / reach[0] + phase)
        scale = 1.1 * (1 + plan.swell * np.sin(index / 14))
        turned = plan.turn * index if plan.turn < 0.025 else 1.2 * np.sin(plan.turn * index)
        field = plan.bend * 2 * side * (bends[0] * np.sin(index / 7) + bends[1] * np.sin(index / 11))
        seen = _placed(subject, (x, y), scale, turned, (height, width), field.astype(np.float32))
        cover = max(height / ground.shape[0], width / ground.shape[1]) * 1.35
        pan = plan.camera * height * index
        left = (ground.shape[1] * cover - width) / 2 * (1 + np.sin(2 * pan / width + phase)) / cover
        top = (ground.shape[0] * cover - height) / 2 * (1 + np.sin(1.4 * pan / width + heading)) / cover
        matrix = np.array([[1 / cover, 0, left], [0, 1 / cover, top]])
        behind = _warped(ground, matrix, (height, width), border=cv2.BORDER_REFLECT)
        colours, alpha = seen[..., :3] + (1 - seen[..., 3:]) * behind, seen[..., 3].copy()
        for number, thing in enumerate(things):
            across = (index / plan.frames * 1.5 - 0.25 + 0.31 * number) % 1.5 - 0.25
            at = (1 - across if number % 2 else across) * width, height * (0.5 if number == 0 else 0.45 + 0.15 * number)
            front = _placed(thing, at, 1.6 if number == 0 else 0.45, 0.0, (height, width))
            colours, alpha = front[..., :3] + (1 - front[..., 3:]) * colours, alpha * (1 - front[..., 3])
        colours = colours * (1 + plan.light * np.sin(index / 17)) + rng.normal(0, 1.5 / 255, colours.shape)
        yield (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8), np.clip(alpha, 0, 1).astype(np.float32)
