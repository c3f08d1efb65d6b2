"""`matting-anything completion`: what a shell needs to complete commands, options and file names."""

from __future__ import annotations

import argparse
from typing import Any

EXAMPLES = """\
examples:
  eval "$(matting-anything completion bash)"
      for this shell; in ~/.bashrc for all to come
  matting-anything completion zsh > ~/.zfunc/_matting-anything
      any folder that zsh has in $fpath, before compinit
  matting-anything completion tcsh > ~/.matting-anything.tcsh
      and `source` it in ~/.cshrc
"""
SHELLS = ("bash", "zsh", "tcsh")
FILES, FOLDERS = ("FILE", "IMAGE", "OUT", "MANIFEST", "RECIPE"), ("FOLDER", "DIR", "PATH")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "completion", help="print a script for the shell's completion", epilog=EXAMPLES,
        description="Print a script that lets a shell complete commands, options, choices and file names.",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell it is for")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from . import build_parser

    parser = build_parser()
    _mark_files(parser, shtab)
    print(shtab.complete(parser, args.shell))
    return 0


def _mark_files(parser: argparse.ArgumentParser, shtab: Any) -> None:
    """Say which arguments are files and folders: their metavar does."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _mark_files(child, shtab)
        elif action.choices is None and isinstance(action.metavar, str):
            words = action.metavar.replace(".", "|").split("|")
            if any(word in FILES for word in words):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif any(word in FOLDERS for word in words):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
