"""Switches that say how a result's file is written, shared by the commands that write some."""

from __future__ import annotations

import argparse


def add_file_arguments(group: argparse._ArgumentGroup) -> None:
    """The arguments --strip and --srgb."""
    group.add_argument("--strip", action="store_true",
                       help="leave out resolution, EXIF, XMP and copyright, which are kept otherwise")
    group.add_argument("--srgb", action="store_true",
                       help="convert colours to sRGB (default: they stay in the picture's own space, such as Adobe RGB "
                            "or Display P3, and its profile is written)")
