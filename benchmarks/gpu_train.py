"""The recipe `lite` on one card for a given time, from packed pictures (gpu_pack.py) to a model file.

    python benchmarks/gpu_train.py packed-0.zip packed-1.zip --seconds 420 --out gpu_run
    python benchmarks/gpu_train.py packed-0.zip --dry-run --out gpu_run      every step on the CPU, small, in a minute

Scenes are made by worker processes and varied on the card; how long the card waits for them is told, and so are the
scores on the packed validation pictures before and after. The recipe's stages for the encoder (384, then 512 pixels)
share the time; how many steps that is, on which the learning rate depends, is found by taking a few first. Clicks are
not trained here: the recipe `lite_clicks` follows on what comes out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from gpu_models import GOLDEN, LITE
from gpu_pack import unpacked
from gpu_vary import varying

from matting_anything_core.errors import MattingError
from matting_anything_core.opencv import cv2
from matting_anything_core.training.library import Library, open_library
from matting_anything_core.training.loop import Limits, Team, train
from matting_anything_core.training.prepare import build_task
from matting_anything_core.training.recipe import Recipe, Stage
from matting_anything_core.training.run import export, find_recipe
from matting_anything_core.training.validation import Item, build_items, evaluate

SHARES = (0.7, 0.3)
"""Of the time for training: the stage at 384 pixels, and the one at 512."""
RESERVE = 0.12
"""Of the seconds given: validation, export and reading back at the end."""
WAITED = re.compile(r"([\d.]+) s a step, ([\d.]+) s waiting for data")


def say(text: str) -> None:
    """To whoever watches."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def the_recipe(given: argparse.Namespace, data: Path, sources: Any, validation: Any) -> Recipe:
    """`lite`'s recipe for one card: its encoder's stages, the packed pictures, larger batches."""
    base = find_recipe("lite")
    stages = tuple(replace(stage, batch=max(1, given.batch * 384 * 384 // stage.square**2),
                           rate=stage.rate * given.rate, backbone_rate=stage.backbone_rate * given.rate,
                           precision=given.precision)
                   for stage in base.stages if stage.kind == "encoder")
    if given.dry_run:
        stages = tuple(replace(stage, square=side, batch=2) for stage, side in zip(stages, (96, 128), strict=True))
    start = str(LITE) if given.start == "lite" else given.start
    return replace(base, stages=stages, sources=sources, validation=validation, data=str(data.absolute()), folder="/",
                   start=start, start_matte=start, workers=given.workers, cache=True, seed=given.seed,
                   checkpoint_minutes=1e6, validate_minutes=1e6, validate_pictures=given.validate, log_steps=10,
                   note=f"{base.note} Then {given.seconds:g} seconds of the encoder's stages on one card, from packed "
                        "pictures (benchmarks/gpu_train.py).")


def preload(library: Library, threads: int) -> int:
    """Read all pictures, by several threads, so that forked workers share them. Returns how many there are."""
    records = [record for pool in (library.photos, library.backgrounds, *library.cutouts) for record in pool.records]
    with ThreadPoolExecutor(threads) as pool:
        return sum(photo is not None for photo in pool.map(library.read, records))


def seconds_a_step(recipe: Recipe, number: int, library: Library, team: Team, steps: int, copies: int) -> float:
    """How long a step of a stage takes, workers included, after as many that don't count."""
    trial = replace(recipe, stages=(replace(recipe.stages[number], steps=10**6, warmup=10**6),), validation=(),
                    log_steps=10**9)
    folder = Path(tempfile.mkdtemp(prefix="matting-gpu-probe-"))
    try:
        train(trial, folder, library, [], team, Limits(step=2 * steps), varying(copies, recipe.seed))
        rows = (folder / "losses.csv").read_text(encoding="utf-8").splitlines()[1:]
        at = [float(row.split(",")[3]) for row in rows]
        return max((at[-1] - at[steps - 1]) / steps, 1e-3)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def score(recipe: Recipe, stage: Stage, items: Sequence[Item], team: Team,
          weights: dict[str, Any] | None) -> dict[str, dict[str, float]]:
    """Validation of some weights, or of what the recipe starts from."""
    task = build_task(recipe, stage, weights).to(team.device).eval()
    with torch.no_grad():
        return evaluate(task.sam, None, items)


def read_back(path: Path, device: str) -> dict[str, Any]:
    """Open the exported file as anyone would, and matte a picture with it."""
    import numpy as np
    from PIL import Image

    from matting_anything_core.model import MattingAnything
    from matting_anything_core.types import Prompt
    from matting_anything_core.weights import open_checkpoint

    checkpoint = open_checkpoint(str(path))
    model = MattingAnything.from_checkpoint(checkpoint, device=device)
    pixels = np.asarray(Image.open(GOLDEN / "chelsea.webp").convert("RGB"))
    [matte] = model.matte(model.embed(pixels), Prompt(box=(40, 20, 430, 299)))
    if not np.isfinite(matte.alpha).all() or not 0.02 < float(matte.alpha.mean()) < 0.98:
        raise MattingError(f"{path} makes no usable matte: its mean is {float(matte.alpha.mean()):.3f}")
    card = json.loads(checkpoint.metadata["data_card"])
    return {"architecture": checkpoint.architecture, "square": checkpoint.square, "sources": len(card["sources"]),
            "steps": card["steps"], "mean_alpha": float(matte.alpha.mean())}


def waiting(log: Path) -> dict[str, float]:
    """Seconds a step and of them those in which the card waited for data, from the run's own log."""
    found = [(float(each), float(wait)) for each, wait in WAITED.findall(log.read_text(encoding="utf-8"))]
    if not found:
        return {}
    each, wait = (sum(column) / len(found) for column in zip(*found, strict=True))
    return {"seconds_a_step": each, "waiting_for_data": wait, "waiting_share": wait / each if each else 0.0}


def go(given: argparse.Namespace) -> dict[str, Any]:
    """All of it; returns the report."""
    begun = time.monotonic()
    cv2.setNumThreads(0)  # workers are forked: OpenCV's threads would not be there in them
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    if (out / "checkpoint.pt").exists():
        raise MattingError(f"{out} holds a run already; name another --out, or delete it")
    device = torch.device("cuda" if given.device == "auto" else given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MattingError("no usable CUDA card is found; --dry-run goes through every step on the CPU")
    team = Team(0, 1, device)
    sources, validation = unpacked(given.shards, out / "data")
    recipe = the_recipe(given, out / "data", sources, validation)
    library = open_library(recipe.sources, recipe.root, cache=True, unreadable=out / "unreadable.txt")
    pictures = preload(library, max(2, given.workers))
    items = build_items(recipe)
    say(f"{pictures} pictures of {len(sources)} sources, {len(items)} for validation; {time.monotonic() - begun:.0f} s")
    before = score(recipe, recipe.stages[-1], items, team, None)
    say(f"before: {_told(before)}")
    report: dict[str, Any] = {
        "dry_run": given.dry_run, "torch": torch.__version__, "seconds_given": given.seconds, "workers": given.workers,
        "card": torch.cuda.get_device_name(device) if device.type == "cuda" else "none", "pictures": pictures,
        "precision": given.precision, "copies": given.copies, "scores_before": before, "stages": []}
    probe = 2 if given.dry_run else 12
    each = [seconds_a_step(recipe, number, library, team, probe, given.copies) for number in range(len(recipe.stages))]
    left = given.seconds * (1 - RESERVE) - (time.monotonic() - begun)
    if left <= 0:
        raise MattingError(f"{given.seconds:g} seconds are gone before training begins; give more")
    steps = [max(2, int(left * share / one)) for share, one in zip(SHARES, each, strict=True)]
    if given.dry_run:
        steps = [3, 3]
    recipe = replace(recipe, log_steps=1 if given.dry_run else 10, stages=tuple(
        replace(stage, steps=count, warmup=min(stage.warmup, count // 4))
        for stage, count in zip(recipe.stages, steps, strict=True)))
    for stage, one in zip(recipe.stages, each, strict=True):
        say(f"{stage.square} px: {stage.steps} steps of {stage.batch}, {one:.3f} s each")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start = time.monotonic()
    minutes = math.inf if given.dry_run else left / 60
    weights = train(recipe, out, library, [], team, Limits(minutes), varying(given.copies, given.seed))
    report["training_seconds"] = time.monotonic() - start
    report["peak_gb"] = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    report["stages"] = [{"square": stage.square, "batch": stage.batch, "steps_planned": stage.steps,
                         "scenes_a_second": stage.batch / one} for stage, one in zip(recipe.stages, each, strict=True)]
    report["data"] = waiting(out / "log.txt")
    after = score(recipe, recipe.stages[-1], items, team, weights)
    report["scores_after"] = after
    say(f"after: {_told(after)}")
    (out / "recipe.json").write_text(json.dumps(recipe.card(), indent=1), encoding="utf-8")
    path = export(recipe, out, given.export or out / "model.safetensors")
    report |= {"export": str(path), "megabytes": path.stat().st_size / 1e6, "read_back": read_back(path, str(device)),
               "seconds": time.monotonic() - begun}
    if not given.keep:
        shutil.rmtree(out / "data")
    _write(out / "report.json", json.dumps(report, indent=1))
    return report


def _told(scores: dict[str, dict[str, float]]) -> str:
    return ", ".join(f"{kind} IoU {values['iou']:.3f}" for kind, values in scores.items()) or "no validation pictures"


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def main(argv: list[str] | None = None) -> int:
    """Train, export, read back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, nargs="+", help="files of gpu_pack.py, of one pack")
    parser.add_argument("--out", type=Path, default=Path("gpu_run"), metavar="FOLDER",
                        help="for the checkpoint, logs, report.json and the model (default: gpu_run)")
    parser.add_argument("--seconds", type=float, default=420, help="for everything (default: 420)")
    parser.add_argument("--workers", type=int, default=None, help="processes that make scenes (default: 14; dry run 1)")
    parser.add_argument("--batch", type=int, default=64, help="scenes a step at 384 px (default: 64)")
    parser.add_argument("--copies", type=int, default=3,
                        help="times that each scene is taken, mirrored and in other colours (default: 3)")
    parser.add_argument("--rate", type=float, default=1.0, help="a factor on the recipe's learning rates (default: 1)")
    parser.add_argument("--precision", choices=("bfloat16", "float16", "float32"), default="bfloat16",
                        help="of the encoder (default: bfloat16)")
    parser.add_argument("--start", default="lite", help="weights to begin with: lite, or a file (default: lite)")
    parser.add_argument("--seed", type=int, default=29, help="of scenes and steps (default: 29)")
    parser.add_argument("--validate", type=int, default=60, metavar="N", help="validation pictures (default: 60)")
    parser.add_argument("--export", type=Path, default=None, metavar="FILE.safetensors",
                        help="the model (default: model.safetensors in --out)")
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu; auto is CUDA, which must be there")
    parser.add_argument("--keep", action="store_true", help="leave the unpacked pictures in --out")
    parser.add_argument("--dry-run", action="store_true",
                        help="on the CPU, a few small steps of every stage, export and reading back included")
    given = parser.parse_args(argv)
    if given.dry_run and given.device == "auto":
        given.device = "cpu"
    if given.workers is None:
        given.workers = 1 if given.dry_run else 14
    if given.seconds <= 0 or given.batch < 1 or given.copies < 1 or given.workers < 0 or given.rate <= 0:
        parser.error("--seconds, --batch, --copies and --rate are more than 0, --workers 0 or more")
    try:
        report = go(given)
    except MattingError as error:
        print(error, file=sys.stderr)
        return 1
    say(f"{report['export']} ({report['megabytes']:.1f} MB), {report['seconds']:.0f} s in all; {given.out}/report.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
