"""Matting as a step of a Ray Data pipeline: a Dataset in, a Dataset out.

    import ray
    from matting_anything_core.ray_data import matte_dataset

    photos = ray.data.read_parquet("s3://shop/photos")         # columns: path, bytes; perhaps box, points, text …
    mattes = matte_dataset(photos, workers=8, gpus=0.5)
    mattes.write_parquet("s3://shop/mattes")                   # path, alpha (PNG bytes), box, score, status …

Ray gives the work to actors that hold the model, keeps few images in memory (its back-pressure), starts actors that
were killed anew, and does again what was lost with them. What it does not do is done here: an image that cannot be
read or matted is a row that says so, and one that ends its process twice while that does nothing else is reported, not
tried for ever. Ray is needed only when a function here is called (extra `ray`).
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .batch import BatchOptions, Item, Ledger, PromptRule, Work, as_error, clear_subject, ended
from .boxes import concern
from .errors import ImageError, MattingError, MissingExtraError, PromptError
from .image.encode import SUFFIXES
from .image.read import most_bytes
from .manifest import prompt_of
from .output import encode_output
from .ray_steps import Attempts
from .stores import Store, arrow_files, is_address, read_bytes, resolved

if TYPE_CHECKING:
    from .image.encode import Format
    from .result import Matte
    from .shrink import Picture
    from .types import PromptInput

ALPHA = BatchOptions(output="alpha")
TRIES = 2
"""Times that an image is tried by itself, after it was in hand when an actor ended, before it is reported."""
PICTURES = ("bytes", "image", "path", "uri", "url")
"""Columns that may hold the images, of which the first is taken."""
ASKING = ("box", "points", "labels", "mask", "text", "prompt")
"""Columns that say what to matte; the last one all of it as JSON."""
RESULT = ("box", "score", "status", "message", "warnings", "seconds")
"""Columns that every result has; the picture's own column is called as the output: alpha, cutout …"""


@dataclass(frozen=True)
class Step:
    """What an actor does with each row.

    image: the column of the images. prompt: for rows that say nothing. form: of the pictures in the result. files: the
    file system that paths are of. out: where pictures are put, by the column `out`; None to put them into the result.
    """

    options: BatchOptions
    prompt: PromptInput | PromptRule
    image: str | None
    form: Format
    model: str | os.PathLike[str]
    device: str
    threads: int
    files: Any = None
    out: Store | None = None


def matte_dataset(
    dataset: Any,
    prompt: PromptInput | PromptRule = clear_subject,
    *,
    image: str | None = None,
    options: BatchOptions = ALPHA,
    form: Format = "png",
    model: str | os.PathLike[str] = "lite",
    device: str = "auto",
    workers: int | tuple[int, int] = 1,
    cpus: float | None = None,
    gpus: float = 0,
    batch_size: int = 8,
    filesystem: Any = None,
    out: Store | None = None,
) -> Any:
    """Matte each row of a dataset.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Rows with an image: the bytes of a file, an array H×W×3 (as from `ray.data.read_images`), a path, or an address
        (s3://, gs://, what fsspec knows). Columns `box` (x0, y0, x1, y1), `points`, `labels`, `text` and `mask` (a
        path) say what to matte in it, as in a manifest; or `prompt` all of that as a JSON object.
    prompt
        For rows that say nothing.
    image
        The column of the images; left out, the first that is there of bytes, image, path, uri, url.
    options : BatchOptions
        What is made and how; the alpha unless said.
    form
        The format of the pictures: png, tiff, webp, jpeg, psd, ora.
    model, device
        As for `load_model`; the files must be there on each node.
    workers
        Actors that hold the model: a number, or the fewest and the most that Ray may choose between.
    cpus, gpus
        The share of each actor; a GPU may be shared (0.25). Unless said one core without a GPU and as many threads as
        cores.
    batch_size
        Rows that an actor takes at once; what is lost when it ends.
    filesystem
        Of pyarrow or fsspec, that paths are of.
    out : Store, optional
        Where pictures are put under the name in the column `out`, instead of into the result.

    Returns
    -------
    ray.data.Dataset
        The columns of the input but for images as bytes or arrays, with these: the picture under the name of the
        output (`alpha`: bytes of a file; not with `out`), `box` (used, in pixels), `score`, `status` (done, unsure,
        empty, failed), `message`, `warnings`, `seconds`. Rows are in the order in which Ray hands them on.

    Raises
    ------
    MissingExtraError
        When Ray is not installed.
    """
    ray = load_ray()
    if not (isinstance(workers, int) or len(workers) == 2):
        raise MattingError(f"workers was given as {workers!r}; expected a number, or the fewest and the most")
    if form not in SUFFIXES.values():
        raise MattingError(f"form was given as {form!r}; expected png, tiff, webp, jpeg, psd or ora")
    cores = 1.0 if cpus is None else cpus
    step = Step(options, prompt, image, form, model, device, max(1, int(cores)), arrow_files(filesystem), out)
    attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote()
    pool = ray.data.ActorPoolStrategy(size=workers) if isinstance(workers, int) else \
        ray.data.ActorPoolStrategy(min_size=workers[0], max_size=workers[1])
    share = {"num_gpus": gpus} if gpus else {}
    return dataset.map_batches(
        Matting, fn_constructor_args=(step, attempts), batch_size=batch_size, batch_format="pyarrow", compute=pool,
        num_cpus=cores, udf_modifying_row_count=False, **share)


def load_ray() -> Any:
    """The module ray with ray.data. Raises MissingExtraError."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("Ray Data is not installed; install it with pip install 'matting-anything-core[ray]'") \
            from error
    return ray


class Matting:
    """An actor: the model, and the way of a row. Called with a table, it gives the table of the results."""

    def __init__(self, step: Step, attempts: Any) -> None:
        from .api import load_model
        from .opencv import cv2
        from .torch_first import torch

        if step.device == "cpu" or not torch.cuda.is_available():
            torch.set_num_threads(step.threads)
        cv2.setNumThreads(step.threads)
        network = load_model(step.model, device=step.device, mapped=True)
        self._work = Work(network, step.options, Ledger(None, ""), device=step.device)
        self._step = step
        self._attempts = attempts
        self._ray = load_ray()

    def __call__(self, table: Any) -> Any:
        """Matte the rows of a table. Whatever goes wrong with one of them is in its result."""
        rows = table.to_pylist()
        column = image_column(table.column_names, self._step.image)
        keys = [_key(row, column) for row in rows]
        if self._ray.get(self._attempts.begin.remote(keys)):
            results = [self._suspected(row, column, key) for row, key in zip(rows, keys, strict=True)]
        else:
            results = self._all(rows, column)
        self._ray.get(self._attempts.end.remote(keys))
        return result_table(table, column, results, None if self._step.out else self._step.options.output)

    def _suspected(self, row: Mapping[str, Any], column: str, key: str) -> dict[str, Any]:
        """A row that was in hand when an actor ended: tried by itself, but not for ever."""
        if self._ray.get(self._attempts.alone.remote(key)) >= TRIES:
            return _failed(MattingError(f"the process that worked on it ended, {TRIES} times with nothing else in "
                                        "hand, perhaps because memory ran out"), 0.0)
        [result] = self._all([row], column)
        self._ray.get(self._attempts.end.remote([key]))
        return result

    def _all(self, rows: Sequence[Mapping[str, Any]], column: str) -> list[dict[str, Any]]:
        """Rows, the next of which is read while one is matted and others are encoded."""
        with ThreadPoolExecutor(1, "matting-read") as reader, ThreadPoolExecutor(2, "matting-write") as writers:
            ahead = [reader.submit(self._read, row[column]) for row in rows[:2]]
            results: list[Future[dict[str, Any]]] = []
            for index, row in enumerate(rows):
                started = time.perf_counter()
                image = ahead.pop(0)
                if index + 2 < len(rows):
                    ahead.append(reader.submit(self._read, rows[index + 2][column]))
                try:
                    asked = prompt_of(row_fields(row), Path())
                    item = Item(b"", self._step.prompt if asked is None else asked)
                    found = self._work.compute(item, image.result())
                except Exception as error:
                    wrong: Future[dict[str, Any]] = Future()
                    wrong.set_result(_failed(as_error(error, "the image cannot be matted"),
                                             time.perf_counter() - started))
                    results.append(wrong)
                else:
                    results.append(writers.submit(self._made, row, found, started))
                if index >= 2:
                    results[index - 2].exception()  # no more than two wait to be written
            return [result.result() for result in results]

    def _read(self, source: Any) -> Picture:
        name = repr(source) if isinstance(source, str) else "the picture given as bytes"
        if isinstance(source, str) and (self._step.files is not None or is_address(source)):
            files, path = (self._step.files, source) if self._step.files is not None else resolved(source)
            try:
                source = read_bytes(files, path, most_bytes(self._step.options.max_pixels))
            except FileNotFoundError:
                raise ImageError(f"there is no file {source!r}") from None
            except OSError as error:
                raise ImageError(f"{source!r} cannot be read: {error.strerror or error}") from error
        elif isinstance(source, list):  # an array H×W×3 that came as nested lists
            import numpy as np

            source = np.asarray(source, np.uint8)
        elif source is None:
            raise ImageError("the row has no image")
        return self._work.read(source, name)

    def _made(self, row: Mapping[str, Any], found: Matte, started: float) -> dict[str, Any]:
        given = found.prompt.mask is None and found.subject_score is None
        doubt = concern(found.box, found.image.width, found.image.height) if given else None
        try:
            # A name may ask for another format than the others have.
            name = "" if self._step.out is None else str(row["out"])
            form = SUFFIXES.get(posixpath.splitext(name)[1].lower(), self._step.form)
            data = encode_output(found, form, self._step.options)
            if self._step.out is not None:
                self._step.out.put(name, data)
        except Exception as error:
            return _failed(as_error(error, "the result cannot be written"), time.perf_counter() - started)
        return {"picture": data, "box": None if found.box is None else [float(value) for value in found.box],
                "score": round(found.score, 6), "status": ended(not found.alpha.any(), found.unsure), "message": "",
                "warnings": [*([] if doubt is None else [doubt]), *found.warnings],
                "seconds": time.perf_counter() - started}


def image_column(columns: Sequence[str], named: str | None) -> str:
    """The column of the images. Raises MattingError when there is none."""
    column = named if named is not None else next((name for name in PICTURES if name in columns), None)
    if column is None or column not in columns:
        wanted = "one of " + ", ".join(PICTURES) if named is None else repr(named)
        raise MattingError(f"the dataset has the columns {', '.join(columns)[:300]}; expected {wanted} with the images")
    return column


def row_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row asks for, as a row of a manifest: in columns of its own, or all of it as JSON in the column prompt."""
    if isinstance(row.get("prompt"), str) and row["prompt"]:
        try:
            row = json.loads(row["prompt"])
        except (ValueError, RecursionError) as error:
            raise PromptError(f"the column prompt holds {row['prompt'][:80]!r}, which is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise PromptError('the column prompt holds no JSON object; expected {"box": [x0, y0, x1, y1]} or the like')
    return {name: row[name] for name in ASKING[:-1] if row.get(name) not in (None, "", [])}


def result_table(table: Any, column: str, results: Sequence[Mapping[str, Any]], picture: str | None) -> Any:
    """The input's columns, without images that are no paths, and those of the results.

    Parameters
    ----------
    table : pyarrow.Table
        The input.
    column
        Its column of images.
    results
        One for each row.
    picture
        The name of the column of the pictures; None for none.
    """
    import pyarrow as pa

    schema = {"box": pa.list_(pa.float64()), "score": pa.float64(), "status": pa.string(), "message": pa.string(),
              "warnings": pa.list_(pa.string()), "seconds": pa.float64()}
    text = pa.types.is_string(table.schema.field(column).type) or \
        pa.types.is_large_string(table.schema.field(column).type)
    gone = {*schema, *([] if picture is None else [picture]), *([] if text else [column])}
    kept = table.drop_columns([name for name in table.column_names if name in gone])
    columns = {name: kept[name] for name in kept.column_names}
    if picture is not None:
        columns[picture] = pa.array([one.get("picture") for one in results], pa.binary())
    for name, kind in schema.items():
        columns[name] = pa.array([one[name] for one in results], kind)
    return pa.table(columns)


def _failed(error: MattingError, seconds: float) -> dict[str, Any]:
    return {"picture": None, "box": None, "score": None, "status": "failed", "message": str(error), "warnings": [],
            "seconds": seconds}


def _key(row: Mapping[str, Any], column: str) -> str:
    """The same for the same image and prompt."""
    source = row[column]
    parts = [str(row.get("out", "")), str(row.get("path", "")),
             json.dumps([row.get(name) for name in ASKING], default=str)]
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace"))
    digest.update(source if isinstance(source, bytes) else str(source).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:32]


