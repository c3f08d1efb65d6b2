"""Corrects systems on every object of a folder, noting how each went. What is noted is not done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MattingError
from .clicks import Click, ClicksProtocol, ClickSystem, Course, FloatArray, Truth, correct, truth_of
from .clicks_strip import Panel, has_panel, strip
from .data import DataError, DataSet, Sample, read_alpha
from .journal import Journal
from .runner import slug, spread
from .thumbnails import save_jpeg

Record = dict[str, Any]
FORMAT = 1
"""Counts up when the meaning of a record changes, so that older results are not taken over."""
RESULTS = "clicks.jsonl"


@dataclass(frozen=True)
class Task:
    """One object to be cut out. name: the image's, and the object's where an image has several."""

    name: str
    sample: Sample
    truth: Path


@dataclass(frozen=True)
class ClicksRun:
    """All results of a run. courses[system name][task name]; problems: what could not be evaluated, by line."""

    dataset: DataSet
    protocol: ClicksProtocol
    systems: tuple[str, ...]
    tasks: tuple[str, ...]
    courses: dict[str, dict[str, Course]]
    problems: tuple[str, ...] = ()
    output: Path = field(default=Path())


def tasks_of(dataset: DataSet, limit: int | None = None) -> tuple[Task, ...]:
    """The objects of a set, of `limit` images spread evenly over it (None: all)."""
    return tuple(
        Task(sample.name if len(sample.alphas) == 1 else f"{sample.name}/{path.stem}", sample, path)
        for sample in spread(dataset.samples, limit) for path in sample.alphas
    )


def evaluate_clicks(
    dataset: DataSet,
    systems: Sequence[ClickSystem],
    protocol: ClicksProtocol,
    output: Path,
    *,
    limit: int | None = None,
    anew: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> ClicksRun:
    """Correct `systems` click by click on the objects of a folder.

    Parameters
    ----------
    dataset : images and their true masks or alphas, from `read_benchmark`.
    systems : who is corrected; their names must differ.
    output : folder for clicks.jsonl, which holds what was measured. What stands there is not done again, and a run
        that was ended goes on.
    limit : so many images, spread evenly over the set; None for all.
    anew : measure again what stands there, for example since the program changed.
    progress : called after each click with the object's name and the share done, 0..1. It may raise to stop; what is
        noted stays.

    Returns
    -------
    ClicksRun
        Objects whose image or truth cannot be read are left out for all systems and listed in its problems.

    Raises
    ------
    DataError
        When two systems have the same name, or the notes are no notes.
    """
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise DataError(f"two systems have the same name: {', '.join(names)}")
    output.mkdir(parents=True, exist_ok=True)
    journal = Journal(output / RESULTS)
    journal.repair()
    tasks = tasks_of(dataset, limit)
    keys = {system.name: _settings_key(dataset, protocol, system) for system in systems}
    courses: dict[str, dict[str, Course]] = {name: {} for name in names}
    if not anew:
        for record in journal.read():
            name = record.get("system")
            if name in keys and record.get("key") == keys[name]:
                courses[name][record["task"]] = _course(record["course"])
    total, done = len(tasks) * len(systems), sum(task.name in courses[name] for task in tasks for name in names)
    problems: list[str] = []
    for task in tasks:
        missing = [system for system in systems if task.name not in courses[system.name]]
        if not missing:
            continue
        try:
            image, truth = _read(task, protocol)
        except DataError as error:
            problems.append(str(error))
            done += len(missing)
            continue
        for system in missing:
            panels: list[Panel] = []

            def watch(made: int, alpha: FloatArray, following: Click | None) -> None:
                if following is None or has_panel(made, protocol.clicks):
                    panels.append(Panel(alpha, following))  # noqa: B023, it is called in this round only
                if progress is not None:
                    progress(task.name, (done + made / (protocol.clicks + 1)) / total)  # noqa: B023

            course = correct(system, image, truth, protocol, watch)
            save_jpeg(output / "strips" / strip_name(system.name, task.name), strip(image, truth, panels))
            journal.append({"key": keys[system.name], "system": system.name, "task": task.name,
                            "course": asdict(course)})
            courses[system.name][task.name] = course
            done += 1
    if progress is not None:
        progress("done", 1.0)
    asked = {task.name for task in tasks}
    kept = {name: {task: course for task, course in of.items() if task in asked} for name, of in courses.items()}
    return ClicksRun(dataset, protocol, tuple(names), tuple(task.name for task in tasks), kept, tuple(problems), output)


def strip_name(system: str, task: str) -> str:
    """A file name for the strip of one object, whatever it is called."""
    return f"{hashlib.sha256(task.encode()).hexdigest()[:12]}-{slug(system)}.jpg"


def _settings_key(dataset: DataSet, protocol: ClicksProtocol, system: ClickSystem) -> str:
    """A short name for everything a course depends on, save the image itself."""
    settings = {"format": FORMAT, "root": str(dataset.root.resolve()), "protocol": asdict(protocol),
                "system": system.settings}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _read(task: Task, protocol: ClicksProtocol) -> tuple[npt.NDArray[np.uint8], Truth]:
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
        return image, truth_of(values, protocol.ignored)
    except DataError as error:
        raise DataError(f"{task.truth}: {error}") from None


def _course(content: dict[str, Any]) -> Course:
    """A course out of its JSON values."""
    return Course(
        iou=tuple(content["iou"]), mad=None if content["mad"] is None else tuple(content["mad"]),
        clicks=tuple(Click(**click) for click in content["clicks"]), pixels=tuple(content["pixels"]),
        discs=tuple(content["discs"]), newest=tuple(content["newest"]),
        first_seconds=content["first_seconds"], seconds=tuple(content["seconds"]),
    )
