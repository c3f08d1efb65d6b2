"""`matting-anything evaluate`: the paper's benchmarks, or a folder of one's own pictures, as a table and a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import CHOICES, OPTION_HELP
from . import evaluate_clicks, evaluate_steadiness, evaluate_video

if TYPE_CHECKING:
    from ..evaluation.data import DataSet
    from ..evaluation.protocol import Protocol
    from ..evaluation.report import Report
    from ..evaluation.systems import System

BENCHMARKS = ("ppm100", "am2k", "pm10k", "rwp636", "him2k", "him2k_comp", "refmatte_rw100", "folder")

HELP = {
    "ppm100": "PPM-100, 100 portraits", "am2k": "AM-2k, 200 animals", "pm10k": "P3M-500-NP, 500 portraits",
    "rwp636": "RealWorldPortrait-636", "him2k": "HIM2K, 320 photographs with several people",
    "him2k_comp": "HIM2K, the composed ones", "refmatte_rw100": "RefMatte-RW100, objects named in words",
    "folder": "your own images/ and alphas/",
}

DESCRIPTION = """\
Measure mattes against true ones: SAD, MSE, MAD, Grad, Conn over the whole picture and over the band of the trimap,
and IMQ where pictures have several instances.

Prompts are made from the true mattes: the box around what is above half, or its centre, or the words that the data
brings. Results are noted picture by picture in OUTPUT/results.jsonl; a run that was interrupted goes on where it
stopped, and changed settings or weights are measured anew. At the end OUTPUT holds report.html (with the worst and
best pictures side by side), report.md and report.json.
"""

EPILOG = """\
benchmarks, and what DIR must hold (or a folder in it that holds it):
  ppm100           image/NAME.jpg, matte/NAME.jpg
  am2k             validation/original, validation/mask, validation/trimap
  pm10k            in validation/P3M-500-NP: original_image, mask, trimap
  rwp636           image, alpha
  him2k            images/natural/NAME.jpg, alphas/natural/NAME/00.png …      him2k_comp: …/comp
  refmatte_rw100   image_all, mask, refmatte_rw100_label.json, eval_index_expression.json
  folder           images/NAME.jpg, alphas/NAME.png (or alphas/NAME/00.png … for several instances),
                   trimaps/NAME.png and texts.json {"NAME": "words"} if there are any

examples:
  matting-anything evaluate folder --data my_pictures --against grabcut --against grabcut-closed-form
      the bundled model beside two classic ones, on one's own pictures
  matting-anything evaluate him2k --data HIM2K --model vit_b --device cuda
  matting-anything evaluate am2k --data AM-2k --box-jitter 0.05 --limit 20
      boxes as imprecise as a hand draws them, on 20 pictures spread over the set
  matting-anything evaluate refmatte_rw100 --data RefMatte_RW_100 --model vit_b --prompt text
  matting-anything evaluate ppm100 --data PPM-100 --model none --against folder:their_mattes
      mattes that another program made: their_mattes/NAME.png
  matting-anything evaluate clicks --data my_pictures --against grabcut
      corrections by hand, click by click; see evaluate clicks --help
"""


def positive(text: str) -> int:
    """A whole number above 0, out of an argument."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return value


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `evaluate` and one command for each benchmark and each measure under it."""
    parser = subparsers.add_parser(
        "evaluate", help="measure mattes on the paper's benchmarks or your own pictures", description=DESCRIPTION,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    measures = parser.add_subparsers(title="benchmarks and measures", metavar="BENCHMARK", required=True)
    for name in BENCHMARKS:
        one = measures.add_parser(name, help=HELP[name], description=DESCRIPTION, epilog=EPILOG,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        _add_arguments(one)
        one.set_defaults(run=run, benchmark=name)
    evaluate_clicks.add(measures)
    evaluate_steadiness.add(measures)
    evaluate_video.add(measures)
    for one in measures.choices.values():
        one.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that holds the benchmark")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="folder for results and report (default: evaluation-BENCHMARK)")
    group = parser.add_argument_group("who is measured")
    group.add_argument("--model", default="lite", metavar="NAME",
                       help="lite (default), vit_b, vit_l, vit_h, a .safetensors file, or none")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1, mps")
    group.add_argument("--against", action="append", default=[], metavar="SYSTEM",
                       help="another system beside it, repeatable: grabcut, grabcut-closed-form (extra: evaluate), "
                            "mask (the model's own hard mask: plain Segment Anything), folder:DIR (mattes made "
                            "elsewhere)")
    group = parser.add_argument_group("how (the defaults are the paper's, benchmark by benchmark)")
    group.add_argument("--prompt", choices=("box", "point", "text"), default="box",
                       help="box around the true matte (default), its centre, or the data's words (extra: text)")
    group.add_argument("--box-jitter", type=float, default=0.0, metavar="SHARE",
                       help="move each side of a box by up to this share of its width or height, for example 0.05")
    group.add_argument("--seed", type=int, default=0, help="of the jitter (default 0); the same for all systems")
    for name, values in CHOICES.items():
        group.add_argument(f"--{name}", choices=values, default=None, help=OPTION_HELP[name])
    group.add_argument("--postprocess", action=argparse.BooleanOptionalAction, default=None,
                       help=OPTION_HELP["postprocess"])
    group.add_argument("--instances", action=argparse.BooleanOptionalAction, default=None,
                       help="measure IMQ (default: where the paper does; extra: evaluate)")
    group.add_argument("--reference", action="store_true",
                       help="matte and measure as the paper's released program does, mistakes included")
    group = parser.add_argument_group("the run")
    group.add_argument("--limit", type=positive, metavar="N", help="only N pictures, spread evenly over the set")
    group.add_argument("--workers", type=positive, default=2, metavar="N", help="threads that measure (default 2)")
    group.add_argument("--keep", action="store_true", help="keep the predictions, in OUTPUT/predictions/SYSTEM")
    group.add_argument("--show", type=positive, default=8, metavar="N",
                       help="how many of the worst and best pictures the page shows (default 8)")
    group.add_argument("--allow-missing", action="store_true",
                       help="go on when files are missing, without those pictures; they are listed in the report")


def _protocol(args: argparse.Namespace) -> Protocol:
    from ..evaluation.protocol import PROTOCOLS
    from ..evaluation.runner import with_overrides

    return with_overrides(
        PROTOCOLS[args.benchmark], prompt=args.prompt, box_jitter=args.box_jitter, seed=args.seed,
        guidance=args.guidance, sides=args.sides, postprocess=args.postprocess, instances=args.instances,
        reference=args.reference,
    )


def _systems(args: argparse.Namespace, protocol: Protocol) -> list[System]:
    from ..errors import PromptError
    from ..evaluation.systems import load_model_system, make_system, named_systems

    grabcuts = [name for name in args.against if name.startswith("grabcut")]
    if grabcuts and args.prompt != "box":
        raise PromptError(f"{grabcuts[0]} starts from a box and knows nothing of --prompt {args.prompt}")

    def load() -> tuple[System, System]:
        model = load_model_system(args.model, args.device, protocol)
        return model, model.as_mask()

    return named_systems(args.model, args.against, load, make_system)


def check(dataset: DataSet, args: argparse.Namespace) -> None:
    """Say what is missing; stop unless that was allowed, since averages over other pictures mislead."""
    from ..evaluation.data import DataError

    for problem in dataset.problems[:20]:
        print(f"missing: {problem}", file=sys.stderr)
    if len(dataset.problems) > 20:
        print(f"missing: … and {len(dataset.problems) - 20} more", file=sys.stderr)
    lacking = [problem for problem in dataset.problems if not problem.endswith("--prompt text only")]
    if lacking and not args.allow_missing:
        raise DataError(f"{len(lacking)} things are missing or wrong in {dataset.root}; --allow-missing goes on with "
                        f"the {len(dataset.samples)} pictures that are whole")


def _say(report: Report) -> None:
    from ..evaluation.report import column_names, protocol_lines

    for name, value in protocol_lines(report):
        print(f"{name}: {value}")
    names = column_names(report)
    width = max([len(system.name) for system in report.systems] + [8])
    print("".join([" " * width, *(f"{name:>11}" for name in names), f"{'s/picture':>11}"]))
    for system in report.systems:
        print("".join([f"{system.name:<{width}}", *(f"{system.values[name]:>11.2f}" for name in names),
                       f"{system.seconds:>11.2f}"]))


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the report, say the averages and where it is. 1 when pictures had to be left out."""
    from ..evaluation.data import read_benchmark
    from ..evaluation.page import as_html
    from ..evaluation.report import summarise, write_reports
    from ..evaluation.runner import Options, evaluate
    from .progress import progress_bar

    protocol = _protocol(args)
    dataset = read_benchmark(args.benchmark, args.data)
    check(dataset, args)
    systems = _systems(args, protocol)
    output = args.output or Path(f"evaluation-{args.benchmark}")
    options = Options(limit=args.limit, workers=args.workers, keep=args.keep)
    with progress_bar() as progress:
        result = evaluate(dataset, systems, protocol, output, options, progress)
    report = summarise(result, shown=args.show)
    written = write_reports(report, as_html)
    for problem in result.problems:
        print(f"left out: {problem}", file=sys.stderr)
    _say(report)
    for path in written:
        print(path)
    return 1 if result.problems else 0
