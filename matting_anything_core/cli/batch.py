"""`matting-anything batch`: a folder of images, or a manifest that says what to matte in each."""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ImageError, PromptError
from .heard import warnings_heard
from .streams import as_text, note, shown

if TYPE_CHECKING:
    from ..batch import BatchOptions, Item, Outcome, PromptRule
    from ..journal import Journal
    from ..times import Times
    from ..types import PromptInput

EXAMPLES = """\
examples:
  matting-anything batch photos -o cut-outs
      the one clear subject of each image; `unsure` in the summary where there may be none
  matting-anything batch photos -o cut-outs --box 10%,5%,90%,100%
      the same box for all, in shares of each image's width and height (or in pixels: --box 40,20,600,900)
  matting-anything batch photos -o mattes --text "the dog" --output alpha
  matting-anything batch list.csv -o cut-outs
      a row for each object; columns: path, box, points, labels, mask, text, out
  matting-anything batch list.jsonl -o cut-outs
      one JSON object a line: {"path": "dog.jpg", "box": [120, 40, 560, 700], "out": "dog"}
  find . -name '*.jpg' | matting-anything batch - -o cut-outs
      a list from standard input
  matting-anything batch photos -o cut-outs --workers auto --profile
      with several processes, one for each core or GPU; says where the time went
  matting-anything batch s3://shop/photos -o s3://shop/mattes --engine ray --address auto --gpus 0.5
      on a Ray cluster, from and to an object store
  matting-anything batch photos -o cut-outs --shard 1/2
      the first half, while another machine does --shard 2/2

The same command again goes on where it stopped: what is there is skipped. What was made of another image, prompt or
with other settings is made anew, unless its file was changed since; --overwrite does everything again. summary.csv in
the folder of the results says what became of each image, as they are done.
Exit status: 0 all is well, 1 some images failed, 130 interrupted, others as for all commands.

A manifest as CSV, with commas, semicolons or tabs (columns of other names are ignored):
  path,box,points,labels,text,out
  dog.jpg,"120,40,560,700",,,,dog
  cats.jpg,,"300,200;40,40","1,0",,
  park.jpg,,,,the dog,park-dog.webp
or a list without a header, of paths, perhaps with a box each:
  dog.jpg,120,40,560,700
"""
SUMMARY = "summary.csv"
COLUMNS = ("image", "out", "status", "seconds", "score", "box", "warnings", "message")
_KNOWN_HEADERS = (",".join(COLUMNS), "image,out,status,seconds,message")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    from .options import add_adjust_arguments, add_model_arguments, add_output_arguments, add_reading_arguments

    parser = subparsers.add_parser(
        "batch", help="matte many images: a folder, or a manifest", epilog=EXAMPLES,
        description="Matte many images; reading, computing and writing go on at the same time.",
    )
    parser.add_argument("source", metavar="FOLDER|MANIFEST",
                        help="a folder of images (its subfolders as well), a manifest (.csv, .tsv, .txt, .jsonl), or - "
                             "for a list on standard input; with --engine ray also an address or .parquet")
    add_reading_arguments(parser)
    group = parser.add_argument_group("what to matte, where the manifest does not say (default: its one clear subject)")
    group.add_argument("--box", metavar="X0,Y0,X1,Y1",
                       help="the same box in all, in pixels, or with %%: 10%%,0%%,90%%,100%%")
    group.add_argument("--text", metavar="WORDS", help="words that name the object (extra: text)")
    group = parser.add_argument_group("which of them")
    group.add_argument("--limit", type=int, metavar="N", help="only the first N (after --shuffle and --shard)")
    group.add_argument("--shuffle", action="store_true", help="in a random order, the same each time")
    group.add_argument("--shard", metavar="I/N",
                       help="only part I of N, for several processes or machines that share the work")
    group = parser.add_argument_group("how many at a time")
    group.add_argument("--workers", metavar="N|auto", default="1",
                       help="processes that share the work; auto: one for each GPU, or for each core as far as memory "
                            "goes (default: 1)")
    group.add_argument("--profile", action="store_true", help="say at the end where the time went")
    group = parser.add_argument_group("on a cluster (extra: ray; see docs/scale.md)")
    group.add_argument("--engine", choices=("local", "ray"), default="local",
                       help="ray: with actors of Ray, on this machine or on a cluster; pictures and results may then "
                            "be at addresses (s3://, gs://), and in Parquet")
    group.add_argument("--address", metavar="ADDRESS",
                       help="of a Ray cluster: auto, host:port or ray://host:port (default: one of its own, here)")
    group.add_argument("--cpus", type=float, metavar="N", help="cores of each actor (default: 1)")
    group.add_argument("--gpus", type=float, metavar="N", default=0.0,
                       help="GPUs of each actor, or a share of one such as 0.25 (default: 0)")
    group = parser.add_argument_group("what to write")
    group.add_argument("-o", "--out", required=True, metavar="FOLDER", help="folder for the results; made if needed")
    group.add_argument("--format", choices=("png", "webp", "tif", "jpg", "psd", "ora", "parquet"), default="png",
                       help="of the files (default: png; jpg for foreground and composite only; psd, extra: layers, "
                            "and ora with layers); parquet, with --engine ray: rows with PNGs in them, and what became "
                            "of each")
    add_output_arguments(group)
    group.add_argument("--max-side", type=int, metavar="N",
                       help="scale larger images so that their longer side has N pixels, before they are matted; large "
                            "JPEGs are then read in a fraction of the time")
    group.add_argument("--png-level", type=int, metavar="N",
                       help="0 to 9, how hard PNGs are compressed: 1 is quick and large, 9 slow and small (default: 4)")
    group.add_argument("--overwrite", action="store_true", help="do again what is there")
    group.add_argument("--json", action="store_true",
                       help="one JSON object an image on standard output, as they are done")
    add_adjust_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def asked_rule(args: argparse.Namespace) -> PromptInput | PromptRule:
    """The prompt for images of which nothing else is said."""
    from ..batch import InShares, clear_subject
    from ..boxes import read_box
    from ..types import Prompt

    if args.box is None:
        return clear_subject if args.text is None else Prompt(text=args.text)
    text = None if args.text is None else Prompt(text=args.text).text
    box = read_box(args.box)
    if box.guessed and not args.quiet:
        note(f"--box {args.box} was read as shares of width and height; with % it says so")
    return InShares(*box.numbers, text) if box.shares else Prompt(box=box.numbers, text=text)


def items_asked(args: argparse.Namespace, out: Path, rule: PromptInput | PromptRule) -> list[Item]:
    """All there is to do, to be written below `out`; says what is left out."""
    from ..batch import SUFFIXES as READABLE
    from ..batch import check_outputs, items_of
    from ..folders import images_in
    from ..image import output_format
    from ..manifest import SUFFIXES, load_manifest
    from ..output import check_adjustment
    from .options import adjustment

    source, suffix = Path(args.source), ".png" if args.format == "parquet" else f".{args.format}"
    if args.source == "-" or (source.suffix.lower() in SUFFIXES and not source.is_dir()):
        manifest = load_manifest(source, out, rule, suffix=suffix, addresses=args.engine == "ray")
        items = manifest.items
        if manifest.ignored and not args.quiet:
            note(f"columns of {args.source} that mean nothing here: {', '.join(map(repr, manifest.ignored))}")
    elif source.is_file():
        raise ImageError(f"{args.source!r} is neither a folder nor a .csv or .jsonl file; for one image there is "
                         "matting-anything matte")
    else:
        found = images_in(source, out, READABLE)
        items = items_of(found, source, out, rule, suffix=suffix)
        if found.left_out and not args.quiet:
            note(f"left out of {args.source}: {found.left_out_in_words()}")
    check_outputs(items)
    for target in {item.out.suffix: item.out for item in items if item.out is not None}.values():
        form = output_format(target, bits=args.bits or 8, alpha=args.output == "cutout")  # told before the work
        check_adjustment(form, adjustment(args))
    return items


def parse_shard(text: str | None) -> tuple[int, int]:
    """I/N -> (I, N), 1 <= I <= N; (1, 1) when it is not given."""
    if text is None:
        return 1, 1
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise PromptError(f"--shard was given as {text!r}; expected I/N, for example 1/4 to 4/4")
    return index, count


def chosen(items: Sequence[Item], *, shuffle: bool = False, shard: tuple[int, int] = (1, 1),
           limit: int | None = None) -> list[Item]:
    """The items that --shuffle, --shard and --limit leave, in this order. The items of one image stay together, so that
    it is encoded once."""
    images: dict[object, list[Item]] = {}
    for item in items:
        name = os.fspath(item.image) if isinstance(item.image, (str, os.PathLike)) else id(item.image)
        images.setdefault(name, []).append(item)
    groups = list(images.values()) if shuffle or shard != (1, 1) else [list(items)]
    if shuffle:
        random.Random(0).shuffle(groups)
    left = [item for group in groups[shard[0] - 1::shard[1]] for item in group]
    return left if limit is None else left[:limit]


def parse_workers(text: str) -> int | Literal["auto"]:
    """--workers: a number from 1, or auto. Raises PromptError."""
    if text.strip().lower() == "auto":
        return "auto"
    if not re.fullmatch(r"\s*0*[1-9]\d{0,2}\s*", text):
        raise PromptError(f"--workers was given as {text!r}; expected a number of processes, for example 4, or auto")
    return int(text)


def batch_options(args: argparse.Namespace) -> BatchOptions:
    """How the results are made and written."""
    from ..batch import BatchOptions
    from .options import adjustment, background, matte_options, max_pixels, max_side, png_level, quality

    return BatchOptions(
        output=args.output, background=background(args), bits=args.bits, strip=args.strip, srgb=args.srgb,
        quality=quality(args), png_level=png_level(args), adjustment=adjustment(args), matte=matte_options(args),
        max_pixels=max_pixels(args), max_side=max_side(args),
    )


def _begun(args: argparse.Namespace, items: list[Item], options: BatchOptions, workers: int | Literal["auto"],
           journal: Journal, times: Times) -> Generator[Outcome, None, None]:
    """The batch, in this process or in several."""
    from ..batch import matte_batch

    if workers == 1:
        return matte_batch(items, model=args.loaded, device=args.device, options=options, overwrite=args.overwrite,
                           journal=journal, times=times, named=args.model)
    from ..workers import matte_in_processes

    return matte_in_processes(items, workers=workers, model=args.model, device=args.device, options=options,
                              overwrite=args.overwrite, journal=journal, ordered=False, times=times)


def run(args: argparse.Namespace) -> int:
    """Matte all of it, say what became of it; 0, or 1 when some failed, or 130 when interrupted."""
    from ..api import load_model
    from ..journal import Journal, at_work
    from ..times import Times, in_words
    from ..weights.store import files_behind

    if args.limit is not None and args.limit < 1:
        raise PromptError(f"--limit was given as {args.limit}; expected a whole number above 0")
    shard = parse_shard(args.shard)
    options, workers, times = batch_options(args), parse_workers(args.workers), Times()
    if args.engine == "ray":
        from .batch_ray import run_on_ray

        return run_on_ray(args, options, None if workers == "auto" else workers, shard)
    if args.address or args.cpus or args.gpus or args.format == "parquet":
        raise PromptError("--address, --cpus, --gpus and --format parquet need --engine ray")
    folder = Path(args.out)
    items = chosen(items_asked(args, folder, asked_rule(args)), shuffle=args.shuffle, shard=shard, limit=args.limit)
    part = "" if shard == (1, 1) else f"{shard[0]}-of-{shard[1]}"
    summary = folder / (f"summary-{part}.csv" if part else SUMMARY)
    check_folder(folder, summary)
    if workers == 1:
        args.loaded = load_model(args.model, device=args.device)
    else:
        files_behind(args.model)  # each process loads it; this tells now what is not there
    counts: Counter[str] = Counter()
    interrupted = False
    started = time.monotonic()
    with at_work(folder, part), Journal(folder, f"results-{part}" if part else "results") as journal, \
            Summary(summary) as table, warnings_heard() as doubts:
        batch = _begun(args, items, options, workers, journal, times)

        def take(outcome: Outcome) -> None:
            row = row_of(args, outcome, doubts)
            counts[outcome.status] += 1
            table.add(row)
            if args.json:
                print(json.dumps(row), flush=True)

        try:
            with noted_interrupt() as check:
                follow(args, batch, len(items), take, check)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            batch.close()
    if not (args.quiet or args.json):
        print(f"{in_numbers(counts)} of {len(items)} in {time.monotonic() - started:.0f} s; {shown(summary)} has the "
              "details")
    if args.profile and not args.quiet:
        made = counts["done"] + counts["unsure"] + counts["empty"]
        print(in_words(times.seconds(), made, time.monotonic() - started), file=sys.stderr)
    if interrupted:
        print("matting-anything: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 1 if counts["failed"] else 0


def in_numbers(counts: Counter[str]) -> str:
    """How many ended how, in words."""
    return ", ".join(f"{counts[status]} {status}" for status in ("done", "unsure", "empty", "skipped", "failed")
                     if counts[status] or status == "done")


def check_folder(folder: Path, summary: Path) -> None:
    """Make the folder of the results, and see that it can be written to, before anything long begins."""
    trial = folder / f".matting-{secrets.token_hex(6)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"the folder {str(folder)!r} cannot be made: {reason}") from None
    try:
        trial.write_bytes(b"\0" * 4096)
        trial.unlink()
    except OSError as error:
        raise ImageError(f"the folder {str(folder)!r} cannot be written to: {error.strerror or error}") from None
    try:
        with open(summary, "r+", encoding="utf-8", errors="replace", newline="") as file:
            first = file.readline(500).strip().lstrip("\ufeff")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ImageError(f"{str(summary)!r} cannot be written: {error.strerror or error}; is it open elsewhere?") \
            from None
    if first and first not in _KNOWN_HEADERS:
        raise ImageError(f"{str(summary)!r} is there and no summary of a batch; it would be replaced. Move it, or "
                         "choose another folder for the results")


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


class Summary:
    """The table of what became of each image; it grows as they are done."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Summary:
        try:
            self._file = open(self._path, "w", encoding="utf-8", errors="backslashreplace", newline="")
        except OSError as error:
            raise ImageError(f"{str(self._path)!r} cannot be written: {error.strerror or error}") from None
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._write(COLUMNS)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            self._tell(error)

    def add(self, row: dict[str, Any]) -> None:
        """One line more, on the disk at once."""
        box = row["box"] and " ".join(f"{value:g}" for value in row["box"])
        score = None if row["score"] is None else f"{row['score']:.4f}"
        self._write((row["image"], row["out"], row["status"], f"{row['seconds']:.3f}", score, box,
                     "; ".join(row["warnings"]), row["message"]))

    def _write(self, cells: Iterable[object]) -> None:
        try:
            self._writer.writerow(["" if cell is None else as_text(cell) for cell in cells])
            self._file.flush()
        except OSError as error:  # a full disk; the results count for more
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        note(f"{self._path} cannot be written: {error.strerror or error}")


def follow(args: argparse.Namespace, batch: Iterable[Outcome], count: int | None, take: Callable[[Outcome], None],
            check: Callable[[], None]) -> None:
    """Take the outcomes as they come, with a bar or a line now and then that knows the time left; failures are told at
    once."""
    from tqdm import tqdm

    from . import told
    from .progress import log_lines, on_terminal

    started, failed, worked = time.monotonic(), 0, 0
    tell = log_lines(note)
    with tqdm(batch, total=count, file=sys.stderr, unit=" images", disable=args.quiet or not on_terminal(),
              dynamic_ncols=True) as bar:
        for index, outcome in enumerate(bar, 1):
            take(outcome)
            check()
            failed += outcome.error is not None
            worked += outcome.status != "skipped"
            if outcome.error is not None:
                message = told(outcome.error, args)
                name = str(outcome.item.image)
                note(message if repr(name) in message else f"{name}: {message}")
            elif outcome.remark and not args.quiet and outcome.status == "skipped" and outcome.known is not None:
                note(f"{outcome.item.out}: {outcome.remark}")
            if bar.disable and not args.quiet:
                if count is None:
                    tell(f"{index} images, {failed} failed")
                    continue
                left = (time.monotonic() - started) / worked * (count - index) if worked else 0
                tell(f"{index} of {count} images, {failed} failed, about {left / 60:.0f} min left")


def row_of(args: argparse.Namespace, outcome: Outcome, doubts: list[str]) -> dict[str, Any]:
    """One image's line: for the summary, and for --json."""
    from . import told

    name = str(outcome.item.image)
    mine = [text for text in doubts if repr(name) in text]  # reading runs ahead; it names the file it warns of
    doubts[:] = [text for text in doubts if text not in mine]
    box = outcome.box
    return {
        "image": name, "out": str(outcome.item.out), "status": outcome.status,
        "seconds": round(outcome.seconds, 3), "score": None if outcome.score is None else round(outcome.score, 4),
        "box": None if box is None else [round(value, 2) for value in box],
        "warnings": [*mine, *outcome.warnings],
        "message": outcome.remark if outcome.error is None else told(outcome.error, args),
    }
