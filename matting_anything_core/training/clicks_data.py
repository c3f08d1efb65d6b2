"""Batches for the stage `clicks`: views with the encoder's features where they are kept, and objects to prompt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import MattingError
from ..folders import filled_in
from ..opencv import cv2
from .feature_cache import CHANNELS, PATCH, FeatureCache
from .library import Library
from .prompting import jittered_box
from .recipe import Recipe, Stage
from .views import OBJECTS, View, ViewSettings, view

if TYPE_CHECKING:
    from .clicks_task import ClicksTask

EACH = 2
"""Prompts for every view at a time: on different objects, or dialogues of their own on the same one."""


def view_settings(recipe: Recipe, stage: Stage) -> ViewSettings:
    """What the views of a stage depend on, besides the pictures."""
    return ViewSettings(recipe.seed, stage.square, stage.photographs, stage.most_objects, stage.generated)


def open_cache(recipe: Recipe, stage: Stage) -> FeatureCache | None:
    """The stage's kept features; None when it keeps none."""
    if not stage.feature_cache:
        return None
    folder = Path(recipe.folder) / filled_in(stage.feature_cache, "the recipe's feature_cache")
    return FeatureCache(folder, stage.views, stage.square)


class ClickViews(Dataset[dict[str, Tensor]]):
    """Item i is always the same sample: a view (number i in a shuffled order of all of them, again and again) with
    its features where they are kept, else its pixels, and jittered boxes of EACH of its objects."""

    def __init__(self, library: Library, settings: ViewSettings, views: int, cache: FeatureCache | None,
                 length: int) -> None:
        self.library, self.settings, self.views = library, settings, views
        self.cache, self.length = cache, length

    def __len__(self) -> int:
        return self.length

    def number(self, index: int) -> int:
        """Which view item `index` shows. Every round over all views has an order of its own."""
        if not self.views:
            return index
        turn, place = divmod(index, self.views)
        return int(np.random.default_rng((self.settings.seed, 32, turn)).permutation(self.views)[place])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        cv2.setNumThreads(1)
        side, number = self.settings.side, self.number(index)
        grid = side // PATCH
        if self.cache is not None and number in self.cache:
            features, size, targets = self.cache.read(number)
            pixels, kept = torch.zeros((3, side, side), dtype=torch.uint8), True
        else:
            made = view(self.library, self.settings, number)
            pixels, size, targets, kept = made.rgb, made.size, made.targets, False
            features = torch.zeros((CHANNELS, grid, grid), dtype=torch.float16)
        rng = np.random.default_rng((self.settings.seed, 33, index))
        order = rng.permutation(len(targets))
        chosen = [int(order[i % len(order)]) for i in range(EACH)]
        boxes = [jittered_box(rng, targets[i].numpy().astype(np.float32) / 255) * 4 for i in chosen]
        every = torch.zeros((OBJECTS, *targets.shape[1:]), dtype=torch.uint8)
        every[: len(targets)] = targets
        return {
            "number": torch.tensor(number), "kept": torch.tensor(kept), "count": torch.tensor(len(targets)),
            "rgb": pixels, "features": features, "size": torch.tensor(size), "every": every,
            "boxes": torch.from_numpy(np.stack(boxes).astype(np.float32)), "targets": targets[chosen],
        }


def make_features(task: ClicksTask, library: Library, numbers: Iterable[int], batch: int = 4) -> int:
    """Encode the views of these numbers that are not kept yet, and keep them; returns how many were made."""
    cache, settings = task.cache, task.settings
    if cache is None:
        raise MattingError("the stage keeps no features; its feature_cache is empty")
    waiting: list[tuple[int, View]] = []
    made = 0

    def flush() -> None:
        if waiting:
            rgb = torch.stack([shown.rgb for _, shown in waiting]).to(task.device)
            sizes = torch.tensor([shown.size for _, shown in waiting], device=task.device)
            for (number, shown), features in zip(waiting, task.encoded(rgb, sizes), strict=True):
                cache.write(number, features, shown)
            waiting.clear()

    for number in numbers:
        if number not in cache:
            waiting.append((number, view(library, settings, number)))
            made += 1
        if len(waiting) == batch:
            flush()
    flush()
    return made
