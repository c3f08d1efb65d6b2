"""torch's threads in other people's processes: how they wait, how many work, and what happens when a process forks.

On Linux torch computes with GNU's OpenMP (libgomp). Three things about it hurt a program that shares its machine:

- At each barrier its threads spin for some ten milliseconds before they sleep. Where others want the cores too, that
  spinning is what the other threads of the same work wait for: a matte took six times as long. `gentle_start` lets
  them spin for about as long as going to sleep and waking costs (SPINS), which is also what a quiet machine needs.
- A forked process has the bookkeeping of the threads but not the threads, so the first computation waits for ever
  (gunicorn --preload, Celery's prefork pool, multiprocessing on Linux). `guard_forks` winds the threads up before each
  fork; parent and child start their own when they next need them, as many as before, so both get the same bits.
- It counts the machine's cores, not a container's share of them. `at_most` works with as many as there are.

Apple's and Microsoft's platforms have other OpenMPs, without the first two.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import DeviceError

if TYPE_CHECKING:
    import ctypes

SPINS = 1000
"""Rounds that a thread of libgomp spins at a barrier before it sleeps, some 40 ns each. Its own 300 000 are 10 ms."""
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT")
_HARD = 2  # omp_pause_hard


@contextlib.contextmanager
def gentle_start() -> Iterator[None]:
    """Import torch inside of this: its threads then sleep soon when they have nothing to do.

    libgomp reads the setting once, when it is loaded. Where torch is loaded already, and where the environment has
    OMP_WAIT_POLICY or GOMP_SPINCOUNT, nothing is done. The environment is as before afterwards.
    """
    if "torch" in sys.modules or sys.platform != "linux" or any(name in os.environ for name in _WAITING):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


def check_threads(threads: int | None) -> int | None:
    """The number of threads a caller asked for. Raises DeviceError for what is no positive whole number."""
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 1024:
        raise DeviceError(f"threads was given as {threads!r}; expected a whole number from 1 to 1024, or None for as "
                          "many as suit the machine")
    return threads


@contextlib.contextmanager
def at_most(threads: int | None = None) -> Iterator[None]:
    """Compute on the CPU with so many threads, in the thread that calls this; other threads keep their number.

    Parameters
    ----------
    threads : int, optional
        Left out: torch's own number, or fewer in a container whose share of the cores (cgroup quota) is less. Where
        torch comes with another OpenMP than GNU's, a number given here holds for the whole process meanwhile.
    """
    import torch

    before = torch.get_num_threads()
    count = threads
    if count is None and before > 1 and not any(name in os.environ for name in _COUNTS):
        quota = cpu_quota()
        count = None if quota is None or quota >= before else quota
    if count is None or count == before:
        yield
        return
    runtimes = openmp()
    if not runtimes and threads is None:
        yield
        return

    def limit(number: int) -> None:
        # OpenMP's own call is about this thread; torch's would be about all that begin from now on as well.
        for runtime in runtimes:
            runtime.omp_set_num_threads(number)
        if not runtimes:
            torch.set_num_threads(number)

    limit(count)
    try:
        yield
    finally:
        limit(before)


@functools.lru_cache(maxsize=1)
def cpu_quota() -> int | None:
    """The cores this process's control group may use, rounded up; None without a limit, and outside of Linux."""
    shares = []
    for group in _groups():
        with contextlib.suppress(OSError, ValueError):  # version 2
            quota, period = _read(f"{group}/cpu.max").split()[:2]
            if quota != "max":
                shares.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # version 1
            quota = _read(f"{group}/cpu.cfs_quota_us")
            if int(quota) > 0:
                shares.append(int(quota) / int(_read(f"{group}/cpu.cfs_period_us")))
    return max(1, math.ceil(min(shares))) if shares else None


def _groups() -> list[str]:
    """The folders of this process's control group and of those around it."""
    folders = ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu"]
    with contextlib.suppress(OSError):
        for line in _read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = "/sys/fs/cgroup/cpu" if controllers else "/sys/fs/cgroup"
            parts = [part for part in path.split("/") if part and part != ".."]
            folders += [f"{root}/{'/'.join(parts[:depth])}" for depth in range(1, len(parts) + 1)]
    return folders


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def openmp() -> tuple[ctypes.CDLL, ...]:
    """Each OpenMP of GNU in this process: torch's, and those that other packages brought. Empty on other platforms, and
    before torch is loaded."""
    ready = sys.platform == "linux" and hasattr(sys.modules.get("torch"), "get_num_threads")
    return _loaded_openmp() if ready else ()


@functools.lru_cache(maxsize=1)
def _loaded_openmp() -> tuple[ctypes.CDLL, ...]:
    import ctypes

    found = []
    with contextlib.suppress(OSError):
        paths = {line.split(maxsplit=5)[5] for line in _maps() if "libgomp" in line}
        for path in sorted(paths):
            with contextlib.suppress(OSError, AttributeError):  # gone from the disk meanwhile; older than OpenMP 5
                library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
                _ = library.omp_pause_resource_all, library.omp_set_num_threads
                found.append(library)
    return tuple(found)


def _maps() -> list[str]:
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().splitlines()


class _Forks:
    """What is done at each fork of this process."""

    def __init__(self) -> None:
        self.ready = False

    def before(self) -> None:
        """Wind up the threads of the thread that forks, the only one that goes on in the child."""
        failed = [runtime.omp_pause_resource_all(_HARD) for runtime in openmp()]
        self.ready = not any(failed)

    def in_parent(self) -> None:
        self.ready = False

    def in_child(self) -> None:
        """One thread where the threads could not be wound up (a fork that Python was not told of before)."""
        if not self.ready and openmp():
            sys.modules["torch"].set_num_threads(1)
        self.ready = False


@functools.lru_cache(maxsize=1)
def guard_forks() -> None:
    """Let processes that fork from this one compute. Called once, when this package is imported; costs nothing until
    then, and at each fork about as long as ending the threads takes."""
    if sys.platform == "linux" and hasattr(os, "register_at_fork"):
        forks = _Forks()
        os.register_at_fork(before=forks.before, after_in_parent=forks.in_parent, after_in_child=forks.in_child)
