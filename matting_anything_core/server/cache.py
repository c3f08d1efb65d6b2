"""What the service keeps: pictures, their embeddings and mattes, bounded by bytes; the longest unused goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Entry:
    value: Any
    nbytes: int
    parent: Hashable | None


class Cache:
    """Values by key. A value may belong to a parent (an embedding to its picture): it goes when the parent goes, and
    using it counts as using the parent. Threads may share it."""

    def __init__(self, limit: int) -> None:
        """limit: bytes that all values together may take."""
        self.limit = limit
        self._bytes = 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that all values take now."""
        return self._bytes

    def get(self, key: Hashable) -> Any:
        """The value, or None; it counts as used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._use(key)
            return entry.value

    def put(self, key: Hashable, value: Any, nbytes: int, parent: Hashable | None = None) -> None:
        """Keep a value of so many bytes, and drop the longest unused ones until all fit.

        A value that alone is larger than the limit, or whose parent is gone, is not kept.
        """
        with self._lock:
            self._drop(key)
            if nbytes > self.limit or (parent is not None and parent not in self._entries):
                return
            self._entries[key] = _Entry(value, nbytes, parent)
            self._bytes += nbytes
            self._use(key)
            while self._bytes > self.limit:
                self._drop(next(iter(self._entries)))

    def drop(self, key: Hashable) -> bool:
        """Forget a value and what belongs to it; False when it was not there."""
        with self._lock:
            return self._drop(key)

    def _use(self, key: Hashable | None) -> None:
        # Parents move last, so they are always younger than what belongs to them.
        while key is not None and key in self._entries:
            self._entries.move_to_end(key)
            key = self._entries[key].parent

    def _drop(self, key: Hashable) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._bytes -= entry.nbytes
        for child in [name for name, other in self._entries.items() if other.parent == key]:
            self._drop(child)
        return True
