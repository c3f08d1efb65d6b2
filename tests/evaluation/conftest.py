"""Small evaluation sets that the tests of this folder share."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from matting_anything_core.evaluation.data import read_benchmark


def disc(x, y, radius, shape=(48, 64)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.clip((radius - np.hypot(rows - y, columns - x)) / 3 + 0.5, 0, 1)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(array).astype(np.uint8)).save(path)


def make_set(root, count=6, instances=1):
    """Discs on noise: a folder that `evaluate folder` reads."""
    generator = np.random.default_rng(0)
    for index in range(count):
        name = f"{index}"
        alphas = [disc(18 + 26 * each, 24 + index % 3, 9 + index % 4) for each in range(instances)]
        total = np.clip(sum(alphas), 0, 1)[..., None]
        ground = np.array([30, 60, 160]) + generator.normal(0, 4 + 6 * index, (48, 64, 3))
        save(root / "images" / f"{name}.png", np.clip(total * np.array([230, 150, 30]) + (1 - total) * ground, 0, 255))
        for each, alpha in enumerate(alphas):
            path = f"{name}.png" if instances == 1 else f"{name}/{each:02d}.png"
            save(root / "alphas" / path, 255 * alpha)
    return read_benchmark("folder", root)


@pytest.fixture(name="disc")
def disc_fixture():
    return disc


@pytest.fixture(name="save")
def save_fixture():
    return save


@pytest.fixture(name="make_set")
def make_set_fixture():
    return make_set
