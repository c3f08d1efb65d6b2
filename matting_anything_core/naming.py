"""Names of results: one for each image, none twice, and the same names whenever the same images are given."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path


def key(path: str | os.PathLike[str]) -> str:
    """The same text for names that may be the same file: folded as Windows does there, with one form of accents."""
    return unicodedata.normalize("NFC", os.path.normcase(os.path.normpath(os.fspath(path))))


def names_of(paths: Sequence[str | os.PathLike[str]], suffix: str) -> list[Path]:
    """Names (relative paths) of the results of images from any folders.

    Parameters
    ----------
    paths : of the images; the same path may come several times, for several objects.
    suffix : of the results, for example ".png".

    Returns
    -------
    The image's name with that suffix. Images of the same name keep as much of their folders as tells them apart
    (x/001.jpg, y/001.jpg), those that differ in their suffix keep it (a.jpg.png), and several objects of one image are
    numbered (a-1.png, a-2.png).
    """
    files = [os.path.abspath(path) for path in paths]
    groups: dict[str, list[str]] = defaultdict(list)
    for file in dict.fromkeys(files):
        groups[key(Path(file).stem)].append(file)
    stems = {file: stem for group in groups.values() for file, stem in _apart(group).items()}
    counts, seen = Counter(files), Counter[str]()
    names = []
    for file in files:
        seen[file] += 1
        stem = stems[file]
        names.append(stem.with_name(stem.name + (f"-{seen[file]}" if counts[file] > 1 else "") + suffix))
    return distinct(names)


def _apart(files: Sequence[str]) -> dict[str, Path]:
    """Files of the same stem -> relative paths without suffix that tell them apart."""
    if len(files) == 1:
        return {files[0]: Path(Path(files[0]).stem)}
    try:
        shared = os.path.commonpath([os.path.dirname(file) for file in files])
    except ValueError:  # on several drives
        return {file: Path(Path(file).stem) for file in files}
    relative = {file: Path(os.path.relpath(file, shared)) for file in files}
    counts = Counter(key(path.with_suffix("")) for path in relative.values())
    return {file: path if counts[key(path.with_suffix(""))] > 1 else path.with_suffix("")
            for file, path in relative.items()}


def distinct(names: Sequence[Path]) -> list[Path]:
    """The names, each of which is there once: the second of the same becomes NAME-2 and so on."""
    taken = {key(name) for name in names}
    used: set[str] = set()
    result = []
    for name in names:
        number, free = 1, name
        while key(free) in used or (number > 1 and key(free) in taken):
            number += 1
            free = name.with_name(f"{name.stem}-{number}{name.suffix}")
        used.add(key(free))
        result.append(free)
    return result
