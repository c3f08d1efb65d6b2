"""`matting-anything install`: put the plug-ins that come with the package into the programs they are for.

Each host has a file of its own, `install_HOST.py`, whose `add` registers one command under this one.
"""

from __future__ import annotations

import argparse

from . import install_comfyui, install_gimp

HOSTS = (install_comfyui, install_gimp)

EXAMPLES = """\
examples:
  matting-anything install comfyui ~/ComfyUI     the nodes, into this ComfyUI
  matting-anything install gimp                 the plug-in "Matte Selection", into every GIMP 3 of this user
  matting-anything install gimp --uninstall     take it out again
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `install` and one command for each host."""
    parser = subparsers.add_parser(
        "install", help="put the plug-ins into ComfyUI and GIMP", epilog=EXAMPLES,
        description="Put the plug-ins that come with this package into the programs they are for.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hosts = parser.add_subparsers(title="programs", metavar="PROGRAM", required=True)
    for host in HOSTS:
        host.add(hosts)
