"""What the command line asks for: find a recipe, run it, try it out, export its result."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import MattingError
from ..opencv import cv2
from .checkpoint import load_if_there
from .clicks_data import make_features
from .clicks_task import ClicksTask
from .library import Library, open_library
from .loop import Limits, Team, join_team, of_the_model, train
from .prepare import build_task
from .recipe import Recipe, read_recipe
from .validation import build_items

RECIPES = Path(__file__).parent / "recipes"
SAMPLES = 24
"""Pictures of every source that a dry run reads."""


def find_recipe(name_or_path: str) -> Recipe:
    """A recipe's file, or one of the package's by name. Raises MattingError."""
    own = RECIPES / f"{Path(name_or_path).stem}.toml"
    return read_recipe(own if not Path(name_or_path).exists() and own.exists() else name_or_path)


def run(recipe: Recipe, out: Path, *, device: str = "auto", minutes: float | None = None,
        steps: int | None = None) -> dict[str, Tensor]:
    """Train by a recipe into a folder, or go on there; returns the averaged weights, named sam.* and m2m.*.

    Under torchrun every process calls this. Raises MattingError when data is missing or the folder belongs to
    another recipe.
    """
    cv2.setNumThreads(0)  # workers are forked: OpenCV's threads would not be there in them
    team = join_team(device)
    out.mkdir(parents=True, exist_ok=True)
    library = open_library(recipe.sources, recipe.root, cache=recipe.cache, unreadable=out / "unreadable.txt")
    if recipe.cache:
        library.preload()
    items = build_items(recipe) if team.leads else []
    if team.leads:
        (out / "recipe.json").write_text(json.dumps(recipe.card(), indent=1), encoding="utf-8")
    weights = train(recipe, out, library, items, team,
                    Limits(math.inf if minutes is None else minutes, steps))
    bad = unreadable(out)
    if team.leads and bad:
        print(f"{len(bad)} pictures could not be read and were passed over; see {out / 'unreadable.txt'}")
    return weights


def fill_cache(recipe: Recipe, *, part: tuple[int, int] = (1, 1), device: str = "auto") -> int:
    """Encode ahead the views of the recipe's stages `clicks`, which must be its first ones; returns how many were made.
    Several processes may share the work, beside a run that uses what is there.

    part: k, n makes the k-th n-th of the views. Raises MattingError when the stage keeps no features, or starts from
    the result of another stage.
    """
    leading = itertools.takewhile(lambda stage: stage.kind == "clicks", recipe.stages)
    stage = max(leading, key=lambda stage: stage.views, default=recipe.stages[0])
    if stage.kind != "clicks" or not stage.feature_cache or not stage.views:
        raise MattingError(f"the recipe {recipe.name} has no features to make ahead; its first stage must be of the "
                           "kind clicks and name a number of views and a feature_cache")
    cv2.setNumThreads(0)
    library = open_library(recipe.sources, recipe.root, cache=recipe.cache)
    torch.manual_seed(recipe.seed)  # as the run's first stage, should the recipe start with fresh weights
    task = build_task(recipe, stage, None).to(join_team(device).device)
    task.train()
    assert isinstance(task, ClicksTask)
    return make_features(task, library, range(part[0] - 1, stage.views, part[1]))


def unreadable(out: Path) -> list[str]:
    """The pictures that could not be read so far, each once."""
    path = out / "unreadable.txt"
    return sorted(set(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def export(recipe: Recipe, out: Path, path: Path) -> Path:
    """Write a run's averaged weights as one model file with its data card, float16."""
    from ..weights.write import write_safetensors

    state = load_if_there(out / "checkpoint.pt")
    if state is None:
        raise MattingError(f"there is no checkpoint in {out}; train first")
    stage = recipe.stages[state["run"]["stage"]]
    card = data_card(recipe, out, state["run"])
    metadata = {
        "format": "matting-anything", "architecture": recipe.architecture, "square": str(stage.square),
        "matte_square": str(stage.matte_square or stage.square), "licence": recipe.licence,
        "source": f"trained by this package's recipe {recipe.name}", "sources": json.dumps(card["sources"]),
        "steps": str(state["run"]["total_steps"]), "hours": f"{state['run']['seconds'] / 3600:.2f}",
        "scores": json.dumps(card["scores"]), "data_card": json.dumps(card), **recipe.metadata,
    }
    return write_safetensors(path, of_the_model(state["average"]), metadata, dtype=torch.float16)


def data_card(recipe: Recipe, out: Path, progress: dict[str, Any]) -> dict[str, Any]:
    """What a model was made of: sources with licences and how to get them again, stages, steps, hours, scores."""
    scores: dict[str, dict[str, float]] = {}
    path = out / "scores.csv"
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:  # the last value of each kind stays
            *_, kind, name, value = line.split(",")
            scores.setdefault(kind, {})[name] = float(value)
    return {
        "recipe": recipe.name, "seed": recipe.seed, "note": recipe.note,
        "stages": [{"kind": s.kind, "square": s.square, "steps": s.steps, "batch": s.batch} for s in recipe.stages],
        "steps": progress["total_steps"], "hours": round(progress["seconds"] / 3600, 3),
        "sources": [{"name": s.name or s.path, "licence": s.licence, "origin": s.origin} for s in recipe.sources],
        "generated": "part of the foregrounds are made by matting_anything_core.training.generator",
        "validation": [{"name": s.name, "origin": s.origin, "licence": s.licence} for s in recipe.validation],
        "scores": scores,
    }


def dry_run(recipe: Recipe, *, device: str = "auto") -> str:
    """Read some pictures of every source, take three steps of every stage, and tell what a run will need."""
    cv2.setNumThreads(0)
    lines = [f"recipe {recipe.name}: {recipe.architecture}, {len(recipe.stages)} stage(s), data in {recipe.root}"]
    library = open_library(recipe.sources, recipe.root)
    lines += _try_sources(library)
    team = join_team(device)
    total = 0.0
    for number, stage in enumerate(recipe.stages):
        trial = replace(recipe, stages=(replace(stage, steps=4),), workers=0, validation=(), log_steps=10**9)
        folder = Path(tempfile.mkdtemp(prefix="matting-dry-run-"))
        try:
            if team.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            train(trial, folder, library, [], Team(0, 1, team.device), Limits(step=1))
            start = time.monotonic()
            train(trial, folder, library, [], Team(0, 1, team.device))
            each = (time.monotonic() - start) / 3
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        total += each * stage.steps
        lines.append(f"stage {number + 1}: {stage.kind}, {stage.steps} steps of {stage.batch} a process, "
                     f"{each:.2f} s a step here, {_span(each * stage.steps)}")
    lines.append(f"memory: {_memory(team)}")
    lines.append(f"all in all {_span(total)} on one process like this one, without validation")
    return "\n".join(lines)


def _try_sources(library: Library) -> list[str]:
    parts = [("pictures with alpha", library.photos), ("backgrounds", library.backgrounds),
             *(("cut-outs", part) for part in library.cutouts)]
    lines = []
    for name, pool in parts:
        records = pool.records
        if not records:
            continue
        tried = records[:: max(1, len(records) // SAMPLES)][:SAMPLES]
        bad = [record for record in tried if library.read(record) is None]
        lines.append(f"{len(records)} {name} in {os.path.commonpath([r.rgb.parent for r in records])}; "
                     f"{len(tried)} tried, {len(bad)} unreadable" + (f", e.g. {bad[0].rgb}" if bad else ""))
        if len(bad) == len(tried):
            raise MattingError(f"none of {len(tried)} pictures tried can be read, e.g. {bad[0].rgb}")
    return lines


def _span(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"


def _memory(team: Team) -> str:
    if team.device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB on the GPU at most"
    try:
        import resource
    except ImportError:  # Windows
        return "not measured on this system"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB at most"
