"""Manifests of batches: a list of images that may say for each what to matte in it.

CSV (with commas, semicolons or tabs; .csv, .tsv, .txt) has a header; columns: path (the only one that must be there),
box, points, labels, mask, text, out. Others are ignored, unless they look like a slip of the pen. Without a header each
line is a path, perhaps with the four numbers of a box. JSON Lines (.jsonl) has one object a line with the same names.

Lists are JSON lists there, and in CSV numbers with commas or spaces between them; points as x,y;x,y. A box in a CSV
needs no quotes, and may be in per cent. Paths are relative to the manifest; out is relative to the folder of the
results and stays inside.

    path,box,points,labels,text,out
    dog.jpg,"120,40,560,700",,,,dog
    cats.jpg,,"300,200;40,40","1,0",,
    park.jpg,,,,the dog on the left,park-dog.webp
"""

from __future__ import annotations

import codecs
import csv
import difflib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

from .batch import InShares, Item, PromptRule, clear_subject
from .boxes import PointText, read_box, read_point
from .errors import ImageError, PromptError
from .image import Image, read_image
from .journal import described, file_state
from .naming import names_of
from .pipeline.prompting import as_mask
from .stores import is_address
from .types import Prompt, PromptInput

COLUMNS = ("path", "box", "points", "labels", "mask", "text", "out")
SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
"""Of files that are manifests."""
SURPLUS = "what comes after the last column"
_URL = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]+://|\s*data:")
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*%?\s*")


@dataclass(frozen=True)
class Manifest:
    """What a manifest says.

    items: what is to be matted. ignored: the columns that mean nothing here, each once.
    """

    items: list[Item]
    ignored: list[str] = field(default_factory=list)


def read_manifest(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    prompt: PromptInput | PromptRule = clear_subject,
    *,
    suffix: str = ".png",
) -> list[Item]:
    """The items of a manifest (see above), to be written below the folder `out`.

    prompt: for rows that say nothing of what to matte. suffix: of files whose row gives no name with one. Images of the
    same name in several folders keep as much of their folders as tells them apart; several rows of one image are
    numbered.
    Raises ImageError for a file that cannot be read, and PromptError that names the line for a row that cannot be.
    """
    return load_manifest(path, out, prompt, suffix=suffix).items


def load_manifest(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    prompt: PromptInput | PromptRule = clear_subject,
    *,
    suffix: str = ".png",
    addresses: bool = False,
) -> Manifest:
    """As read_manifest, with what was ignored. The path `-` is standard input, and paths in it are relative to the
    current folder. addresses: whether images may be at addresses (s3://…) instead of being refused."""
    manifest = Path(path)
    folder = Path() if os.fspath(path) == "-" else manifest.parent
    ignored: list[str] = []
    rows = list(_rows(manifest, ignored, addresses))
    images = [row["path"] if _URL.match(row["path"]) else folder / row["path"] for _, row in rows]
    names = names_of([image.partition("?")[0] if isinstance(image, str) else image for image in images], suffix)
    items = []
    for (line, row), name, image in zip(rows, names, images, strict=True):
        try:
            asked = prompt_of(row, folder)
            target = _inside(Path(out), row["out"], suffix) if "out" in row else Path(out) / name
        except PromptError as error:
            raise PromptError(f"{manifest}, line {line}: {error}") from None
        items.append(Item(image, prompt if asked is None else asked, target))
    return Manifest(items, ignored)


def _rows(manifest: Path, ignored: list[str], addresses: bool) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line numbers and rows without their empty fields. Raises ImageError and PromptError."""
    text = _text(manifest)
    lines = manifest.suffix.lower() in (".jsonl", ".ndjson")
    reader: Iterator[tuple[int, Any]] = _json_lines(text) if lines else _csv(text, manifest.suffix.lower())
    empty = True
    for line, row in reader:
        where = f"{manifest}, line {line}"
        if not isinstance(row, dict):
            raise PromptError(f"{where}: {row}")
        row = {_column(name): value for name, value in row.items()}
        for name in row:
            if name not in COLUMNS:
                _check_unknown(name, row, where)
                if name not in ignored:
                    ignored.append(name)
        kept = {name: value for name, value in row.items() if name in COLUMNS and value not in (None, "", [])}
        if not isinstance(kept.get("path"), str):
            raise PromptError(f"{where}: the path of the image is missing")
        if _URL.match(kept["path"]) and not (addresses and is_address(kept["path"])):
            raise PromptError(f"{where}: {kept['path'][:200]!r} is an address, not a file; download it first")
        if "\0" in kept["path"]:
            raise PromptError(f"{where}: the path {kept['path'][:200]!r} holds a NUL, which no name has")
        empty = False
        yield line, kept
    if empty:
        raise PromptError(f"the manifest {str(manifest)!r} names no picture")


def _column(name: Any) -> str:
    """A column's name as it is known here: Path and PATH are path."""
    text = str(name).strip()
    return text.lower() if text.lower() in COLUMNS else text


def _check_unknown(name: str, row: Mapping[str, Any], where: str) -> None:
    """Refuse a column that is likely meant to say something: a slip of the pen, too many cells, no path at all."""
    known = f"known are {', '.join(COLUMNS)}"
    near = difflib.get_close_matches(name.lower(), [column for column in COLUMNS if column not in row], 1, 0.75)
    if name == SURPLUS:
        raise PromptError(f"{where}: there is a column {SURPLUS!r}: {row[name]!r:.80}; points, labels and words with "
                          f"commas need quotes: \"300,200;40,40\"")
    if near or "path" not in row:
        raise PromptError(f"{where}: there is a column {name[:80]!r}"
                          + (f", and none {near[0]!r}: is that meant?" if near else ", and none that is called path;")
                          + f" {known}")


def _text(manifest: Path) -> str:
    """The text of a manifest: UTF-8, or UTF-16 with its mark, as spreadsheets write it."""
    try:
        data = sys.stdin.buffer.read() if str(manifest) == "-" else manifest.read_bytes()
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise ImageError(f"the manifest {str(manifest)!r} cannot be read: {reason}{hint}") from None


def _delimiter(first: str, suffix: str) -> str:
    """What stands between the cells of a file whose first line this is."""
    if suffix == ".tsv":
        return "\t"
    outside = re.sub(r'"[^"]*"', "", first)
    return next((char for char in "\t;" if char in outside), ",")


def _csv(text: str, suffix: str) -> Iterator[tuple[int, Any]]:
    lines = text.splitlines(keepends=True)
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    delimiter = _delimiter(first, suffix)
    cells = [_column(cell.strip().strip('"')) for cell in first.split(delimiter)]
    if not any(cell in COLUMNS for cell in cells) and (
            os.path.splitext(cells[0])[1] or (suffix in (".txt", "") and len(cells) == 1)):
        yield from _headerless(lines, delimiter)
        return
    reader = csv.reader(lines, delimiter=delimiter)
    header: list[str] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                if header is not None and row:
                    yield reader.line_num, {}
                continue
            if header is None:
                header = [_column(cell) for cell in row]
                continue
            yield reader.line_num, _named_cells(header, row)
    except csv.Error as error:
        yield reader.line_num, f"it is no CSV: {error}"


def _named_cells(header: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    """The cells of a row by their columns. The four numbers of a box that has no quotes are put together again."""
    cells: list[Any] = [cell.strip() for cell in row]
    if "box" in header and len(cells) > len(header):
        place = header.index("box")
        four = cells[place:place + 4]
        if len(four) == 4 and all(_NUMBER.fullmatch(cell) for cell in four):
            cells[place:place + 4] = [",".join(four)]
    while len(cells) > len(header) and cells[-1] == "":  # commas at the end of the line
        cells.pop()
    named = dict(zip(header, cells, strict=False))
    if len(cells) > len(header):
        named[SURPLUS] = cells[len(header):]
    return {name: value for name, value in named.items() if name}


def _headerless(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, Any]]:
    """Lines of a path, or of a path and a box."""
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            [cells] = csv.reader([stripped], delimiter=delimiter)
        except (csv.Error, ValueError) as error:
            yield number, f"it is no CSV: {error}"
            return
        cells = [cell.strip() for cell in cells]
        numbers = cells[1:]
        if len(numbers) == 1 and numbers[0].count(",") == 3:
            numbers = numbers[0].split(",")
        if numbers and not any(numbers):
            numbers = []
        if len(numbers) == 4 and all(_NUMBER.fullmatch(cell) for cell in numbers):
            yield number, {"path": cells[0], "box": ",".join(numbers)}
        elif not numbers:
            yield number, {"path": cells[0]}
        elif delimiter == "," and os.path.splitext(cells[-1])[1]:
            yield number, {"path": stripped}  # a comma in the name
        else:
            yield number, (f"it is {stripped[:80]!r}, without a header; expected a path, or a path and a box: "
                           "dog.jpg,120,40,560,700. With a header (path,box,points,labels,mask,text,out) more can be "
                           "said")


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


@dataclass(frozen=True, eq=False)
class RowRule:
    """The prompt of a row that needs its image: a mask that is read with it, a box or points in per cent.

    fields: those of the prompt that are known. box, points: in shares. mask: the file. row: what it was made of, with
    the mask's whole path.
    """

    fields: Mapping[str, Any]
    box: tuple[float, ...] | None = None
    points: tuple[PointText, ...] = ()
    mask: Path | None = None
    row: dict[str, Any] = field(default_factory=dict)
    in_pixels: ClassVar[bool] = True
    """What it gives is in pixels of an image of the size that it was given, whose own pixels it does not look at."""

    def __call__(self, image: Image) -> PromptInput:
        """The prompt for an image."""
        found = dict(self.fields)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            found["box"] = x0 * image.width, y0 * image.height, x1 * image.width, y1 * image.height
        if self.points:
            found["points"] = [point.on(image.width, image.height) for point in self.points]
        if self.mask is not None:
            found["mask"] = as_mask(read_image(self.mask))
        return Prompt.of(found)

    def described(self) -> str:
        """What it asks for, in words that change when that does."""
        return described([dict(self.fields), self.box, self.points,
                          "" if self.mask is None else file_state(self.mask)])


def prompt_of(row: Mapping[str, Any], folder: Path) -> Prompt | PromptRule | None:
    """The prompt of a row, None when it has none. A mask is read when its image is matted.

    row: its fields, of which box, points, labels, mask and text count; absent or empty ones say nothing. folder: what
    the mask's path is relative to. Raises PromptError.
    """
    fields: dict[str, Any] = {name: row[name] for name in ("box", "points", "labels", "text") if name in row}
    if isinstance(fields.get("labels"), str):
        fields["labels"] = _numbers(fields["labels"], "labels")
    box = None
    if isinstance(fields.get("box"), str):
        text = fields.pop("box")
        if "%" in text or (len(numbers := _numbers(text, "box")) == 4 and all(0 <= value <= 1 for value in numbers)):
            typed = read_box(text)
            if typed.shares:
                box = typed.numbers
            else:
                fields["box"] = typed.numbers
        else:
            fields["box"] = numbers
    points: tuple[PointText, ...] = ()
    if isinstance(fields.get("points"), str):
        text = fields.pop("points")
        pairs = [pair for pair in re.split(r"[;|]", text) if pair.strip()]
        if "%" in text:
            points = tuple(read_point(pair) for pair in pairs)
        else:
            fields["points"] = [_numbers(pair, "points") for pair in pairs]
    if "mask" not in row and box is None and not points:
        return Prompt.of(fields) if fields else None
    if not isinstance(row.get("mask", ""), str):
        raise PromptError("mask is no path")
    if not points and box is None and "mask" in row and fields:
        _check_beside_mask(fields)
    mask = {"mask": str((folder / row["mask"]).absolute())} if "mask" in row else {}
    said = {name: row[name] for name in ("box", "points", "labels", "text") if name in row} | mask
    return RowRule(fields, box, points, folder / row["mask"] if "mask" in row else None, said)


def fields_of(prompt: object) -> dict[str, Any] | None:
    """The fields of a row that asks for a prompt: what `prompt_of` understands; None for what no row can say."""
    if isinstance(prompt, InShares):
        box = ",".join(f"{100 * value!r}%" for value in (prompt.x0, prompt.y0, prompt.x1, prompt.y1))
        return {"box": box} if prompt.text is None else {"box": box, "text": prompt.text}
    if isinstance(prompt, RowRule):
        return prompt.row
    if callable(prompt):
        return None
    asked = Prompt.of(prompt)  # type: ignore[arg-type]
    if any(getattr(asked, name) is not None for name in ("mask", "keep", "drop", "trimap", "previous")):
        return None
    return {name: value for name in ("box", "points", "labels", "text") if (value := getattr(asked, name)) is not None}


def _check_beside_mask(fields: Mapping[str, Any]) -> None:
    """Tell now what is wrong beside a mask that is not read yet."""
    if any(name in fields for name in ("box", "points", "labels")):
        Prompt.of({**fields, "box": fields.get("box", (0, 0, 2, 2))})


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
