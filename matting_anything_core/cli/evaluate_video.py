"""`matting-anything evaluate video`: mattes of clips against true ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation.video import System

DESCRIPTION = """\
Measure the mattes of clips against true ones: MAD, MSE, Grad and Conn frame by frame, dtSSD and MESSDdt over time (how
differently the matte changes, and how the error changes along the motion), and J and F, the agreement of regions and
boundaries, which is what there is for hard masks.

The object is marked once, with the box around its true matte in the first frame that shows it, and followed. Results
are noted clip by clip in OUTPUT/video.jsonl; a run that was interrupted goes on where it stopped. OUTPUT/video.json
holds the numbers of every clip.
"""
EPILOG = """\
DIR holds CLIP/frames/0001.jpg … and CLIP/alphas/0001.png … (true mattes, or masks) for each clip, or frames/ and
alphas/ of a single one.

examples:
  matting-anything evaluate video --data clips --against frame-by-frame --against same-prompt
      beside matting every frame by itself: with its true box, and with the first frame's box
  matting-anything evaluate video --data clips --model none --against folder:their_mattes
      mattes that another program made: their_mattes/CLIP/0001.png …
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("video", help="mattes of clips: errors over time, J and F", description=DESCRIPTION,
                                   epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of clips")
    parser.add_argument("--output", type=Path, default=Path("evaluation-video"), metavar="DIR",
                        help="folder for results (default: evaluation-video)")
    group = parser.add_argument_group("who is measured")
    group.add_argument("--model", default="lite", metavar="NAME",
                       help="lite (default), vit_b, vit_l, vit_h, a .safetensors file, or none")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1, mps")
    group.add_argument("--against", action="append", default=[], metavar="SYSTEM",
                       help="another system beside it, repeatable: frame-by-frame (every frame with its true box), "
                            "same-prompt (every frame with the first one's), folder:DIR (mattes made elsewhere)")
    group.add_argument("--steady", type=float, default=0.7, metavar="SHARE",
                       help="how much alpha is blended with the frame before, see `matting-anything video` (default "
                            "0.7)")
    parser.add_argument("--anew", action="store_true", help="measure again what is noted in OUTPUT already")
    parser.set_defaults(run=run)


def _systems(args: argparse.Namespace) -> list[System]:
    from ..api import load_model
    from ..errors import PromptError
    from ..evaluation.data import DataError
    from ..evaluation.video import Folder, Followed, Single

    for name in args.against:
        if name not in ("frame-by-frame", "same-prompt") and not name.startswith("folder:"):
            raise PromptError(f"--against was given as {name!r}; expected frame-by-frame, same-prompt or folder:DIR")
    if not 0 <= args.steady <= 1:
        raise PromptError(f"--steady was given as {args.steady}; expected a number from 0 to 1")
    model = None if args.model == "none" else load_model(args.model, device=args.device)
    systems: list[System] = [] if model is None else [Followed(model, args.steady)]
    for name in args.against:
        if name.startswith("folder:"):
            systems.append(Folder(Path(name.removeprefix("folder:"))))
        elif model is None:
            raise DataError(f"--against {name} mattes frame by frame with the model; it needs a --model")
        else:
            systems.append(Single(model, name == "frame-by-frame"))
    if not systems:
        raise DataError("nobody is to be measured: --model none needs at least one --against")
    return systems


def run(args: argparse.Namespace) -> int:
    """Measure, and say the means."""
    from ..evaluation.video import evaluate_clips, read_clips, table
    from .progress import progress_bar

    samples = read_clips(args.data)
    systems = _systems(args)
    with progress_bar(quiet=args.quiet) as progress:
        found = evaluate_clips(samples, systems, args.output, anew=args.anew, progress=progress)
    rows = table(found)
    width = max(len(row[0]) for row in rows)
    for row in rows:
        print(f"{row[0]:<{width}}" + "".join(f"{cell:>9}" for cell in row[1:]))
    print(args.output / "video.json")
    return 0
