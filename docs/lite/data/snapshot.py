"""Snapshots of repositories, and what else masked.py and pictures.py share."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
from numpy.typing import NDArray
from PIL import Image, ImageOps


class Snapshot:
    """The files of one commit of a git directory."""

    def __init__(self, folder: Path, commit: str) -> None:
        """Reads the named commit if the folder has it, else the newest one."""
        self._git = ["git", f"--git-dir={folder}"]
        test = [*self._git, "cat-file", "-e", f"{commit}^{{commit}}"]
        if subprocess.run(test, capture_output=True).returncode:
            print(f"{folder}: commit {commit} is not there, the newest is read")
            commit = "HEAD"
        command = [*self._git, "ls-tree", "-r", "-l", "-z", commit]
        listing = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        self._blobs: dict[str, str] = {}
        for line in listing.decode("utf-8", "surrogateescape").split("\0"):
            meta, _, path = line.partition("\t")
            # The size is "-" for a submodule, "BAD" for a file that is listed but lacking.
            if path and meta.split()[3].isdigit():
                self._blobs[path] = meta.split()[2]
        self._batch: subprocess.Popen[bytes] | None = None

    def __contains__(self, path: str) -> bool:
        return path in self._blobs

    def below(self, folder: str, endings: tuple[str, ...]) -> list[str]:
        """The paths in a folder ("" is the uppermost) and its folders that end so, in whatever case, sorted."""
        start = f"{folder}/" if folder else ""
        return sorted(path for path in self._blobs if path.startswith(start) and path.lower().endswith(endings))

    def read(self, path: str) -> bytes:
        """The content of a file. Raises OSError when it is not there."""
        if path not in self._blobs:
            raise OSError(f"{path}: not in the snapshot")
        if self._batch is None:
            command = [*self._git, "cat-file", "--batch"]
            self._batch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._batch.stdin
        assert self._batch.stdout
        self._batch.stdin.write(f"{self._blobs[path]}\n".encode())
        self._batch.stdin.flush()
        head = self._batch.stdout.readline().split()
        if len(head) != 3:
            raise OSError(f"{path}: not in the snapshot")
        return self._batch.stdout.read(int(head[2]) + 1)[:-1]


def located(snapshots: Path, repository: str) -> Path | None:
    """Where a repository's snapshot lies, if it is there."""
    name = repository.replace("/", "+")
    places = snapshots / f"{name}.git", snapshots / name / "repo"
    return next((place for place in places if (place / "HEAD").exists()), None)


@cache
def opened(snapshots: Path, repository: str, commit: str) -> Snapshot:
    folder = located(snapshots, repository)
    if folder is None:
        raise OSError(f"{repository}: no snapshot in {snapshots}")
    return Snapshot(folder, commit)


def arguments(description: str | None, part: str, names: Collection[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshots", nargs="?", type=Path, metavar="SNAPSHOTS", help="holds OWNER+NAME.git for each")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="the recipe's $LITE_DATA")
    parser.add_argument("parts", nargs="*", metavar=part, help=f"some of {', '.join(names)}; all if none is given")
    parser.add_argument("--list", action="store_true", help="print the commands that get the snapshots, and end")
    parser.add_argument("--sheet", type=Path, help="a folder for a contact sheet of each folder written")
    return parser


def ready(
    parser: argparse.ArgumentParser, options: argparse.Namespace, needed: dict[str, set[str]]
) -> tuple[Path, Path, list[str]]:
    """The snapshots' folder, the folder to write to, and the parts asked for. `needed` are the parts' repositories.

    Ends the program with --list, and when snapshots are missing.
    """
    if unknown := set(options.parts) - set(needed):
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    parts = [name for name in needed if not options.parts or name in options.parts]
    snapshots = options.snapshots or Path("SNAPSHOTS")
    repositories = sorted(set().union(*(needed[name] for name in parts)), key=str.lower)
    commands = {
        repository: shlex.join(
            ["git", "clone", "--bare", f"https://github.com/{repository}",
             str(snapshots / f"{repository.replace('/', '+')}.git")]
        )
        for repository in repositories
    }
    if options.list:
        print("\n".join(commands.values()))
        parser.exit()
    if options.out is None:
        parser.error("SNAPSHOTS and OUT are needed")
    if missing := [commands[repository] for repository in repositories if not located(snapshots, repository)]:
        parser.exit(1, "\n".join([f"{len(missing)} snapshots are missing; these commands get them:", *missing, ""]))
    return snapshots, options.out, parts


@contextmanager
def replaced(out: Path, *names: str) -> Iterator[Path]:
    """Gives a folder to fill, with an empty folder for each name. They take the place of those in `out` at the end; if
    the block is left by an error, `out` stays as it is."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".unfinished-", dir=out) as temporary:
        made, old = Path(temporary, "made"), Path(temporary, "old")
        for name in names:
            (made / name).mkdir(parents=True)
        yield made
        old.mkdir()
        for index, name in enumerate(names):
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rename(old / str(index))
            (made / name).rename(target)


def save(file: Path, picture: NDArray[Any], quality: int = 95) -> None:
    """Writes OpenCV's picture to a .png or .jpg. Raises OSError when that fails."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if file.suffix == ".jpg" else []
    if not cv2.imwrite(str(file), picture, settings):
        raise OSError(f"{file} could not be written")


def sheet(folder: Path, sheets: Path, most: int = 120, columns: int = 20, side: int = 96) -> None:
    """Draws pictures from all over a folder; what alpha or the mask leaves out is darkened to blue."""
    paths = sorted((folder / "image" if (folder / "image").exists() else folder).iterdir())
    paths = paths[:: -(-len(paths) // most) or 1]
    page = Image.new("RGB", (columns * side, max(1, -(-len(paths) // columns)) * side))
    for index, path in enumerate(paths):
        picture: Image.Image = Image.open(path)
        mask = folder / "mask" / f"{path.stem}.png"
        alpha = Image.open(mask) if mask.exists() else picture.getchannel("A") if picture.mode == "RGBA" else None
        picture = picture.convert("RGB")
        if alpha:
            blue = Image.new("RGB", picture.size, (0, 0, 160))
            picture = Image.composite(picture, blue, alpha.point([90 + value * 165 // 255 for value in range(256)]))
        page.paste(ImageOps.pad(picture, (side, side)), (index % columns * side, index // columns * side))
    sheets.mkdir(parents=True, exist_ok=True)
    page.save(sheets / ".unfinished.png")
    (sheets / ".unfinished.png").replace(sheets / f"{folder.name}.png")
