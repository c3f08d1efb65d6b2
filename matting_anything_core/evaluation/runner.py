"""Runs systems over samples: read, prompt, predict, measure, note down. What is noted is not done again.

Pictures are predicted one after another; reading the next one and measuring the last ones goes on beside it, in
threads (NumPy and OpenCV let go of the interpreter while they work).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..folders import path_given
from ..types import Prompt
from .data import DataError, DataSet, Picture, Sample, read_picture
from .journal import Journal
from .metrics import InstanceMatches, error_maps, match_instances, require_assignment, trimap_of
from .protocol import Protocol, prompts_for
from .systems import Mattes, System
from .thumbnails import draw_prompts, save_jpeg, show_mattes

Uint8Array = npt.NDArray[np.uint8]
Record = dict[str, Any]
FORMAT = 1
"""Counts up when the meaning of a record changes, so that older results are not taken over."""


@dataclass(frozen=True)
class Options:
    """How a run goes about it; none of it changes a result.

    limit: that many pictures, spread evenly over the set; None for all. workers: threads that measure.
    keep: predictions are kept as PNG in predictions/SYSTEM/.
    """

    limit: int | None = None
    workers: int = 2
    keep: bool = False


@dataclass(frozen=True)
class Run:
    """All results of a run. records[system name][picture name]; problems: what could not be evaluated, by line."""

    dataset: DataSet
    protocol: Protocol
    systems: tuple[str, ...]
    samples: tuple[Sample, ...]
    records: dict[str, dict[str, Record]]
    problems: tuple[str, ...] = ()
    output: Path = field(default=Path())


def settings_key(dataset: DataSet, protocol: Protocol, system: System) -> str:
    """A short name for everything a result depends on, save the picture itself."""
    settings = {"format": FORMAT, "benchmark": dataset.benchmark, "root": str(dataset.root.resolve()),
                "protocol": asdict(protocol), "system": system.settings}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def spread(samples: Sequence[Sample], limit: int | None) -> tuple[Sample, ...]:
    """`limit` samples, evenly spread over all of them, in their order."""
    if limit is None or limit >= len(samples):
        return tuple(samples)
    return tuple(samples[index * len(samples) // limit] for index in range(limit))


def evaluate(
    dataset: DataSet,
    systems: Sequence[System],
    protocol: Protocol,
    output: Path,
    options: Options | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Run:
    """Measure `systems` on a benchmark, noting results in output/results.jsonl; what stands there is not done again.

    progress is called with what is being done and the share done, 0..1, and may raise to stop: nothing noted is lost.
    A picture that cannot be read is left out for all systems and listed in Run.problems.
    Raises DataError when two systems have the same name, MissingExtraError when instances are to be matched without
    SciPy.
    """
    options = options or Options()
    if protocol.instances:
        require_assignment()
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise DataError(f"two systems have the same name: {', '.join(names)}")
    output = path_given(output, "the folder for results")
    output.mkdir(parents=True, exist_ok=True)
    journal = Journal(output / "results.jsonl")
    journal.repair()
    samples = spread(dataset.samples, options.limit)
    keys = {system.name: settings_key(dataset, protocol, system) for system in systems}
    records = _noted(journal, keys, samples)
    state = _State(dataset, protocol, output, options, journal, keys, records, [])
    todo = [(sample, [system for system in systems if not state.is_done(sample, system)]) for sample in samples]
    todo = [(sample, missing) for sample, missing in todo if missing]
    with ThreadPoolExecutor(max(1, options.workers) + 1, thread_name_prefix="measure") as pool:
        pending: deque[Future[Record]] = deque()
        try:
            for done, (sample, missing, read) in enumerate(_read_ahead(todo, pool)):
                if progress is not None:
                    progress(sample.name, (len(samples) - len(todo) + done) / len(samples))
                _one_picture(state, sample, missing, read, pool, pending)
                # What is measured is noted at once; the next picture waits when measuring falls behind.
                while pending and (pending[0].done() or len(pending) > options.workers + 1):
                    state.note(pending.popleft().result())
            while pending:
                state.note(pending.popleft().result())
        finally:
            # Stopped from outside: what is measured already is noted, what has not begun is dropped.
            for future in pending:
                if future.cancel() or not future.done():
                    continue
                if future.exception() is None:
                    state.note(future.result())
    if progress is not None:
        progress("done", 1.0)
    return Run(dataset, protocol, tuple(names), samples, records, tuple(state.problems), output)


@dataclass(frozen=True)
class _State:
    """What the steps of one run share."""

    dataset: DataSet
    protocol: Protocol
    output: Path
    options: Options
    journal: Journal
    keys: dict[str, str]
    records: dict[str, dict[str, Record]]
    problems: list[str]

    def is_done(self, sample: Sample, system: System) -> bool:
        if sample.name not in self.records[system.name]:
            return False
        return not self.options.keep or self.prediction_path(sample, system.name, 0).exists()

    def note(self, record: Record) -> None:
        self.journal.append(record)
        self.records[record["system"]][record["picture"]] = record

    def prediction_path(self, sample: Sample, system: str, index: int) -> Path:
        """Where a kept prediction lies: as FolderSystem reads it."""
        folder = self.output / "predictions" / slug(system)
        if len(sample.alphas) == 1 and index == 0:
            return folder / f"{sample.name}.png"
        stem = sample.alphas[index].stem if index < len(sample.alphas) else f"further-{index}"
        return folder / sample.name / f"{stem}.png"


def slug(name: str) -> str:
    """A system's name as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "system"


def thumbnail_name(system: str, picture: str) -> str:
    """A file name for a thumbnail, whatever the picture is called. system: "" for the picture itself."""
    return f"{hashlib.sha256(picture.encode()).hexdigest()[:12]}-{slug(system) if system else 'picture'}.jpg"


def _noted(journal: Journal, keys: dict[str, str], samples: Sequence[Sample]) -> dict[str, dict[str, Record]]:
    """The results of earlier runs with the same settings, of the pictures asked for."""
    wanted = {sample.name for sample in samples}
    by_key = {(key, system) for system, key in keys.items()}
    records: dict[str, dict[str, Record]] = {system: {} for system in keys}
    for record in journal.read():
        system, picture = record.get("system"), record.get("picture")
        if (record.get("key"), system) in by_key and picture in wanted:
            records[str(system)][str(picture)] = record
    return records


def _read_ahead(
    todo: Sequence[tuple[Sample, list[System]]], pool: ThreadPoolExecutor
) -> Iterator[tuple[Sample, list[System], Future[Picture]]]:
    following = pool.submit(read_picture, todo[0][0]) if todo else None
    for index, (sample, missing) in enumerate(todo):
        assert following is not None
        current = following
        if index + 1 < len(todo):
            following = pool.submit(read_picture, todo[index + 1][0])
        yield sample, missing, current


def _one_picture(
    state: _State, sample: Sample, systems: Sequence[System], read: Future[Picture],
    pool: ThreadPoolExecutor, pending: deque[Future[Record]],
) -> None:
    try:
        picture = read.result()
        prompts = prompts_for(sample, picture, state.protocol)
    except DataError as error:
        state.problems.append(str(error))
        return
    for system in systems:
        started = time.perf_counter()
        try:
            mattes = system.predict(sample, picture.image, prompts)
        except DataError as error:
            state.problems.append(f"{system.name}: {error}")
            continue
        seconds = time.perf_counter() - started
        pending.append(pool.submit(_measure, state, sample, picture, prompts, system.name, mattes, seconds))


def _measure(
    state: _State, sample: Sample, picture: Picture, prompts: Sequence[Prompt | None], system: str, mattes: Mattes,
    seconds: float,
) -> Record:
    """The record of one system on one picture; its thumbnails, and the predictions if asked for, are on the disk."""
    saved = [None if matte is None else as_saved(matte, truncate=state.protocol.reference) for matte in mattes]
    errors = []
    for truth, matte in zip(picture.alphas, saved, strict=False):
        shown = np.zeros(truth.shape, np.uint8) if matte is None else matte
        maps = error_maps(shown, truth, reference=state.protocol.reference)
        trimap = picture.trimap if picture.trimap is not None else trimap_of(truth, state.protocol.trimap_kernel)
        errors.append({"whole": maps.over().as_dict(), "band": maps.over(trimap == 128).as_dict()})
    missing = sum(matte is None for matte in saved[: len(picture.alphas)])
    # An empty matte is no instance; the released program counts it as a wrong one.
    given = [matte for matte in saved if matte is not None and (state.protocol.reference or matte.any())]
    matches = None
    if state.protocol.instances:
        matches = asdict(match_instances(given, picture.alphas, reference=state.protocol.reference))
    if state.options.keep:
        _keep(state, sample, system, saved, picture.image.shape[:2])
    _save_thumbnails(state, sample, picture, prompts, system, saved)
    return {"key": state.keys[system], "system": system, "picture": sample.name, "seconds": round(seconds, 4),
            "missing": missing, "errors": errors, "matches": matches}


def as_saved(matte: npt.NDArray[np.float32], *, truncate: bool = False) -> Uint8Array:
    """A matte as the 8-bit file that a user would save: that is what is measured, so that kept predictions give the
    same numbers. The released program cuts off instead of rounding (`truncate`)."""
    scaled = np.clip(matte, 0, 1) * np.float32(255)
    return (scaled if truncate else np.rint(scaled)).astype(np.uint8)


def _keep(
    state: _State, sample: Sample, system: str, saved: Sequence[Uint8Array | None], shape: tuple[int, ...]
) -> None:
    from ..image import write_image

    for index, matte in enumerate(saved):
        path = state.prediction_path(sample, system, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.zeros(shape, np.uint8) if matte is None else matte)


def _save_thumbnails(
    state: _State, sample: Sample, picture: Picture, prompts: Sequence[Prompt | None], system: str,
    saved: Sequence[Uint8Array | None],
) -> None:
    folder = state.output / "thumbnails"
    original = folder / thumbnail_name("", sample.name)
    if not original.exists():
        top, below = draw_prompts(picture.image, prompts), show_mattes(picture.image, picture.alphas)
        save_jpeg(original, top)
        save_jpeg(folder / thumbnail_name("truth", sample.name), below)
    mattes = [None if matte is None else matte.astype(np.float32) / np.float32(255) for matte in saved]
    save_jpeg(folder / thumbnail_name(f"system-{system}", sample.name), show_mattes(picture.image, mattes))


def matches_of(record: Record) -> InstanceMatches | None:
    """What IMQ needs, out of a record."""
    content = record["matches"]
    if content is None:
        return None
    pairs = tuple((float(iou), dict(similarity)) for iou, similarity in content["pairs"])
    return InstanceMatches(content["truths"], content["predictions"], pairs)


def with_overrides(protocol: Protocol, **changes: Any) -> Protocol:
    """A protocol with what is not None changed."""
    return replace(protocol, **{name: value for name, value in changes.items() if value is not None})
