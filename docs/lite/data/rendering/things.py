"""Wires, cloth, glass, smoke, brushes and hard things.

Each function sets one subject on the stage, about two units large, z up, its front towards -y. What varies is drawn
from the stage's random numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import materials, shapes
from .coats import GREENS, UP, chain, furred, pick, shaded
from .creatures import emblem
from .materials import Colour
from .stage import Stage
from .strands import DOWN, Array, Rng, Surface, grown, shortened, swirl, turned, unit, waves


def wires(stage: Stage) -> None:
    """Thin things: a tangle, a cage, a spring, a wheel with spokes, a spider's web, a net."""
    rng = stage.rng
    kind = str(rng.choice(["tangle", "cage", "spring", "wheel", "web", "net"]))
    radius = float(np.exp(rng.uniform(np.log(0.003), np.log(0.02))))
    tint = np.array([materials.colour(rng)])
    material = materials.hair(rng, soft=True)
    t = np.linspace(0, 1, 160)
    if kind == "tangle":
        for _ in range(int(rng.integers(1, 6))):
            coarse = np.cumsum(rng.normal(size=(14, 3)), 0)
            coarse = (coarse - coarse.mean(0)) / np.abs(coarse).max()
            from scipy.interpolate import CubicSpline

            stage.strands(CubicSpline(np.linspace(0, 1, 14), coarse)(t)[None], radius, tint * rng.uniform(0.4, 1.2),
                          material, tip=1)
    elif kind == "cage":
        shape = str(rng.choice(["ico", "torus", "cylinder", "monkey"]))
        fineness: dict[str, dict[str, Any]] = {
            "ico": {"subdivisions": int(rng.integers(1, 4))}, "torus": {"major_segments": 24, "minor_segments": 8},
            "cylinder": {"vertices": int(rng.integers(5, 20))}, "monkey": {}}
        frame = shapes.primitive(shape, wired=radius * 2.5, **fineness[shape])
        stage.mesh(frame.points @ turned(rng).T, frame.triangles, materials.paint(rng))
    elif kind == "spring":
        turns = rng.uniform(6, 25)
        wide = rng.uniform(0.1, 0.5) * (1 + 0.4 * np.sin(t * rng.uniform(0, 9)))
        t = np.linspace(0, 1, 600)
        wide = np.interp(t, np.linspace(0, 1, 160), wide)
        coil = np.stack([t * 2 - 1, wide * np.cos(turns * 2 * np.pi * t), wide * np.sin(turns * 2 * np.pi * t)], 1)
        stage.strands((coil @ turned(rng).T)[None], radius, tint, material, tip=1)
    elif kind == "wheel":
        turn = turned(rng) if rng.random() < 0.5 else np.eye(3)
        rim = shapes.primitive("torus", major_radius=1, minor_radius=rng.uniform(0.02, 0.09), major_segments=96)
        stage.mesh(rim.points @ turn.T, rim.triangles, materials.paint(rng, plain=True))
        hub = shapes.primitive("cylinder", radius=rng.uniform(0.05, 0.15), depth=0.2)
        stage.mesh(hub.points @ turn.T, hub.triangles, materials.paint(rng, plain=True), smooth=False)
        angle = np.linspace(0, 2 * np.pi, int(rng.integers(10, 44)), endpoint=False)
        outer = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
        inner = np.stack([0.08 * np.cos(angle + 1), 0.08 * np.sin(angle + 1), 0.08 * (-1) ** np.arange(len(angle))], 1)
        stage.strands((inner[:, None] + (outer - inner)[:, None] * np.linspace(0, 1, 4)[None, :, None]) @ turn.T,
                      radius * 0.6, tint, material, tip=1)
    elif kind == "web":
        spokes = int(rng.integers(9, 22))
        angle = np.sort(rng.uniform(0, 2 * np.pi, spokes))
        reach = rng.uniform(0.8, 1.1, spokes)
        ends = np.stack([np.cos(angle) * reach, 0.1 * rng.normal(size=spokes), np.sin(angle) * reach], 1)
        stage.strands(ends[:, None] * np.linspace(0, 1, 6)[None, :, None], radius * 0.3, tint, material, tip=1)
        rounds = np.linspace(0.1, 0.92, int(rng.integers(8, 26)))
        for share in rounds:
            first, second = ends * share, np.roll(ends, -1, 0) * share
            middle = (first + second) / 2 * rng.uniform(0.9, 0.97)
            way = np.linspace(0, 1, 7)[None, :, None]
            stage.strands(first[:, None] * (1 - way) ** 2 + 2 * middle[:, None] * way * (1 - way) + second[:, None]
                          * way ** 2, radius * 0.2, tint, material, tip=1)
    else:
        points, _ = shapes.grid(40, 40)
        sheet = np.stack([points[:, 0] * 2 - 1, 0.35 * waves(rng, np.c_[points * 2, 0 * points[:, 0]], 2.5),
                          points[:, 1] * 2 - 1], 1).reshape(40, 40, 3)
        skip = int(rng.integers(1, 4))
        stage.strands(sheet[::skip], radius * 0.7, tint, material, tip=1)
        stage.strands(sheet.transpose(1, 0, 2)[::skip], radius * 0.7, tint, material, tip=1)


def cloth(stage: Stage) -> None:
    """A flag, a curtain, a shawl over something, a towel: often with a fringe, often sheer."""
    rng = stage.rng
    rows, columns = 90, 140
    uv, faces = shapes.grid(rows, columns)
    u, v = uv.T
    kind = str(rng.choice(["flag", "curtain", "shawl", "towel"]))
    flat = np.stack([u, v, 0 * u], 1)
    if kind == "flag":
        points = np.stack([u * 2 - 1, 0.3 * u ** 0.5 * waves(rng, flat * (2, 1, 1), 4), (v - 0.5) * 1.2 - 0.25 * u ** 2
                           * rng.uniform(-1, 1)], 1)
    elif kind == "curtain":
        folds = rng.uniform(20, 60)
        deep = 0.09 * np.sin(folds * u + waves(rng, flat, 5)) * (1.2 - 0.8 * v)
        points = np.stack([u * 1.6 - 0.8, deep, v * 2 - 1], 1)
        points[:, 0] *= 1 - rng.uniform(0, 0.5) * np.exp(-((v - rng.uniform(0.2, 0.7)) / 0.2) ** 2)
    elif kind == "shawl":
        around, away = 2 * np.pi * u, 1 - v
        fall = np.clip((away - 0.45) / 0.55, 0, 1)
        reach = np.sin(np.minimum(away / 0.45, 1) * np.pi / 2) * 0.7 + fall * 0.15
        fold = 1 + 0.28 * fall * np.sin(around * int(rng.integers(4, 10)) + rng.uniform(0, 6))
        points = np.stack([np.cos(around) * reach * fold, np.sin(around) * reach * fold,
                           0.7 * np.cos(np.minimum(away / 0.45, 1) * np.pi / 2) - fall * 1.1], 1)
    else:
        bend = (v - 0.5) * np.pi * 0.9
        off = np.abs(v - 0.5)
        points = np.stack([(u - 0.5) * 1.5 + 0.04 * np.sin(v * 9), 0.25 * np.sin(bend) * (1 + off),
                           np.where(off < 0.12, 0.25 * np.cos(bend), 0.25 - (off - 0.12) * 3)], 1)
    points = points + 0.02 * waves(rng, points, 9)[:, None]
    sheer = str(rng.choice(["", "even", "lace", "weave", "worn"], p=[0.35, 0.3, 0.15, 0.1, 0.1]))
    colours = [materials.colour(rng) for _ in range(3)]
    stage.mesh(points, faces, materials.paint(rng, colours, sheer=sheer, metal=False))
    if rng.random() < 0.75:
        sheet = points.reshape(rows, columns, 3)
        edge, inner = (sheet[0], sheet[1]) if kind != "flag" else (sheet[:, -1], sheet[:, -2])
        count = int(rng.integers(800, 5000) * stage.factor) + 100
        along = rng.uniform(0, len(edge) - 1.001, count)
        if rng.random() < 0.6:  # tassels
            knots = int(rng.integers(15, 70))
            along = np.round(along / (len(edge) - 1) * knots) / knots * (len(edge) - 1) + rng.normal(0, 0.3, count)
            along = along.clip(0, len(edge) - 1.001)
        low = along.astype(int)
        part = (along - low)[:, None]
        roots = edge[low] * (1 - part) + edge[low + 1] * part
        ways = unit(edge - inner)[low] + rng.uniform(0.05, 0.4) * rng.normal(size=roots.shape)
        threads = grown(rng, roots, ways, rng.uniform(0.06, 0.35) * rng.uniform(0.8, 1, count), 9, pull=DOWN * 1.5,
                        bend=rng.uniform(0.2, 1.5), frequency=9)
        stage.strands(threads, rng.uniform(0.0015, 0.004), shaded(rng, np.array(colours[0]), count),
                      materials.hair(rng, soft=True), tip=0.7)
    if rng.random() < 0.4:  # fluff all over: wool
        sheet_surface = Surface(points, unit(np.cross(np.gradient(points.reshape(rows, columns, 3), axis=1),
                                                      np.gradient(points.reshape(rows, columns, 3), axis=0))
                                             .reshape(-1, 3)), np.concatenate([faces[:, :3], faces[:, [0, 2, 3]]]))
        furred(stage, sheet_surface, np.full(len(points), rng.uniform(0.02, 0.08)), swirl(rng, points, 4), count=9000,
               colours=np.broadcast_to(np.array(colours[0]), points.shape), skin=False, soft=True)


def profile(rng: Rng) -> Array:
    """A vessel's outline: radius and height, from its foot up."""
    from scipy.interpolate import PchipInterpolator

    count = int(rng.integers(4, 8))
    radii = rng.uniform(0.12, 0.6, count)
    if rng.random() < 0.4:  # a stem
        radii[1:1 + count // 3] = 0.05
    heights = np.linspace(-0.9, 0.9, count)
    z = np.linspace(-0.9, 0.9, 60)
    return np.stack([PchipInterpolator(heights, radii)(z), z], 1)


def glassware(stage: Stage) -> None:
    """A vessel of glass, empty or with something in it; a ball; drops; a gem."""
    rng = stage.rng
    stage.clear = True
    tint: Colour = (0.97, 0.98, 0.98) if rng.random() < 0.5 else materials.colour(rng, (0.1, 0.7), (0.6, 0.95))
    rough = float(rng.choice([0, 0, 0, rng.uniform(0.05, 0.3)]))
    glass = materials.thin_glass(rng, tint) if rng.random() < 0.4 else materials.glass(rng, tint, rough)
    kind = str(rng.choice(["vessel", "filled", "ball", "gem", "splash"], p=[0.35, 0.3, 0.1, 0.1, 0.15]))
    if kind in ("vessel", "filled"):
        outer = profile(rng)
        wall = rng.uniform(0.02, 0.06)
        inner = np.stack([np.maximum(outer[:, 0] - wall, 0.004), outer[:, 1]], 1)[outer[:, 1] > -0.9 + 2 * wall][::-1]
        points, faces = shapes.lathed(np.concatenate([[[0.001, -0.9]], outer, inner, [[0.001, inner[-1, 1]]]]))
        stage.mesh(points, faces[:, ::-1], glass)
        if kind == "filled":
            liquid = inner[::-1] * (0.985, 1)
            liquid = liquid[liquid[:, 1] < rng.uniform(-0.4, 0.7)]
            points, faces = shapes.lathed(np.concatenate([[[0.001, liquid[0, 1]]], liquid, [[0.001, liquid[-1, 1]]]]))
            stage.mesh(points, faces[:, ::-1], materials.glass(rng, materials.colour(rng, (0.3, 0.95), (0.5, 0.9))))
    elif kind == "splash":
        heart = np.concatenate([chain(np.zeros(3), rng.normal(0, 0.6, 3), 0.2, 0.05, rng.normal(0, 0.2, 3))[0] for _ in
                                range(int(rng.integers(3, 9)))])
        drops = rng.normal(0, 0.6, (int(rng.integers(5, 40)), 3))
        centres = np.concatenate([heart, drops])
        body = shapes.blended([(centres, np.concatenate([rng.uniform(0.08, 0.2, len(heart)), rng.uniform(
            0.02, 0.09, len(drops))]))], 0.05)
        stage.mesh(body.points, body.triangles, glass)
    else:
        body = shapes.primitive("ico", subdivisions=5 if kind == "ball" else int(rng.integers(1, 3)))
        stage.mesh(body.points * rng.uniform(0.6, 1.2, 3), body.triangles, glass, smooth=kind == "ball")


def smoke(stage: Stage) -> None:
    """A cloud of smoke, steam or dust."""
    rng = stage.rng
    stage.clear = True
    grey = rng.random() < 0.75
    tint = materials.colour(rng, *(((0, 0.25), (0.2, 0.97)) if grey else ((0.4, 0.9), (0.3, 0.9))))
    box = shapes.primitive("cube")
    density = float(np.exp(rng.uniform(np.log(20), np.log(150))))
    thing = stage.mesh(box.points, box.triangles, materials.smoke(rng, tint, density), smooth=False)
    thing.scale = (*rng.uniform(0.5, 1.0, 2), rng.uniform(0.6, 1.5))


def solid(stage: Stage) -> None:
    """Something hard: a font's picture as a thing, a vessel, a stone, a tower of blocks, the monkey."""
    rng = stage.rng
    kind = str(rng.choice(["emblem", "vessel", "stone", "blocks", "monkey"], p=[0.4, 0.2, 0.12, 0.2, 0.08]))
    if kind == "emblem":
        body = emblem(rng)
        stage.mesh(body.points, body.triangles, materials.paint(rng))
    elif kind == "vessel":
        points, faces = shapes.lathed(np.concatenate([[[0.001, -0.9]], profile(rng), [[0.001, 0.9]]]))
        stage.mesh(points, faces[:, ::-1], materials.paint(rng))
    elif kind == "stone":
        body = shapes.primitive("ico", subdivisions=6)
        points = body.points * (1 + 0.22 * waves(rng, body.points, 2.5) + 0.04 * waves(rng, body.points, 14))[:, None]
        stage.mesh(points * rng.uniform(0.5, 1.2, 3), body.triangles, materials.paint(rng, metal=False))
    elif kind == "monkey":
        body = shapes.primitive("monkey", subdivided=2)
        stage.mesh(body.points, body.triangles, materials.paint(rng))
    else:
        for _ in range(int(rng.integers(3, 9))):
            body = shapes.primitive(str(rng.choice(["cube", "torus", "cone", "cylinder", "ico"])))
            stage.mesh(body.points @ turned(rng).T * rng.uniform(0.15, 0.5) + rng.normal(0, 0.4, 3), body.triangles,
                       materials.paint(rng), smooth=False)


def bristles(stage: Stage) -> None:
    """A pompon, a brush, a broom, the frayed end of a rope, a cactus, a thistle."""
    rng = stage.rng
    kind = str(rng.choice(["pompon", "brush", "rope", "cactus"]))
    colours = [np.array(materials.colour(rng)) for _ in range(2)]
    material = materials.hair(rng, soft=True)
    count = int(rng.integers(3000, 12000) * stage.factor) + 200
    if kind == "pompon":
        ways = unit(rng.normal(size=(count, 3)))
        points = grown(rng, ways * 0.1, ways + 0.15 * rng.normal(size=ways.shape), rng.uniform(0.75, 1, count), 8,
                       pull=DOWN * rng.uniform(0, 0.5), bend=rng.uniform(0, 0.6), frequency=6)
        blend = (waves(rng, ways, 4) > 0)[:, None] * (rng.random() < 0.5)
        radius = rng.uniform(0.002, 0.008)
        tint = (colours[0] + (colours[1] - colours[0]) * blend) * np.exp(rng.normal(0, 0.2, (count, 1)))
        stage.strands(points, radius, np.clip(tint, 0, 0.95), material, tip=rng.uniform(0.4, 1))
    elif kind == "brush":
        wide, long = rng.uniform(0.1, 0.8), rng.uniform(0.3, 0.9)
        roots = rng.uniform(-1, 1, (count, 3)) * (wide, rng.uniform(0.08, 0.25), 0.01)
        points = grown(rng, roots, DOWN + roots * rng.uniform(0, 1.2) + rng.uniform(0.02, 0.15) * rng.normal(
            size=roots.shape), long * rng.uniform(0.85, 1, count), 8, bend=rng.uniform(0, 0.5), frequency=5)
        stage.strands(points, rng.uniform(0.002, 0.006), shaded(rng, colours[0], count), material, tip=0.6)
        box = shapes.primitive("cube")
        stage.mesh(box.points * (wide * 1.08, 0.25, 0.12) + UP * 0.1, box.triangles, materials.paint(rng), smooth=False)
        rod = shapes.primitive("cylinder", radius=0.07, depth=1.2)
        stage.mesh(rod.points + UP * 0.7, rod.triangles, materials.paint(rng), smooth=False)
    elif kind == "rope":
        t = np.linspace(0, 1, 60)
        course = np.stack([t * 1.6 - 1, 0.25 * np.sin(t * rng.uniform(2, 7)), 0.3 * np.cos(t * rng.uniform(1, 6))], 1)
        fibre = rng.normal(0, 0.05, (count // 4, 1, 2))
        angle = 40 * t[None] + rng.integers(3, size=(count // 4, 1)) * 2.1
        loose = np.clip((t - rng.uniform(0.4, 0.8)) * 3, 0, None)[None, :, None]
        across = np.stack([np.cos(angle), np.sin(angle)], 2) * 0.07 + fibre * (0.6 + 14 * loose ** 1.5)
        points = np.broadcast_to(course, (count // 4, 60, 3)).copy()
        points[..., 1:] += across
        points = shortened(points, 1 - 0.3 * rng.random(count // 4) ** 2)
        stage.strands(points, 0.004, shaded(rng, colours[0], count // 4), material, tip=0.6)
    else:
        body = shapes.primitive("ico", subdivisions=5)
        p = body.points * (1 + 0.12 * np.cos(np.arctan2(body.points[:, 1], body.points[:, 0]) * int(
            rng.integers(7, 16))))[:, None] * (0.6, 0.6, rng.uniform(0.5, 1.3))
        body = Surface(p, unit(p), body.triangles)
        green = pick(rng, GREENS, 0.05)
        stage.mesh(p, body.triangles, materials.paint(rng, tinted=True, metal=False),
                   tint=np.broadcast_to(green, p.shape))
        roots, normals, _ = body.scattered(rng, int(rng.integers(150, 700)))
        roots, normals = np.repeat(roots, 7, 0), np.repeat(normals, 7, 0)
        points = grown(rng, roots, normals + 0.6 * rng.normal(size=roots.shape), rng.uniform(0.05, 0.25) * rng.uniform(
            0.5, 1, len(roots)), 4)
        stage.strands(points, 0.003, shaded(rng, np.array([0.6, 0.5, 0.3]), len(roots)), material, tip=0.1)
