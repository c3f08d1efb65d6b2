"""`matting-anything evaluate clicks`: how well corrections by hand work, click by click."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation.clicks_report import ClicksReport

DESCRIPTION = """\
Correct a model click by click, as a patient user would: the next click goes into the middle of the largest error
(the deepest pixel of what is missing or too much) and says the truth there. That is the protocol of RITM, FocalClick
and SimpleClick.

Measured after each click: IoU of alpha above one half, NoC@85/90/95 (clicks until IoU is that high), whether every
click so far is obeyed, whether a click made things worse and by how much, the error of alpha where the truth is an
alpha, and seconds.

Results are noted object by object in OUTPUT/clicks.jsonl; a run that was interrupted goes on where it stopped. At the
end OUTPUT holds report.html (curves, and the worst objects click by click), report.md and report.json.
"""

EPILOG = """\
DIR holds images/NAME.jpg and masks/NAME.png (or alphas/NAME.png; masks/NAME/00.png … for several objects in one
image). White is the object. Middle gray in a mask that is otherwise black and white (128 in GrabCut's masks) counts
for nothing.

examples:
  matting-anything evaluate clicks --data GrabCut --against grabcut
      from the box, up to 20 clicks, GrabCut with the same protocol beside the bundled model
  matting-anything evaluate clicks --data GrabCut --from nothing
      from points alone: the number of clicks that papers print (NoC)
  matting-anything evaluate clicks --data my_images --clicks 8 --limit 20 --model vit_b --device cuda
"""


def _clicks(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 100")
    return value


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


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "clicks", help="corrections by hand, click by click", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data(parser, "evaluation-clicks")
    parser.add_argument("--from", dest="start", choices=("box", "nothing"), default="box",
                        help="begin with the true mask's box (default), or with nothing but clicks")
    parser.add_argument("--clicks", type=_clicks, default=20, metavar="N",
                        help="at most N clicks for each object (default 20); also the cap of NoC")
    group = parser.add_argument_group("who is measured")
    group.add_argument("--model", default="lite", metavar="NAME",
                       help="lite (default), vit_b, vit_l, vit_h, a .safetensors file, or none")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1, mps")
    group.add_argument("--against", action="append", default=[], choices=("grabcut", "mask"),
                       help="another system beside it, repeatable: grabcut (OpenCV's, the clicks as seeds), mask (the "
                            "model's own hard mask: plain Segment Anything)")
    add_run(parser)
    parser.set_defaults(run=run)


def _say(report: ClicksReport) -> None:
    from ..evaluation.clicks_report import clicks_lines, rows

    for name, value in clicks_lines(report):
        print(f"{name}: {value}")
    table = [("", [system.name for system in report.systems]), *rows(report)]
    width = max(len(name) for name, _ in table) + 2
    widths = [max(len(cells[index]) for _, cells in table) + 2 for index in range(len(report.systems))]
    for name, cells in table if report.systems else []:
        print(f"{name:<{width}}" + "".join(f"{cell:>{widths[index]}}" for index, cell in enumerate(cells)))


def run(args: argparse.Namespace) -> int:
    """Correct, write the report, say the table and where it is. 1 when objects had to be left out."""
    from ..evaluation.clicks import ClicksProtocol
    from ..evaluation.clicks_page import clicks_html
    from ..evaluation.clicks_report import clicks_json, clicks_markdown, summarise_clicks
    from ..evaluation.clicks_runner import evaluate_clicks
    from ..evaluation.clicks_systems import click_systems
    from ..evaluation.data import read_benchmark
    from ..evaluation.report import write_report_files
    from .evaluate import check
    from .progress import progress_bar

    protocol = ClicksProtocol(start=args.start, clicks=args.clicks, ignored=args.ignored)
    dataset = read_benchmark("folder", args.data)
    check(dataset, args)
    systems = click_systems(args.model, args.device, args.against)
    with progress_bar() as progress:
        result = evaluate_clicks(dataset, systems, protocol, args.output, limit=args.limit, anew=args.anew,
                                 progress=progress)
    report = summarise_clicks(result, shown=args.show)
    written = write_report_files(args.output, clicks_markdown(report), clicks_json(report), clicks_html(report))
    for problem in result.problems:
        print(f"left out: {problem}", file=sys.stderr)
    _say(report)
    for path in written:
        print(path)
    return 1 if result.problems else 0
