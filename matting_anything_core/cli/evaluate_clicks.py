"""`matting-anything evaluate clicks`: how well corrections by hand work, click by click."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .evaluate_objects import add_data, add_run, add_systems, finished, say_problems

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
    add_systems(parser, "grabcut (OpenCV's, the clicks as seeds), mask (the model's own hard mask: plain Segment "
                        "Anything)")
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
    say_problems(result.problems)
    _say(report)
    return finished(written, result.problems)
