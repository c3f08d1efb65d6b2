"""Training pictures in one or two files that travel: scaled down, compressed, with their sources and licences.

    python benchmarks/gpu_pack.py lite runs/packed --side 512 --shards 2 --megabytes 35

writes runs/packed-0.zip and runs/packed-1.zip from the pictures of the recipe, whose `data` folder must be there.
What does not fit is left out evenly: each source keeps the same share of its pictures. `unpacked` reads them back.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from matting_anything_core.errors import MattingError
from matting_anything_core.training.layouts import Record, list_records
from matting_anything_core.training.library import Photo, read_photo
from matting_anything_core.training.recipe import Recipe, Source
from matting_anything_core.training.run import find_recipe

CONTENTS = "contents.json"
FORMAT = "matting-anything pictures 1"
LAYOUT = {"foreground": "cutouts", "picture": "picture_alpha", "background": "backgrounds"}
KEPT = ("name", "weight", "licence", "origin")
"""What of a source goes along beside its pictures."""
MOST_BYTES, MOST_FILES = 1 << 30, 100_000
"""What a pack may unpack to at most: it may come from anyone."""


@dataclass(frozen=True)
class Packed:
    """One picture as files of the pack: paths in its source's folder, and bytes."""

    files: tuple[tuple[str, bytes], ...]

    @property
    def nbytes(self) -> int:
        """With the zip's own 200 bytes or so for each file."""
        return sum(len(data) + 2 * len(name) + 200 for name, data in self.files)


def compressed(record: Record, side: int, quality: int, number: int) -> Packed | None:
    """A picture, no side above `side`; None when it cannot be read."""
    try:
        photo = _scaled(read_photo(record), side)
    except (ValueError, OSError, cv2.error):
        return None
    name = f"{number:05d}"
    if record.role == "foreground":
        assert photo.alpha is not None
        return Packed(((f"{name}.webp", _webp(np.dstack([photo.rgb, photo.alpha]), quality)),))
    if photo.alpha is None:
        return Packed(((f"{name}.webp", _webp(photo.rgb, quality)),))
    mask = io.BytesIO()
    shown = Image.fromarray(photo.alpha)
    (shown.convert("1") if photo.hard else shown).save(mask, "PNG", optimize=True)
    return Packed(((f"image/{name}.webp", _webp(photo.rgb, quality)), (f"alpha/{name}.png", mask.getvalue())))


def _scaled(photo: Photo, side: int) -> Photo:
    height, width = photo.rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return photo
    size = max(1, round(width * scale)), max(1, round(height * scale))
    alpha = photo.alpha
    if alpha is None:
        return Photo(cv2.resize(photo.rgb, size, interpolation=cv2.INTER_AREA))
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    if photo.hard:
        small = ((small > 127) * np.uint8(255)).astype(np.uint8)
    return Photo(cv2.resize(photo.rgb, size, interpolation=cv2.INTER_AREA), small, photo.hard)


def _webp(pixels: np.ndarray[Any, Any], quality: int) -> bytes:
    """Lossy colours, lossless alpha, and colours kept where alpha is 0."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, alpha_quality=100, exact=True, method=4)
    return file.getvalue()


def evenly(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(source, index) of all pictures, such that any beginning of it has the same share of every source."""
    order = sorted(((index + 0.5) / count, source, index) for source, count in enumerate(counts)
                   for index in range(count))
    return ((source, index) for _, source, index in order)


def pack(recipe: Recipe, stem: Path, *, side: int = 512, shards: int = 2, megabytes: float = 35, quality: int = 80,
         most: int | None = None, validation: int = 60, threads: int = 2) -> list[Path]:
    """Write the shards STEM-0.zip …; returns them.

    Parameters
    ----------
    recipe : whose sources and validation are packed; what they hold out stays out.
    stem : where to, without the number and the ending.
    side : the longer side in pixels at most.
    shards, megabytes : how many files at most, and their size at most.
    quality : of WebP, 0..100.
    most : so many training pictures at most; left out, as many as fit.
    validation : pictures for validation, of all sources together; they go into the first shard.
    threads : how many pictures are compressed at the same time.

    Raises
    ------
    MattingError
        When a source is not there, or not even the first picture fits.
    """
    if most is not None and most < 1:
        raise MattingError(f"the number of pictures is {most}; expected 1 or more")
    parts = [("train", source) for source in recipe.sources] + [("validation", source) for source in recipe.validation]
    listed = [list_records(source, recipe.root) for _, source in parts]
    training = range(len(recipe.sources))
    held = range(len(recipe.sources), len(parts))
    order = [(len(training) + source, index) for source, index in evenly([len(listed[i]) for i in held])][:validation]
    order += list(evenly([len(listed[i]) for i in training]))[:most]
    limit = int(megabytes * 1e6) - 200_000  # room for the table of contents
    if limit <= 0:
        raise MattingError(f"a shard of {megabytes:g} MB holds nothing; expected 1 or more")
    full: list[list[tuple[int, Packed]]] = [[]]
    sizes, bad, taken = [0], 0, 0
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(order), 64):
            batch = order[begin:begin + 64]
            made = pool.map(lambda place: compressed(listed[place[0]][place[1]], side, quality, place[1]), batch)
            for (part, _), one in zip(batch, made, strict=True):
                if one is None:
                    bad += 1
                    continue
                where = next((i for i, size in enumerate(sizes) if size + one.nbytes <= limit), None)
                if where is None and len(sizes) < shards and one.nbytes <= limit:
                    sizes.append(0)
                    full.append([])
                    where = len(sizes) - 1
                if where is None:
                    break
                full[where].append((part, one))
                sizes[where] += one.nbytes
                taken += 1
            else:
                continue
            break
    if not taken:
        raise MattingError(f"no picture fits into {shards} shard(s) of {megabytes:g} MB, or none can be read")
    folders = [f"{kind}/{number:02d}" for number, (kind, _) in enumerate(parts)]
    paths = []
    for number, members in enumerate(full):
        table = {"format": FORMAT, "recipe": recipe.name, "side": side, "shard": number, "shards": len(full),
                 "pictures": len(members), "of": len(order), "unreadable": bad,
                 "sources": [_described(kind, source, folder, listed[i]) for i, ((kind, source), folder)
                             in enumerate(zip(parts, folders, strict=True)) if any(part == i for part, _ in members)]}
        path = stem.with_name(f"{stem.name}-{number}.zip")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.part")
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as file:
            file.writestr(CONTENTS, json.dumps(table, indent=1))
            for part, one in members:
                for name, data in one.files:
                    file.writestr(f"{folders[part]}/{name}", data)
        beside.replace(path)
        paths.append(path)
    return paths


def _described(kind: str, source: Source, folder: str, records: Sequence[Record]) -> dict[str, Any]:
    """A source of a recipe as the pack holds it: plain layout, nothing to hold out any more."""
    return {"kind": kind, "layout": LAYOUT[records[0].role], "path": folder, "hard": records[0].hard,
            **{name: getattr(source, name) for name in KEPT}}


def unpacked(shards: Sequence[Path], folder: Path) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """Unpack shards into a folder; returns the sources for training and for validation, relative to it.

    Raises
    ------
    MattingError
        For a file that is no such pack, one that holds more than it may, and shards of different packs.
    """
    found: dict[str, tuple[str, Source]] = {}
    for shard in shards:
        try:
            with zipfile.ZipFile(shard) as file:
                infos = file.infolist()
                if len(infos) > MOST_FILES or sum(info.file_size for info in infos) > MOST_BYTES:
                    raise ValueError(f"it would unpack to more than {MOST_FILES} files or {MOST_BYTES >> 30} GB")
                table = json.loads(file.read(CONTENTS))
                if table.get("format") != FORMAT:
                    raise ValueError(f"its format is {str(table.get('format'))[:40]!r}; expected {FORMAT!r}")
                for info in infos:
                    if info.is_dir() or not _harmless(info.filename):
                        raise ValueError(f"it holds {info.filename[:80]!r}")
                sources = [(str(one["kind"]), _source(one)) for one in table["sources"]]
                for info in infos:
                    file.extract(info, folder)
        except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError) as error:
            raise MattingError(f"{shard} is no pack of pictures ({error}); make one with gpu_pack.py") from None
        for one in sources:
            if found.setdefault(one[1].path, one) != one:
                raise MattingError(f"{shard} is a shard of another pack than {shards[0]}; give those of one pack")
    both = {kind: tuple(source for of, source in found.values() if of == kind) for kind in ("train", "validation")}
    if not both["train"]:
        raise MattingError(f"there are no training pictures in {', '.join(map(str, shards))}")
    return both["train"], both["validation"]


def _harmless(name: str) -> bool:
    """Whether a file of a pack lies where packs have them."""
    path = PurePosixPath(name)
    return name == CONTENTS or (len(path.parts) in (3, 4) and path.parts[0] in ("train", "validation")
                                and ".." not in path.parts and path.suffix in (".webp", ".png") and "\\" not in name)


def _source(one: dict[str, Any]) -> Source:
    """A source as a recipe has it. Raises ValueError when its pictures are elsewhere than packs have them."""
    parts = PurePosixPath(str(one["path"])).parts
    if len(parts) != 2 or parts[0] != str(one["kind"]) or ".." in parts or not float(one["weight"]) > 0:
        raise ValueError(f"it has a source in {str(one['path'])[:80]!r}")
    hard = bool(one["hard"])
    return replace(Source(layout=str(one["layout"]), path=str(one["path"])), hard=hard, name=str(one["name"]),
                   weight=float(one["weight"]), licence=str(one["licence"]), origin=str(one["origin"]))


def main(argv: list[str] | None = None) -> int:
    """Pack the pictures of a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a recipe's file, or one of the package's by name: lite")
    parser.add_argument("stem", type=Path, help="where to, without the number and .zip")
    parser.add_argument("--side", type=int, default=512, help="the longer side in pixels at most (default: 512)")
    parser.add_argument("--shards", type=int, default=2, help="files at most (default: 2)")
    parser.add_argument("--megabytes", type=float, default=35, help="of each file at most (default: 35)")
    parser.add_argument("--quality", type=int, default=80, help="of WebP (default: 80)")
    parser.add_argument("--most", type=int, default=None, metavar="N", help="training pictures at most")
    parser.add_argument("--validation", type=int, default=60, metavar="N", help="validation pictures (default: 60)")
    parser.add_argument("--threads", type=int, default=2, help="pictures compressed at a time (default: 2)")
    given = parser.parse_args(argv)
    try:
        recipe = find_recipe(given.recipe)
        paths = pack(recipe, given.stem, side=given.side, shards=given.shards, megabytes=given.megabytes,
                     quality=given.quality, most=given.most, validation=given.validation, threads=given.threads)
    except MattingError as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths:
        with zipfile.ZipFile(path) as file:
            table = json.loads(file.read(CONTENTS))
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {table['pictures']} of {table['of']} pictures, "
              f"{len(table['sources'])} sources, {table['unreadable']} unreadable")
    return 0


if __name__ == "__main__":
    sys.exit(main())
