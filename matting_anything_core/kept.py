"""One thing that is kept between calls, made once however many threads ask, and made anew when its files change."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Stamp = tuple[int, ...] | None
"""What a file's status says of its content: device, number, size, time; None for a file that is not there."""


class Kept(Generic[T]):
    """A cache of one entry. Threads that ask while it is being made wait for it; a forked process has its own lock.

    It is for what is costly to make and to hold, such as a model: another one takes its place, and before that one is
    made the last is let go, so that memory need not hold both.
    """

    def __init__(self) -> None:
        self._renew()
        self._key: tuple[Hashable, ...] | None = None
        self._value: T | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def get(self, key: Hashable, files: Sequence[Path], make: Callable[[], T]) -> T:
        """What `make` made for this key, now or in an earlier call, as long as the files are the same.

        Parameters
        ----------
        key
            What was asked for: everything that `make` depends on but the files' content.
        files : sequence of Path
            What `make` reads. A file is another one when it was replaced (another file under the same path), or when
            its size or the time of its last change are others.
        make : callable
            Makes the value. What it raises reaches the caller, and nothing is kept then.
        """
        with self._lock:
            wanted = (key, *(stamp(file) for file in files))
            if self._value is None or wanted != self._key:
                self.forget()
                self._value = make()
                self._key = wanted
            return self._value

    def forget(self) -> None:
        """Let go of what is kept."""
        self._key = self._value = None

    def _renew(self) -> None:
        # A thread that does not exist in a forked process may have held the lock.
        self._lock = threading.RLock()


def stamp(file: Path) -> Stamp:
    """What tells a file from the one that stood in its place before."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
