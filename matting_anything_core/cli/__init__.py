"""The command `matting-anything`. Each subcommand stands in its own file and imports what is heavy when it runs."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence

from .. import __version__
from ..errors import DeviceError, ImageError, MattingError, MissingExtraError, NothingFoundError, WeightsError
from . import batch, benchmark, completion, demo, evaluate, install, matte, serve, train, video, weights
from .parser import Parser
from .streams import any_name, short_warnings

DESCRIPTION = """\
Promptable image matting: cut an object out of an image with a soft alpha matte.

  matting-anything demo                                        matte an image that comes with the package
  matting-anything matte photo.jpg --box 120,40,560,700 -o dog.png
  matting-anything COMMAND --help                              what a command does, with examples
"""
EPILOG = """\
exit status:
  0     all that was asked for is done
  1     some images of several failed
  2     the command line, a prompt or the setup cannot be
  3     an image cannot be read, or a file cannot be written
  4     weights are missing, damaged or not to be trusted
  5     the device is not there, or its memory does not suffice
  6     an optional package is missing
  7     the words match nothing in the image
  130   interrupted (Ctrl-C)
  141   nobody reads the output any more
"""
STATUS: tuple[tuple[type[MattingError], int], ...] = (
    (ImageError, 3), (WeightsError, 4), (DeviceError, 5), (MissingExtraError, 6), (NothingFoundError, 7),
)
"""Exit status by the kind of error; 2 for every other one."""


def status_of(error: MattingError) -> int:
    """The exit status for an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 2)


def told(error: MattingError, args: argparse.Namespace) -> str:
    """An error's message in the words of the command line."""
    text = str(error)
    return text.replace("raise max_pixels", "raise --max-pixels") if hasattr(args, "max_pixels") else text


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = Parser(prog="matting-anything", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"matting-anything {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show the whole traceback of an error")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors: no progress, names or warnings")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (demo, matte, batch, video, serve, weights, install, evaluate, train, benchmark, completion):
        command.add(subparsers)
    for child in subparsers.choices.values():
        # `matting-anything matte … --verbose` is what people type; SUPPRESS keeps a --verbose given before it.
        child.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        child.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, else one line on standard error and a status by its kind (see
    EPILOG)."""
    from ..startup import command_memory
    from ..threads import gentle_start

    with any_name():
        args = build_parser().parse_args(argv)
        try:
            with short_warnings(args.quiet), gentle_start(), command_memory():
                return int(args.run(args))
        except MattingError as error:
            if args.verbose:
                traceback.print_exc()
            if getattr(args, "json", False) is True:
                print(json.dumps({"error": told(error, args), "kind": type(error).__name__,
                                  "status": status_of(error)}), flush=True)
            print(f"matting-anything: {told(error, args)}", file=sys.stderr)
            return status_of(error)
        except KeyboardInterrupt:
            print("matting-anything: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # The reader (head, less) went away; that is no error, but Python would complain at exit.
            sys.stderr.close()
            return 141
