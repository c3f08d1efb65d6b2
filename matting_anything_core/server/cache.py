"""The service's memory: pictures, their embeddings and mattes, and what work takes while it goes on; bounded by bytes.

What is kept gives way to work, the longest unused first. Nothing that is in use is dropped: that would free no memory.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from .problems import NoRoom, TooLarge


@dataclass
class _Entry:
    value: Any
    nbytes: int
    parent: Hashable | None
    uses: int = 0
    dropped: bool = False


class Cache:
    """Values by key. A value may belong to a parent (an embedding to its picture): it goes when the parent goes, and
    using it counts as using the parent. Threads may share it."""

    def __init__(self, limit: int) -> None:
        """limit: bytes that all values and all work together may take."""
        self.limit = limit
        self._bytes = 0
        self._work = 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that all values take now."""
        return self._bytes

    @property
    def work(self) -> int:
        """Bytes that work takes now."""
        return self._work

    def get(self, key: Hashable) -> Any:
        """The value, or None; it counts as used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._touch(key)
            return entry.value

    def put(self, key: Hashable, value: Any, nbytes: int, parent: Hashable | None = None) -> None:
        """Keep a value of so many bytes, and drop the longest unused ones until all fit.

        A value that does not fit beside what is in use, or whose parent is gone, is not kept.
        """
        with self._lock:
            self._drop(key)
            if nbytes > self.limit - self._work or (parent is not None and parent not in self._entries):
                return
            self._entries[key] = _Entry(value, nbytes, parent)
            self._bytes += nbytes
            self._touch(key)
            self._shrink(0)

    def resize(self, key: Hashable, nbytes: int) -> None:
        """Count a value that has grown or shrunk anew; others give way to it. Nothing when it is not here."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.nbytes != nbytes:
                self._bytes += nbytes - entry.nbytes
                entry.nbytes = nbytes
                self._shrink(0)

    def drop(self, key: Hashable) -> bool:
        """Forget a value and what belongs to it; False when it was not there."""
        with self._lock:
            return self._drop(key)

    @contextlib.contextmanager
    def using(self, *keys: Hashable) -> Iterator[None]:
        """Keep these values, and what they belong to, while work goes on with them."""
        with self._lock:
            held = []
            for name in keys:
                key: Hashable | None = name
                while key is not None and key in self._entries:
                    held.append(self._entries[key])
                    key = self._entries[key].parent
            for entry in held:
                entry.uses += 1
        try:
            yield
        finally:
            with self._lock:
                for entry in held:
                    entry.uses -= 1
                    if entry.dropped and not entry.uses:  # only now it goes
                        self._bytes -= entry.nbytes

    def reserve(self, nbytes: int, what: str) -> None:
        """Have room for work that takes so many bytes; give it back with `release`.

        what: the work, as the errors name it. Raises TooLarge when it can never fit, NoRoom when it does not now.
        """
        with self._lock:
            if nbytes > self.limit:
                raise TooLarge(f"{what} takes about {megabytes(nbytes)}, more than this service's --memory of "
                               f"{megabytes(self.limit)}; make the picture smaller, or start the service with more "
                               "--memory")
            self._shrink(nbytes)
            if self._bytes + self._work + nbytes > self.limit:
                raise NoRoom(f"{what} takes about {megabytes(nbytes)}, but of this service's --memory of "
                             f"{megabytes(self.limit)} other work uses {megabytes(self._bytes + self._work)} now; try "
                             "again in a moment")
            self._work += nbytes

    def reserve_rest(self, nbytes: int) -> int:
        """Have as much room of so many bytes as there can be; returns how much, which `release` is to give back."""
        with self._lock:
            self._shrink(nbytes)
            taken = max(min(nbytes, self.limit - self._bytes - self._work), 0)
            self._work += taken
            return taken

    def release(self, nbytes: int) -> None:
        """Give back what was reserved."""
        with self._lock:
            self._work -= nbytes

    @contextlib.contextmanager
    def room(self, nbytes: int, what: str) -> Iterator[None]:
        """Have room for work that takes so many bytes while it goes on. Raises TooLarge and NoRoom."""
        self.reserve(nbytes, what)
        try:
            yield
        finally:
            self.release(nbytes)

    def _shrink(self, wanted: int) -> None:
        """Drop what is not in use, the longest unused first, until so many bytes are free or nothing is left."""
        for key in list(self._entries):
            if self._bytes + self._work + wanted <= self.limit:
                return
            if key in self._entries and not self._entries[key].uses:
                self._drop(key)

    def _touch(self, key: Hashable | None) -> None:
        # Parents move last, so they are always younger than what belongs to them.
        while key is not None and key in self._entries:
            self._entries.move_to_end(key)
            key = self._entries[key].parent

    def _drop(self, key: Hashable) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        if entry.uses:
            entry.dropped = True
        else:
            self._bytes -= entry.nbytes
        for child in [name for name, other in self._entries.items() if other.parent == key]:
            self._drop(child)
        return True


def megabytes(nbytes: int) -> str:
    """A number of bytes as people read it."""
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.0f} MB"
