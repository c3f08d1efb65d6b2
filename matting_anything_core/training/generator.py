"""A procedural generator of foregrounds, for what the data lacks: soft alpha, and objects that look like photographs.

A shape (blob, creature, construction, plant, net, smoke) gets an edge (hair or fur, holes, defocus, motion, partial
transparency) and a surface (textures cut from photographs, a base colour, shading from a light). Everything is drawn
at twice the size and averaged, so alpha is right to a fraction of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..opencv import cv2
from .augment import Array, Rng, blur, chance, jitter_colour, motion_blur, random_crop

SIDE = 320
"""Height and width of a generated foreground, in pixels, unless another is asked for."""


def foreground(rng: Rng, textures: Callable[[Rng], Array], side: int = SIDE) -> Array:
    """One generated cut-out, side×side×4 float32 in 0..1, straight alpha.

    textures: gives a photograph (H×W×3 float32) for the surface.
    """
    kind = rng.choice(6, p=[0.24, 0.3, 0.2, 0.12, 0.06, 0.08])
    if kind == 5:
        return _smoke(rng, side)
    alpha = (_blob, _creature, _construction, _plant, _net)[kind](rng, 2 * side)
    furry = kind in (0, 1) and chance(rng, 0.5)
    if kind in (0, 1, 2) and chance(rng, 0.12):
        alpha = _with_holes(alpha, rng)
    if furry:
        alpha = _with_hair(alpha, rng)
    solid = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)
    rgb = _surface(solid, rng, textures)
    solid = _edge(solid, rng)
    return np.dstack([rgb, solid]).astype(np.float32)


def noise(rng: Rng, side: int, cells: int, octaves: int = 3) -> Array:
    """Smooth noise side×side in 0..1 with structures of side / cells pixels and finer."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        n = cells * 2**octave + 2
        field = rng.random((n, n), dtype=np.float32)
        total += cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC) / 2**octave
    low, high = total.min(), total.max()
    result: Array = (total - low) / (high - low + np.float32(1e-6))
    return result


def _canvas(big: int) -> Array:
    return np.zeros((big, big), np.float32)


def _ellipse(canvas: Array, centre: Array, axes: tuple[float, float], angle: float) -> None:
    cv2.ellipse(canvas, (int(centre[0]), int(centre[1])), (max(1, int(axes[0])), max(1, int(axes[1]))), angle, 0, 360,
                1.0, -1)


def _limb(canvas: Array, points: Array, thick: float, thin: float) -> None:
    """A bent limb that tapers: circles along a polyline."""
    for a, b, u in zip(points[:-1], points[1:], np.linspace(0, 1, len(points) - 1), strict=True):
        width = max(1, int(thick + (thin - thick) * u))
        cv2.line(canvas, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), 1.0, width)
        cv2.circle(canvas, (int(b[0]), int(b[1])), max(1, width // 2), 1.0, -1)


def _curve(rng: Rng, start: Array, angle: float, length: float, bend: float, steps: int = 8) -> Array:
    """A curve from start, leaving at this angle (radians) and bending at random."""
    angles = angle + np.cumsum(rng.normal(0, bend, steps))
    moves = np.stack([np.cos(angles), np.sin(angles)], 1) * (length / steps)
    return np.concatenate([start[None], start + np.cumsum(moves, 0)])


def _blob(rng: Rng, big: int) -> Array:
    canvas = _canvas(big)
    theta = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = np.ones_like(theta)
    rough = rng.uniform(0.05, 0.35)
    for k in range(2, int(rng.integers(4, 10))):
        radius += rough / k**0.7 * rng.normal() * np.cos(k * theta + rng.uniform(0, 6.3))
    radius = np.clip(radius, 0.25, 1.8)
    axes = rng.uniform(0.2, 0.42, 2) * big
    points = np.stack([np.cos(theta) * axes[0], np.sin(theta) * axes[1]], 1) * radius[:, None] / radius.max()
    cv2.fillPoly(canvas, [np.round(points + big / 2).astype(np.int32)], 1.0)
    return canvas


def _creature(rng: Rng, big: int) -> Array:
    """A body with legs, neck, head, ears and tail: an animal's outline in a random pose."""
    canvas = _canvas(big)
    unit = big * rng.uniform(0.16, 0.22)
    centre = np.array([big * 0.5, big * 0.48])
    long, tall = unit * rng.uniform(0.9, 1.4), unit * rng.uniform(0.45, 0.9)
    tilt = rng.normal(0, 12)
    _ellipse(canvas, centre, (long, tall), tilt)
    belly = np.array([rng.uniform(-0.4, 0.4) * long, rng.uniform(-0.2, 0.3) * tall])
    _ellipse(canvas, centre + belly, (long * 0.7, tall * 0.9), 0)
    legs, reach = int(rng.choice([0, 2, 4, 4, 4])), unit * rng.uniform(0.5, 1.6)
    for i in range(legs):
        x = np.interp(i, [0, max(legs - 1, 1)], [-0.75, 0.75]) * long + rng.normal(0, 0.12) * long
        start = centre + np.array([x, tall * 0.5])
        thick = unit * rng.uniform(0.18, 0.4)
        _limb(canvas, _curve(rng, start, np.pi / 2 + rng.normal(0, 0.25), reach + tall * 0.4, 0.12), thick, thick * 0.5)
    side = rng.choice([-1, 1])
    direction = -np.pi / 2 + side * rng.uniform(0.2, 1.6)
    shoulder = centre + np.array([side * long * 0.7, -tall * 0.3])
    neck = _curve(rng, shoulder, direction, unit * rng.uniform(0.2, 1.3), 0.08)
    _limb(canvas, neck, unit * rng.uniform(0.4, 0.8), unit * rng.uniform(0.3, 0.5))
    head, size = neck[-1], unit * rng.uniform(0.35, 0.7)
    _ellipse(canvas, head, (size, size * rng.uniform(0.6, 1.0)), rng.uniform(-40, 40))
    if chance(rng, 0.6):
        snout = head + np.array([side * size * 0.8, size * 0.2])
        _ellipse(canvas, snout, (size * 0.6, size * 0.35), rng.uniform(-30, 30))
    for ear in rng.uniform(-0.9, 0.9, int(rng.integers(0, 3))):
        _limb(canvas, _curve(rng, head + np.array([ear * size * 0.7, -size * 0.4]), -np.pi / 2 + ear * 0.6,
                             size * rng.uniform(0.5, 1.5), 0.05, 4), size * rng.uniform(0.3, 0.6), size * 0.1)
    if chance(rng, 0.75):
        tail = _curve(rng, centre + np.array([-side * long * 0.9, -tall * 0.1]), np.pi / 2 + side * rng.uniform(0, 2.5),
                      unit * rng.uniform(0.5, 1.8), 0.25)
        _limb(canvas, tail, unit * rng.uniform(0.08, 0.35), unit * rng.uniform(0.03, 0.25))
    return canvas


def _construction(rng: Rng, big: int) -> Array:
    """Made things: boxes, rods, discs, spoked wheels and handles joined together."""
    canvas = _canvas(big)
    anchor = np.full(2, big / 2)
    for _ in range(int(rng.integers(2, 8))):
        size = rng.uniform(0.06, 0.24, 2) * big
        angle = float(rng.choice([0, 0, 90, rng.uniform(0, 180)]))
        kind = rng.integers(0, 6)
        if kind <= 1:
            box = cv2.boxPoints(((float(anchor[0]), float(anchor[1])), (float(2 * size[0]), float(2 * size[1])), angle))
            cv2.fillConvexPoly(canvas, np.round(box).astype(np.int32), 1.0)
        elif kind == 2:
            _limb(canvas, _curve(rng, anchor, rng.uniform(0, 6.3), size[0] * 3, 0.03, 3), size[1] * 0.25, size[1] * 0.2)
        elif kind == 3:
            _ellipse(canvas, anchor, (size[0], size[1] if chance(rng, 0.5) else size[0]), angle)
        elif kind == 4:
            _wheel(canvas, rng, anchor, float(size.max()))
        else:
            polygon = anchor + rng.normal(0, 1, (int(rng.integers(3, 6)), 2)) * size
            cv2.fillPoly(canvas, [cv2.convexHull(polygon.astype(np.int32))], 1.0)
        inside = np.argwhere(canvas > 0)
        y, x = inside[rng.integers(len(inside))]
        anchor = np.clip(np.array([x, y], np.float64), 0.2 * big, 0.8 * big)
    return canvas


def _wheel(canvas: Array, rng: Rng, centre: Array, radius: float) -> None:
    rim = max(2, int(radius * rng.uniform(0.05, 0.2)))
    at = (int(centre[0]), int(centre[1]))
    cv2.circle(canvas, at, int(radius), 1.0, rim)
    count = int(rng.integers(4, 24))
    for angle in np.arange(count) * 2 * np.pi / count + rng.uniform(0, 1):
        end = centre + radius * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(canvas, at, (int(end[0]), int(end[1])), 1.0, max(1, int(radius * rng.uniform(0.01, 0.05))))
    cv2.circle(canvas, at, max(2, int(radius * rng.uniform(0.08, 0.3))), 1.0, -1)


def _plant(rng: Rng, big: int) -> Array:
    """Stems with leaves, petals or the barbs of a feather."""
    canvas = _canvas(big)
    root = np.array([big * 0.5, big * 0.85])
    feather = chance(rng, 0.3)
    for _ in range(1 if feather else int(rng.integers(1, 6))):
        stem = _curve(rng, root, -np.pi / 2 + rng.normal(0, 0.4), big * rng.uniform(0.4, 0.7), 0.08, 40)
        _limb(canvas, stem, big * rng.uniform(0.006, 0.03), 2)
        size = big * rng.uniform(0.03, 0.1)
        for i in range(4, len(stem), 1 if feather else int(rng.integers(2, 6))):
            for side in (-1, 1):
                heading = np.arctan2(*(stem[i] - stem[i - 1])[::-1]) + side * rng.uniform(0.5, 1.2)
                if feather:
                    _limb(canvas, _curve(rng, stem[i], heading, size * 2.5, 0.05, 5), 3, 1)
                    continue
                centre = stem[i] + size * np.array([np.cos(heading), np.sin(heading)])
                _ellipse(canvas, centre, (size, size * rng.uniform(0.2, 0.6)), float(np.rad2deg(heading)))
        if not feather and chance(rng, 0.5):
            petals, radius = int(rng.integers(4, 12)), big * rng.uniform(0.05, 0.13)
            for angle in np.arange(petals) * 2 * np.pi / petals:
                at = stem[-1] + radius * 0.7 * np.array([np.cos(angle), np.sin(angle)])
                _ellipse(canvas, at, (radius * 0.7, radius * 0.35), float(np.rad2deg(angle)))
    return canvas


def _net(rng: Rng, big: int) -> Array:
    """A net, grid or lattice inside a frame."""
    inside, canvas = _blob(rng, big) if chance(rng, 0.5) else _construction(rng, big), _canvas(big)
    step, angle = big * rng.uniform(0.03, 0.09), rng.uniform(0, np.pi)
    for turn in (0.0, rng.uniform(0.8, 2.2)):
        along = np.array([np.cos(angle + turn), np.sin(angle + turn)])
        across = np.array([-along[1], along[0]])
        for offset in np.arange(-big, big, step):
            a, b = big / 2 + across * offset - along * big, big / 2 + across * offset + along * big
            cv2.line(canvas, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), 1.0, int(rng.integers(2, 7)))
    frame = inside - cv2.erode(inside, np.ones((big // 71, big // 71), np.uint8))
    return np.maximum(np.minimum(canvas, inside), frame)


def _with_holes(alpha: Array, rng: Rng) -> Array:
    big = alpha.shape[0]
    inside = np.argwhere(cv2.erode(alpha, np.ones((big // 26, big // 26), np.uint8)) > 0)
    for _ in range(int(rng.integers(1, 5))):
        if len(inside) == 0:
            break
        y, x = inside[rng.integers(len(inside))]
        axes = tuple(int(v) for v in rng.uniform(0.01, 0.07, 2) * big + 2)
        cv2.ellipse(alpha, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 0.0, -1)
    return alpha


def _with_hair(alpha: Array, rng: Rng) -> Array:
    """Strands that leave the outline: from short dense fur to long loose hair."""
    big = alpha.shape[0]
    contours, _ = cv2.findContours((alpha > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return alpha
    outline = max(contours, key=len)[:, 0].astype(np.float64)
    smooth = blur(alpha, big / 80)
    gy, gx = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    length = big * np.exp(rng.uniform(np.log(0.012), np.log(0.12)))
    comb = rng.normal(0, 0.8)
    count = int(min(900, len(outline) * rng.uniform(0.15, 0.8)))
    start, span = rng.integers(len(outline)), len(outline) * (1.0 if chance(rng, 0.6) else rng.uniform(0.2, 0.7))
    strands = np.zeros((big, big), np.uint8)
    for at in (start + rng.uniform(0, span, count)).astype(int) % len(outline):
        x, y = outline[at]
        normal = np.arctan2(-gy[int(y), int(x)], -gx[int(y), int(x)])
        path = _curve(rng, outline[at], normal + comb + rng.normal(0, 0.3), length * rng.uniform(0.4, 1.2), 0.12, 6)
        cv2.polylines(strands, [np.round(path * 8).astype(np.int32)], False, int(rng.integers(90, 256)),
                      1 + int(rng.random() < 0.3), cv2.LINE_AA, 3)
    both: Array = np.maximum(alpha, strands.astype(np.float32) / np.float32(255))
    return both


def _smoke(rng: Rng, side: int) -> Array:
    """Smoke, cloud or spray: noise inside a soft envelope, of nearly one colour."""
    envelope = cv2.resize(_blob(rng, 2 * side), (side, side), interpolation=cv2.INTER_AREA)
    envelope = blur(envelope, side * rng.uniform(0.03, 0.08))
    density = noise(rng, side, int(rng.integers(2, 6)), 5)
    alpha = np.clip((density * envelope * 2 - rng.uniform(0.1, 0.4)) * rng.uniform(1.0, 3.0), 0, rng.uniform(0.7, 1.0))
    colour = np.clip(rng.uniform(0.2, 1.0) + rng.normal(0, 0.06, 3), 0, 1)
    shade = 1 - rng.uniform(0, 0.5) * noise(rng, side, 4)
    return np.dstack([np.clip(colour * shade[..., None], 0, 1), alpha]).astype(np.float32)


def _patch(rng: Rng, textures: Callable[[Rng], Array], side: int) -> Array:
    photo = textures(rng)
    y0, x0, y1, x1 = random_crop(rng, photo.shape[0], photo.shape[1], 1.0, 0.12)
    return cv2.resize(photo[y0:y1, x0:x1], (side, side), interpolation=cv2.INTER_LINEAR)


def _surface(solid: Array, rng: Rng, textures: Callable[[Rng], Array]) -> Array:
    """Colour for a shape: textures in patches around a base colour, lit from one side as if it were round."""
    side = solid.shape[0]
    texture = _patch(rng, textures, side)
    base = jitter_colour(texture.mean((0, 1), keepdims=True), rng, hue=1.0)
    keep = rng.uniform(0.1, 1.0)
    rgb = base + (texture - texture.mean((0, 1))) * keep if chance(rng, 0.7) else texture
    for _ in range(int(rng.integers(0, 3))):
        region = noise(rng, side, int(rng.integers(1, 12)), 2) if chance(rng, 0.6) else _stripes(rng, side)
        edge = np.clip((region - rng.uniform(0.4, 0.7)) * rng.uniform(5, 60), 0, 1)[..., None]
        other = jitter_colour(_patch(rng, textures, side), rng, hue=0.5)
        if chance(rng, 0.5):
            other = other.mean((0, 1)) + (other - other.mean((0, 1))) * np.float32(0.3)
        rgb = rgb * (1 - edge) + other * edge
    height = blur(solid, side * rng.uniform(0.02, 0.08))
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * cv2.Sobel(height, cv2.CV_32F, 1, 0) + np.sin(angle) * cv2.Sobel(height, cv2.CV_32F, 0, 1)
    light = 1 + np.clip(slope / (np.abs(slope).max() + 1e-6), -1, 1) * rng.uniform(0, 0.5)
    lit: Array = np.clip(rgb * light[..., None], 0, 1).astype(np.float32)
    return lit


def _stripes(rng: Rng, side: int) -> Array:
    angle, period = rng.uniform(0, np.pi), side * rng.uniform(0.03, 0.4)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    phase = (x * np.cos(angle) + y * np.sin(angle)) / period + noise(rng, side, 3) * rng.uniform(0, 2)
    waves: Array = (np.sin(phase * 2 * np.pi) / 2 + 0.5).astype(np.float32)
    return waves


def _edge(solid: Array, rng: Rng) -> Array:
    """Defocus, motion or transparency of the finished shape, sometimes."""
    side = solid.shape[0]
    draw = rng.random()
    if draw < 0.2:
        return blur(solid, side * rng.uniform(0.002, 0.015))
    if draw < 0.28:
        return motion_blur(solid, rng, side * rng.uniform(0.02, 0.1))
    if draw < 0.36:  # glass: clear inside, a denser rim
        rim = np.clip(solid - blur(solid, side * 0.02) * 0.9, 0, 1)
        return np.clip(solid * rng.uniform(0.25, 0.7) + rim * rng.uniform(0.5, 2), 0, 1) * (solid > 0)
    return solid
