"""A batch on Ray: what to do from folders, manifests, Parquet and object stores; results as files or as Parquet.

Files are put under their names whole or not at all, and so are the parts of a Parquet folder, whose names come from
what they hold: a part that is written again, because the first writer was lost, takes the place of the first. So a
picture is there once, and the same batch goes on where a killed one was.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import posixpath
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .api import load_model
from .batch import SUFFIXES, BatchOptions, Item, Ledger, Outcome, PromptRule, clear_subject, twice
from .errors import ImageError, MattingError
from .journal import FOLDER, Entry, Journal, fingerprint
from .manifest import fields_of
from .naming import distinct
from .ray_data import PICTURES, image_column, load_ray, matte_dataset
from .ray_steps import name_rows, write_part
from .stores import Store, is_address, open_store, resolved
from .workers import cores

if TYPE_CHECKING:
    from .image.encode import Format
    from .types import PromptInput

SETTINGS = f"{FOLDER}/settings.json"
ROWS = 64
"""Rows that travel together at most, and a part of a Parquet folder holds."""


@dataclass(frozen=True)
class Job:
    """What is to be done on Ray, and how.

    Parameters
    ----------
    out
        The folder of the results.
    parquet
        Results are parts of Parquet, not picture files.
    form
        Of the pictures.
    options, model, device, prompt
        As for `matte_dataset`.
    workers, cpus, gpus
        Actors, and the share of each; no workers: as many as there are cores (GPUs, with `gpus`) in the cluster.
    overwrite
        Do again what is there.
    journal
        Of a local folder of files: knows how each was made. In other places one file says how all were made.
    """

    out: Store
    options: BatchOptions
    parquet: bool = False
    form: Format = "png"
    model: str | os.PathLike[str] = "lite"
    device: str = "auto"
    prompt: PromptInput | PromptRule = clear_subject
    workers: int | None = None
    cpus: float | None = None
    gpus: float = 0
    overwrite: bool = False
    journal: Journal | None = None


@contextlib.contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    """Ray, connected: to what this process is connected to already, to a cluster at an address, or to one of this
    machine's own that ends with this."""
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        if address is not None or os.environ.get("RAY_ADDRESS"):
            ray.init(address=address, **quiet)
        else:
            # Ray counts cores and does not bind to them; one more is for tasks that read and write.
            ray.init(address="local", num_cpus=max(cores(), workers or 0) + 1, include_dashboard=False, **quiet)
    except Exception as error:  # of many kinds; a node that starts too slowly raises a bare one
        where = f" at {address!r}" if address else ""
        raise MattingError(f"Ray cannot be reached{where}: {str(error)[:300]}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield ray
    finally:
        ray.shutdown()


def items_at(address: str, out: Path, prompt: PromptInput | PromptRule, *, suffix: str) -> list[Item]:
    """The pictures below an address (s3://bucket/photos), to be written below `out` in the same folders.

    Raises ImageError when there is none.
    """
    place, _, question = address.partition("?")
    store = open_store(address)
    names = list(store.names(SUFFIXES))
    if not names:
        raise ImageError(f"there is no picture below {address!r}; known are {', '.join(SUFFIXES)}")
    stems = [posixpath.splitext(name)[0] for name in names]
    counts = Counter(stems)
    results = distinct([Path((name if counts[stem] > 1 else stem) + suffix)
                        for name, stem in zip(names, stems, strict=True)])
    return [Item(f"{place.rstrip('/')}/{name}" + (f"?{question}" if question else ""), prompt, out / result)
            for name, result in zip(names, results, strict=True)]


def matte_on_ray(ray: Any, job: Job, items: Sequence[Item], root: Path) -> Generator[Outcome, None, None]:
    """Matte items and yield what became of each, in no order; results are not mattes but files or Parquet.

    Parameters
    ----------
    ray
        From `cluster`.
    job
        What and how.
    items
        Their images are paths that all nodes see, or addresses; their prompts what a manifest can say, or `job.prompt`.
    root
        What the items' files are below of: their names are relative to it.
    """
    ledger = _ledger(job)
    there = set() if job.overwrite or job.journal is not None else _there(job)
    taken: dict[str, Item] = {}
    rows: list[dict[str, Any]] = []
    remarks: dict[int, str] = {}
    for number, item in enumerate(items):
        name = _name(item, root)
        found: Outcome | str = twice(item, taken) or (ledger.known(item) if job.journal is not None else "")
        if name in there:
            found = Outcome(item, remark="was there before")
        if not isinstance(found, Outcome):
            try:
                rows.append({"number": number, "path": _place(item.image), "name" if job.parquet else "out": name,
                             "prompt": _asked(item, job)})
            except MattingError as error:
                found = Outcome(item, error=error)
        if isinstance(found, Outcome):
            yield found
        elif found:
            remarks[number] = found
            if job.journal is not None and item.out is not None:
                job.journal.intend(item.out)
    if not rows:
        return
    workers = job.workers or _room(ray, job)
    import pyarrow as pa

    step = max(1, min(ROWS, -(-len(rows) // (workers * 8))))
    schema = pa.schema([("number", pa.int64()), ("path", pa.string()),
                        ("name" if job.parquet else "out", pa.string()), ("prompt", pa.string())])
    tables = [pa.Table.from_pylist(rows[start:start + step], schema) for start in range(0, len(rows), step)]
    dataset = ray.data.from_arrow(tables)
    for row in _results(job, dataset, workers, min(8, step)):
        item = items[row["number"]]
        yield _outcome(item, row, remarks.get(row["number"], ""), ledger)


def matte_parquet_on_ray(ray: Any, job: Job, source: str, root: Path, *, limit: int | None = None
                         ) -> Generator[Outcome, None, None]:
    """Matte the rows of Parquet: a file or a folder, here or at an address, with pictures as bytes, paths or addresses.

    Their results are named after the column `name`, or the path, or else after the content, and are below `root`. The
    pictures never pass through this process.
    """
    dataset = read_parquet(ray, source)
    if limit is not None:
        dataset = dataset.limit(limit)
    columns = dataset.columns() or []
    column = image_column(columns, None)
    there = frozenset() if job.overwrite else frozenset(_there(job))
    key = "name" if job.parquet else "out"
    suffix = f".{job.form}" if job.form != "tiff" else ".tif"
    if key == "out" and "out" in columns:
        dataset = dataset.rename_columns({"out": "name"})
    dataset = dataset.map_batches(name_rows, batch_format="pyarrow", batch_size=ROWS, fn_kwargs={
        "column": column, "key": key, "suffix": suffix, "there": there})
    ledger = _ledger(job)
    for row in _results(job, dataset, job.workers or _room(ray, job), 8):
        name = row["name" if job.parquet else "out"]
        image = next((row[one] for one in ("path", "uri", "url") if isinstance(row.get(one), str)), name)
        yield _outcome(Item(image, clear_subject, root / name), row, "", ledger)


def read_parquet(ray: Any, source: str) -> Any:
    """A dataset of Parquet here or at an address. Raises ImageError when it cannot be read."""
    try:
        files, path = resolved(source)
        return ray.data.read_parquet(path, filesystem=files)
    except (OSError, ValueError) as error:
        raise ImageError(f"{source!r} cannot be read as Parquet: {str(error)[:300]}") from error


def _results(job: Job, dataset: Any, workers: int, batch_size: int) -> Iterable[dict[str, Any]]:
    """The rows of the results without pictures, as they are done."""
    share = job.gpus or 0
    done = matte_dataset(
        dataset, job.prompt, options=job.options, form=job.form, model=job.model, device=job.device, workers=workers,
        cpus=job.cpus, gpus=share, batch_size=batch_size, out=None if job.parquet else job.out)
    if job.parquet:
        done = done.map_batches(write_part, batch_format="pyarrow", batch_size=ROWS, fn_kwargs={
            "out": job.out, "picture": job.options.output})
    yield from done.iter_rows()


def _there(job: Job) -> set[str]:
    """The names of results that are there."""
    if not job.parquet:
        return set(job.out.names())
    import pyarrow.parquet

    names: set[str] = set()
    for part in job.out.names((".parquet",)):
        try:
            with job.out.files.open_input_file(job.out.path(part)) as file:
                names.update(pyarrow.parquet.read_table(file, columns=["name"])["name"].to_pylist())
        except (OSError, ValueError, KeyError) as error:
            raise ImageError(f"{part!r} in the folder of the results is no part of ours: {str(error)[:200]}") from error
    return names


def _ledger(job: Job) -> Ledger:
    """What says how results are made; checks that those at another place were made like that."""
    settings = job.options.fingerprint(load_model(job.model, device="cpu", mapped=True), job.model)
    if job.journal is None:
        settings = fingerprint(settings, job.form, job.parquet, job.prompt)
        before = job.out.get(SETTINGS)
        if before is not None and not job.overwrite:
            try:
                same = json.loads(before)["settings"] == settings
            except (ValueError, KeyError, TypeError):
                same = False
            if not same:
                raise MattingError(f"the results in {job.out.base!r} were made with other settings; choose another "
                                   "folder, or --overwrite does all of them again")
        job.out.put(SETTINGS, json.dumps({"settings": settings}).encode())
    return Ledger(job.journal, settings, job.overwrite)


def _outcome(item: Item, row: dict[str, Any], remark: str, ledger: Ledger) -> Outcome:
    """What a row of the results says."""
    if row["status"] == "failed":
        return Outcome(item, error=ImageError(row["message"]), seconds=row["seconds"])
    box = None if row["box"] is None else tuple(float(value) for value in row["box"])
    doubts = tuple(str(text) for text in row["warnings"])
    entry = Entry("", 0, 0, row["score"], box, doubts, row["status"] == "empty",
                  row["status"] == "unsure")
    if ledger.journal is not None and item.out is not None:
        entry = ledger.journal.note(item.out, ledger.mark(item), score=entry.score, box=box, warnings=doubts,
                                    empty=entry.empty, unsure=entry.unsure) or entry
    return Outcome(item, seconds=row["seconds"], warnings=doubts, known=entry, made=True, remark=remark)


def _asked(item: Item, job: Job) -> str | None:
    """An item's prompt as JSON; None for the job's own. Raises MattingError for what cannot be sent as a row."""
    if item.prompt is job.prompt:
        return None
    fields = fields_of(item.prompt)
    if fields is None:
        raise MattingError(f"what is asked of {item.image!s:.200} cannot be sent as a row: expected a box, points, "
                           "words or the path of a mask")
    return json.dumps(fields)


def _name(item: Item, root: Path) -> str:
    if item.out is None:
        raise MattingError(f"the item of {item.image!s:.200} has no name for its result")
    return item.out.relative_to(root).as_posix()


def _place(image: object) -> str:
    if not isinstance(image, (str, os.PathLike)):
        raise MattingError(f"an image was given as {type(image).__name__}; expected a path or an address, or use "
                           "matte_dataset with a column of " + ", ".join(PICTURES[:2]))
    text = os.fspath(image)
    return text if is_address(text) else os.path.abspath(text)


def _room(ray: Any, job: Job) -> int:
    """As many actors as the cluster has room for."""
    resources = ray.cluster_resources()
    if job.gpus:
        return max(1, int(resources.get("GPU", 0) / job.gpus))
    return max(1, int((resources.get("CPU", 2) - 1) / (job.cpus or 1)))
