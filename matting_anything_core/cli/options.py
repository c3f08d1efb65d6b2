"""Options that several commands have in common, and what they mean."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from ..errors import PromptError
from ..options import CHOICES, OPTION_HELP, SWITCHES, MatteOptions
from .output_options import add_file_arguments

if TYPE_CHECKING:
    from ..adjust import Adjustment

DEFAULT_MAX_PIXELS = "200M"


def background(args: argparse.Namespace) -> str:
    """What --background asks for: a colour or a file; white when it is not given."""
    if args.background is not None and args.output != "composite":
        raise PromptError(f"--background was given with --output {args.output}; it needs --output composite")
    return "white" if args.background is None else str(args.background)


def adjustment(args: argparse.Namespace) -> Adjustment | None:
    """What --crop, --grow and their like ask for; None when they ask for nothing."""
    from ..adjust import Adjustment

    if args.grow and args.shrink:
        raise PromptError("--grow and --shrink were both given; expected one of them")
    if args.premultiplied and args.output != "cutout":
        raise PromptError(f"--premultiplied was given with --output {args.output}; it needs --output cutout")
    margin = None if args.crop is None else _number(args.crop.removesuffix("px").removesuffix("%"), "--crop")
    in_shares = bool(args.crop) and args.crop.endswith("%")
    asked = Adjustment(
        grow=args.grow - args.shrink, feather=args.feather, invert=args.invert,
        crop=None if margin is None else margin / 100 if in_shares else margin, margin_in_shares=in_shares,
        premultiplied=args.premultiplied,
    )
    return None if asked == Adjustment() else asked


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PromptError(f"{option} was given as {text!r}; expected pixels or per cent, for example 20 or 5%") \
            from None


def max_pixels(args: argparse.Namespace) -> int | None:
    """The number of pixels that --max-pixels allows; None for no limit."""
    text = str(args.max_pixels).strip().lower()
    if text in ("none", "0"):
        return None
    factor = {"k": 1e3, "m": 1e6, "g": 1e9}.get(text[-1:], 1.0)
    try:
        value = float(text.rstrip("kmg")) * factor
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise PromptError(f"--max-pixels was given as {args.max_pixels!r}; expected a number of pixels such as 300M, "
                          "or none for no limit")
    return int(value)


def quality(args: argparse.Namespace) -> int | None:
    """--quality, 1 to 100; None when it is not given."""
    if args.quality is not None and not 1 <= args.quality <= 100:
        raise PromptError(f"--quality was given as {args.quality}; expected a whole number from 1 to 100")
    value: int | None = args.quality
    return value


def png_level(args: argparse.Namespace) -> int | None:
    """--png-level, 0 to 9; None when it is not given."""
    if args.png_level is not None and not 0 <= args.png_level <= 9:
        raise PromptError(f"--png-level was given as {args.png_level}; expected a whole number from 0 to 9")
    value: int | None = args.png_level
    return value


def max_side(args: argparse.Namespace) -> int | None:
    """--max-side, from 16 pixels; None when it is not given."""
    if args.max_side is not None and args.max_side < 16:
        raise PromptError(f"--max-side was given as {args.max_side}; expected a whole number of pixels from 16")
    value: int | None = args.max_side
    return value


def add_output_arguments(group: argparse._ArgumentGroup) -> None:
    """The arguments that say what is written of a matte."""
    group.add_argument("--output", choices=("cutout", "alpha", "foreground", "composite"), default="cutout",
                       help="cutout: the object with transparency (default); alpha: the matte in gray; "
                            "foreground: the object's colours, opaque; composite: on --background")
    group.add_argument("--background", metavar="COLOUR|FILE",
                       help="for composite: a colour ('white', '#20a040') or an image")
    add_file_arguments(group)
    group.add_argument("--bits", type=int, choices=(8, 16), default=None,
                       help="bits a channel (default: 8, or 16 for images with 16)")
    group.add_argument("--quality", type=int, metavar="N",
                       help="1 to 100, of JPEG (default 95) and WebP (default: lossless)")


def add_adjust_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that change a matte before it is written."""
    group = parser.add_argument_group("what is done to the matte before (in this order; lengths in pixels)")
    group.add_argument("--grow", type=float, default=0.0, metavar="N", help="make the object N pixels larger")
    group.add_argument("--shrink", type=float, default=0.0, metavar="N", help="make it N pixels smaller")
    group.add_argument("--feather", type=float, default=0.0, metavar="N", help="soften its edge over N pixels")
    group.add_argument("--invert", action="store_true", help="keep what is around the object instead")
    group.add_argument("--crop", metavar="MARGIN", default=None,
                       help="cut the image to what is kept of it, with a margin in pixels or, 5%%, in shares of its "
                            "longer side, as far as the image goes (without a number: none)")
    group.add_argument("--premultiplied", action="store_true",
                       help="multiply a cut-out's colours by its alpha, for programs that expect that")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which network works, where and how."""
    group = parser.add_argument_group("how")
    group.add_argument("--model", default="lite", metavar="NAME",
                       help="lite (bundled, the default), vit_b, mobile_sam, sam2.1_s … (see `matting-anything weights "
                            "list`), or a file of weights; ViTMatte may take over alpha, by its name or as your own "
                            "file: lite+vitmatte_s, vit_b+vitmatte_b, lite+FILE")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1, mps")
    for name, values in CHOICES.items():
        group.add_argument(f"--{name}", choices=values, default=values[0], help=OPTION_HELP[name])
    for name, on in SWITCHES.items():
        if on:
            group.add_argument(f"--no-{name}", dest=name, action="store_false", help=f"do without: {OPTION_HELP[name]}")
        else:
            group.add_argument(f"--{name}", action="store_true", help=OPTION_HELP[name])


def matte_options(args: argparse.Namespace) -> MatteOptions:
    """How a matte is made, as the arguments say."""
    return MatteOptions(**{name: getattr(args, name) for name in OPTION_HELP})


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what is read."""
    parser.add_argument("--max-pixels", default=DEFAULT_MAX_PIXELS, metavar="N",
                        help="refuse images with more pixels, for example 500M, or none for no limit (default: "
                             f"{DEFAULT_MAX_PIXELS})")
