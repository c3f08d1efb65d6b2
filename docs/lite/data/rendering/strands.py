"""Hair, fur, barbs, blades: strands as points in space, n×k×3. NumPy and SciPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array: TypeAlias = NDArray[np.float64]
Rng: TypeAlias = np.random.Generator
Ball: TypeAlias = "tuple[tuple[float, float, float], float]"

DOWN = np.array([0.0, 0.0, -1.0])


def unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def waves(rng: Rng, points: Array, frequency: float, octaves: int = 7) -> Array:
    """A smooth random field at points …×3, about -1..1, from waves in random directions."""
    total = np.zeros(points.shape[:-1])
    for _ in range(octaves):
        way = unit(rng.normal(size=3)) * frequency * rng.uniform(0.4, 1.6)
        total += np.sin(points @ way + rng.uniform(0, 2 * np.pi))
    return total / np.sqrt(octaves / 2) / 1.6


def swirl(rng: Rng, points: Array, frequency: float) -> Array:
    """A smooth random field of vectors, …×3."""
    return np.stack([waves(rng, points, frequency) for _ in range(3)], axis=-1)


@dataclass(frozen=True)
class Surface:
    """Triangles to grow on. points, normals: v×3; triangles: t×3."""

    points: Array
    normals: Array
    triangles: NDArray[np.int64]

    def scattered(self, rng: Rng, count: int, weight: Array | None = None) -> tuple[Array, Array, NDArray[np.int64]]:
        """Random places, their normals and their nearest vertices; as dense as `weight` of the vertices says."""
        corners = self.points[self.triangles]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        if weight is not None:
            area = area * weight[self.triangles].mean(1)
        if area.sum() <= 0:
            raise ValueError("there is no surface to grow on: all weights are 0")
        edges = np.cumsum(area)
        chosen = self.triangles[np.searchsorted(edges, rng.random(count) * edges[-1]).clip(0, len(area) - 1)]
        shares = rng.dirichlet((1, 1, 1), count)
        places = (self.points[chosen] * shares[..., None]).sum(1)
        normals = unit((self.normals[chosen] * shares[..., None]).sum(1))
        return places, normals, np.take_along_axis(chosen, shares.argmax(1)[:, None], 1)[:, 0]


def grown(rng: Rng, roots: Array, ways: Array, lengths: Array, steps: int = 12, *, pull: Array | None = None,
          bend: float = 0.0, frequency: float = 2.0, balls: Sequence[Ball] = ()) -> Array:
    """Strands that start in their way, are pulled (a vector, the more the farther) and bent by a random field.

    balls: what they do not enter, each its centre and radius.
    """
    points = np.empty((len(roots), steps, 3))
    points[:, 0] = roots
    way = unit(ways)
    step = (lengths / (steps - 1))[:, None]
    seed = int(rng.integers(1 << 31))
    for index in range(1, steps):
        if pull is not None:
            way = unit(way + pull * step * 3)
        if bend:
            way = unit(way + bend * step * 3 * swirl(np.random.default_rng(seed), points[:, index - 1], frequency))
        points[:, index] = points[:, index - 1] + way * step
        for centre, radius in balls:
            out = points[:, index] - np.array(centre)
            far = np.linalg.norm(out, axis=1, keepdims=True)
            inside = (far < radius)[:, 0]
            points[inside, index] = np.array(centre) + out[inside] / np.maximum(far[inside], 1e-9) * radius
            way[inside] = unit(points[inside, index] - points[inside, index - 1])
    return points


@dataclass(frozen=True)
class Style:
    """How the many lie about the few that guide them. Lengths as shares of a strand's own.

    clump: 0 (each for itself) to 1 (all of a lock meet at its tip); shape: above 1 meets late. curl: the radius of a
    lock's helix, turns: how often it goes round. frizz: how far single strands stray. ragged: how unequal lengths are.
    flyaway: the share of strands that stray four times as far.
    """

    clump: float = 0.3
    shape: float = 1.5
    curl: float = 0.0
    turns: float = 3.0
    frizz: float = 0.03
    ragged: float = 0.3
    flyaway: float = 0.03


def multiplied(rng: Rng, guides: Array, roots: Array, style: Style) -> tuple[Array, NDArray[np.int64]]:
    """A strand from each root, lying as the guides near it do; and which guide's lock each belongs to."""
    steps = guides.shape[1]
    three = min(3, len(guides))
    distance, index = cKDTree(guides[:, 0]).query(roots, k=three)
    distance, index = distance.reshape(-1, three), index.reshape(-1, three)
    share = 1 / (distance + 1e-6)
    share /= share.sum(1, keepdims=True)
    course = guides - guides[:, :1]
    points = roots[:, None] + (course[index] * share[..., None, None]).sum(1)
    lock = index[:, 0]
    along = np.linspace(0, 1, steps)

    meet = style.clump * along ** style.shape * rng.uniform(0.6, 1.0, (len(roots), 1))
    points += (guides[lock] - points) * meet[..., None]

    length = np.linalg.norm(np.diff(guides, axis=1), axis=2).sum(1)[lock][:, None, None]
    main = unit(guides[:, -1] - guides[:, 0])
    aside = unit(np.cross(main, unit(rng.normal(size=main.shape))))
    other = np.cross(main, aside)
    if style.curl:
        start = rng.uniform(0, 2 * np.pi, len(guides))
        turns = style.turns * rng.uniform(0.7, 1.3, len(guides))
        angle = (start[:, None] + 2 * np.pi * turns[:, None] * along)[lock] + rng.normal(0, 0.35, (len(roots), 1))
        wide = style.curl * length * np.minimum(1, 4 * along)[:, None]
        points += wide * (np.cos(angle)[..., None] * aside[lock][:, None] + np.sin(angle)[..., None]
                          * other[lock][:, None])
    stray = np.where(rng.random((len(roots), 1, 1)) < style.flyaway, 4.0, 1.0) * style.frizz * length
    drift = rng.normal(size=(len(roots), 1, 3)) * along[:, None] ** 1.3
    wiggle = np.sin(along * rng.uniform(3, 14, (len(roots), 1)) + rng.uniform(0, 6.3, (len(roots), 1)))
    points += stray * (drift + 0.35 * wiggle[..., None] * rng.normal(size=(len(roots), 1, 3)) * along[:, None])

    kept = 1 - style.ragged * rng.random((len(roots), 1)) ** 2
    return shortened(points, kept[:, 0]), lock


def shortened(points: Array, share: Array) -> Array:
    """Strands of which only the first share (0..1) is left."""
    steps = points.shape[1]
    at = np.linspace(0, 1, steps) * share[:, None] * (steps - 1)
    low = np.floor(at).astype(np.int64).clip(0, steps - 2)
    rest = (at - low)[..., None]
    first, second = (np.take_along_axis(points, (low + more)[..., None], axis=1) for more in (0, 1))
    return np.asarray(first * (1 - rest) + second * rest)


def feather(rng: Rng, length: float, width: float, *, barbs: int = 160, bow: float = 0.15, splits: int = 4,
            down: float = 0.25, rake: float = 0.9, steps: int = 7) -> tuple[Array, Array, Array]:
    """One feather in the plane of x (its length) and y: its rachis 1×12×3, its barbs 2b×k×3, and where on the rachis
    (0..1) each barb starts. splits: where barbs part; down: the share at the root that is fluff."""
    spine = np.linspace(0, 1, 12)
    curve = np.stack([spine * length, bow * length * spine ** 2, 0.08 * length * spine ** 2], 1)
    starts = 0.06 + 0.94 * (np.arange(barbs) + rng.uniform(0.2, 0.8, barbs)) / barbs
    gaps = rng.uniform(0.2, 0.95, (2, splits))
    every = []
    for side in (-1, 1):
        root = np.stack([np.interp(starts, spine, curve[:, axis]) for axis in range(3)], 1)
        shape = np.sin(np.pi * np.clip(starts * 0.93 + 0.05, 0, 1)) ** 0.45 * (0.75 if side < 0 else 1.0)
        reach = width * shape * rng.uniform(0.94, 1.02, barbs)
        lean = rake + 0.5 * starts
        for gap in gaps[(side + 1) // 2]:  # barbs part before and behind a gap
            lean = lean + 0.35 * np.sign(starts - gap) * np.exp(-np.abs(starts - gap) / 0.05)
        fluff = np.clip((down - starts) / 0.12, 0, 1)
        along = np.linspace(0, 1, steps)
        angle = lean[:, None] * (0.55 + 0.45 * along) + fluff[:, None] * rng.normal(0, 0.5, (barbs, 1))
        step = (reach / (steps - 1))[:, None]
        x = np.cumsum(np.sin(angle) * step, 1) - np.sin(angle[:, :1]) * step
        y = side * (np.cumsum(np.cos(angle) * step, 1) - np.cos(angle[:, :1]) * step)
        lift = 0.25 * reach[:, None] * along ** 2 * rng.uniform(0.2, 0.5) + fluff[:, None] * reach[:, None] * np.cumsum(
            rng.normal(0, 0.12, (barbs, steps)), 1)
        points = root[:, None] + np.stack([x, y, lift], 2)
        points += fluff[:, None, None] * reach[:, None, None] * 0.3 * np.cumsum(
            rng.normal(0, 0.25, (barbs, steps, 3)), 1) * (along > 0)[:, None]
        every.append(points)
    return curve[None], np.concatenate(every), np.concatenate([starts, starts])


def branched(rng: Rng, start: Array, way: Array, length: float, *, depth: int = 4, forks: float = 2.5,
             spread: float = 0.6, steps: int = 9, pull: Array | None = None, bend: float = 0.5
             ) -> list[tuple[Array, int]]:
    """A branch and those that grow from it: each its points k×3 and its depth, 0 for the first."""
    grown_ones: list[tuple[Array, int]] = []
    waiting = [(start, way, length, 0)]
    while waiting and len(grown_ones) < 1500:
        root, heading, long, level = waiting.pop(0)
        points = grown(rng, root[None], heading[None], np.array([long]), steps, pull=pull, bend=bend * 2)[0]
        grown_ones.append((points, level))
        if level + 1 >= depth:
            continue
        for _ in range(max(1, int(rng.poisson(forks)))):
            at = int(rng.integers(steps // 3, steps))
            along = unit(points[at] - points[at - 1])
            waiting.append((points[at], unit(along + spread * rng.normal(size=3)), long * rng.uniform(0.45, 0.8),
                            level + 1))
    return grown_ones


def turned(rng: Rng) -> Array:
    """A random rotation, 3×3."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return np.asarray(q)


def facing(way: Array, up: Array = -DOWN) -> Array:
    """A rotation that brings x to `way` and z near `up`; 3×3, to be multiplied from the left."""
    x = unit(way)
    y = np.cross(up, x)
    if np.linalg.norm(y) < 1e-6:
        y = np.cross(np.array([0.0, 1.0, 0.0]), x)
    y = unit(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
