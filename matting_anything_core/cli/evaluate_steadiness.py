"""`matting-anything evaluate steadiness`: does the same come out when it is asked for a little differently?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .evaluate_objects import add_data, add_run, add_systems, finished, say_problems

if TYPE_CHECKING:
    from ..evaluation.steadiness_report import SteadinessReport

DESCRIPTION = """\
Matte each object from its true box, and again after changes that should not matter: the box's sides moved by up to 1 %
of the image, 7 pixels of edge around the image, the image mirrored both ways, scaled by 0.5 and 2 or made gray, and the
result's own mask as the prompt.

Measured is how far the results agree (IoU of alpha above one half), and the share of objects that agree by .97 or more
(.99 for moved boxes). Results are noted in OUTPUT/steadiness.jsonl; a run that was interrupted goes on where it
stopped. At the end OUTPUT holds report.html (with the least steady objects), report.md and report.json.
"""

EPILOG = """\
DIR holds images/NAME.jpg and masks/NAME.png, as for evaluate clicks.

examples:
  matting-anything evaluate steadiness --data my_images
  matting-anything evaluate steadiness --data my_images --limit 20 --against grabcut --draws 5 --jitter 0.02
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "steadiness", help="the same object, asked for a little differently", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data(parser, "evaluation-steadiness")
    add_systems(parser, "grabcut (OpenCV's), mask (the model's own hard mask)")
    group = parser.add_argument_group("what is changed")
    group.add_argument("--jitter", type=float, default=0.01, metavar="SHARE",
                       help="move each side of the box by up to this share of the image's sides (default 0.01)")
    group.add_argument("--draws", type=int, default=3, metavar="N", help="moved boxes for each object (default 3)")
    group.add_argument("--padding", type=int, default=7, metavar="N", help="pixels of edge put around (default 7)")
    group.add_argument("--seed", type=int, default=0, help="of the jitter (default 0); the same for all systems")
    add_run(parser)
    parser.set_defaults(run=run)


def _say(report: SteadinessReport) -> None:
    from ..evaluation.steadiness_report import COLUMNS, cells, steadiness_lines

    for name, value in steadiness_lines(report):
        print(f"{name}: {value}")
    for system, summaries in report.systems.items():
        print(f"\n{system}")
        for row in [list(COLUMNS), *map(cells, summaries)]:
            print(f"  {row[0]:<20}" + "".join(f"{cell:>16}" for cell in row[1:]))


def run(args: argparse.Namespace) -> int:
    """Measure, write the report, say the table and where it is. 1 when objects had to be left out."""
    from ..evaluation.data import read_benchmark
    from ..evaluation.report import write_report_files
    from ..evaluation.steadiness import SteadinessProtocol, evaluate_steadiness, steadiness_systems
    from ..evaluation.steadiness_report import (
        steadiness_html,
        steadiness_json,
        steadiness_markdown,
        summarise_steadiness,
    )
    from .evaluate import check
    from .progress import progress_bar

    protocol = SteadinessProtocol(args.jitter, args.draws, args.seed, args.padding, args.ignored)
    dataset = read_benchmark("folder", args.data)
    check(dataset, args)
    systems = steadiness_systems(args.model, args.device, args.against)
    with progress_bar() as progress:
        result = evaluate_steadiness(dataset, systems, protocol, args.output, limit=args.limit, anew=args.anew,
                                     progress=progress)
    report = summarise_steadiness(result, shown=args.show)
    written = write_report_files(args.output, steadiness_markdown(report), steadiness_json(report),
                                 steadiness_html(report))
    say_problems(result.problems)
    _say(report)
    return finished(written, result.problems)
