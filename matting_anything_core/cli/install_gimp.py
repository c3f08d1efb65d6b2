"""`matting-anything install gimp`: the plug-in "Matte Selection", into every GIMP 3 of this user."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EXAMPLES = """\
examples:
  matting-anything install gimp                          into every GIMP 3 of this user
  matting-anything install gimp --dry-run                only say which those are
  matting-anything install gimp --python ~/matting/.venv/bin/python
  matting-anything install gimp --uninstall

GIMP's own Python needs nothing: the plug-in talks to `matting-anything serve`, which it starts by itself with the
Python that is noted here. Run it again after an update of the package, or when its environment has moved.
"""


def add(hosts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = hosts.add_parser(
        "gimp", help="the plug-in Matte Selection, into GIMP 3", epilog=EXAMPLES,
        description="Put the plug-in Matte Selection into every GIMP 3 of this user: Linux, Flatpak, Snap, macOS, "
                    "Windows.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", type=Path, action="append", metavar="FOLDER",
                        help="GIMP's folder, where it is not found by itself (…/GIMP/3.0); may be repeated")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), metavar="FILE",
                        help="the Python that is to run the service (default: this one)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--uninstall", action="store_true", help="take the plug-in out again")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Install it, or take it out."""
    from ..install import gimp

    profiles = [gimp.named_profile(folder) for folder in args.profile] if args.profile else gimp.find_profiles()
    if args.dry_run:
        for profile in profiles:
            print(f"{profile.label}: would {'remove' if args.uninstall else 'write'} {profile.plugin}")
        return 0
    if args.uninstall:
        for profile in profiles:
            print("\n".join(gimp.uninstall(profile)))
        return 0
    python = Path(args.python).expanduser().absolute()  # not resolved: a venv's Python is a link to another one
    version = gimp.check_python(python)
    for profile in profiles:
        print("\n".join(gimp.install(profile, python)))
    print(f"The Python runs matting-anything {version}. Start GIMP anew: Select > Matte Selection…\n"
          "If something is missing there: Select > Matte Selection: Check Setup")
    if any("Flatpak" in profile.label or "Snap" in profile.label for profile in profiles):
        print("A GIMP from Flatpak or Snap may not start other programs: see `Flatpak and Snap` in docs/gimp.md")
    return 0
