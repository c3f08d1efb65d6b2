"""`matting-anything batch`: a folder of pictures, or a manifest that says what to matte in each."""

from __future__ import annotations

import argparse
import csv
import io
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError, MattingError, PromptError

if TYPE_CHECKING:
    from ..batch import Item, Outcome, PromptRule
    from ..types import PromptInput

EXAMPLES = """\
examples:
  matting-anything batch photos -o cut-outs
      one clear subject a picture: the whole picture is the box
  matting-anything batch photos -o cut-outs --box 10%,5%,90%,100%
      the same box for all, in shares of each picture's width and height (or in pixels: --box 40,20,600,900)
  matting-anything batch photos -o mattes --text "the dog" --output alpha
  matting-anything batch list.csv -o cut-outs
      a row for each object; columns: path, box, points, labels, mask, text, out
  matting-anything batch list.jsonl -o cut-outs
      one JSON object a line: {"path": "dog.jpg", "box": [120, 40, 560, 700], "out": "dog"}

The same command again goes on where it stopped: what is there is skipped, unless --overwrite. summary.csv in the folder
of the results says what became of each picture. Exit status: 0 all is well, 1 some pictures failed, 130 interrupted.

A manifest as CSV:
  path,box,points,labels,text,out
  dog.jpg,"120,40,560,700",,,,dog
  cats.jpg,,"300,200;40,40","1,0",,
  park.jpg,,,,the dog on the left,park-dog.webp
"""
SUMMARY = "summary.csv"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    from .options import add_model_arguments, add_output_arguments

    parser = subparsers.add_parser(
        "batch", help="matte many pictures: a folder, or a manifest", epilog=EXAMPLES,
        description="Matte many pictures; reading, computing and writing go on at the same time.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="FOLDER|MANIFEST", help="a folder of pictures (its subfolders as well), or a "
                                                                 ".csv or .jsonl file")
    group = parser.add_argument_group("what to matte, where the manifest does not say (default: the whole picture)")
    group.add_argument("--box", metavar="X0,Y0,X1,Y1",
                       help="the same box in all, in pixels, or with %%: 10%%,0%%,90%%,100%%")
    group.add_argument("--text", metavar="WORDS", help="words that name the object (extra: text)")
    group = parser.add_argument_group("what to write")
    group.add_argument("-o", "--out", required=True, metavar="FOLDER", help="folder for the results; made if needed")
    group.add_argument("--format", choices=("png", "webp", "tif", "jpg"), default="png",
                       help="of the files (default: png; jpg for foreground and composite only)")
    add_output_arguments(group)
    group.add_argument("--overwrite", action="store_true", help="do again what is there")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def _rule(args: argparse.Namespace) -> PromptInput | PromptRule:
    from ..batch import in_shares, whole_picture
    from ..types import Prompt

    if args.box is None:
        return whole_picture if args.text is None else Prompt(text=args.text)
    parts = [part.strip() for part in args.box.split(",")]
    shares = [part.endswith("%") for part in parts]
    try:
        numbers = [float(part.rstrip("%")) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or any(shares) != all(shares):
        raise PromptError(f"--box was given as {args.box!r}; expected x0,y0,x1,y1 (left, top, right, bottom), in "
                          "pixels or each with %, for example --box 10%,0%,90%,100%")
    if not any(shares):
        return Prompt(box=tuple(numbers), text=args.text)  # type: ignore[arg-type]
    x0, y0, x1, y1 = (number / 100 for number in numbers)
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise PromptError(f"--box was given as {args.box!r}; shares go from 0% to 100%, left before right, top before "
                          "bottom")
    box = in_shares(x0, y0, x1, y1)
    if args.text is None:
        return box
    return lambda image: Prompt(box=box(image), text=args.text)  # type: ignore[arg-type]


def _items(args: argparse.Namespace) -> list[Item]:
    from ..batch import check_outputs, items_in
    from ..image import output_format
    from ..manifest import read_manifest

    source, suffix = Path(args.source), f".{args.format}"
    if source.suffix.lower() in (".csv", ".jsonl") and not source.is_dir():
        items = read_manifest(source, args.out, _rule(args), suffix=suffix)
    elif source.is_file():
        raise ImageError(f"{args.source!r} is neither a folder nor a .csv or .jsonl file; for one picture there is "
                         "matting-anything matte")
    else:
        items = items_in(source, args.out, _rule(args), suffix=suffix)
    check_outputs(items)
    for target in {item.out.suffix: item.out for item in items if item.out is not None}.values():
        output_format(target, bits=args.bits or 8, alpha=args.output == "cutout")  # told before the work
    return items


def run(args: argparse.Namespace) -> int:
    """Matte all of it, say what became of it; 0, or 1 when some failed, or 130 when interrupted."""
    from ..batch import matte_batch
    from .options import background

    items, folder = _items(args), Path(args.out)
    ground = background(args)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"the folder {args.out!r} cannot be made: {error.strerror}") from None
    outcomes: list[tuple[str, str, str, str, str]] = []
    interrupted = False
    started = time.monotonic()
    batch = matte_batch(
        items, model=args.model, device=args.device, output=args.output, background=ground, bits=args.bits,
        overwrite=args.overwrite, guidance=args.guidance, sides=args.sides, postprocess=args.postprocess,
    )
    try:
        with noted_interrupt() as check:
            _follow(batch, len(items), lambda outcome: outcomes.append(_line(outcome)), check)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        batch.close()
        if outcomes:
            _write_summary(folder / SUMMARY, outcomes)
    counts = Counter(line[2] for line in outcomes)
    said = ", ".join(f"{counts[status]} {status}" for status in ("done", "empty", "skipped", "failed")
                     if counts[status] or status == "done")
    print(f"{said} of {len(items)} in {time.monotonic() - started:.0f} s; {folder / SUMMARY} has the details")
    if interrupted:
        print("matting-anything: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 1 if counts["failed"] else 0


@contextmanager
def noted_interrupt() -> Iterator[Callable[[], None]]:
    """Ctrl-C raises KeyboardInterrupt at once, and again where the function that this gives is called: the first one is
    lost when it comes while a library's callback runs, whose exceptions nobody hears."""
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone may have handlers
        yield check
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


def _follow(batch: Iterable[Outcome], count: int, note: Callable[[Outcome], None], check: Callable[[], None]) -> None:
    """Take the outcomes as they come, with a bar that knows the time left; failures are told at once."""
    from tqdm import tqdm

    with tqdm(batch, total=count, file=sys.stderr, unit=" pictures", disable=not sys.stderr.isatty(),
              dynamic_ncols=True) as bar:
        for outcome in bar:
            note(outcome)
            check()
            if outcome.error is not None:
                tqdm.write(f"matting-anything: {outcome.item.image!s}: {outcome.message}", file=sys.stderr)


def _line(outcome: Outcome) -> tuple[str, str, str, str, str]:
    return (str(outcome.item.image), str(outcome.item.out), outcome.status, f"{outcome.seconds:.3f}", outcome.message)


def _write_summary(path: Path, lines: list[tuple[str, str, str, str, str]]) -> None:
    from ..image_write import write_bytes

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "out", "status", "seconds", "message"))
    writer.writerows(lines)
    try:
        write_bytes(path, text.getvalue().encode())
    except MattingError as error:
        print(f"matting-anything: {error}", file=sys.stderr)
