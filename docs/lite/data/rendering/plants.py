"""Grass, ferns, moss, twigs and leaves.

Each function sets one subject on the stage, about two units large, z up, its front towards -y. What varies is drawn
from the stage's random numbers.
"""

from __future__ import annotations

import numpy as np

from . import materials, shapes
from .coats import GREENS, NATURAL, UP, furred, pick, shaded
from .stage import Stage
from .strands import DOWN, Array, Surface, branched, facing, grown, swirl, unit, waves


def grass(stage: Stage) -> None:
    """A tuft, reeds, ears with awns, pampas plumes, dandelion clocks, ferns, moss on a stone."""
    rng = stage.rng
    kind = str(rng.choice(["tuft", "ears", "pampas", "clock", "fern", "moss"]))
    green, other = pick(rng, GREENS, 0.08), pick(rng, GREENS, 0.15)
    material = materials.hair(rng, soft=True)
    if kind == "moss":
        stone = shapes.primitive("ico", subdivisions=5, radius=0.8)
        p = stone.points * (1 + 0.25 * waves(rng, stone.points, 2.5)[:, None]) * rng.uniform(0.6, 1.3, 3)
        stone = Surface(p, unit(p), stone.triangles)
        length = rng.uniform(0.08, 0.3) * np.clip(p[:, 2] * 2 + waves(rng, p, 4), 0, 1)
        stage.mesh(p, stone.triangles, materials.paint(rng, metal=False))
        furred(stage, stone, length, swirl(rng, p, 4) + UP, count=22000, soft=True, skin=False,
               colours=np.clip(green + (other - green) * waves(rng, p, 3)[:, None], 0.01, 0.9))
        return
    wind = unit(rng.normal(size=3) * (1, 1, 0.2)) * rng.uniform(0, 0.5)
    if kind == "tuft":
        count = int(rng.integers(150, 1500) * stage.factor) + 40
        roots = rng.normal(0, rng.uniform(0.08, 0.3), (count, 3)) * (1, 1, 0.1)
        ways = UP + roots * rng.uniform(0.5, 2.5) + 0.2 * rng.normal(size=roots.shape)
        points = grown(rng, roots, ways, rng.uniform(0.5, 1.6, count), 12, pull=DOWN * rng.uniform(0.1, 0.9) + wind,
                       bend=0.3)
        stage.strands(points, rng.uniform(0.003, 0.016), shaded(rng, green, count), material, tip=0.05,
                      tint_tip=shaded(rng, other, count))
        return
    stems = int(rng.integers(1, 4 if kind in ("fern", "clock") else 14))
    roots = rng.normal(0, 0.12, (stems, 3)) * (1, 1, 0)
    ways = UP + rng.uniform(0.1, 0.5) * rng.normal(size=(stems, 3)) * (1, 1, 0.2)
    tall = rng.uniform(1.2, 1.9, stems)
    points = grown(rng, roots, ways, tall, 16, pull=DOWN * rng.uniform(0, 0.35) + wind * 0.5, bend=0.15)
    stage.strands(points, rng.uniform(0.008, 0.018), shaded(rng, green, stems), material, tip=0.5)
    for stem in points:
        end, along = stem[-1], unit(stem[-1] - stem[-2])
        if kind == "clock":
            count = int(rng.integers(90, 220))
            size = rng.uniform(0.25, 0.4)
            rays = unit(rng.normal(size=(count, 3)))
            rays = rays[rays @ along > rng.uniform(-1, 0.2)]
            stage.strands(end + rays[:, None] * np.linspace(0.1, 1, 4)[None, :, None] * size, 0.0015,
                          shaded(rng, np.array([0.6, 0.55, 0.45]), len(rays)), material, tip=1)
            crown = np.repeat(rays, 14, 0)
            fine = unit(crown * rng.uniform(0.2, 0.8) + 0.8 * rng.normal(size=crown.shape))
            tips = end + crown * size
            stage.strands(tips[:, None] + fine[:, None] * np.linspace(0, 1, 4)[None, :, None] * size
                          * rng.uniform(0.25, 0.4), 0.0009, shaded(rng, np.array([0.85, 0.85, 0.83]), len(tips)),
                          material, tip=0.6)
            seed = shapes.primitive("ico", subdivisions=3, radius=0.05)
            stage.mesh(seed.points + end, seed.triangles, materials.paint(
                rng, [(0.2, 0.15, 0.06)], plain=True, metal=False))
            continue
        if kind == "fern":
            spine = np.interp(np.linspace(1, 15, 90), np.arange(16), np.arange(16))
            at = np.stack([np.interp(spine, np.arange(16), stem[:, axis]) for axis in range(3)], 1)
            turn = facing(along, unit(rng.normal(size=3)))
            for sign in (-1, 1):
                reach = 0.42 * np.sin(np.pi * np.linspace(0.12, 1, 90)) ** 0.7 * (1.1 - np.linspace(0, 1, 90) * 0.6)
                leaf = grown(rng, at, np.broadcast_to(sign * turn[:, 1] + 0.5 * along, at.shape)
                             + 0.06 * rng.normal(size=at.shape), reach, 8, pull=DOWN * 0.8)
                stage.strands(leaf, 0.007, shaded(rng, green, 90), material, tip=0.3)
                small = np.repeat(leaf[:, 1:], 2, 1).reshape(-1, 3)
                ways = np.tile(np.stack([along, -along]), (len(small) // 2, 1)) + 0.3 * rng.normal(size=small.shape)
                stage.strands(grown(rng, small, ways, np.full(len(small), 0.05), 4), 0.011,
                              shaded(rng, green, len(small)), material, tip=0.2,
                              tint_tip=shaded(rng, other, len(small)))
            continue
        count = int((900 if kind == "pampas" else 140) * max(0.3, stage.factor))
        at = rng.uniform(9 if kind == "pampas" else 12, 15, count)
        low = np.floor(at).astype(int).clip(0, 14)
        roots = stem[low] + (stem[low + 1] - stem[low]) * (at - low)[:, None]
        outward = unit(along * rng.uniform(0.6, 2) + rng.normal(size=roots.shape))
        plume = kind == "pampas"
        length = rng.uniform(0.1, 0.4, count) if plume else rng.uniform(0.05, 0.5) * rng.uniform(0.7, 1, count)
        fine = grown(rng, roots, outward, length, 8, pull=(DOWN * 2 + wind) * plume, bend=0.4)
        stage.strands(fine, 0.0014 if kind == "pampas" else 0.002, shaded(rng, other, count), material, tip=0.3)
        if kind == "ears":
            grain = outward * 0.06
            stage.strands(roots[:, None] + grain[:, None] * np.linspace(0, 1, 5)[None, :, None], 0.014,
                          shaded(rng, other, count), material, tip=0.1)
        else:
            tufts = np.repeat(fine[:, 3:], 3, 1).reshape(-1, 3)
            stage.strands(grown(rng, tufts, rng.normal(size=tufts.shape), np.full(len(tufts), 0.035), 4), 0.0008,
                          shaded(rng, other, len(tufts)), material, tip=0.3)


def leaves_at(stage: Stage, places: Array, ways: Array, size: float, aspect: float, colours: list[Array],
              curl: float) -> None:
    """Leaves, each a bent diamond with rounded sides, all in one mesh."""
    rng = stage.rng
    u = np.linspace(0, 1, 7)
    half = aspect * np.sin(np.pi * u ** 0.8) * 0.5
    flat = np.concatenate([np.stack([u, sign * half, 0.3 * np.abs(half) - curl * u ** 2], 1) for sign in (-1, 0, 1)])
    index = np.arange(21).reshape(3, 7)
    faces = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    points, every, tints = [], [], []
    for number, (place, way) in enumerate(zip(places, ways, strict=True)):
        turn = facing(way, unit(UP + 0.7 * rng.normal(size=3)))
        points.append(flat * size * rng.uniform(0.6, 1.2) @ turn.T + place)
        every.append(faces + 21 * number)
        tints.append(np.broadcast_to(colours[rng.integers(len(colours))] * np.exp(rng.normal(0, 0.2)), (21, 3)))
    stage.mesh(np.concatenate(points), np.concatenate(every), materials.paint(rng, tinted=True, metal=False),
               tint=np.concatenate(tints))


def plant(stage: Stage) -> None:
    """A bare twig, a branch with leaves or needles, a bush in a pot."""
    rng = stage.rng
    bark = pick(rng, NATURAL[:7], 0.05)
    kind = str(rng.choice(["bare", "leaves", "needles", "blossom", "pot"], p=[0.2, 0.3, 0.2, 0.1, 0.2]))
    depth = 4 if kind in ("bare", "needles") else 3
    start, way = np.zeros(3), unit(UP + 0.4 * rng.normal(size=3))
    limbs = branched(rng, start, way, rng.uniform(0.8, 1.2), depth=depth, forks=rng.uniform(2, 5), bend=rng.uniform(
        0.1, 0.9), spread=rng.uniform(0.3, 0.9), pull=(UP if rng.random() < 0.6 else DOWN) * rng.uniform(0, 0.5))
    limbs = limbs[:400]
    thick = rng.uniform(0.012, 0.035)
    points = np.stack([limb for limb, _ in limbs])
    level = np.array([each for _, each in limbs])
    stage.strands(points, thick * 0.5 ** level, shaded(rng, bark, len(points)), materials.hair(rng, soft=True),
                  tip=0.45)
    colours = [pick(rng, GREENS, 0.08) for _ in range(3)]
    young = points[level >= depth - 2]
    if kind == "needles":
        at = young[:, 2:].reshape(-1, 3)
        along = np.repeat(unit(young[:, -1] - young[:, 0]), young.shape[1] - 2, 0)
        each = int(np.clip(20000 * stage.factor / len(at), 4, 40))
        at, along = np.repeat(at, each, 0) + 0.01 * rng.normal(size=(len(at) * each, 3)), np.repeat(along, each, 0)
        at = at + along * rng.uniform(-0.06, 0.06, (len(at), 1))
        ways = unit(along * rng.uniform(0.3, 1.2) + unit(rng.normal(size=at.shape)))
        stage.strands(grown(rng, at, ways, rng.uniform(0.6, 1, len(at)) * rng.uniform(0.06, 0.2), 4), 0.0035,
                      shaded(rng, colours[0], len(at)), materials.hair(rng, soft=True), tip=0.2,
                      tint_tip=shaded(rng, colours[1], len(at)))
    elif kind != "bare":
        count = min(int(rng.integers(60, 900)), len(young) * 8)
        chosen, at = rng.integers(len(young), size=count), rng.integers(2, young.shape[1], size=count)
        along = unit(young[chosen, at] - young[chosen, at - 1])
        size = rng.uniform(0.06, 0.3)
        leaves_at(stage, young[chosen, at], unit(along + rng.normal(size=along.shape)), size, rng.uniform(0.15, 0.9),
                  colours, rng.uniform(-0.2, 0.4))
        if kind == "blossom":
            tips = young[rng.integers(len(young), size=50), -1]
            for petal in range(5):
                angle = 2 * np.pi * petal / 5
                leaves_at(stage, tips, np.broadcast_to(np.array([np.cos(angle), np.sin(angle), 0.4]), tips.shape),
                          0.08, 0.8, [pick(rng, ((0.8, 0.6, 0.65), (0.85, 0.85, 0.8), (0.7, 0.1, 0.2)), 0.3)], -0.1)
    if kind == "pot":
        points, faces = shapes.lathed(np.array([[0.0, -0.5], [0.22, -0.5], [0.3, -0.02], [0.33, 0.0], [0.27, -0.02],
                                              [0.0, -0.06]]) * (rng.uniform(0.8, 1.3), 1))
        stage.mesh(points, faces, materials.paint(rng, metal=False))
