"""`matting-anything benchmark`: how fast this machine mattes, against a plain path."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError
from ..replacing import replace_text

if TYPE_CHECKING:
    from ..benchmark import Measured
    from ..types import Box

EXAMPLES = """\
examples:
  matting-anything benchmark --random-weights
      ViT-B and the bundled model, without any download: times depend on the weights' shapes only
  matting-anything benchmark --model vit_b --rounds 3 --json times.json
  matting-anything benchmark --model lite --image photo.jpg --box 120,40,560,700

plain = segment_anything's own modules, Mask-to-Matte as it trains, over the whole square; exact = this library, whose
numbers are the same. Each runs in processes of its own, in turns; the smallest time counts. On the CPU.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "benchmark", help="time every stage, and peak memory, against a plain path", epilog=EXAMPLES,
        description="Time every stage of matting and its peak memory, against a plain path in the same run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", action="append", metavar="NAME|FILE",
                        help="lite, vit_b, vit_l, vit_h or a file; may be repeated (default: vit_b and lite)")
    parser.add_argument("--random-weights", action="store_true",
                        help="make weights up for models that are not installed")
    parser.add_argument("--image", metavar="FILE", help="picture (default: the demo picture)")
    parser.add_argument("--box", metavar="X0,Y0,X1,Y1",
                        help="box around the subject in it (default: the middle, half as wide and high); the larger, "
                             "the more Mask-to-Matte has to do")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="how often each path is run (default: 2)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the CPU (default: all)")
    parser.add_argument("--cpu-time", action="store_true",
                        help="count the CPU's seconds, not the clock's: for machines that do other work as well")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there as well")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure every model and print one table each."""
    with tempfile.TemporaryDirectory(prefix="matting-anything-") as folder:
        return _run(args, Path(folder))


def _run(args: argparse.Namespace, folder: Path) -> int:
    from ..benchmark import FIRST, Job, compare, table

    picture, box = _subject(args.image, args.box, folder)
    names: list[str] = args.model or ["vit_b", "lite"]
    results: dict[str, tuple[Measured, Measured]] = {}
    print(f"{picture.name}, box {','.join(f'{value:g}' for value in box)}")
    for name in names:
        job = Job(_weights(name, args.random_weights, folder), "plain", str(picture), box, args.threads,
                  args.cpu_time)
        results[name] = compare(job, max(args.rounds, 1), lambda text: print(text, file=sys.stderr, flush=True))
        print("\n".join(table(name, *results[name])), flush=True)
    if "vit_b" in results:
        plain = results["vit_b"][0].total(FIRST)
        for name in names:
            if name != "vit_b":
                print(f"{name}, first prompt, against vit_b's plain path: {results[name][1].total(FIRST) / plain:.3f}x")
    if args.json:
        numbers = {name: {"plain": asdict(plain), "exact": asdict(exact)} for name, (plain, exact) in results.items()}
        replace_text(args.json, json.dumps(numbers, indent=2) + "\n")
    return 0


def _subject(image: str | None, text: str | None, folder: Path) -> tuple[Path, Box]:
    """The picture's file and the box in it: those given, or the demo picture and a box of half its sides."""
    from ..assets import demo_picture
    from ..image import read_image
    from ..types import Prompt

    path = folder / "demo.jpg" if image is None else Path(image)
    if image is None:
        path.write_bytes(demo_picture())
    picture = read_image(path)
    middle = (picture.width / 4, picture.height / 4, picture.width * 3 / 4, picture.height * 3 / 4)
    given = Prompt(box=text.split(",")).box if text else None  # type: ignore[arg-type]
    return path, given or middle


def _weights(name: str, random_weights: bool, folder: Path) -> str:
    """The model's name or file; a file with made-up weights where it is not installed and that was allowed."""
    from ..benchmark import write_random_model
    from ..weights import open_checkpoint

    try:
        open_checkpoint(name)
    except WeightsError as error:
        if not random_weights:
            raise WeightsError(f"{error}; or time made-up weights with --random-weights") from None
        path = folder / f"{name}.safetensors"
        write_random_model(name, path)
        return str(path)
    return name
