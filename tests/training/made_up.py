"""Small made-up data sets in the folder layouts the real ones are published in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = (150, 170)


def shape_alpha(seed: int) -> np.ndarray:
    """A soft disc somewhere, H×W uint8."""
    rng = np.random.default_rng(seed)
    alpha = np.zeros(SIZE, np.uint8)
    centre = tuple(int(v) for v in rng.integers(60, 90, 2))
    cv2.circle(alpha, centre, int(rng.integers(25, 45)), 255, -1)
    return cv2.GaussianBlur(alpha, (0, 0), float(rng.uniform(1, 4)))


def colours(seed: int) -> np.ndarray:
    """Something with structure, H×W×3 uint8."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def make_pairs(root: Path, colour: str, alpha: str, count: int = 3, ending: str = ".png") -> None:
    for i in range(count):
        save(root / colour / f"p{i}{ending}", colours(i))
        save(root / alpha / f"p{i}.png", shape_alpha(i))


def make_layout(root: Path, layout: str, count: int = 3) -> None:
    """Fill `root` as the published data set of this layout is laid out."""
    pairs = {
        "adobe": ("Training_set/Adobe-licensed images/fg", "Training_set/Adobe-licensed images/alpha"),
        "distinctions646": ("Train/FG", "Train/GT"),
        "am2k": ("train/original", "train/mask"),
        "human2k": ("train/image", "train/alpha"),
        "picture_alpha": ("image", "alpha"),
        "picture_mask": ("image", "mask"),
    }
    if layout in pairs:
        make_pairs(root, *pairs[layout], count, ".jpg" if layout in ("am2k", "adobe") else ".png")
    elif layout == "refmatte":
        for i in range(count):
            save(root / "train/img" / f"p{i}.jpg", colours(i))
            for j in range(2):
                save(root / "train/mask" / f"p{i}_{j}.png", shape_alpha(10 * i + j))
    elif layout in ("coco", "bg20k", "backgrounds"):
        folder = {"coco": "train2017", "bg20k": "train", "backgrounds": "."}[layout]
        for i in range(count):
            save(root / folder / f"b{i}.jpg", colours(100 + i))
    elif layout == "cutouts":
        for i in range(count):
            save(root / f"c{i}.png", np.dstack([colours(i), shape_alpha(i)]))
    else:
        raise ValueError(layout)


RECIPE = """
name = "tiny"
architecture = "vit_tiny_test"
data = "{data}"
seed = 3
workers = {workers}
checkpoint_minutes = {minutes}
log_steps = 2

{sources}

[[validation]]
name = "cut"
layout = "cutouts"
path = "cutouts"

[[validation]]
name = "whole"
layout = "picture_alpha"
path = "picture_alpha"

[[stage]]
kind = "matte"
samples = "paper"
square = 128
batch = 2
steps = {steps}
schedule = "{schedule}"
maps_from = 3
optimiser = "adam"
rate = 1e-3
betas = [0.5, 0.99]
decay = 0.0
warmup = 2
clip_moving = 2.0
ema = 0.0
freeze_norms = false
"""

LAYOUTS = ("adobe", "distinctions646", "am2k", "human2k", "refmatte", "coco", "bg20k", "cutouts", "picture_alpha",
           "picture_mask")


def write_recipe(folder: Path, *, steps: int = 6, schedule: str = "paper", workers: int = 0, minutes: float = 60.0,
                 layouts: tuple[str, ...] = LAYOUTS) -> Path:
    """Data in `layouts` under folder/data and a recipe over all of it; returns the recipe's path."""
    for layout in {*layouts, "cutouts", "picture_alpha"}:
        make_layout(folder / "data" / layout, layout)
    sources = "\n".join(f'[[source]]\nlayout = "{layout}"\npath = "{layout}"\nlicence = "CC0"\norigin = "made up"\n'
                        for layout in layouts)
    path = folder / "tiny.toml"
    path.write_text(RECIPE.format(data=folder / "data", sources=sources, steps=steps, schedule=schedule,
                                  workers=workers, minutes=minutes), encoding="utf-8")
    return path
