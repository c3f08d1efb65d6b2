"""Clips with true mattes, and the systems that are measured on them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import ImageError
from ..folders import path_given
from ..geometry import mask_bounds
from ..image import Image, read_image
from ..pipeline.prompting import as_mask
from ..types import Prompt
from ..video.api import matte_video
from ..video.source import frames_in
from .data import DataError
from .journal import Journal
from .metrics import as_alpha
from .video_metrics import NAMES, ClipErrors, measure_clip

if TYPE_CHECKING:
    from ..model import MattingAnything
    from ..types import Box, ProgressCallback

    Array = np.ndarray[Any, Any]

FRAMES, ALPHAS = "frames", "alphas"
FEWEST = 16
"""Pixels above one half that a true matte must have for a box to be drawn around them."""


@dataclass(frozen=True)
class Sample:
    """One clip: its name, and the files of its frames and true mattes, in order."""

    name: str
    frames: tuple[Path, ...]
    alphas: tuple[Path, ...]

    def image(self, index: int) -> Image:
        """A frame."""
        return read_image(self.frames[index])

    def truth(self, index: int) -> Array:
        """A true matte: H×W float32 in 0..1."""
        alpha = as_mask(read_image(self.alphas[index]))
        return as_alpha(alpha if alpha.dtype == np.uint8 else (alpha / np.float32(65535)).astype(np.float32))


def read_clips(root: Path) -> list[Sample]:
    """The clips in a folder: ROOT/CLIP/frames and ROOT/CLIP/alphas, or ROOT/frames and ROOT/alphas for a single one.

    Raises
    ------
    DataError
        When there is none, and for frames without a true matte of the same name, all at once.
    """
    root = path_given(root, "the folder of the clips")
    places = [root] if (root / FRAMES).is_dir() else sorted(
        path for path in root.iterdir() if (path / FRAMES).is_dir()) if root.is_dir() else []
    if not places:
        raise DataError(f"{root} holds no clips; expected {root}/CLIP/{FRAMES}/0001.jpg … and "
                        f"{root}/CLIP/{ALPHAS}/0001.png …")
    samples, missing = [], []
    for place in places:
        try:
            frames = frames_in(place / FRAMES)
            alphas = {path.stem: path for path in frames_in(place / ALPHAS)}
        except ImageError as error:
            missing.append(str(error))
            continue
        lacking = [path.name for path in frames if path.stem not in alphas]
        if lacking:
            missing.append(f"{place / ALPHAS} has nothing for {', '.join(lacking[:3])}"
                           + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""))
            continue
        samples.append(Sample(place.name, tuple(frames), tuple(alphas[path.stem] for path in frames)))
    if missing:
        raise DataError("true mattes are missing: " + "; ".join(missing))
    return samples


class System(Protocol):
    """What is measured."""

    @property
    def name(self) -> str:
        """In tables."""

    @property
    def settings(self) -> str:
        """What its results depend on."""

    def predict(self, sample: Sample) -> Iterator[Array]:
        """The alpha of each frame, in order: H×W float32 in 0..1."""


@dataclass(frozen=True)
class Followed:
    """The object in the box around the true matte of the first frame that shows it, followed."""

    model: MattingAnything
    steady: float
    name: str = "followed"

    @property
    def settings(self) -> str:
        """The model and what is blended."""
        return f"{self.model.fingerprint}/{self.steady}"

    def predict(self, sample: Sample) -> Iterator[Array]:
        """See `System.predict`."""
        first = _first(sample)
        frames = matte_video(list(sample.frames), {first[0]: Prompt(box=first[1])}, model=self.model,
                             steady=self.steady)
        return (matte.alpha for matte in frames)


@dataclass(frozen=True)
class Single:
    """Every frame by itself: with its own true box, or with that of the first frame that shows the object."""

    model: MattingAnything
    own: bool

    @property
    def name(self) -> str:
        """In tables."""
        return "true boxes" if self.own else "same prompt"

    @property
    def settings(self) -> str:
        """The model."""
        return self.model.fingerprint

    def predict(self, sample: Sample) -> Iterator[Array]:
        """See `System.predict`."""
        first = _first(sample)[1]
        for index in range(len(sample.frames)):
            image = sample.image(index)
            box = _box(sample.truth(index)) if self.own else first
            if box is None:
                yield np.zeros((image.height, image.width), np.float32)
                continue
            yield self.model.matte(self.model.embed(image), [Prompt(box=box)])[0].alpha


@dataclass(frozen=True)
class Folder:
    """Mattes that were made elsewhere: ROOT/CLIP/NAME.png, or ROOT/NAME.png where there is a single clip."""

    root: Path

    @property
    def name(self) -> str:
        """In tables."""
        return f"folder:{self.root}"

    @property
    def settings(self) -> str:
        """Nothing but the files."""
        return ""

    def predict(self, sample: Sample) -> Iterator[Array]:
        """See `System.predict`."""
        place = self.root / sample.name if (self.root / sample.name).is_dir() else self.root
        files = {path.stem: path for path in frames_in(place)}
        lacking = [path.stem for path in sample.frames if path.stem not in files]
        if lacking:
            raise DataError(f"{place} has no matte for {len(lacking)} of {len(sample.frames)} frames, such as "
                            f"{lacking[0]}")
        made = Sample(sample.name, sample.frames, tuple(files[path.stem] for path in sample.frames))
        for index in range(len(made.frames)):
            yield made.truth(index)


def _box(truth: Array) -> Box | None:
    shown = truth > 0.5
    return mask_bounds(shown) if np.count_nonzero(shown) >= FEWEST else None


def _first(sample: Sample) -> tuple[int, Box]:
    """The first frame that shows the object, and the box around it there."""
    for index in range(len(sample.alphas)):
        box = _box(sample.truth(index))
        if box is not None:
            return index, box
    raise DataError(f"the true mattes of {sample.name} show no object")


def evaluate_clips(
    samples: Sequence[Sample], systems: Sequence[System], output: Path, *, anew: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure every system on every clip, noted clip by clip in OUTPUT/video.jsonl; what is noted with the same
    settings is not measured again.

    Returns
    -------
    By system and clip the fields of `ClipErrors`, jf, and seconds a frame.
    """
    output = path_given(output, "the folder for results")
    output.mkdir(parents=True, exist_ok=True)
    journal = Journal(output / "video.jsonl")
    journal.repair()
    known = {} if anew else {(row["system"], row["settings"], row["clip"]): row["errors"] for row in journal.read()
                             if {"system", "settings", "clip", "errors"} <= row.keys()}
    found: dict[str, dict[str, dict[str, float]]] = {}
    total = len(samples) * len(systems)
    for number, (system, sample) in enumerate((system, sample) for system in systems for sample in samples):
        tell = _teller(progress, f"{system.name}, {sample.name}", number, total, len(sample.frames))
        key = system.name, system.settings, f"{sample.name}/{len(sample.frames)}"
        if key not in known:
            started, seconds = time.perf_counter(), 0.0

            def pairs(system: System = system, sample: Sample = sample,
                      tell: Callable[[int], None] = tell) -> Iterator[tuple[Array, Array, Array]]:
                nonlocal started, seconds
                started = time.perf_counter()
                for index, alpha in enumerate(system.predict(sample)):
                    seconds += time.perf_counter() - started
                    tell(index)
                    yield alpha, sample.truth(index), sample.image(index).rgb8()
                    started = time.perf_counter()

            try:
                errors: ClipErrors = measure_clip(pairs())
            except ValueError as error:
                raise DataError(f"{system.name} on {sample.name}: {error}") from None
            known[key] = {**asdict(errors), "jf": errors.jf, "seconds": seconds / errors.frames}
            journal.append({"system": key[0], "settings": key[1], "clip": key[2], "errors": known[key]})
        found.setdefault(system.name, {})[sample.name] = known[key]
    (output / "video.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _teller(
    progress: ProgressCallback | None, stage: str, number: int, total: int, frames: int
) -> Callable[[int], None]:
    def tell(index: int) -> None:
        if progress is not None:
            progress(stage, (number + index / frames) / total)

    return tell


def table(found: dict[str, dict[str, dict[str, float]]]) -> list[list[str]]:
    """The means over the clips as rows of text, with a heading."""
    columns = [*NAMES, "jf", "seconds"]
    rows = [["", *columns]]
    for system, clips in found.items():
        means = [float(np.mean([errors[name] for errors in clips.values()])) for name in columns]
        rows.append([system, *(f"{mean:.3f}" for mean in means)])
    return rows
