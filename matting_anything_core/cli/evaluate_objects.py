"""What `evaluate clicks` and `evaluate steadiness` share: both go through a folder's objects one by one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def _ignored(text: str) -> int | str:
    if text in ("auto", "none"):
        return text
    if text.isascii() and text.isdigit() and int(text) <= 255:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor none nor a gray value from 0 to 255")


def add_data(parser: argparse.ArgumentParser, output: str) -> None:
    """The arguments that say which images, and where results go."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with images/ and masks/")
    parser.add_argument("--output", type=Path, default=Path(output), metavar="DIR",
                        help=f"folder for results and report (default: {output})")
    parser.add_argument("--ignored", type=_ignored, default="auto", metavar="VALUE",
                        help="gray value of the masks that counts for nothing: auto (default), none, or 0 to 255")


def add_systems(parser: argparse.ArgumentParser, against: str) -> None:
    """The arguments that say who is measured; against: what the other systems are."""
    group = parser.add_argument_group("who is measured")
    group.add_argument("--model", default="lite", metavar="NAME",
                       help="lite (default), vit_b, vit_l, vit_h, a .safetensors file, or none")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1, mps")
    group.add_argument("--against", action="append", default=[], choices=("grabcut", "mask"),
                       help=f"another system beside it, repeatable: {against}")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The arguments about the run."""
    from .evaluate import positive

    group = parser.add_argument_group("the run")
    group.add_argument("--limit", type=positive, metavar="N", help="only N images, spread evenly over the folder")
    group.add_argument("--show", type=positive, default=8, metavar="N",
                       help="how many of the worst objects the page shows (default 8)")
    group.add_argument("--anew", action="store_true", help="measure again what is noted in OUTPUT already")
    group.add_argument("--allow-missing", action="store_true",
                       help="go on when files are missing, without those images; they are listed in the report")


def say_problems(problems: Sequence[str]) -> None:
    """Say what was left out."""
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)


def finished(written: Sequence[Path], problems: Sequence[str]) -> int:
    """Say where the report is; the exit status: 1 when objects had to be left out."""
    for path in written:
        print(path)
    return 1 if problems else 0
