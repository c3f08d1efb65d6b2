"""GIMP's progress bar, in parts: `bar.part(0.2, 0.8)` is a bar of its own in that share of the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from gi.repository import Gimp

Share = Callable[[float], None]
PAUSE = 0.05
"""Seconds between two updates: each is a message to GIMP."""


class Bar:
    """The bar of one run. GIMP's Cancel beside it ends this process, and so the service's job."""

    def __init__(self, text: str) -> None:
        Gimp.progress_init(text)
        self._last = 0.0

    def say(self, text: str) -> None:
        """Name what is done now."""
        Gimp.progress_set_text(text)

    def pulse(self) -> None:
        """Show that something is going on whose end is not known."""
        if self._due():
            Gimp.progress_pulse()

    def part(self, start: float, stop: float) -> Share:
        """What moves the bar from `start` to `stop` (0..1) while it is called with 0..1."""
        def move(share: float) -> None:
            if self._due():
                Gimp.progress_update(start + (stop - start) * min(max(share, 0.0), 1.0))

        return move

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last < PAUSE:
            return False
        self._last = now
        return True

    def end(self) -> None:
        """Take the bar away."""
        Gimp.progress_end()


def counted(strips: Iterable[bytes], total: int, share: Share) -> Iterator[bytes]:
    """The same strips; `share` learns how much of `total` bytes has passed."""
    done = 0
    for strip in strips:
        yield strip
        done += len(strip)
        share(done / total)
