"""`matting-anything matte`: one picture, one or several objects."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PromptError

if TYPE_CHECKING:
    from ..types import Prompt

EXAMPLES = """\
examples:
  matting-anything matte photo.jpg --box 120,40,560,700 -o dog.png
      the cut-out: straight alpha, clean edge colours
  matting-anything matte photo.jpg --box 120,40,560,700 --output alpha --bits 16 -o alpha.png
  matting-anything matte photo.jpg --point 300,200 --point 40,40,0 -o dog.png
      a point on the object, and one that is not on it
  matting-anything matte photo.jpg --mask rough.png -o dog.png
      a rough mask (white = object), from any program
  matting-anything matte photo.jpg --box 10,10,200,300 --box 220,10,400,300 -o out.png
      two objects: out-1.png and out-2.png
  matting-anything matte photo.jpg --box 120,40,560,700 --output composite --background '#20a040' -o green.jpg
  matting-anything matte photo.jpg --box 120,40,560,700 -o dog.png --sheet look.png
      besides, picture with prompt, mask, alpha and cut-out side by side

Coordinates are pixels of the picture as you see it, x to the right and y down from the top left corner.
"""


def _numbers(text: str, counts: tuple[int, ...], what: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in counts:
        raise PromptError(f"{what} was given as {text!r}; expected {_WANTED[what]}")
    return values


_WANTED = {
    "--box": "x0,y0,x1,y1 (left, top, right, bottom, in pixels), for example --box 120,40,560,700",
    "--point": "x,y or x,y,0 (0 = not on the object), for example --point 300,200",
}


def prompts_from(args: argparse.Namespace) -> list[Prompt]:
    """The prompts that --box, --point, --mask and --text ask for.

    Several boxes are several objects; points, mask and text belong to the one object there is.
    """
    from ..image import read_image
    from ..pipeline.prompting import as_mask
    from ..types import Prompt

    boxes = [_numbers(text, (4,), "--box") for text in args.box]
    points = [_numbers(text, (2, 3), "--point") for text in args.point]
    if len(boxes) > 1 and (points or args.mask or args.text):
        raise PromptError(
            f"{len(boxes)} boxes were given together with points, a mask or text, so it is not clear which object "
            "those belong to; give one --box with them, or call once for each object"
        )
    if not (boxes or points or args.mask or args.text):
        raise PromptError("nothing says what to matte; give --box, --point, --mask or --text (see --help)")
    if len(boxes) > 1:
        return [Prompt(box=tuple(box)) for box in boxes]  # type: ignore[arg-type]
    mask = None
    if args.mask:
        mask = as_mask(read_image(args.mask))
    return [Prompt(
        box=tuple(boxes[0]) if boxes else None,  # type: ignore[arg-type]
        points=[(point[0], point[1]) for point in points] or None,
        labels=[point[2] if len(point) == 3 else 1 for point in points] or None,  # type: ignore[misc]
        mask=mask,
        text=args.text,
    )]


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what to matte."""
    group = parser.add_argument_group("what to matte (any mixture for one object, or several boxes)")
    group.add_argument("--box", action="append", default=[], metavar="X0,Y0,X1,Y1",
                       help="box around the object; repeat for several objects")
    group.add_argument("--point", action="append", default=[], metavar="X,Y[,0]",
                       help="point on the object, or with ,0 one that is not; repeatable")
    group.add_argument("--mask", metavar="FILE", help="picture of a rough mask, white = object, same size as IMAGE")
    group.add_argument("--text", metavar="WORDS", help="words that name the object; most confident match (extra: text)")
    group.add_argument("--all-matches", action="store_true", help="with --text: a matte for everything it names")


def add_output_arguments(group: argparse._ArgumentGroup) -> None:
    """The arguments that say what is written of a matte."""
    group.add_argument("--output", choices=("cutout", "alpha", "foreground", "composite"), default="cutout",
                       help="cutout: the object with transparency (default); alpha: the matte in gray; "
                            "foreground: the object's colours, opaque; composite: on --background")
    group.add_argument("--background", metavar="COLOUR|FILE",
                       help="for composite: a colour ('white', '#20a040') or a picture")
    from .output_options import add_file_arguments

    add_file_arguments(group)
    group.add_argument("--bits", type=int, choices=(8, 16), default=None,
                       help="bits a channel (default: 8, or 16 for pictures with 16)")


def background(args: argparse.Namespace) -> str:
    """What --background asks for: a colour or a file; white when it is not given."""
    if args.background is not None and args.output != "composite":
        raise PromptError(f"--background was given with --output {args.output}; it needs --output composite")
    return "white" if args.background is None else str(args.background)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which network works, where and how."""
    group = parser.add_argument_group("how")
    group.add_argument("--model", default="lite", metavar="NAME",
                       help="lite (bundled, the default), vit_b, vit_l, vit_h (see `matting-anything weights list`), "
                            "or a .safetensors file")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1, mps")
    group.add_argument("--guidance", choices=("auto", "mask", "alpha"), default="auto",
                       help="what the matte grows from: mask (scenes with several things), alpha (one clear subject); "
                            "auto (default) is the model's own choice")
    group.add_argument("--sides", choices=("auto", "one", "two"), default="auto",
                       help="let the matte change the mask's outside only (one) or its inside as well (two)")
    group.add_argument("--postprocess", action="store_true",
                       help="with --guidance alpha: keep nothing outside of the mask's bounds")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "matte", help="cut an object out of a picture", epilog=EXAMPLES,
        description="Cut an object out of a picture: a box, points, a rough mask or words in, a soft alpha matte out.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", metavar="IMAGE", help="picture file (PNG, JPEG, TIFF, WebP …)")
    add_prompt_arguments(parser)
    group = parser.add_argument_group("what to write")
    group.add_argument("-o", "--out", required=True, metavar="OUT",
                       help="file to write; its suffix is the format (.png, .tif, .webp, .jpg)")
    add_output_arguments(group)
    group.add_argument("--sheet", metavar="FILE", help="write picture with prompt, mask, alpha, cut-out side by side")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def numbered(path: str, index: int, count: int) -> Path:
    """The file for object `index` of `count`: the path itself for one, else NAME-1.png, NAME-2.png …"""
    file = Path(path)
    return file if count == 1 else file.with_name(f"{file.stem}-{index + 1}{file.suffix}")


def run(args: argparse.Namespace) -> int:
    """Matte, write, say where."""
    from ..api import all_matches, matte
    from ..image import output_format, read_image, write_image
    from ..output import write_output
    from ..sheet import draw_sheet
    from .progress import progress_bar

    if args.all_matches and not args.text:
        raise PromptError("--all-matches was given without --text; it needs words that name the objects")
    ground = background(args)
    for file in (args.out, args.sheet):
        if file:
            output_format(file)  # a wrong suffix is told before the work, not after it
    prompts = prompts_from(args)
    image = read_image(args.image)
    with progress_bar() as progress:
        if args.all_matches:
            mattes = all_matches(image, prompts[0], model=args.model, device=args.device, guidance=args.guidance,
                                 sides=args.sides, postprocess=args.postprocess, progress=progress)
        else:
            mattes = matte(image, prompts, model=args.model, device=args.device, guidance=args.guidance,
                           sides=args.sides, postprocess=args.postprocess, progress=progress)
    if not mattes:
        print(f"matting-anything: nothing in {args.image} matches {args.text!r}", file=sys.stderr)
        return 0
    for index, result in enumerate(mattes):
        path = numbered(args.out, index, len(mattes))
        write_output(path, result, args.output, background=ground, bits=args.bits, strip=args.strip, srgb=args.srgb)
        print(path)
        if not result.alpha.any():
            print(f"matting-anything: the matte of {path} is empty; nothing was found there", file=sys.stderr)
    if args.sheet:
        write_image(args.sheet, draw_sheet(mattes), bits=8)
        print(args.sheet)
    return 0
