"""`matting-anything install gimp`: the plug-in "Matte Selection", into every GIMP 3 of this user."""

from __future__ import annotations

import argparse


def add(hosts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = hosts.add_parser("gimp", help="the plug-in Matte Selection, for GIMP 3")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Install it, or take it out."""
    from ..errors import MattingError

    raise MattingError("installing the GIMP plug-in is not written yet")
