"""Animals, fuzzy shapes, busts and feathers.

Each function sets one subject on the stage, about two units large, z up, its front towards -y. What varies is drawn
from the stage's random numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import materials, shapes
from .coats import NATURAL, SKIN, UP, chain, eyes, furred, marked, pick, shaded
from .stage import Stage
from .strands import (
    DOWN,
    Array,
    Ball,
    Rng,
    Style,
    Surface,
    facing,
    feather,
    grown,
    multiplied,
    swirl,
    turned,
    unit,
    waves,
)

THINGS = ("🐈🐕🐇🐎🐄🐖🐘🐿🦔🐓🦆🦉🐟🦋🐝🌵🌲🍄🍎🍐🍓🥕🌶🍌🥑🎸🎺🎻🔑🔨🔧🔦✂🚲🚗🚜"
          "✈⚓☂👞👢👒🎩🧢🧤👜🏺🕯🪑🛋🛒⚽🏀🎲🧸🪆🔔🕰📷☎💡🪣🧹🪓🦀🐙🐢🐌🦎🐬🦒🦘")


def animal(stage: Stage) -> None:
    """Four legs, a coat: between mouse, cat, fox, bear, llama and sheep."""
    rng = stage.rng
    long, thick = rng.uniform(0.7, 1.2), rng.uniform(0.16, 0.36)
    leg, leg_thick = rng.uniform(0.15, 0.8), rng.uniform(0.05, 0.11)
    head, neck, snout = rng.uniform(0.14, 0.28), rng.uniform(0.05, 0.6), rng.uniform(0.5, 1.6)
    pose = rng.choice(["stand", "sit", "lie"], p=[0.5, 0.3, 0.2])
    rise = {"stand": rng.uniform(-0.1, 0.1), "sit": long * 0.6, "lie": 0.0}[str(pose)]
    hip = np.array([-long / 2, 0, 0.0])
    shoulder = np.array([long / 2 * (0.6 if pose == "sit" else 1), 0, rise])
    look = unit(np.array([1, rng.normal(0, 0.5), rng.normal(0, 0.2)]))
    skull = shoulder + unit(np.array([0.5 + rng.random(), rng.normal(0, 0.25), rng.uniform(0.2, 1.6)])) * (
        neck + thick * 0.7 + head * 0.6)
    parts: list[tuple[tuple[Array, Array], float, Array]] = []  # balls, length of the hair, which way it is combed

    def add(start: Array, end: Array, first: float, last: float, length: float, bow: Array | None = None) -> None:
        parts.append((chain(start, end, first, last, bow), length, unit(np.asarray(end) - start)))

    mane = float(rng.choice([1, 1, 1.5, 2.5]))
    add(shoulder, hip, thick * rng.uniform(0.85, 1.1), thick * rng.uniform(0.9, 1.25), 1.0,
        UP * thick * rng.uniform(-0.3, 0.3))
    add(skull, shoulder, head * 0.8, thick * 0.75, mane)
    add(skull + look * head * 0.9 * snout, skull, head * rng.uniform(0.3, 0.6), head, 0.35)
    for end, at in ((-1, hip), (1, shoulder)):
        for sign in (-1, 1):
            top = at + np.array([0, sign * thick * 0.6, -thick * 0.3])
            floor = {"stand": -leg, "sit": -leg * 0.4, "lie": -thick * 0.5}[str(pose)]
            foot = np.array([at[0] + end * (0.3 if pose != "stand" else rng.normal(0, 0.12)), top[1] * 1.15,
                             floor - thick * 0.4])
            add(top, foot, leg_thick * 1.7, leg_thick, 0.5, np.array([rng.normal(0, 0.06), 0, 0]))
            add(foot, foot + np.array([leg_thick * 1.2, 0, 0]), leg_thick, leg_thick * 0.9, 0.2)
    if rng.random() < 0.85:
        tail = rng.uniform(0.2, 1.0)
        add(hip, hip + unit(np.array([-1, rng.normal(0, 0.5), rng.uniform(-0.7, 1.0)])) * tail, thick * 0.25,
            0.04, rng.uniform(0.6, 3.0), UP * rng.normal(0, 0.25))
    ear, side = rng.uniform(0.3, 1.4), unit(np.cross(UP, look))
    for sign in (-1, 1):
        root = skull + sign * side * head * 0.6 + UP * head * 0.65
        way = unit(UP * rng.uniform(-0.6, 1.4) + sign * side * rng.uniform(0.3, 1.0) - 0.2 * look)
        add(root, root + way * head * ear, head * 0.3, head * rng.uniform(0.08, 0.3), rng.uniform(0.2, 0.9))

    body = shapes.blended([part[0] for part in parts], 0.045)
    from scipy.spatial import cKDTree

    owner = np.concatenate([np.full(len(part[0][0]), index) for index, part in enumerate(parts)])
    near = owner[cKDTree(np.concatenate([part[0][0] for part in parts])).query(body.points)[1]]
    coat = float(np.exp(rng.uniform(np.log(0.04), np.log(0.35))))
    length = np.array([part[1] for part in parts])[near] * coat
    away = np.array([part[2] for part in parts])[near] + DOWN * 0.4
    furred(stage, body, length, away, count=int(rng.integers(16000, 34000)))
    eyes(stage, skull, look, head, nose=head * (0.9 * snout + rng.uniform(0.3, 0.55)))


def emblem(rng: Rng, fat: bool = False) -> Surface:
    """One of a font's pictures as a solid."""
    for _ in range(5):
        try:
            body = shapes.glyph(THINGS[rng.integers(len(THINGS))], "NotoEmoji-VariableFont_wght.woff2",
                              rng.uniform(0.08, 0.16), 0.05 if fat else rng.uniform(0, 0.03))
        except (ValueError, RuntimeError):
            continue
        return body
    return shapes.primitive("monkey", subdivided=1)


def ball(stage: Stage) -> None:
    """A fuzzy shape: Blender's monkey, a torus, a cube, a lump, a plush of one of a font's pictures."""
    rng = stage.rng
    kind = str(rng.choice(["monkey", "torus", "cube", "lump", "plush", "cone"], p=[0.25, 0.1, 0.1, 0.2, 0.25, 0.1]))
    if kind == "monkey":
        body = shapes.primitive("monkey", subdivided=2)
    elif kind == "plush":
        body = emblem(rng, fat=True)
    elif kind == "lump":
        centres = np.cumsum(rng.normal(0, 0.35, (int(rng.integers(2, 8)), 3)), 0)
        body = shapes.blended([(centres, rng.uniform(0.25, 0.6, len(centres)))], 0.06)
    elif kind == "torus":
        body = shapes.primitive("torus", major_radius=0.8, minor_radius=rng.uniform(0.15, 0.4))
    else:
        body = shapes.primitive(kind, subdivided=4)
    coat = float(np.exp(rng.uniform(np.log(0.05), np.log(0.6)))) * (0.4 if kind == "plush" else 1)
    length = coat * np.clip(1 + rng.uniform(0, 0.7) * waves(rng, body.points, 3), 0.2, 2)
    if kind != "plush" and rng.random() < 0.3:  # fur in places
        length = length * np.clip(waves(rng, body.points, 2.5) * 3 + 1, 0, 1)
    away = unit(swirl(rng, body.points, 1.5)) + DOWN * rng.uniform(0, 1)
    colours = marked(rng, body.points, body.normals, [pick(rng, NATURAL, 0.6) for _ in range(3)])
    furred(stage, body, length, away, count=int(rng.integers(14000, 30000)), colours=colours)
    if kind == "monkey":
        eyes(stage, np.array([0, -0.35, 0.15]), np.array([0, -1.0, 0]), 0.55)


def portrait(stage: Stage) -> None:
    """A bust with a hair-cut, now and then a beard, from any side."""
    rng = stage.rng
    skin = pick(rng, SKIN, 0.05)
    wide, deep = rng.uniform(0.4, 0.46), rng.uniform(0.46, 0.54)
    skull = (np.array([[0, 0.06, 0.12], [0, -0.05, 0.05], [0, -0.1, -0.18], [0, -0.16, -0.32]]),
             np.array([deep, wide, wide * 0.82, wide * rng.uniform(0.45, 0.62)]))
    ears = [(np.array([[sign * wide * 1.03, 0.03, -0.05], [sign * wide * 1.08, 0.07, 0.03]]), np.array([0.07, 0.08]))
            for sign in (-1, 1)]
    nose = chain(np.array([0, -wide - 0.06, 0.05]), np.array([0, -wide - 0.16, -0.12]), 0.05, rng.uniform(0.06, 0.09))
    neck = chain(np.array([0, 0.02, -0.3]), np.array([0, 0.08, -0.85]), rng.uniform(0.19, 0.27), 0.26)
    head = shapes.blended([skull, nose, neck, *ears], 0.05)
    stage.mesh(head.points, head.triangles, materials.paint(rng, tinted=True, metal=False), tint=np.clip(
        skin * (1 + 0.12 * waves(rng, head.points, 5)[:, None]), 0.01, 0.9))
    broad, low = rng.uniform(0.55, 0.75), rng.uniform(-1.5, -1.3)
    trunk = [chain(np.array([sign * 0.12, 0.08, -0.75]), np.array([sign * broad, 0.1, -1.08]), 0.2, 0.22)
             for sign in (-1, 1)]
    trunk += [chain(np.array([sign * broad, 0.1, -1.1]), np.array([sign * broad * 1.12, 0.05, -2.0]), 0.2, 0.15)
              for sign in (-1, 1)]
    trunk += [chain(np.array([x * broad, 0.08, -1.1]), np.array([x * broad * 0.8, 0.05, -2.0]), 0.27, 0.27)
              for x in (-0.66, -0.33, 0, 0.33, 0.66)]
    chest = shapes.blended(trunk, 0.07)
    # Cut off below, flat: the frame's lower edge is where a picture of a bust ends.
    chest = Surface(np.where(chest.points[:, 2:] < low, chest.points * (1, 1, 0) + (0, 0, low), chest.points),
                    chest.normals, chest.triangles[(chest.points[chest.triangles][..., 2] > low).any(1)])
    stage.mesh(chest.points, chest.triangles, materials.paint(rng, metal=False))
    if rng.random() < 0.25:  # a woollen jumper
        furred(stage, chest, np.full(len(chest.points), 0.04), swirl(rng, chest.points, 3), count=9000, skin=False,
               soft=True)
    eyes(stage, np.array([0, -0.04, 0.0]), np.array([0, -1.0, 0]), wide * 0.99)

    p = head.points
    line = rng.uniform(0.18, 0.32)  # the hair line at the forehead; further down towards the nape
    height = p[:, 2] - (line - np.clip((p[:, 1] + 0.3) * 1.3, 0, 0.75))
    scalp = np.clip(height * 12, 0, 1) * (p[:, 2] > -0.45) * (np.abs(p[:, 0]) < wide * 1.02)
    colour = pick(rng, NATURAL, 0.12)
    face: Ball = ((rng.normal(0, 0.03), -0.42, rng.uniform(-0.25, -0.12)), rng.uniform(0.38, 0.46))
    balls: list[Ball] = [
        face, ((0, 0.06, 0.12), deep + 0.01), ((0, -0.05, 0.05), wide + 0.01), ((0, -0.1, -0.18), wide * 0.83),
        ((0, 0.05, -0.6), 0.3), *(((x * broad, 0.08, -1.0), 0.34) for x in (-0.9, -0.45, 0, 0.45, 0.9))]
    cut = str(rng.choice(["short", "bob", "long", "wavy", "curly", "afro", "tail", "wind", "spiky", "bald"],
                         p=[0.1, 0.1, 0.14, 0.14, 0.12, 0.1, 0.1, 0.1, 0.06, 0.04]))
    wind = unit(np.array([rng.choice([-1, 1]), rng.normal(0, 0.4), rng.normal(0.1, 0.3)]))
    long = {"short": rng.uniform(0.1, 0.25), "bob": rng.uniform(0.55, 0.85), "long": rng.uniform(1.0, 1.8),
            "wavy": rng.uniform(0.7, 1.6), "curly": rng.uniform(0.5, 1.2), "afro": rng.uniform(0.25, 0.6),
            "tail": 0.8, "wind": rng.uniform(0.7, 1.5), "spiky": rng.uniform(0.2, 0.4), "bald": 0.0}[cut]
    pull: Array = {"short": DOWN * 0.6, "afro": DOWN * 0.0, "spiky": UP * 0.2, "wind": DOWN * 0.5 + wind * 1.6}.get(
        cut, DOWN * rng.uniform(1.5, 3.0))
    style = Style(
        clump={"afro": 0.15, "spiky": 0.95, "curly": rng.uniform(0.4, 0.85)}.get(cut, rng.uniform(0.15, 0.75)),
        shape=rng.uniform(0.6, 2), frizz=rng.uniform(0.008, 0.035) * (2.5 if cut in ("afro", "short") else 1),
        curl={"wavy": rng.uniform(0.015, 0.04), "curly": rng.uniform(0.03, 0.08), "afro": rng.uniform(0.03, 0.09)}.get(
            cut, 0.0), turns={"wavy": rng.uniform(1.5, 4), "curly": rng.uniform(4, 9), "afro": rng.uniform(3, 8)}.get(
            cut, 1.0), ragged=rng.uniform(0.15, 0.5), flyaway=rng.uniform(0.02, 0.08))
    if long:
        tie = np.array([0, deep + 0.1, 0.2 + rng.uniform(-0.3, 0.35)]) if cut == "tail" else None
        guides, normals, _ = head.scattered(rng, 500, scalp)
        ways = normals * rng.uniform(0.5, 1.2) + np.array([0, rng.uniform(0, 0.6), rng.uniform(-0.1, 0.5)])
        if cut in ("afro", "spiky"):
            ways = normals + 0.25 * rng.normal(size=normals.shape)
        # A parting, and away from the face; but for a fringe, now and then.
        aside = 0.35 + np.clip(-guides[:, 1] * 2, 0, 1) * (0.2 if rng.random() < 0.15 else 1.6)
        ways[:, 0] += np.where(guides[:, 0] > rng.normal(0, 0.12), aside, -aside)
        courses = grown(rng, guides, ways, long * rng.uniform(0.85, 1.1, len(guides)), 18, pull=pull,
                        bend=rng.uniform(0, 0.5), frequency=rng.uniform(1.5, 4), balls=balls)
        if cut not in ("afro", "spiky", "short") and rng.random() < 0.85:  # what hangs before the face goes beside it
            before = np.clip((-0.12 - courses[..., 1]) * 5, 0, 1) * np.clip((line - courses[..., 2]) * 5, 0, 1)
            side = np.sign(courses[:, -1:, 0]) * np.hypot(courses[..., 0], rng.uniform(0.3, 0.42) * before)
            courses[..., 0] += (side - courses[..., 0]) * np.clip(before * 2, 0, 1)
        if tie is not None:  # to the knot close to the skull, then on from there
            part = np.linspace(0, 1, 9)[None, :, None]
            near_skull = guides[:, None] * (1 - part) + tie * part
            middle = np.array([0, 0.06, 0.1])
            out = near_skull - middle
            shell = (np.linalg.norm(guides - middle, axis=1)[:, None, None] * (1 - part) + part
                     * np.linalg.norm(tie - middle)) + 0.03
            first = middle + unit(out) * shell
            rest = grown(rng, tie + 0.05 * rng.normal(size=guides.shape), np.array([0, 1.0, 0.4])
                         + 0.25 * rng.normal(size=guides.shape), rng.uniform(0.6, 1.4) * rng.uniform(
                             0.8, 1.1, len(guides)), 12, pull=DOWN * 2.2 + 0.6 * wind * rng.random(), balls=balls)
            courses = np.concatenate([first, rest], 1)
        count = int(rng.integers(9000, 20000) * stage.factor)
        roots, _, _ = head.scattered(rng, count, scalp)
        points, lock = multiplied(rng, courses, roots, style)
        tint = shaded(rng, colour, count, 0.15) * np.exp(rng.normal(0, 0.18, (len(guides), 1)))[lock]
        if rng.random() < 0.2:  # strands of another colour
            other = rng.random(len(guides)) < rng.uniform(0.1, 0.5)
            tint[other[lock]] = pick(rng, NATURAL, 0.5)
        tips = tint * rng.uniform(0.9, 1.8) if rng.random() < 0.7 else shaded(rng, pick(rng, NATURAL, 0.5), count)
        stage.strands(points, rng.uniform(0.0014, 0.0032), tint, materials.hair(rng), tip=rng.uniform(0.2, 0.6),
                      tint_tip=np.asarray(np.clip(tips, 0, 0.95)))
    if rng.random() < 0.22:
        below = np.clip((-0.16 - p[:, 2]) * 12, 0, 1) * (p[:, 1] < -0.02) * (p[:, 2] > -0.62)
        below = below * (np.abs(p[:, 0]) + np.abs(p[:, 2] + 0.24) > 0.09)  # the mouth
        if below.sum() > 5:
            away = np.broadcast_to(DOWN + np.array([0, -0.3, 0]), p.shape)
            furred(stage, head, below * rng.uniform(0.06, 0.5), away, count=6000, skin=False, soft=False,
                   lift=0.4, colours=np.broadcast_to(colour, p.shape))
    brow = ((np.abs(p[:, 2] - 0.12) < 0.03) & (p[:, 1] < -0.3) & (np.abs(np.abs(p[:, 0]) - 0.19) < 0.11)) * 1.0
    if brow.sum() > 3:
        furred(stage, head, brow * 0.07, np.sign(p[:, :1]) * np.array([1.0, 0, 0.3]), count=700, skin=False, soft=False,
               colours=np.broadcast_to(colour * 0.8, p.shape), lift=0.35)


def _feather(stage: Stage, place: Array, turn: Array, length: float, width: float, colours: list[Array], *,
             barbs: int = 170, down: float = 0.25, material: Any = None) -> None:
    rng = stage.rng
    rachis, barb, starts = feather(rng, length, width, barbs=int(barbs * max(0.5, stage.factor)),
                                   bow=rng.uniform(-0.3, 0.3), splits=int(rng.integers(0, 6)), down=down,
                                   rake=rng.uniform(0.5, 1.2))
    material = material or materials.hair(rng, soft=True)
    bands = np.clip(0.5 + 1.5 * np.sin(starts * rng.uniform(3, 40) + rng.uniform(0, 6)), 0, 1)[:, None]
    tint = colours[0] + (colours[1] - colours[0]) * bands * (rng.random() < 0.6)
    tint = np.clip(tint * np.exp(rng.normal(0, 0.12, (len(barb), 1))), 0, 0.95)
    stage.strands(barb @ turn.T + place, 0.6 * length / len(starts) * 2, tint, material, tip=0.5,
                  tint_tip=np.asarray(np.clip(tint + (colours[2] - tint) * 0.6, 0, 0.95)))
    stage.strands(rachis @ turn.T + place, 0.012 * length, np.array([pick(rng, NATURAL[5:9], 0)]), material, tip=0.25)


def feathers(stage: Stage) -> None:
    """A feather, a bunch, a fan, a wing or a ball of down."""
    rng = stage.rng
    colours = [pick(rng, NATURAL, 0.4) for _ in range(3)]
    kind = str(rng.choice(["single", "bunch", "fan", "wing", "boa"], p=[0.2, 0.25, 0.2, 0.2, 0.15]))
    material = materials.hair(rng, soft=True)
    if kind == "single":
        _feather(stage, np.zeros(3), turned(rng), 2.0, rng.uniform(0.15, 0.5), colours, barbs=420,
                 down=rng.uniform(0.05, 0.9))
        return
    if kind == "boa":
        spine = np.cumsum(rng.normal(0, 1, (9, 3)), 0) * 0.22
        count = int(rng.integers(50, 110))
        for _ in range(count):
            at = rng.uniform(0, 8)
            place = spine[int(at)] + (spine[min(8, int(at) + 1)] - spine[int(at)]) * (at % 1)
            _feather(stage, place, turned(rng), rng.uniform(0.25, 0.6), rng.uniform(0.06, 0.16), colours, barbs=60,
                     down=rng.uniform(0.4, 1.0), material=material)
        return
    count = int(rng.integers(4, 16))
    span = rng.uniform(0.6, 2.6)
    for index in range(count):
        share = index / (count - 1) - 0.5
        angle = span * share + rng.normal(0, 0.05) + np.pi / 2
        way = np.array([np.cos(angle), rng.normal(0, 0.12), np.sin(angle)])
        place = np.array([0, 0.01 * index, 0.0])
        if kind == "wing":
            place = np.array([1.6 * share, 0.012 * index, 0.25 * np.sin(np.pi * (share + 0.5))])
            way = np.array([-0.4 + 0.9 * share, rng.normal(0, 0.05), -1.0])
        if kind == "bunch":
            way = unit(UP + rng.uniform(0.2, 0.7) * rng.normal(size=3))
        turn = facing(way, np.array([0, -1.0, 0]) + 0.3 * rng.normal(size=3))
        _feather(stage, place, turn, rng.uniform(0.9, 1.3) * (1.3 - abs(share)), rng.uniform(0.12, 0.28), colours,
                 barbs=170, down=rng.uniform(0.1, 0.5), material=material)
