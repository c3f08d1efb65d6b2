"""Objects of a folder, measured one after another and noted: what `evaluate clicks` and `evaluate steadiness` share.

What is noted is not done again, so that a run can be ended at any time.
"""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import MattingError
from .clicks import Truth, truth_of
from .data import DataError, DataSet, Sample, read_alpha
from .journal import Journal
from .runner import slug, spread

ImageArray = npt.NDArray[np.uint8]
Content = dict[str, Any]
Report = Callable[[float], None]
FORMAT = 1
"""Counts up when the meaning of what is noted changes, so that older results are not taken over."""


@dataclass(frozen=True)
class Task:
    """One object to be cut out. name: the image's, and the object's where an image has several."""

    name: str
    sample: Sample
    truth: Path


class Named(typing.Protocol):
    """What is needed of a system to note its results: its name, and the JSON values its results depend on."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> dict[str, Any]: ...


SystemT = typing.TypeVar("SystemT", bound=Named)


@dataclass(frozen=True)
class Measured:
    """contents[system name][task name]: what was noted. problems: what could not be evaluated, by line."""

    tasks: tuple[str, ...]
    contents: dict[str, dict[str, Content]]
    problems: tuple[str, ...]


def tasks_of(dataset: DataSet, limit: int | None = None) -> tuple[Task, ...]:
    """The objects of a set, of `limit` images spread evenly over it (None: all)."""
    return tuple(
        Task(sample.name if len(sample.alphas) == 1 else f"{sample.name}/{path.stem}", sample, path)
        for sample in spread(dataset.samples, limit) for path in sample.alphas
    )


def file_name(*parts: str) -> str:
    """A file name for something of a task, whatever it is called: the first part's hash, and the others."""
    return "-".join([hashlib.sha256(parts[0].encode()).hexdigest()[:12], *map(slug, parts[1:])]) + ".jpg"


def measure_tasks(
    dataset: DataSet,
    systems: Sequence[SystemT],
    settings: Content,
    notes: Path,
    measure: Callable[[Task, ImageArray, Truth, SystemT, Report], Content],
    *,
    ignored: int | Literal["auto", "none"] = "auto",
    limit: int | None = None,
    anew: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Measured:
    """Measure every system on every object, noting each result in the file `notes`.

    Parameters
    ----------
    settings : JSON values that the results depend on, besides the systems' own.
    measure : makes the JSON values to be noted; it is to call its last argument with the share done now and then.
    ignored : as in ClicksProtocol. limit : so many images, spread evenly; None for all.
    anew : measure again what is noted already.
    progress : called with the object's name and the share done, 0..1; it may raise to stop, what is noted stays.

    Raises
    ------
    DataError
        When two systems have the same name, or the notes are no notes.
    """
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise DataError(f"two systems have the same name: {', '.join(names)}")
    notes.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(notes)
    journal.repair()
    tasks = tasks_of(dataset, limit)
    asked = {task.name for task in tasks}
    keys = {system.name: _key(dataset, settings, system) for system in systems}
    contents: dict[str, dict[str, Content]] = {name: {} for name in names}
    for record in [] if anew else journal.read():
        name = record.get("system")
        if name in keys and record.get("key") == keys[name] and record.get("task") in asked:
            contents[name][record["task"]] = record["content"]
    total, done = len(tasks) * len(systems), sum(len(of) for of in contents.values())
    problems: list[str] = []
    for task in tasks:
        missing = [system for system in systems if task.name not in contents[system.name]]
        if not missing:
            continue
        try:
            image, truth = _read(task, ignored)
        except DataError as error:
            problems.append(str(error))
            done += len(missing)
            continue
        for system in missing:

            def report(share: float) -> None:
                if progress is not None:
                    progress(task.name, (done + share) / total)  # noqa: B023, it is called in this round only

            content = measure(task, image, truth, system, report)
            journal.append({"key": keys[system.name], "system": system.name, "task": task.name, "content": content})
            contents[system.name][task.name] = content
            done += 1
    if progress is not None:
        progress("done", 1.0)
    return Measured(tuple(task.name for task in tasks), contents, tuple(problems))


def _key(dataset: DataSet, settings: Content, system: Named) -> str:
    """A short name for everything a result depends on, save the image itself."""
    everything = {"format": FORMAT, "root": str(dataset.root.resolve()), "settings": settings,
                  "system": system.settings}
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]


def _read(task: Task, ignored: int | Literal["auto", "none"]) -> tuple[ImageArray, Truth]:
    from ..image import read_image

    try:
        image = read_image(task.sample.image).rgb8()
    except (MattingError, OSError) as error:
        raise DataError(f"{task.sample.image} cannot be read: {error}") from error
    values = read_alpha(task.truth)
    if values.shape != image.shape[:2]:
        raise DataError(f"{task.truth} is {values.shape[1]}x{values.shape[0]} pixels, but the image "
                        f"{task.sample.image} is {image.shape[1]}x{image.shape[0]}")
    try:
        return image, truth_of(values, ignored)
    except DataError as error:
        raise DataError(f"{task.truth}: {error}") from None
