"""Does the same object come out when the same thing is asked a little differently?

Each image is matted from the true mask's box, and again after a change that should not matter: the box's sides moved a
little, some pixels of edge put around the image, the image mirrored, scaled or made gray, or the result's own mask
given as the prompt. Measured is the agreement of the two: IoU of alpha > 0.5, the second brought back to the first.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import PromptError
from ..folders import path_given
from ..opencv import cv2
from ..types import Box, Prompt
from .clicks import BoolArray, FloatArray, ImageArray, Truth, iou_of
from .data import DataError, DataSet
from .protocol import PROTOCOLS, move_box
from .systems import System, load_model_system, make_system, named_systems
from .tasks import Report, Task, file_name, measure_tasks
from .thumbnails import draw_prompts, save_jpeg, show_mattes

RESULTS = "steadiness.jsonl"
LIMITS = {"jitter": 0.99}
LIMIT = 0.97
"""The agreement that counts as steady; for moved boxes it is higher, since nothing of the image changes."""


@dataclass(frozen=True)
class SteadinessProtocol:
    """What is changed.

    Parameters
    ----------
    jitter : each side of the box is moved by up to this share of the image's width or height; 0 to 0.2.
    draws : so many jittered boxes for each object. seed : of them; the same for all systems and runs.
    padding : so many pixels of the image's own edge are put around it.
    ignored : as in ClicksProtocol.

    Raises
    ------
    DataError
        When a value is out of its range.
    """

    jitter: float = 0.01
    draws: int = 3
    seed: int = 0
    padding: int = 7
    ignored: int | Literal["auto", "none"] = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.jitter <= 0.2:
            raise DataError(f"the jitter is {self.jitter}; expected a share of the image's sides from 0 to 0.2")
        if not (0 <= self.draws <= 100 and 1 <= self.padding <= 1000):
            raise DataError(f"draws is {self.draws} and padding {self.padding}; expected 0 to 100 and 1 to 1000")


@dataclass(frozen=True, eq=False)
class Change:
    """One way to ask differently: another image or prompt, and how to bring the alpha back."""

    name: str
    image: ImageArray
    prompt: Prompt
    back: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Answer:
    """How one change came out. agreement: IoU with the unchanged result; iou: with the truth. None: the system takes no
    such prompt."""

    change: str
    agreement: float | None
    iou: float | None


@dataclass(frozen=True)
class SteadinessRun:
    """All results of a run. answers[system name][task name]; iou[system name][task name]: of the unchanged result."""

    dataset: DataSet
    protocol: SteadinessProtocol
    systems: tuple[str, ...]
    tasks: tuple[str, ...]
    answers: dict[str, dict[str, tuple[Answer, ...]]]
    iou: dict[str, dict[str, float]]
    problems: tuple[str, ...] = ()
    output: Path = field(default=Path())


def limit_of(change: str) -> float:
    """The agreement from which on a change counts as steady."""
    return LIMITS.get(change.split()[0], LIMIT)


def kind_of(change: str) -> str:
    """What a change is summed up under: the draws of the jitter together."""
    return "jitter" if change.startswith("jitter ") else change


def changes(
    name: str, image: ImageArray, box: Box, alpha: FloatArray, protocol: SteadinessProtocol
) -> Iterator[Change]:
    """The changes of one object whose unchanged result is `alpha`; `name` seeds the jitter."""
    height, width = image.shape[:2]
    generator = np.random.default_rng([protocol.seed, zlib.crc32(name.encode())])
    for draw in range(protocol.draws):
        reach = (protocol.jitter * width, protocol.jitter * height)
        yield Change(f"jitter {draw + 1}", image, Prompt(box=move_box(box, reach, (height, width), generator)), _same)
    pad = protocol.padding
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    moved = (box[0] + pad, box[1] + pad, box[2] + pad, box[3] + pad)
    yield Change("padding", padded, Prompt(box=moved), lambda found: found[pad:-pad, pad:-pad])
    mirrored = (width - box[2], box[1], width - box[0], box[3])
    yield Change("mirror left-right", np.ascontiguousarray(image[:, ::-1]), Prompt(box=mirrored),
                 lambda found: found[:, ::-1])
    mirrored = (box[0], height - box[3], box[2], height - box[1])
    yield Change("mirror top-bottom", np.ascontiguousarray(image[::-1]), Prompt(box=mirrored),
                 lambda found: found[::-1])
    for factor, filtered in ((0.5, cv2.INTER_AREA), (2.0, cv2.INTER_CUBIC)):
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        scaled = np.asarray(cv2.resize(image, size, interpolation=filtered), np.uint8)
        across, down = size[0] / width, size[1] / height
        larger = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        yield Change(f"scale {factor:g}", scaled, Prompt(box=larger), lambda found: _resized(found, (width, height)))
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    yield Change("gray", np.asarray(gray, np.uint8), Prompt(box=box), _same)
    if (alpha > 0.5).any():
        yield Change("own mask", image, Prompt(mask=alpha > 0.5), _same)


def _same(found: FloatArray) -> FloatArray:
    return found


def _resized(found: FloatArray, size: tuple[int, int]) -> FloatArray:
    smaller = size[0] < found.shape[1]
    return np.asarray(cv2.resize(found, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR),
                      np.float32)


def agreement(first: BoolArray, second: BoolArray) -> float:
    """IoU of two masks; 1 when both are empty."""
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def evaluate_steadiness(
    dataset: DataSet,
    systems: Sequence[System],
    protocol: SteadinessProtocol,
    output: Path,
    *,
    limit: int | None = None,
    anew: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> SteadinessRun:
    """Ask `systems` for the objects of a folder, each once plainly and once for every change.

    Arguments, resuming and errors as for `evaluate_clicks`; notes are in output/steadiness.jsonl. Of each change that
    is not steady a small picture is kept.
    """

    output = path_given(output, "the folder for results")

    def measure(task: Task, image: ImageArray, truth: Truth, system: System, report: Report) -> dict[str, Any]:
        def ask(image: ImageArray, prompt: Prompt) -> FloatArray:
            [found] = system.predict(task.sample, image, [prompt])
            return np.zeros(image.shape[:2], np.float32) if found is None else found

        report(0.0)
        plain = ask(image, Prompt(box=truth.box))
        steps = protocol.draws + 7
        answers = []
        for index, change in enumerate(changes(task.name, image, truth.box, plain, protocol)):
            report((index + 1) / (steps + 1))
            try:
                found = change.back(ask(change.image, change.prompt))
            except PromptError:
                answers.append(Answer(change.name, None, None))
                continue
            answer = Answer(change.name, agreement(plain > 0.5, found > 0.5), iou_of(found, truth))
            answers.append(answer)
            if answer.agreement is not None and answer.agreement < limit_of(change.name):
                sides = [draw_prompts(image, [Prompt(box=truth.box)]), show_mattes(image, [plain]),
                         show_mattes(image, [np.ascontiguousarray(found)])]
                save_jpeg(output / "unsteady" / picture_name(system.name, task.name, change.name), _beside(sides))
        return {"iou": iou_of(plain, truth), "answers": [asdict(answer) for answer in answers]}

    measured = measure_tasks(dataset, systems, asdict(protocol), output / RESULTS, measure, ignored=protocol.ignored,
                             limit=limit, anew=anew, progress=progress)
    answers = {name: {task: tuple(Answer(**answer) for answer in content["answers"]) for task, content in of.items()}
               for name, of in measured.contents.items()}
    iou = {name: {task: float(content["iou"]) for task, content in of.items()}
           for name, of in measured.contents.items()}
    return SteadinessRun(dataset, protocol, tuple(answers), measured.tasks, answers, iou, measured.problems, output)


def picture_name(system: str, task: str, change: str) -> str:
    """A file name for the picture of one change that was not steady."""
    return file_name(task, system, change)


def _beside(pictures: Sequence[ImageArray]) -> ImageArray:
    """Pictures of several heights side by side on gray."""
    height = max(picture.shape[0] for picture in pictures)
    columns = [np.pad(picture, ((0, height - picture.shape[0]), (0, 4), (0, 0)), constant_values=119)
               for picture in pictures]
    return np.concatenate(columns, axis=1)


def steadiness_systems(model: str, device: str, against: Sequence[str]) -> list[System]:
    """The systems that the command line names: a model (or "none") and others to compare with (`mask`, `grabcut`).

    Raises DataError when nobody is left; for the model what `load_model` raises.
    """

    def load() -> tuple[System, System]:
        ours = load_model_system(model, device, PROTOCOLS["folder"])
        return ours, ours.as_mask()

    return named_systems(model, against, load, make_system)
