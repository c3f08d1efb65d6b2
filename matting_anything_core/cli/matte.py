"""`matting-anything matte`: one or several images, one or several objects in each."""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, MattingError, NothingFoundError, PromptError
from .asked import Asked, asked, standard_input
from .heard import warnings_heard
from .options import (
    add_adjust_arguments,
    add_model_arguments,
    add_output_arguments,
    add_reading_arguments,
    adjustment,
    background,
    matte_options,
    max_pixels,
    quality,
)
from .streams import note, shown

if TYPE_CHECKING:
    from ..adjust import Adjustment
    from ..image import Image
    from ..result import Matte

EXAMPLES = """\
examples:
  matting-anything matte photo.jpg --box 120,40,560,700 -o dog.png
      the cut-out: straight alpha, clean edge colours
  matting-anything matte photo.jpg --box 10%,5%,90%,100% -o dog.png --crop 5%
      a box in shares of width and height; the result is cut to the dog, with a margin
  matting-anything matte photo.jpg --box -10,80,520,400 -o ball.png
      a box that begins left of the image: what sticks out is cut off
  matting-anything matte photo.jpg --box 120,40,560,700 --output alpha --bits 16 -o alpha.png
  matting-anything matte photo.jpg --point 300,200 --point 40,40,0 -o dog.png
      a point on the object, and one that is not on it
  matting-anything matte photo.jpg --mask rough.png -o dog.png
      a rough mask (white = object), from any program
  matting-anything matte photo.jpg --box 10,10,200,300 --box 220,10,400,300 -o out.png
      two objects: out-1.png and out-2.png
  matting-anything matte *.jpg --box 5%,5%,95%,95% -o cut-outs/
      several images, into a folder
  matting-anything matte - --text "the dog" -o - < photo.jpg > dog.png
      from standard input to standard output
  matting-anything matte photo.jpg --box 120,40,560,700 --output composite --background '#20a040' -o green.jpg
  matting-anything matte photo.jpg --box 120,40,560,700 -o dog.png --sheet look.png
      besides, image with prompt, mask, alpha and cut-out side by side
  matting-anything matte photo.jpg --box 120,40,560,700 -o dog.ora
      layers for GIMP and Krita; dog.psd for Photoshop (extra: layers): the dog with its mask over the image

Coordinates are pixels of the image as you see it, x to the right and y down from the top left corner.
Exit status: see `matting-anything --help`; of several images 1 when some failed.
"""
OUTPUT_SUFFIXES = ("png", "webp", "tif", "jpg", "psd", "ora")


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what to matte."""
    group = parser.add_argument_group("what to matte (any mixture for one object, or several boxes)")
    group.add_argument("--box", action="append", default=[], metavar="X0,Y0,X1,Y1",
                       help="box around the object (left, top, right, bottom), in pixels or each with %%; repeat for "
                            "several objects")
    group.add_argument("--point", action="append", default=[], metavar="X,Y[,0]",
                       help="point on the object, or with ,0 one that is not; in pixels or with %%; repeatable")
    group.add_argument("--mask", metavar="FILE", help="image of a rough mask, white = object, same size as IMAGE")
    group.add_argument("--keep", metavar="FILE", help="image of strokes, white = surely on the object")
    group.add_argument("--drop", metavar="FILE", help="image of strokes, white = surely not on it")
    group.add_argument("--trimap", metavar="FILE",
                       help="image of a trimap: black = not the object, white = the object, gray = solve it")
    group.add_argument("--previous", metavar="FILE",
                       help="an earlier result of this image, which points and strokes correct and else leave as it is")
    group.add_argument("--text", metavar="WORDS", help="words that name the object; most confident match (extra: text)")
    group.add_argument("--subject", action="store_true",
                       help="the one clear subject of the image, as when nothing says what to matte; points and "
                            "strokes correct it")
    group.add_argument("--all-matches", action="store_true", help="with --text: a matte for everything it names")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "matte", help="cut an object out of an image", epilog=EXAMPLES,
        description="Cut an object out of an image: a box, points, a rough mask or words in, a soft alpha matte out.",
    )
    parser.add_argument("image", metavar="IMAGE", nargs="+",
                        help="image file (PNG, JPEG, TIFF, WebP …), several of them, or - for standard input")
    add_reading_arguments(parser)
    add_prompt_arguments(parser)
    group = parser.add_argument_group("what to write")
    group.add_argument("-o", "--out", required=True, metavar="OUT",
                       help="file to write, whose suffix is the format (.png, .tif, .webp, .jpg; .psd and .ora with "
                            "layers); a folder; or - for standard output")
    group.add_argument("--format", choices=OUTPUT_SUFFIXES, default=None,
                       help="of files in a folder and of standard output (default: png)")
    add_output_arguments(group)
    group.add_argument("--sheet", metavar="FILE", help="write image with prompt, mask, alpha, cut-out side by side")
    group.add_argument("--json", action="store_true",
                       help="one JSON object a result on standard output, instead of names")
    there = group.add_mutually_exclusive_group()
    there.add_argument("--no-clobber", action="store_true", help="keep files that are there already, and say so")
    there.add_argument("--force", action="store_true",
                       help="replace files that are there without a word, even the image itself")
    add_adjust_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run, collects="image")


@dataclass(frozen=True)
class _Job:
    """What is the same for every image of a call."""

    args: argparse.Namespace
    asked: Asked
    background: str
    adjustment: Adjustment | None
    quality: int | None
    max_pixels: int | None


def run(args: argparse.Namespace) -> int:
    """Matte, write, say where."""
    if args.all_matches and not args.text:
        raise PromptError("--all-matches was given without --text; it needs words that name the objects")
    images = expanded(args.image)
    ground, change, fine, most = background(args), adjustment(args), quality(args), max_pixels(args)
    targets = _targets(args, images, change)
    job = _Job(args, asked(args), ground, change, fine, most)
    if len(images) == 1:
        _one(job, images[0], targets[0], args.sheet)
        return 0
    failed = 0
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        sheet = args.sheet and str(numbered(args.sheet, index, len(images)))
        try:
            _one(job, image, target, sheet)
        except MattingError as error:
            failed += 1
            _say_error(args, image, error)
    if failed:
        note(f"{failed} of {len(images)} images failed")
    return 1 if failed else 0


def expanded(patterns: Sequence[str]) -> list[str]:
    """File names, with patterns (*.jpg) that the shell has left as they are replaced by the files they match: Windows'
    shells leave all of them. A file that is called like the pattern comes first.

    Raises ImageError for a pattern that nothing matches.
    """
    result: list[str] = []
    for pattern in patterns:
        if pattern == "-" or not glob.has_magic(pattern) or os.path.lexists(pattern):
            result.append(pattern)
            continue
        found = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
        if not found:
            raise ImageError(f"there is no file {pattern!r}, and none that matches it as a pattern")
        result += found
    if result.count("-") > 1:
        raise PromptError("`-` was given more than once; standard input holds one image")
    return result


def numbered(path: str | Path, index: int, count: int) -> Path:
    """The file for object `index` of `count`: the path itself for one, else NAME-1.png, NAME-2.png …"""
    file = Path(path)
    return file if count == 1 else file.with_name(f"{file.stem}-{index + 1}{file.suffix}")


def _targets(args: argparse.Namespace, images: Sequence[str], change: Adjustment | None) -> list[Path | None]:
    """The file of each image, None for standard output; what cannot be written is told before the work."""
    from ..image import output_format
    from ..naming import names_of
    from ..output import check_adjustment

    alpha, bits = args.output == "cutout", args.bits or 8

    def check(name: str) -> None:
        check_adjustment(output_format(name, alpha=alpha, bits=bits), change)

    if args.sheet:
        output_format(args.sheet)
    if args.mask == "-" and "-" in images:
        raise PromptError("both the image and --mask are `-`; standard input holds one of them")
    if args.out == "-":
        check(f"-.{args.format or 'png'}")
        if len(images) > 1 or len(args.box) > 1 or args.all_matches:
            raise PromptError("`-o -` writes one result to standard output, but several were asked for; "
                              "give a file or a folder")
        if args.json:
            raise PromptError("--json and `-o -` both need standard output; write to a file")
        if sys.stdout is not None and sys.stdout.isatty():
            raise PromptError("`-o -` writes an image to standard output, but that is a terminal; "
                              "redirect it (> out.png)")
        return [None]
    folder = args.out.endswith(("/", os.sep)) or os.path.isdir(args.out)
    if len(images) > 1 and not folder:
        if Path(args.out).suffix:
            raise PromptError(f"{len(images)} images were given, but one file to write, {args.out!r}; "
                              f"give a folder, for example -o {Path(args.out).stem}/")
        folder = True
    if not folder:
        if args.format is not None:
            raise PromptError(f"--format was given, but {args.out!r} is a file, whose suffix is the format")
        check(args.out)
        return [Path(args.out)]
    suffix = f".{args.format or 'png'}"
    check(f"x{suffix}")
    names = names_of(["stdin" if name == "-" else name for name in images], suffix)
    files = [Path(args.out) / name for name in names]
    try:
        for folder_of in dict.fromkeys(file.parent for file in files):
            folder_of.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"the folder {args.out!r} cannot be made: {reason}") from None
    return list(files)


def _one(job: _Job, source: str, target: Path | None, sheet: str | None) -> None:
    """Matte one image and write what was found."""
    from ..api import all_matches, matte
    from ..image import read_image
    from .progress import progress_bar

    args = job.args
    _spare_the_image(args, source, target)
    known = None if args.all_matches or target is None else max(len(args.box), 1)
    if known and args.no_clobber and not sheet:
        there = [file for file in (numbered(target, index, known) for index in range(known))  # type: ignore[arg-type]
                 if os.path.lexists(file)]
        if len(there) == known:
            for file in there:
                _keep(args, source, file)
            return
    started = time.monotonic()
    with warnings_heard() as said:
        image = read_image(standard_input() if source == "-" else source, max_pixels=job.max_pixels)
        prompts, how = job.asked.on(image), matte_options(args)
        with progress_bar(quiet=args.quiet) as progress:
            if args.all_matches:
                mattes = all_matches(image, prompts[0], how, model=args.model, device=args.device, progress=progress)
            else:
                mattes = matte(image, prompts, how, model=args.model, device=args.device, progress=progress)
        if not mattes:
            raise NothingFoundError(f"nothing in {source} matches {args.text!r}")
        if job.adjustment is not None:
            from ..adjust import adjusted

            mattes = [adjusted(found, job.adjustment) for found in mattes]
        if sheet:
            _write_sheet(sheet, mattes)
        _write_all(job, source, target, image, mattes, said, started)
    if sheet and not (args.quiet or args.json or target is None):
        print(shown(sheet))


def _spare_the_image(args: argparse.Namespace, source: str, target: Path | None) -> None:
    """Refuse to replace the image by its own result, unless that was asked for."""
    for file in (target, args.sheet):
        if file and not args.force and source != "-" and os.path.exists(file) and os.path.exists(source) \
                and os.path.samefile(file, source):
            raise ImageError(f"{str(file)!r} is the image itself, which would be replaced by its own result; "
                             "choose another name, or --force")


def _write_sheet(path: str, mattes: Sequence[Matte]) -> None:
    from ..image import write_image
    from ..sheet import draw_sheet

    write_image(path, draw_sheet(mattes), bits=8)


def _write_all(job: _Job, source: str, target: Path | None, image: Image, mattes: Sequence[Matte],
               said: list[str], started: float) -> None:
    """Write the files, two at a time, and name them in their order."""
    from dataclasses import replace

    from ..output import OutputOptions, write_output

    args = job.args
    # Alpha has been adjusted for all of them; what is left for the file is its crop and its colours.
    change = None if job.adjustment is None else replace(job.adjustment, grow=0.0, feather=0.0, invert=False)
    written = OutputOptions(args.output, job.background, args.bits, args.strip, args.srgb, job.quality,
                            adjustment=change)

    def write(file: Path, result: Matte) -> bool:
        """Whether something was replaced."""
        there = os.path.lexists(file)
        write_output(file, result, written)
        return there

    if target is None:
        _to_standard_output(f".{args.format or 'png'}", lambda file: write(file, mattes[0]))
        _doubt(args, "standard output", mattes[0])
        return
    files = [numbered(target, index, len(mattes)) for index in range(len(mattes))]
    with ThreadPoolExecutor(2, "matting-write") as pool:
        writing = [None if args.no_clobber and os.path.lexists(file) else pool.submit(write, file, result)
                   for file, result in zip(files, mattes, strict=True)]
        try:
            for index, (file, result, going) in enumerate(zip(files, mattes, writing, strict=True)):
                if going is None:
                    _keep(args, source, file)
                    continue
                replaced = going.result()
                _say(args, _record(job, source, file, image, result, index, len(mattes), replaced, said, started),
                     replaced)
                _doubt(args, str(file), result)
        finally:
            for going in writing:
                if going is not None:
                    going.cancel()


def _to_standard_output(suffix: str, write: Any) -> None:
    """Write a file somewhere else and pass it on whole."""
    with tempfile.TemporaryDirectory(prefix="matting-anything-") as folder:
        file = Path(folder) / f"out{suffix}"
        write(file)
        sys.stdout.flush()
        sys.stdout.buffer.write(file.read_bytes())
        sys.stdout.buffer.flush()


def _record(job: _Job, source: str, file: Path, image: Image, result: Matte, index: int, count: int, replaced: bool,
            said: list[str], started: float) -> dict[str, Any]:
    """One result for --json."""
    record: dict[str, Any] = {
        "image": source, "out": str(file), "output": job.args.output, "object": index + 1, "objects": count,
        "width": image.width, "height": image.height, "score": round(result.score, 4),
        "box": None if result.box is None else [round(value, 2) for value in result.box],
        "coverage": round(float(result.alpha.mean()), 6), "empty": not bool(result.alpha.any()),
        "unsure": result.unsure,
        "subject_score": None if result.subject_score is None else round(result.subject_score, 4),
        "replaced": replaced, "warnings": [*said, *result.warnings], "seconds": round(time.monotonic() - started, 3),
    }
    if result.phrase is not None:
        record |= {"phrase": result.phrase, "phrase_score": result.phrase_score}
    if job.adjustment is not None and job.adjustment.crop is not None:
        record["crop"] = list(job.adjustment.window(result.alpha))
    return record


def _say(args: argparse.Namespace, record: dict[str, Any], replaced: bool) -> None:
    if args.json:
        print(json.dumps(record), flush=True)
    elif not args.quiet:
        print(shown(record["out"]), flush=True)
    if replaced and not (args.force or args.quiet):
        note(f"{record['out']} was there already and has been replaced")


def _say_error(args: argparse.Namespace, source: str, error: MattingError) -> None:
    from . import status_of, told

    if args.json:
        print(json.dumps({"image": source, "error": told(error, args), "kind": type(error).__name__,
                          "status": status_of(error)}), flush=True)
    message = told(error, args)
    note(message if source in message else f"{source}: {message}")


def _keep(args: argparse.Namespace, source: str, file: Path) -> None:
    if args.json:
        print(json.dumps({"image": source, "out": str(file), "kept": True}), flush=True)
    if not args.quiet:
        note(f"{file} is there already and is kept (--no-clobber)")


def _doubt(args: argparse.Namespace, name: str, result: Matte) -> None:
    if not result.alpha.any() and not args.quiet:
        note(f"the matte of {name} is empty; nothing was found there")
    for warning in () if args.quiet else result.warnings:
        note(warning)
