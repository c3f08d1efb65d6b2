"""What subjects are coloured, covered and built with: tints, marks of a coat, fur, chains of balls, eyes."""

from __future__ import annotations

import numpy as np

from . import materials, shapes
from .materials import Colour
from .stage import Stage
from .strands import DOWN, Array, Rng, Style, Surface, grown, multiplied, swirl, unit, waves

UP = np.array([0.0, 0.0, 1.0])
# What fur, hair and feathers are coloured like, in linear light; a fifth of them is coloured like anything.
NATURAL: tuple[Colour, ...] = (
    (0.012, 0.010, 0.009), (0.03, 0.018, 0.012), (0.08, 0.035, 0.015), (0.16, 0.07, 0.03), (0.3, 0.15, 0.06),
    (0.45, 0.26, 0.11), (0.62, 0.45, 0.25), (0.75, 0.66, 0.52), (0.85, 0.83, 0.8), (0.35, 0.34, 0.33),
    (0.15, 0.15, 0.16), (0.4, 0.09, 0.02), (0.5, 0.2, 0.04))
SKIN: tuple[Colour, ...] = ((0.62, 0.36, 0.26), (0.5, 0.27, 0.17), (0.33, 0.16, 0.09), (0.16, 0.07, 0.04),
                            (0.07, 0.03, 0.018), (0.7, 0.47, 0.38))
GREENS: tuple[Colour, ...] = ((0.05, 0.12, 0.02), (0.12, 0.22, 0.04), (0.02, 0.06, 0.015), (0.3, 0.3, 0.08),
                              (0.4, 0.3, 0.12), (0.1, 0.18, 0.1), (0.35, 0.06, 0.03))


def pick(rng: Rng, colours: tuple[Colour, ...], odd: float = 0.2) -> Array:
    """One of these, a little changed; or any colour at all."""
    if rng.random() < odd:
        return np.array(materials.colour(rng, (0.3, 0.95), (0.05, 0.8)))
    return np.clip(np.array(colours[rng.integers(len(colours))]) * np.exp(rng.normal(0, 0.25, 3) * 0.4
                                                                          + rng.normal(0, 0.2)), 0.004, 0.95)


def shaded(rng: Rng, colour: Array, count: int, spread: float = 0.25) -> Array:
    """The same colour for each strand, lighter or darker."""
    return np.asarray(np.clip(colour * np.exp(rng.normal(0, spread, (count, 1))), 0.002, 0.97))


def chain(start: Array, end: Array, first: float, last: float, bow: Array | None = None) -> tuple[Array, Array]:
    """Balls along a line, or an arc that is bowed in its middle; near enough to melt together."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    count = max(2, int(np.linalg.norm(end - start) / max(0.45 * min(first, last), 0.02)) + 1)
    t = np.linspace(0, 1, min(count, 24))
    points = start + (end - start) * t[:, None]
    if bow is not None:
        points = points + np.sin(np.pi * t)[:, None] * bow
    return points, first + (last - first) * t


def marked(rng: Rng, points: Array, normals: Array, colours: list[Array]) -> Array:
    """Colours of a coat at points: plain, belly, patches, spots, stripes or mixtures."""
    base, second, third = (colours + colours)[:3]
    weight = np.zeros(len(points))
    kind = rng.choice(["plain", "belly", "patches", "spots", "stripes", "gradient"],
                      p=[0.25, 0.2, 0.2, 0.12, 0.13, 0.1])
    if kind == "belly":
        weight = 1 / (1 + np.exp((normals[:, 2] + 0.35) * 9))
    elif kind == "patches":
        weight = (waves(rng, points, rng.uniform(2, 5)) > rng.uniform(-0.2, 0.4)).astype(float)
    elif kind == "spots":
        centres = points[rng.integers(len(points), size=int(rng.integers(40, 200)))]
        from scipy.spatial import cKDTree

        weight = (cKDTree(centres).query(points)[0] < rng.uniform(0.04, 0.1)).astype(float)
    elif kind == "stripes":
        way = unit(np.array([1.0, 0.2, 0.3]) + 0.3 * rng.normal(size=3))
        wave = np.sin(points @ way * rng.uniform(14, 35) + 2 * waves(rng, points, 3))
        weight = 1 / (1 + np.exp(-(wave - 0.2) * 8))
    elif kind == "gradient":
        weight = np.clip(points @ unit(rng.normal(size=3)) * 0.8 + 0.5, 0, 1)
    colour = base + (second - base) * weight[:, None]
    if rng.random() < 0.3:  # a chest, a blaze, socks
        heart = points[rng.integers(len(points))]
        near = np.exp(-(((points - heart) ** 2).sum(1)) / rng.uniform(0.02, 0.15))
        colour = colour + (third - colour) * np.clip(near * 2, 0, 1)[:, None]
    return colour


def furred(stage: Stage, body: Surface, length: Array, away: Array, *, count: int, style: Style | None = None,
           colours: Array | None = None, lift: float | None = None, radius: float | None = None,
           soft: bool | None = None, skin: bool = True) -> None:
    """A body and fur on it. length: of each vertex's hair; away: the way it is combed, v×3; colours: v×3."""
    rng = stage.rng
    if colours is None:
        colours = marked(rng, body.points, body.normals, [pick(rng, NATURAL) for _ in range(3)])
    if style is None:
        style = Style(clump=rng.uniform(0.1, 0.9), shape=rng.uniform(0.7, 2.5), frizz=rng.uniform(0.02, 0.12),
                      curl=float(rng.choice([0, 0, 0, rng.uniform(0.03, 0.12)])), turns=rng.uniform(1, 4),
                      ragged=rng.uniform(0.2, 0.6), flyaway=rng.uniform(0.01, 0.06))
    lift = rng.uniform(0.25, 0.9) if lift is None else lift
    count = int(count * stage.factor)
    guides = int(np.clip(count / rng.uniform(8, 30), 200, 4000))
    weight = (length > 1e-4).astype(float) * np.clip((np.mean(length) + 0.02) / (length + 0.02), 0.5, 2)
    roots, normals, near = body.scattered(rng, guides, weight)
    lying = unit(away[near] - (away[near] * normals).sum(1, keepdims=True) * normals + 1e-6)
    ways = lift * normals + (1 - lift) * lying + 0.25 * swirl(rng, roots, 4)
    courses = grown(rng, roots, ways, length[near] * rng.uniform(0.8, 1.2, guides), 8, pull=DOWN * rng.uniform(0, 1.2),
                    bend=rng.uniform(0, 0.8), frequency=rng.uniform(3, 10))
    roots, normals, near = body.scattered(rng, count, weight)
    points, _ = multiplied(rng, courses, roots, style)
    radius = float(np.exp(rng.uniform(np.log(0.0011), np.log(0.0035)))) if radius is None else radius
    tint = np.clip(colours[near] * np.exp(rng.normal(0, 0.22, (count, 1))), 0.003, 0.95)
    tips = tint * rng.uniform(0.8, 1.5) if rng.random() < 0.7 else np.broadcast_to(pick(rng, NATURAL, 0), tint.shape)
    radii = radius * rng.uniform(0.7, 1.3, count)
    material = materials.hair(rng, soft=bool(rng.random() < 0.35) if soft is None else soft)
    stage.strands(points, radii, tint, material, tip=rng.uniform(0.05, 0.4),
                  tint_tip=np.asarray(np.clip(tips, 0.003, 0.95)))
    if skin:
        stage.mesh(body.points, body.triangles, materials.paint(rng, tinted=True, metal=False), tint=colours * 0.6)


def eyes(stage: Stage, head: Array, forward: Array, radius: float, *, nose: float = 0.0) -> None:
    rng = stage.rng
    side = unit(np.cross(UP, forward))
    top = unit(np.cross(forward, side))
    shiny = materials.paint(rng, [materials.colour(rng, (0.2, 0.9), (0.003, 0.1))], plain=True, metal=False)
    ball = shapes.primitive("ico", subdivisions=4, radius=radius * rng.uniform(0.16, 0.24))
    apart, high = rng.uniform(0.35, 0.6), rng.uniform(0.15, 0.4)
    for sign in (-1, 1):
        way = unit(forward * 0.85 + sign * apart * side + high * top)
        stage.mesh(ball.points + head + way * radius * 0.97, ball.triangles, shiny)
    if nose:
        tip = ball.points * (0.9, 1.2, 0.8) + head + forward * nose
        stage.mesh(tip, ball.triangles, shiny)
