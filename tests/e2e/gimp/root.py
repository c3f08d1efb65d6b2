"""A root folder with a real GIMP 3: Debian trixie by debootstrap, made once (2 minutes, 1.3 GB) and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("gimp", "gir1.2-gimp-3.0", "python3-gi", "python3-numpy", "fonts-dejavu-core", "adwaita-icon-theme",
            "xvfb", "openbox", "xdotool", "imagemagick", "dbus", "dbus-x11")
READY = "var/lib/matting-anything-ready"
"""Holds the list of packages when the folder is complete."""


class NoHost(Exception):
    """This machine cannot have the root folder; the text says why."""


def gimp_root() -> Path:
    """The folder: $MATTING_ANYTHING_GIMP_ROOT, or one below ~/.cache; made when it is not there.

    Raises NoHost where that cannot be: without root's rights, namespaces, debootstrap or Debian's servers.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise NoHost("a root folder needs root's rights (chroot, mount)")
    for tool in ("unshare", "chroot"):
        if shutil.which(tool) is None:
            raise NoHost(f"{tool} is not installed")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        raise NoHost("this machine allows no namespaces (unshare --mount --pid)")
    given = os.environ.get("MATTING_ANYTHING_GIMP_ROOT")
    root = Path(given) if given else Path.home() / ".cache" / "matting_anything_tests" / "gimp-trixie"
    ready = root / READY
    if not ready.exists() or ready.read_text() != "\n".join(PACKAGES):
        _make(root)
        ready.write_text("\n".join(PACKAGES))
    return root


def _make(root: Path) -> None:
    if not (root / "etc/debian_version").exists():
        if shutil.which("debootstrap") is None:
            raise NoHost("debootstrap is not installed")
        root.parent.mkdir(parents=True, exist_ok=True)
        half = root.with_name(root.name + ".half")
        shutil.rmtree(half, ignore_errors=True)
        _run("debootstrap", "--variant=minbase", "trixie", str(half))
        half.rename(root)
    install = "apt-get update -q && apt-get install -y -q --no-install-recommends " + " ".join(PACKAGES)
    _run("chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", install)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        said = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise NoHost(f"{command[0]} failed (exit status {done.returncode}): {said}")


if __name__ == "__main__":
    try:
        print(f"a real GIMP is in {gimp_root()}")
    except NoHost as why:
        print(f"no real GIMP here, its tests will be skipped: {why}")
