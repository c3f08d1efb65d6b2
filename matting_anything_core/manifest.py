"""Manifests of batches: a CSV or JSON Lines file that says for each picture what to matte in it.

CSV has a header; columns: path (the only one that must be there), box, points, labels, mask, text, out. JSON Lines has
one object a line with the same names. Lists are JSON lists there, and in CSV numbers with commas or spaces between
them; points as x,y;x,y. Paths are relative to the manifest; out is relative to the folder of the results and stays
inside.

    path,box,points,labels,text,out
    dog.jpg,"120,40,560,700",,,,dog
    cats.jpg,,"300,200;40,40","1,0",,
    park.jpg,,,,the dog on the left,park-dog.webp
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .batch import Item, PromptRule, whole_picture
from .errors import ImageError, PromptError
from .image import Image, read_image
from .pipeline.prompting import as_mask
from .types import Prompt, PromptInput

COLUMNS = ("path", "box", "points", "labels", "mask", "text", "out")


def read_manifest(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    prompt: PromptInput | PromptRule = whole_picture,
    *,
    suffix: str = ".png",
) -> list[Item]:
    """The items of a manifest (.csv, or .jsonl), to be written below the folder `out`.

    prompt: for rows that say nothing of what to matte. suffix: of files whose row gives no name with one.
    Raises ImageError for a file that cannot be read, and PromptError that names the line for a row that cannot be.
    """
    manifest = Path(path)
    rows = list(_rows(manifest))
    counts: dict[str, int] = {}
    for _, row in rows:
        counts[row["path"]] = counts.get(row["path"], 0) + 1
    seen: dict[str, int] = {}
    items = []
    for line, row in rows:
        name = row["path"]
        seen[name] = seen.get(name, 0) + 1
        default = Path(name).stem + (f"-{seen[name]}" if counts[name] > 1 else "")
        try:
            asked = _prompt(row, manifest.parent)
            target = _inside(Path(out), row.get("out") or default, suffix)
        except PromptError as error:
            raise PromptError(f"{manifest}, line {line}: {error}") from None
        items.append(Item(manifest.parent / name, prompt if asked is None else asked, target))
    return items


def _rows(manifest: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line numbers and rows without their empty fields. Raises ImageError and PromptError."""
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"the manifest {str(manifest)!r} cannot be read: {reason}") from None
    reader: Iterator[tuple[int, Any]] = _csv(text) if manifest.suffix.lower() == ".csv" else _json_lines(text)
    empty = True
    for line, row in reader:
        where = f"{manifest}, line {line}"
        if not isinstance(row, dict):
            raise PromptError(f"{where}: {row}")
        unknown = [str(name) for name in row if name not in COLUMNS]
        if unknown:
            raise PromptError(f"{where}: there is a column {unknown[0][:80]!r}; known are {', '.join(COLUMNS)}")
        kept = {name: value for name, value in row.items() if value not in (None, "", [])}
        if not isinstance(kept.get("path"), str):
            raise PromptError(f"{where}: the path of the picture is missing")
        empty = False
        yield line, kept
    if empty:
        raise PromptError(f"the manifest {str(manifest)!r} names no picture")


def _csv(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(text.splitlines(keepends=True), restkey="what comes after the last column")
    try:
        for row in reader:
            yield reader.line_num, {(name or "").strip(): value.strip() if isinstance(value, str) else value
                                    for name, value in row.items()}
    except csv.Error as error:
        yield reader.line_num, f"it is no CSV: {error}"


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"it is no JSON: {error}"
            return
        yield number, row if isinstance(row, dict) else "it is no JSON object"


def _prompt(row: Mapping[str, Any], folder: Path) -> Prompt | PromptRule | None:
    """The prompt of a row, None when it has none. A mask is read when its picture is matted."""
    fields: dict[str, Any] = {name: row[name] for name in ("box", "points", "labels", "text") if name in row}
    for name in ("box", "labels"):
        if isinstance(fields.get(name), str):
            fields[name] = _numbers(fields[name], name)
    if isinstance(fields.get("points"), str):
        fields["points"] = [_numbers(pair, "points") for pair in fields["points"].split(";") if pair.strip()]
    if "mask" not in row:
        return Prompt.of(fields) if fields else None
    if not isinstance(row["mask"], str):
        raise PromptError("mask is no path")
    file = folder / row["mask"]

    def rule(_image: Image) -> PromptInput:
        return Prompt.of({**fields, "mask": as_mask(read_image(file))})

    return rule


def _numbers(text: str, name: str) -> list[float]:
    try:
        return [float(part) for part in re.split(r"[,;\s]+", text.strip())]
    except ValueError:
        raise PromptError(f"{name} is {text[:80]!r}; expected numbers with commas between them") from None


def _inside(folder: Path, name: Any, suffix: str) -> Path:
    """A file below the folder. Raises PromptError for a name that leads out of it."""
    if not isinstance(name, str):
        raise PromptError("out is no name")
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or PureWindowsPath(name).drive or "\0" in name:
        raise PromptError(f"out is {name[:80]!r}; expected a name inside the folder of the results")
    target = folder.joinpath(*parts)
    return target if target.suffix.lower() in (".png", ".tif", ".tiff", ".webp", ".jpg", ".jpeg") \
        else target.with_name(target.name + suffix)
