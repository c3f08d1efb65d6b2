"""Where the time of a batch goes: seconds by stage, summed over threads and processes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

STAGES = ("read", "decode", "encode", "mask and alpha", "colours", "compress", "write")
"""In the order of an image's way: the file is read; decoded; seen by the encoder; matted; its clean colours estimated;
compressed as a picture file; and put on the disk."""


class Times:
    """Seconds that were spent in each stage. May be used by several threads; each counts its own."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, stage: str, seconds: float) -> None:
        """Count so many seconds for a stage."""
        with self._lock:
            self._seconds[stage] += seconds  # type: ignore[assignment]  # a Counter of floats

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count the time that is spent inside of this."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    @contextmanager
    def matting(self) -> Iterator[Callable[[str, float], None]]:
        """Count `encode` and `mask and alpha`: gives a progress callback for the model that tells them apart."""
        started = time.perf_counter()
        began: float | None = None
        encoding = 0.0

        def progress(stage: str, share: float) -> None:
            nonlocal began, encoding
            if stage != "encode":
                return
            now = time.perf_counter()
            if share == 0.0:
                began = now
            elif share == 1.0 and began is not None:
                encoding += now - began
                began = None

        try:
            yield progress
        finally:
            self.add("encode", encoding)
            self.add("mask and alpha", time.perf_counter() - started - encoding)

    def seconds(self) -> dict[str, float]:
        """What was counted, by stage, in the order of `STAGES`."""
        with self._lock:
            return {stage: self._seconds[stage] for stage in (*STAGES, *sorted(set(self._seconds) - set(STAGES)))
                    if stage in self._seconds}


def summed(several: Mapping[object, Mapping[str, float]]) -> dict[str, float]:
    """The seconds of several processes together."""
    total = Times()
    for seconds in several.values():
        for stage, value in seconds.items():
            total.add(stage, value)
    return total.seconds()


def in_words(seconds: Mapping[str, float], images: int, wall: float) -> str:
    """Lines that say where the time went.

    Parameters
    ----------
    seconds
        By stage, from `Times.seconds`.
    images
        How many were matted in that time.
    wall
        Seconds by the clock. Stages of several threads and processes go on at the same time, so they may add up to
        more.
    """
    total = sum(seconds.values()) or 1.0
    lines = [f"{'stage':<16}{'seconds':>9}{'share':>8}{'ms/image':>10}"]
    lines += [f"{stage:<16}{value:>9.2f}{100 * value / total:>7.1f}%{1000 * value / max(1, images):>10.1f}"
              for stage, value in seconds.items()]
    lines.append(f"{'together':<16}{total:>9.2f}{100.0:>7.1f}%{1000 * total / max(1, images):>10.1f}")
    lines.append(f"{images} images in {wall:.2f} s: {images / wall if wall else 0:.2f} images/s; stages were busy "
                 f"{total / wall if wall else 0:.1f} at a time")
    return "\n".join(lines)
