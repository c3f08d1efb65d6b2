"""`matting-anything install comfyui`: the nodes, into a ComfyUI's custom_nodes."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  matting-anything install comfyui ~/ComfyUI
  matting-anything install comfyui ~/ComfyUI --link                  updates of this package arrive by themselves
  matting-anything install comfyui ~/ComfyUI --python ~/comfy-env/bin/python
  matting-anything install comfyui ~/ComfyUI --uninstall

It copies or links files and installs no packages: what the Python that runs ComfyUI lacks is named, with a command that
leaves its torch, numpy and OpenCV as they are; the exit status is 1 as long as something is missing.
"""


def add(hosts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = hosts.add_parser(
        "comfyui", help="the nodes, into a ComfyUI", epilog=EXAMPLES, description="Put the nodes into a ComfyUI.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="PATH", help="ComfyUI's folder (with main.py in it)")
    parser.add_argument("--link", action="store_true", help="link to the files of this package instead of copying them")
    parser.add_argument("--python", type=Path, metavar="FILE",
                        help="the Python that runs ComfyUI (default: an environment in its folder, else this one)")
    parser.add_argument("--uninstall", action="store_true", help="take the nodes out again")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Install them, or take them out; 1 when the Python that runs ComfyUI lacks something."""
    from ..install import comfyui

    folder = args.folder.expanduser().absolute()
    if args.uninstall:
        done = comfyui.Installed(comfyui.uninstall(folder), True)
    else:
        python = comfyui.python_of(folder) if args.python is None else args.python.expanduser().absolute()
        done = comfyui.install(folder, python, link=args.link)
    print("\n".join(done.lines))
    return 0 if done.complete else 1
