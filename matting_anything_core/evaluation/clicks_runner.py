"""Corrects systems on every object of a folder, noting how each went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..folders import path_given
from .clicks import Click, ClicksProtocol, ClickSystem, Course, FloatArray, ImageArray, Truth, correct
from .clicks_strip import has_panel, panel, strip
from .data import DataSet
from .tasks import Report, Task, file_name, measure_tasks
from .thumbnails import save_jpeg

RESULTS = "clicks.jsonl"


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
    progress : called before each click with the object's name and the share done, 0..1. It may raise to stop; what is
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

    output = path_given(output, "the folder for results")

    def measure(task: Task, image: ImageArray, truth: Truth, system: ClickSystem, report: Report) -> dict[str, Any]:
        panels: list[ImageArray] = []

        def watch(made: int, alpha: FloatArray, following: Click | None) -> None:
            if following is None or has_panel(made, protocol.clicks):
                panels.append(panel(image, truth, alpha, following))
            report(made / (protocol.clicks + 1))

        course = correct(system, image, truth, protocol, watch)
        save_jpeg(output / "strips" / strip_name(system.name, task.name), strip(panels))
        return asdict(course)

    measured = measure_tasks(dataset, systems, asdict(protocol), output / RESULTS, measure, ignored=protocol.ignored,
                             limit=limit, anew=anew, progress=progress)
    courses = {name: {task: _course(content) for task, content in of.items()}
               for name, of in measured.contents.items()}
    return ClicksRun(dataset, protocol, tuple(courses), measured.tasks, courses, measured.problems, output)


def strip_name(system: str, task: str) -> str:
    """A file name for the strip of one object."""
    return file_name(task, system)


def _course(content: dict[str, Any]) -> Course:
    """A course out of its JSON values."""
    return Course(
        iou=tuple(content["iou"]), mad=None if content["mad"] is None else tuple(content["mad"]),
        clicks=tuple(Click(**click) for click in content["clicks"]), pixels=tuple(content["pixels"]),
        discs=tuple(content["discs"]), newest=tuple(content["newest"]),
        first_seconds=content["first_seconds"], seconds=tuple(content["seconds"]),
    )
