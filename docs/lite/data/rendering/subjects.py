"""The subjects by name, and several of them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .creatures import animal, ball, feathers, portrait
from .plants import grass, plant
from .stage import Stage
from .things import bristles, cloth, glassware, smoke, solid, wires

SUBJECTS: Mapping[str, Callable[[Stage], None]] = {
    "animal": animal, "fuzzy": ball, "portrait": portrait, "feathers": feathers, "grass": grass, "plant": plant,
    "wires": wires, "cloth": cloth, "glass": glassware, "smoke": smoke, "solid": solid, "bristles": bristles,
}


def several(stage: Stage, kinds: list[str]) -> None:
    """Some of them beside and in front of each other."""
    rng = stage.rng
    stage.factor = 0.55
    for index, kind in enumerate(kinds):
        aside = (index - (len(kinds) - 1) / 2) * rng.uniform(0.7, 1.4)
        stage.place = np.array([aside, rng.uniform(-1, 1), rng.normal(0, 0.2)])
        stage.size = rng.uniform(0.5, 1.0)
        angle = rng.uniform(0, 2 * np.pi)
        stage.turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        SUBJECTS[kind](stage)
