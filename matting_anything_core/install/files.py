"""The files of the plug-ins: where they are in a checkout or an installed package, and how a folder is put in place."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import MattingError


class InstallError(MattingError):
    """A program that is not found, or a folder that cannot be written."""


def host_files(name: str) -> Path:
    """The folder of a host's files, for example "gimp_plugin" or "comfy_nodes".

    In an installed package they are below `_hosts`, in a checkout beside the package.
    Raises InstallError when they are in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    places = (package / "_hosts" / name, package.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise InstallError(f"the files of {name} are missing; looked in {places[0]} and {places[1]}. Install the package "
                       "again")


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InstallError(f"{target} cannot be written: {error.strerror or error}; "
                           "make it writable for you and try again") from None


def put_folder(source: Path, target: Path) -> None:
    """Copy a folder to `target`, in the place of what is there; all of it or nothing.

    Caches of Python are left out. Files keep their run bits. Raises InstallError when the place cannot be written.
    """
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as work:
            new, old = Path(work) / "new", Path(work) / "old"
            shutil.copytree(source, new, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            if target.is_symlink() or target.exists():
                os.replace(target, old)
            try:
                os.replace(new, target)
            except OSError:
                if old.exists():
                    os.replace(old, target)
                raise
            if old.is_symlink():
                old.unlink()


def remove_folder(target: Path) -> bool:
    """Remove a folder, or the link in its place; False when there was none. Raises InstallError."""
    if not target.is_symlink() and not target.exists():
        return False
    with _writing(target):
        if target.is_symlink():
            target.unlink()
        else:
            shutil.rmtree(target)
    return True
