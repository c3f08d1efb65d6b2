"""One process of a batch that uses several: takes items from a pipe, and tells what became of each.

This module imports nothing heavy, so that the number of threads is set before torch is loaded. What is said:

    to it      Plan, then Errand after Errand; None: end. The end of the pipe (its owner was killed) ends it as well.
    from it    Ready or the error that stopped it, then for each item a Told, in between the warnings as texts
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from .batch import BatchOptions, Item
    from .errors import MattingError
    from .journal import Entry
    from .shrink import Picture

THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Plan:
    """What a worker is to do.

    model, device: as for `load_model`. threads: to compute with. folder, journal: where results are noted and under
    which name, None for nowhere.
    """

    model: str | os.PathLike[str]
    device: str
    threads: int
    options: BatchOptions
    folder: str | os.PathLike[str] | None = None
    journal: str = ""


@dataclass(frozen=True)
class Errand:
    """One image and all that is asked of it: items with their numbers."""

    items: list[tuple[int, Item]]


@dataclass(frozen=True)
class Ready:
    """The model is loaded. settings: the fingerprint of all that is equal for all items. temporary: what the names of
    files begin with that this process is writing."""

    settings: str
    temporary: str


@dataclass(frozen=True)
class Told:
    """What became of an item. times: the seconds of this process so far, by stage."""

    number: int
    error: MattingError | None
    seconds: float
    warnings: tuple[str, ...] = ()
    entry: Entry | None = None
    times: dict[str, float] = field(default_factory=dict)


def begin(pipe: Connection) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal's processes; the first one decides
    with contextlib.suppress(EOFError, ConnectionError):  # whom this is for has gone
        _work(pipe)


def _work(pipe: Connection) -> None:
    # The plan knows types of modules that load torch, so the number of threads comes before it.
    threads = str(pipe.recv())
    os.environ.update(dict.fromkeys(THREAD_COUNTS, threads))
    plan: Plan = pipe.recv()

    from .errors import MattingError

    saying = threading.Lock()

    def say(what: object) -> None:
        with saying:
            pipe.send(what)

    def hear(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning):
            say(str(message))

    warnings.showwarning = hear
    try:
        steps, ready, times = _prepared(plan)
    except MattingError as error:
        say(error)
        return
    say(ready)
    with ThreadPoolExecutor(1, "matting-read") as reader, ThreadPoolExecutor(2, "matting-write") as writers:
        errands: SimpleQueue[tuple[Errand, Future[Picture]] | None] = SimpleQueue()

        def listen() -> None:
            try:
                while (errand := pipe.recv()) is not None:
                    errands.put((errand, reader.submit(steps.read, errand.items[0][1].image)))
            except (EOFError, OSError):
                pass
            over.set()
            errands.put(None)

        over = threading.Event()
        threading.Thread(target=listen, name="matting-listen", daemon=True).start()

        def tell(number: int, outcome: Any) -> None:
            say(Told(number, outcome.error, outcome.seconds, outcome.warnings, outcome.known, times.seconds()))

        def write(number: int, item: Item, found: Any, started: float) -> None:
            outcome = steps.write(item, found, started)
            if outcome.known is None and outcome.error is None:
                outcome = _known(outcome)
            tell(number, outcome)

        while (taken := errands.get()) is not None and not over.is_set():
            errand, image = taken
            del taken
            for number, item in errand.items:
                if over.is_set():
                    break
                _one(steps, number, item, image, writers, write, tell)
            del image


def _one(steps: Any, number: int, item: Item, image: Future[Picture], writers: ThreadPoolExecutor, write: Any,
         tell: Any) -> None:
    from .batch import Outcome, as_error

    started = time.perf_counter()
    try:
        found = steps.compute(item, image.result())
    except Exception as error:
        wrong = as_error(error, "the image cannot be matted")
        tell(number, Outcome(item, error=wrong, seconds=time.perf_counter() - started))
        return
    writers.submit(write, number, item, found, started)


def _prepared(plan: Plan) -> tuple[Any, Ready, Any]:
    """The steps with their model, the fingerprint of the settings, and what counts the time."""
    from .api import load_model
    from .batch import Ledger, Work
    from .journal import Journal
    from .opencv import cv2
    from .replacing import temporary_names
    from .times import Times
    from .torch_first import torch

    torch.set_num_threads(plan.threads)
    cv2.setNumThreads(plan.threads)
    network = load_model(plan.model, device=plan.device, mapped=True)
    settings, times = plan.options.fingerprint(network, plan.model), Times()
    journal = None if plan.folder is None else Journal(plan.folder, plan.journal, read=False)
    steps = Work(network, plan.options, Ledger(journal, settings, overwrite=True), device=plan.device, times=times)
    return steps, Ready(settings, temporary_names()), times


def _known(outcome: Any) -> Any:
    """An outcome with what there would be to note."""
    from dataclasses import replace

    from .journal import Entry

    found = outcome.matte
    return replace(outcome, known=Entry("", 0, 0, round(found.score, 6), found.box, outcome.warnings,
                                        not found.alpha.any()))
