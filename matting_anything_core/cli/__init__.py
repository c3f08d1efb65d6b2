"""The command `matting-anything`. Each subcommand stands in its own file and imports what is heavy when it runs."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence

from .. import __version__
from ..errors import MattingError
from . import batch, benchmark, demo, evaluate, install, matte, serve, train, weights

DESCRIPTION = """\
Promptable image matting: cut an object out of a picture with a soft alpha matte.

  matting-anything demo                                        matte a picture that comes with the package
  matting-anything matte photo.jpg --box 120,40,560,700 -o dog.png
  matting-anything COMMAND --help                              what a command does, with examples
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="matting-anything", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"matting-anything {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show the whole traceback of an error")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (demo, matte, batch, serve, weights, install, evaluate, train, benchmark):
        command.add(subparsers)
    for child in subparsers.choices.values():
        # `matting-anything matte … --verbose` is what people type; SUPPRESS keeps a --verbose given before it.
        child.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 2 with one line on standard error when it could not."""
    from ..startup import command_memory
    from ..threads import gentle_start

    args = build_parser().parse_args(argv)
    try:
        with gentle_start(), command_memory():
            return int(args.run(args))
    except MattingError as error:
        if args.verbose:
            traceback.print_exc()
        print(f"matting-anything: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("matting-anything: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away; that is no error, but Python would complain at exit.
        sys.stderr.close()
        return 141
