"""Recipes: what to train, on what and how, as a TOML file; every field is a dataclass's field and checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_type_hints

import torch

from ..errors import MattingError
from ..folders import filled_in
from ..networks.backbones import BACKBONES
from .recipe_checks import RECIPE, SOURCE, STAGE, check_metadata, check_ranges, fitted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

StageKind: TypeAlias = Literal["encoder", "clicks", "matte"]
Role: TypeAlias = Literal["foreground", "picture", "background"]
Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Source:
    """Pictures of one data set.

    layout: how its folder is laid out, a name of `layouts.LAYOUTS`. path: relative to the recipe's `data` folder.
    weight: how often its cut-outs, all together, are drawn beside those of other sources, or each of its photographs or
    backgrounds beside others. match: only files whose name fits this pattern. hold_out: [n, k] leaves out every n-th
    picture, from the k-th on, for validation; there `keep` = "held" takes just those. hard: its alphas are hard-edged
    masks, so that losses leave out a band about their edge.
    licence and origin (how to get it again) go to the data card.
    """

    layout: str
    path: str
    name: str = ""
    role: Role | None = None
    weight: float = 1.0
    match: str = "*"
    hold_out: tuple[int, int] = (0, 0)
    keep: Literal["rest", "held"] = "rest"
    hard: bool = False
    licence: str = "not stated"
    origin: str = ""
    subset: str = "train"


@dataclass(frozen=True)
class Stage:
    """One leg of a training run.

    kind: "encoder" trains encoder, prompt encoder and mask decoder (box or points -> mask), "clicks" the latter two
    alone in dialogues with corrective clicks and mask prompts (see `clicks_task.py`), "matte" trains Mask-to-Matte on
    the frozen result. square: the encoder's input; matte_square: Mask-to-Matte's (0: the same);
    crop: side of random windows of the matte's square that are taught, `crops` of them a picture (0: all of it).
    samples: "scenes" (`scene.py`) or "paper" (section 4.1: composites and pictures, cropped about the unknown region).
    schedule: where each scale is taught, see `weight_maps.py`. snap: Mask-to-Matte is given masks as the small
    model uses them, ended at the box and moved to the picture's edges (`snap.py`). batch is for each process.

    Of the stage "clicks": views: how many different ones there are (0: no end); feature_cache: a folder, relative to
    the recipe's file, where the encoder's features of them are kept, 0.6 MB each at 512 px (empty: nowhere); starts:
    how often a dialogue begins with a box, a point, a mask; rounds: at most so many clicks follow; teacher: weight of
    staying near the decoder that the first of such stages began with, for plain boxes; obey: weight of what is about a
    click; others: weight of the candidates that are not the best one, once there are clicks; prompt_factor: how much
    faster the prompt encoder learns than the decoder.
    """

    kind: StageKind
    steps: int
    batch: int
    square: int
    matte_square: int = 0
    crop: int = 0
    samples: Literal["scenes", "paper"] = "scenes"
    schedule: Literal["paper", "reference", "predicted", "ones"] = "ones"
    maps_from: int = 4000
    optimiser: Literal["adamw", "adam"] = "adamw"
    rate: float = 6e-4
    backbone_rate: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.98)
    decay: float = 0.02
    warmup: int = 150
    floor: float = 0.02
    clip: float = 5.0
    clip_moving: float = 0.0
    ema: float = 0.999
    photographs: float = 0.4
    most_objects: int = 3
    generated: float = 0.36
    crops: int = 1
    losses: tuple[float, float, float] = (1.0, 1.0, 1.0)
    freeze_norms: bool = True
    snap: bool = False
    precision: Precision = "float32"
    views: int = 0
    feature_cache: str = ""
    starts: tuple[float, float, float] = (0.55, 0.2, 0.25)
    rounds: int = 4
    teacher: float = 0.5
    obey: float = 0.5
    others: float = 0.4
    prompt_factor: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """A whole run.

    start: the weights of SAM to begin with, start_matte: those of Mask-to-Matte (a name or a path as for `load_model`,
    variables of the environment are filled in; empty: fresh ones). backbone: a file with EfficientNet-Lite0's ImageNet
    weights for the small encoder when it starts afresh, see `prepare.load_backbone`. note and metadata go to the
    exported file: a remark for its data card, and further keys such as the `guidance` that suits the model.
    """

    name: str
    architecture: str
    stages: tuple[Stage, ...]
    sources: tuple[Source, ...]
    validation: tuple[Source, ...] = ()
    data: str = "."
    start: str = ""
    start_matte: str = ""
    backbone: str = ""
    licence: str = "not stated"
    seed: int = 1
    workers: int = 1
    cache: bool = False
    checkpoint_minutes: float = 5.0
    validate_minutes: float = 30.0
    validate_pictures: int = 120
    log_steps: int = 25
    note: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    folder: str = field(default=".", metadata={"hidden": True})

    @property
    def root(self) -> Path:
        """The folder that sources are relative to: `data`, itself relative to the recipe's file; `~` and variables of
        the environment are filled in."""
        return Path(self.folder) / filled_in(self.data, "the recipe's data")

    def card(self) -> dict[str, Any]:
        """The recipe as plain values, for the data card and to compare runs."""
        values = asdict(self)
        values.pop("folder")
        return values


Record = TypeVar("Record", Recipe, Stage, Source)
def _fill(kind: type[Record], table: Mapping[str, Any], where: str, made: tuple[str, ...] = ()) -> Record:
    """The record of a table; the values of `made` are taken as they are."""
    if not isinstance(table, dict):
        raise MattingError(f"{where} is {table!r}; expected a table of keys and values")
    known = {item.name: item for item in fields(kind) if not item.metadata.get("hidden")}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise MattingError(f"{where} has the unknown keys {', '.join(unknown)}; known are {', '.join(known)}")
    missing = [name for name, item in known.items()
               if item.default is MISSING and item.default_factory is MISSING and name not in table]
    if missing:
        raise MattingError(f"{where} lacks {', '.join(missing)}")
    hints = get_type_hints(kind)
    return kind(**{name: value if name in made else fitted(value, hints[name], f"{where}: {name}")
                   for name, value in table.items()})


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe's TOML file. Raises MattingError that names the file, the table and the key that is wrong."""
    file = Path(path)
    parts = _table(file)
    for key, kind, name in (("stages", Stage, "stage"), ("sources", Source, "source"),
                            ("validation", Source, "validation")):
        given = parts.pop(name, [])
        if not isinstance(given, list):
            raise MattingError(f"{file}: [{name}] is a list of tables; write [[{name}]]")
        parts[key] = tuple(_fill(kind, item, f"{file}, {name} {i + 1}")  # type: ignore[type-var]
                           for i, item in enumerate(given))
    recipe = _fill(Recipe, parts, str(file), ("stages", "sources", "validation"))
    recipe = Recipe(**{**{item.name: getattr(recipe, item.name) for item in fields(Recipe)},
                       "folder": str(file.parent)})
    _check(recipe, file)
    return recipe


def _table(file: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's keys, and those of its `base` that it does not have itself."""
    if not file.exists():
        raise MattingError(f"there is no recipe {file}; the package's own are in {Path(__file__).parent / 'recipes'}")
    if file.resolve() in above:
        raise MattingError(f"{file} is its own base")
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MattingError(f"{file} is no TOML: {error}") from None
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise MattingError(f"{file}: base is {base!r}; expected a recipe's file, relative to this one")
    return {**_table(file.parent / base, (*above, file.resolve())), **table}


def _check(recipe: Recipe, file: Path) -> None:
    if not recipe.stages or not recipe.sources:
        raise MattingError(f"{file} needs at least one [[stage]] and one [[source]]")
    check_ranges(recipe, RECIPE, str(file))
    check_metadata(recipe.metadata, str(file))
    if recipe.architecture not in BACKBONES:
        raise MattingError(f"{file}: architecture is {recipe.architecture!r}; expected one of {', '.join(BACKBONES)}")
    for i, stage in enumerate(recipe.stages):
        where = f"{file}, stage {i + 1}"
        check_ranges(stage, STAGE, where)
        if stage.kind != "matte" and recipe.architecture != "lite":
            raise MattingError(f"{where}: kind is {stage.kind}; only the architecture lite has such stages")
        if (stage.matte_square or stage.square) < stage.crop:
            raise MattingError(f"{where}: crop is {stage.crop}; expected no more than the matte's square of "
                               f"{stage.matte_square or stage.square}")
        if stage.feature_cache and (stage.kind != "clicks" or not stage.views):
            raise MattingError(f"{where}: feature_cache is for stages of the kind clicks with a number of views")
    for part, sources in (("source", recipe.sources), ("validation", recipe.validation)):
        for i, source in enumerate(sources):
            where = f"{file}, {part} {i + 1}"
            check_ranges(source, SOURCE, where)
            if source.keep == "held" and not source.hold_out[0]:
                raise MattingError(f'{where}: keep is "held", but hold_out leaves nothing out')
