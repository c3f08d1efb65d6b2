"""Readers of data sets in the folder layouts they are published in, and of plain folders.

A layout lists records: where the colours are, where the alpha is, and what the picture is good for. Nothing is read
but folders here; pictures are read when they are drawn, and what cannot be read is counted and passed over.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import MattingError
from .recipe import Role, Source

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Record:
    """One picture. role: "foreground" (a cut-out: its colours are meant only where alpha is), "picture" (a whole
    photograph with the alpha of its subject) or "background". alpha: None for backgrounds and for RGBA files."""

    role: Role
    rgb: Path
    alpha: Path | None = None
    rgba: bool = False
    hard: bool = False


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder and the folders in it, sorted by path; none when there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def _pairs(role: Role, colours: Path, alphas: Path) -> list[Record]:
    """Pictures of two folders that have the same name but for the ending."""
    there = {path.relative_to(alphas).with_suffix(""): path for path in pictures_in(alphas)}
    found = []
    for path in pictures_in(colours):
        alpha = there.get(path.relative_to(colours).with_suffix(""))
        if alpha is not None:
            found.append(Record(role, path, alpha))
    return found


def _first(root: Path, *names: str) -> Path:
    """The first of these folders that exists; else the first name, for the message."""
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])


def _adobe(root: Path, subset: str) -> list[Record]:
    """Adobe Image Matting: Training_set/{Adobe-licensed images,Other}/{fg,alpha} (or train's inner folders)."""
    top = _first(root, "Training_set" if subset == "train" else "Test_set", ".")
    parts = [part for part in (top / "Adobe-licensed images", top / "Other", top) if (part / "fg").is_dir()]
    return [record for part in parts for record in _pairs("foreground", part / "fg", part / "alpha")]


def _distinctions(root: Path, subset: str) -> list[Record]:
    """Distinctions-646: Train/{FG,GT}."""
    top = _first(root, "Train" if subset == "train" else "Test", ".")
    return _pairs("foreground", _first(top, "FG", "fg"), _first(top, "GT", "gt", "alpha"))


def _am2k(root: Path, subset: str) -> list[Record]:
    """AM-2K: train/{original,mask,fg}; its foreground colours are estimated ones, where they are there."""
    top = _first(root, "train" if subset == "train" else "validation", ".")
    return _pairs("foreground", _first(top, "fg", "original"), _first(top, "mask"))


def _human2k(root: Path, subset: str) -> list[Record]:
    """Human-2K: train/{image,alpha} or {fg,alpha}."""
    top = _first(root, "train" if subset == "train" else "test", "Train" if subset == "train" else "Test", ".")
    return _pairs("foreground", _first(top, "fg", "image", "images"), _first(top, "alpha", "mask"))


def _refmatte(root: Path, subset: str) -> list[Record]:
    """RefMatte: train/{img,mask}, a mask for each instance in `mask`, named picture_instance or in a folder."""
    top = _first(root, subset, ".")
    colours, masks = _first(top, "img", "image"), _first(top, "mask", "alpha")
    by_name = {path.stem: path for path in pictures_in(colours)}
    found = []
    for alpha in pictures_in(masks):
        stem = alpha.stem
        picture = by_name.get(stem) or by_name.get(alpha.parent.name) or by_name.get(stem.rpartition("_")[0])
        if picture is not None:
            found.append(Record("picture", picture, alpha))
    return found


def _coco(root: Path, subset: str) -> list[Record]:
    """COCO: train2017/*.jpg (or train2014), as backgrounds."""
    year = "val" if subset != "train" else "train"
    return [Record("background", path) for path in pictures_in(_first(root, f"{year}2017", f"{year}2014", "."))]


def _bg20k(root: Path, subset: str) -> list[Record]:
    """BG-20K: train/*.jpg, testval/*.jpg."""
    return [Record("background", path) for path in pictures_in(_first(root, "train" if subset == "train" else "testval",
                                                                      "."))]


def _cutouts(root: Path, subset: str) -> list[Record]:
    """A folder of pictures with alpha."""
    return [Record("foreground", path, rgba=True) for path in pictures_in(root)]


def _picture_alpha(root: Path, subset: str) -> list[Record]:
    """image/ and alpha/, same names: whole photographs with mattes."""
    return _pairs("picture", _first(root, "image", "images"), _first(root, "alpha", "matte"))


def _picture_mask(root: Path, subset: str) -> list[Record]:
    """image/ and mask/, same names: whole photographs with hard masks."""
    pairs = _pairs("picture", _first(root, "image", "images"), _first(root, "mask", "masks"))
    return [Record(record.role, record.rgb, record.alpha, hard=True) for record in pairs]


def _backgrounds(root: Path, subset: str) -> list[Record]:
    """A folder of photographs, or a single one."""
    return [Record("background", path) for path in ([root] if root.is_file() else pictures_in(root))]


LAYOUTS: Mapping[str, Callable[[Path, str], list[Record]]] = {
    "adobe": _adobe, "distinctions646": _distinctions, "am2k": _am2k, "human2k": _human2k, "refmatte": _refmatte,
    "coco": _coco, "bg20k": _bg20k, "cutouts": _cutouts, "picture_alpha": _picture_alpha,
    "picture_mask": _picture_mask, "backgrounds": _backgrounds,
}


def list_records(source: Source, root: Path) -> list[Record]:
    """The records of one source, sorted. Raises MattingError when the layout is unknown or nothing is there."""
    if source.layout not in LAYOUTS:
        raise MattingError(f"there is no layout {source.layout!r}; known are {', '.join(LAYOUTS)}")
    folder = installed(source.path) or root / source.path
    records = [record for record in LAYOUTS[source.layout](folder, source.subset)
               if fnmatch.fnmatch(record.rgb.name, source.match)]
    if not records:
        raise MattingError(f"{folder} holds no pictures in the layout {source.layout}"
                           f"{'' if source.match == '*' else f' that match {source.match}'}; "
                           f"that layout is: {(LAYOUTS[source.layout].__doc__ or '').strip()}")
    every, first = source.hold_out
    if every:
        records = [record for i, record in enumerate(records) if (i % every == first) == (source.keep == "held")]
    role = source.role
    return [Record(role or record.role, record.rgb, record.alpha, record.rgba, record.hard or source.hard)
            for record in records]


def installed(path: str) -> Path | None:
    """`package:NAME/inner/path` names files that an installed Python package ships."""
    if not path.startswith("package:"):
        return None
    import importlib.util

    name, _, inner = path.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise MattingError(f"the source {path} needs the Python package {name}, which is not installed")
    return Path(spec.origin).parent / inner
