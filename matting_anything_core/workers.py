"""A batch in several processes of this machine.

    for outcome in matte_in_processes(items_in("photos", "cut-outs"), workers=4):
        print(outcome.item.image, outcome.status, outcome.message)

Each process (spawned, see worker.py) reads, mattes and writes by itself and has its share of the cores, or a GPU. Items
go to whichever has room. When a process ends before its time (out of memory, a decoder that crashes, killed by hand)
another one takes its place, and what it had in hand is done again, each image in a process that does nothing else. An
image whose process ends twice like that is reported as failed. So each item has exactly one outcome, and its file is
there whole or not at all.
"""

from __future__ import annotations

import contextlib
import heapq
import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Literal

from .batch import OPTIONS, BatchOptions, Item, Ledger, Outcome, same_image, twice
from .errors import DeviceError, MattingError
from .memory import free_memory, in_words
from .threads import cpu_quota
from .worker import THREAD_COUNTS, Errand, Plan, Ready, Told, begin

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from .journal import Journal
    from .times import Times

AHEAD = 4
"""Images that a process has in hand: one is read, one matted, and two may be written."""
TOGETHER = 32
"""Objects of one image that go to the same process at once, which encodes it once."""
TRIES = 2
"""Times that an image is tried in a process of its own before it is reported."""
STARTS = 3
"""Processes in a row that may end before they are ready."""
PATIENCE = 60.0
"""Seconds that a process may go on with the image in hand when the batch is closed."""

Workers = int | Literal["auto"]


def matte_in_processes(
    items: Iterable[Item],
    *,
    workers: Workers = "auto",
    model: str | os.PathLike[str] = "lite",
    device: str = "auto",
    options: BatchOptions = OPTIONS,
    overwrite: bool = False,
    journal: Journal | None = None,
    ordered: bool = True,
    times: Times | None = None,
) -> Generator[Outcome, None, None]:
    """Matte many images in several processes and yield what became of each; results are files, not mattes.

    Parameters
    ----------
    items
        As for `matte_batch`, each with a file to write. What they hold is sent to other processes: rules are functions
        of a module or objects of its classes, no lambdas.
    workers
        How many processes, or "auto": one for each GPU, else as many as there are cores and room in memory for.
    model
        A name or a path; each process loads it, from memory that they share where the file holds float32.
    device
        As for `load_model`; with several CUDA devices `auto` and `cuda` give each process one of them in turn.
    options
        What is written and how.
    overwrite, journal, ordered, times
        As for `matte_batch`. Each process notes in a file of its own beside the journal's.

    Raises
    ------
    WeightsError, DeviceError
        When the model cannot be loaded, or processes end before they begin.
    MattingError
        For a loaded model, which cannot be sent.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise MattingError("a loaded model was given to several processes; give its name or path, each loads its own")
    count = check_workers(workers, model, device)
    devices = _devices(device)
    asked = [int(value) for name in THREAD_COUNTS if (value := os.environ.get(name, "")).isdecimal()]
    threads = max(1, min([cores() // count, *asked]))
    plans = [Plan(model, devices[index % len(devices)], threads, options, None if journal is None else journal.folder,
                  "" if journal is None else f"{journal.name}-p{index + 1}") for index in range(count)]
    yield from _Pool(items, plans, journal, overwrite, ordered, times).run()


def cores() -> int:
    """The cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, cpu_quota() or allowed))


def check_workers(workers: Workers, model: str | os.PathLike[str] = "lite", device: str = "auto") -> int:
    """The number of processes. Raises MattingError for what is none, and with a warning fewer than memory has room for
    are taken where the choice is left to this."""
    if workers == "auto":
        gpus = _devices(device)
        if gpus != ["cpu"]:
            return len(gpus)
        room, need = free_memory(), _needed(model)
        fitting = cores() if room is None else max(1, int(0.8 * room.free) // need)
        if fitting < cores():
            warnings.warn(f"memory has room for {fitting} processes of {in_words(need)} each, so not all {cores()} "
                          "cores are used", UserWarning, stacklevel=3)
        return min(cores(), fitting)
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= 1024:
        raise MattingError(f"workers was given as {workers!r}; expected a whole number from 1 to 1024, or auto")
    return workers


def _needed(model: str | os.PathLike[str]) -> int:
    """Memory of a process with this model, on the safe side."""
    from .networks.backbones import BACKBONES

    known = BACKBONES.get(os.fspath(model))
    most = max(backbone.working_bytes for backbone in BACKBONES.values())
    return (500 << 20) + (most if known is None else known.working_bytes)


def _devices(device: str) -> list[str]:
    """The devices that processes take in turn."""
    from .device import resolve_device
    from .torch_first import torch

    found = resolve_device(device)
    if found.type == "cuda" and device in ("auto", "cuda"):
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [str(found)]


@dataclass(eq=False)
class _Process:
    """A worker as its owner sees it. hand: the items it has, by number. alone: it has one that is under suspicion."""

    index: int
    process: SpawnProcess
    pipe: Connection
    ready: Ready | None = None
    hand: dict[int, Item] = field(default_factory=dict)
    errands: int = 0
    ends: dict[int, int] = field(default_factory=dict)
    alone: bool = False

    def give(self, errand: Errand) -> None:
        """Send images to it. Raises what pickling raises for things that cannot be sent."""
        self.pipe.send(errand)
        self.errands += 1
        self.hand.update(errand.items)
        for number, _ in errand.items:
            self.ends[number] = self.errands

    @property
    def images(self) -> int:
        """How many images it has in hand."""
        return len({self.ends[number] for number in self.hand})


class _Pool:
    """The processes of one batch, and what is left to do."""

    def __init__(self, items: Iterable[Item], plans: list[Plan], journal: Journal | None, overwrite: bool,
                 ordered: bool, times: Times | None) -> None:
        self._items = iter(items)
        self._plans = plans
        self._journal = journal
        self._overwrite = overwrite
        self._ordered = ordered
        self._times = times
        self._counted: dict[str, dict[str, float]] = {}
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[_Process] = []
        self._left: Iterator[Outcome | Errand] | None = None
        self._next: Errand | None = None
        self._suspects: deque[tuple[int, Item]] = deque()
        self._tries: dict[int, int] = {}
        self._remarks: dict[int, str] = {}
        self._failed_starts = 0
        self._finished: list[tuple[int, int, Outcome]] = []
        self._told = 0

    def run(self) -> Generator[Outcome, None, None]:
        """What became of each item."""
        try:
            self._processes = [self._started(index) for index in range(len(self._plans))]
            while self._processes:
                if self._left is not None:
                    yield from self._hand_out()
                busy = [one for one in self._processes if one.ready is None or one.hand]
                if not busy or (self._left is not None and not self._open and not any(one.hand for one in busy)):
                    break
                for pipe in wait([one.pipe for one in self._processes]):
                    yield from self._heard(next(one for one in self._processes if one.pipe is pipe))
            yield from self._in_order(everything=True)
        finally:
            self._close()

    @property
    def _open(self) -> bool:
        """Whether there is something left that nobody has in hand."""
        return self._next is not None or bool(self._suspects)

    # --- what there is to do ------------------------------------------------------------------------------------

    def _errands(self, ledger: Ledger) -> Iterator[Outcome | Errand]:
        """The outcomes of items that need no work, and errands of the others."""
        taken: dict[str, Item] = {}
        together: list[tuple[int, Item]] = []
        for number, item in enumerate(self._items):
            found = twice(item, taken) or ledger.known(item)
            if item.out is None and not isinstance(found, Outcome):
                found = Outcome(item, error=MattingError("the item has no file to write to; processes hand over files"))
            if isinstance(found, Outcome):
                yield from self._finish(number, found)
                continue
            if found:
                self._remarks[number] = found
            if together and (len(together) == TOGETHER or not same_image(together[0][1].image, item.image)):
                yield Errand(together)
                together = []
            together.append((number, item))
        if together:
            yield Errand(together)

    def _hand_out(self) -> Generator[Outcome, None, None]:
        """Give work to all that have room for it; suspects go first, each to a process that has nothing else."""
        assert self._left is not None
        while True:
            if self._next is None:
                for found in self._left:
                    if isinstance(found, Errand):
                        self._next = found
                        break
                    yield found
            ready = [one for one in self._processes if one.ready is not None and not one.alone]
            idle = next((one for one in ready if not one.hand), None)
            if self._suspects and idle is not None:
                number, item = self._suspects.popleft()
                idle.alone = True
                yield from self._give(idle, Errand([(number, item)]))
                continue
            # A process is kept free for suspects: with one process all of it, else the one that has least in hand.
            free = sorted(ready, key=lambda one: one.images)[1 if self._suspects else 0:]
            if self._next is None or not free or free[0].images >= AHEAD:
                return
            errand, self._next = self._next, None
            yield from self._give(free[0], errand)

    def _give(self, one: _Process, errand: Errand) -> Generator[Outcome, None, None]:
        try:
            one.give(errand)
        except (OSError, EOFError):  # it has ended just now, which is heard of in a moment
            one.hand.update(errand.items)
            one.ends.update({number: one.errands for number, _ in errand.items})
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            if len(errand.items) > 1:
                for pair in errand.items:
                    yield from self._give(one, Errand([pair]))
                return
            [(number, item)] = errand.items
            wrong = MattingError(f"what is asked of {item.image!s:.200} cannot be sent to another process "
                                 f"({error!s:.200}); rules must be functions of a module, no lambdas")
            yield from self._finish(number, Outcome(item, error=wrong))

    # --- what has become of it ----------------------------------------------------------------------------------

    def _heard(self, one: _Process) -> Generator[Outcome, None, None]:
        """Take one message of a process, or note that it has ended."""
        try:
            said = one.pipe.recv()
        except (EOFError, OSError):
            yield from self._ended(one)
            return
        if isinstance(said, MattingError):
            raise said
        if isinstance(said, str):
            warnings.warn(said, UserWarning, stacklevel=2)
        elif isinstance(said, Ready):
            one.ready, self._failed_starts = said, 0
            if self._left is None:
                self._left = self._errands(Ledger(self._journal, said.settings, self._overwrite))
        elif isinstance(said, Told) and said.number in one.hand:
            item = one.hand.pop(said.number)
            del one.ends[said.number]
            one.alone = one.alone and bool(one.hand)
            self._tries.pop(said.number, None)
            if one.ready is not None:
                self._counted[one.ready.temporary] = said.times
            yield from self._finish(said.number, Outcome(
                item, error=said.error, seconds=said.seconds, warnings=said.warnings, known=said.entry,
                made=said.error is None, remark=self._remarks.pop(said.number, "") if said.error is None else ""))

    def _ended(self, one: _Process) -> Generator[Outcome, None, None]:
        """A process ended before its time: suspect what it had in hand, or give it up, and start another one."""
        one.process.join(PATIENCE)
        how = _how_ended(one.process.exitcode)
        self._sweep(one)
        self._processes.remove(one)
        one.pipe.close()
        if one.ready is None:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise DeviceError(f"{self._failed_starts} processes in a row ended while they loaded the model "
                                  f"({how}); see the messages above, or take fewer --workers")
        for number, item in one.hand.items():
            tries = self._tries.get(number, 0) + one.alone
            if tries < TRIES:
                self._tries[number] = tries
                self._suspects.append((number, item))
                continue
            del self._tries[number]
            error = MattingError(f"the process that worked on it ended, {TRIES} times with nothing else in hand "
                                 f"({how})")
            yield from self._finish(number, Outcome(item, error=error))
        if self._left is None or self._open:
            self._processes.append(self._started(one.index))

    def _finish(self, number: int, outcome: Outcome) -> Generator[Outcome, None, None]:
        heapq.heappush(self._finished, (number, id(outcome), outcome))
        yield from self._in_order()

    def _in_order(self, everything: bool = False) -> Generator[Outcome, None, None]:
        while self._finished and (everything or not self._ordered or self._finished[0][0] == self._told):
            self._told += 1
            yield heapq.heappop(self._finished)[2]

    # --- processes ----------------------------------------------------------------------------------------------

    def _started(self, index: int) -> _Process:
        plan = self._plans[index]
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=begin, args=(theirs,), name=f"matting-{index + 1}", daemon=True)
        with _without_interrupt():
            process.start()
        theirs.close()
        with contextlib.suppress(OSError):  # it has ended already; reading tells
            ours.send(plan.threads)
            ours.send(plan)
        return _Process(index, process, ours)

    def _sweep(self, one: _Process) -> None:
        """Remove what a process was writing when it ended."""
        if one.ready is None:
            return
        for folder in {item.out.parent for item in one.hand.values() if item.out is not None}:
            for path in folder.glob(f"{one.ready.temporary}*.tmp"):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _close(self) -> None:
        """End all processes; what they are writing becomes whole."""
        for one in self._processes:
            if one.ready is None:
                one.process.kill()
                continue
            with contextlib.suppress(OSError):
                one.pipe.send(None)
        for one in self._processes:
            with contextlib.suppress(EOFError, OSError):  # so that none waits for us to hear it
                while one.pipe.poll(PATIENCE):
                    said = one.pipe.recv()
                    if isinstance(said, Told) and one.ready is not None:
                        self._counted[one.ready.temporary] = said.times
            one.process.join(1.0)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            self._sweep(one)
            one.pipe.close()
        self._processes = []
        if self._times is not None:
            for seconds in self._counted.values():
                for stage, value in seconds.items():
                    self._times.add(stage, value)
            self._counted = {}


@contextlib.contextmanager
def _without_interrupt() -> Iterator[None]:
    """A process that is started inside of this does not hear Ctrl-C, not even while it begins."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how_ended(code: int | None) -> str:
    """An exit status in words."""
    if code is None:
        return "it does not answer"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = ", perhaps because memory ran out" if name == "SIGKILL" and sys.platform == "linux" else ""
        return f"{name}{hint}"
    return f"exit status {code}"


