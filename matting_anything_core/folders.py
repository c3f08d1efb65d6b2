"""The images in a folder, and what else is there; and what callers give as a path."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ImageError, MattingError


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    images: by name, subfolders included. left_out: how many of what else, in words, for example ".txt files".
    """

    images: list[Path]
    left_out: dict[str, int] = field(default_factory=dict)

    def left_out_in_words(self) -> str:
        """All that is left out in one line; nothing when nothing is."""
        return ", ".join(f"{count} {what}" for what, count in self.left_out.items())


def images_in(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None, suffixes: Collection[str]) -> Found:
    """Find the images in a folder and its subfolders: files whose suffix, in small letters, is among `suffixes`.

    Links to folders are followed, each folder once. Hidden files and folders (.name) are left out, and so is what is
    below `out`, unless that is the folder itself.

    Raises ImageError when there is no such folder, or when it cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ImageError(f"there is no folder {os.fspath(folder)!r}")
    aside = None if out is None or os.path.realpath(out) == os.path.realpath(root) else os.path.realpath(out)
    images: list[Path] = []
    left: Counter[str] = Counter()
    seen: set[str] = set()
    links: list[str] = []

    def unreadable(error: OSError) -> None:
        if error.filename is not None and os.path.realpath(error.filename) == os.path.realpath(root):
            raise ImageError(f"the folder {os.fspath(folder)!r} cannot be read: {error.strerror or error}") from None
        left["folders that cannot be read"] += 1

    def walk(start: str) -> None:
        for place, folders, files in os.walk(start, onerror=unreadable):
            real = os.path.realpath(place)
            if real in seen or real == aside:
                if real != aside:
                    left["links to folders that are there already"] += 1
                folders.clear()
                continue
            seen.add(real)
            left["hidden folders"] += sum(name.startswith(".") and name != ".matting-anything" for name in folders)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links.extend(path for name in folders if os.path.islink(path := os.path.join(place, name)))
            for name in sorted(files):
                kind = _kind(place, name, suffixes)
                if kind is None:
                    images.append(Path(place, name))
                else:
                    left[kind] += 1

    walk(os.fspath(root))
    while links:  # after what is there itself, so that a folder is named by its own place and not by a link's
        walk(links.pop(0))
    return Found(sorted(images), {what: count for what, count in sorted(left.items()) if count})


def _kind(place: str, name: str, suffixes: Collection[str]) -> str | None:
    """What a file is, in words; None for an image."""
    path = os.path.join(place, name)
    if name.startswith("."):
        return "hidden files"
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in suffixes:
        return f"{suffix} files" if suffix else "files without suffix"
    if not os.path.isfile(path):
        return "broken links" if os.path.islink(path) else "things that are no regular files"
    return None


def path_given(value: Any, what: str) -> Path:
    """What a caller gave as a path. Raises MattingError for what is none."""
    try:
        return Path(os.fsdecode(value))
    except TypeError:
        raise MattingError(f"{what} was given as {value!r:.80}; expected a path") from None


def filled_in(text: str, what: str) -> str:
    """Text with the variables of the environment and `~` filled in.

    Raises MattingError when a variable is not set, which else would be taken for a name.
    """
    filled = os.path.expanduser(os.path.expandvars(text))
    left = re.search(r"\$(?:\{(\w+)\}|(\w+))", filled)
    if left is not None and not os.path.lexists(filled):
        name = left[1] or left[2]
        raise MattingError(f"{what} is {text!r}, but the variable {name} is not set; set it first, for example: "
                           f"export {name}=/data")
    return filled
