"""`matting-anything train`: train a model by a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import MattingError

DESCRIPTION = """\
Train a model by a recipe: Mask-to-Matte on a frozen SAM as in the paper (mam_vit_b, mam_vit_l, mam_vit_h), or the small
bundled model from its encoder on (lite). A run that was stopped, even by a crash, goes on where its last checkpoint
was when the same command is given again.
"""

EXAMPLES = """\
examples:
  matting-anything train lite.toml --out runs/lite --dry-run       is all there, how fast is it, how long will it take?
  matting-anything train lite.toml --out runs/lite
  torchrun --nproc_per_node 8 -m matting_anything_core.cli train mam_vit_b.toml --out runs/mam
  matting-anything train lite.toml --out runs/lite --export lite.safetensors      write the model so far, and stop

A recipe is a TOML file, or the name of one that comes with the package. Its [[source]] tables name the data sets and
their folder layouts; `data` is the folder they are in and may hold variables such as $DATA.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train", help="train a model by a recipe", description=DESCRIPTION, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", metavar="RECIPE.toml",
                        help="a recipe's file, or one of the package's: lite, mam_vit_b, mam_vit_l, mam_vit_h")
    parser.add_argument("--out", metavar="FOLDER", default=None,
                        help="folder for checkpoints and logs (default: runs/NAME)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train")
    parser.add_argument("--minutes", type=float, default=None, metavar="N",
                        help="stop after N minutes, with a checkpoint to go on from")
    parser.add_argument("--steps", type=int, default=None, metavar="N",
                        help="stop at step N of the current stage, with a checkpoint to go on from")
    parser.add_argument("--export", metavar="FILE.safetensors", default=None,
                        help="write the averaged weights of the checkpoint in --out as one model file, and stop")
    parser.add_argument("--fill-cache", metavar="K/N", default=None,
                        help="encode ahead the K-th of N parts of the views that the recipe's stage `clicks` keeps the "
                             "features of, and stop; several processes may do so, and a run go on beside them")
    parser.add_argument("--dry-run", action="store_true",
                        help="read some pictures of every source, take a few steps of every stage, and say what the "
                             "run will need; nothing is kept")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, try out or export."""
    import math

    import matting_anything_core.training.run as training

    recipe = training.find_recipe(args.recipe)
    out = Path(args.out or Path("runs") / recipe.name)
    if args.minutes is not None and not (math.isfinite(args.minutes) and args.minutes > 0):
        raise MattingError(f"--minutes is {args.minutes}; expected a positive number")
    if args.steps is not None and args.steps < 1:
        raise MattingError(f"--steps is {args.steps}; expected a positive number")
    if args.export:
        path = training.export(recipe, out, Path(args.export))
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
        return 0
    if args.fill_cache:
        made = training.fill_cache(recipe, part=_part(args.fill_cache), device=args.device)
        print(f"{made} views encoded")
        return 0
    if args.dry_run:
        print(training.dry_run(recipe, device=args.device))
        return 0
    training.run(recipe, out, device=args.device, minutes=args.minutes, steps=args.steps)
    return 0


def _part(text: str) -> tuple[int, int]:
    """K/N as numbers, 1 <= K <= N."""
    first, slash, last = text.partition("/")
    if slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last):
        return int(first), int(last)
    raise MattingError(f"--fill-cache is {text!r}; expected K/N with 1 <= K <= N, such as 1/2")
