"""Progress on standard error: a bar on a terminal, a line every half minute in a log, or nothing at all."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..types import ProgressCallback

EVERY = 30.0
"""Seconds between the lines in a log."""


def on_terminal() -> bool:
    """Whether a bar can be drawn: standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def log_lines(say: Callable[[str], object], *, every: float | None = None,
              clock: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """A function that passes on the text it is given, but not before `every` seconds are over since the last time."""
    last = clock()

    def tell(text: str) -> None:
        nonlocal last
        now = clock()
        if now - last >= (EVERY if every is None else every):
            last = now
            say(text)

    return tell


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[ProgressCallback]:
    """A callback (stage, share) that draws a bar on standard error, or writes a line now and then."""
    from tqdm import tqdm

    if not on_terminal() or quiet:
        tell = log_lines(lambda text: print(f"matting-anything: {text}", file=sys.stderr, flush=True))

        def write(stage: str, share: float) -> None:
            if not quiet:
                tell(f"{stage} {100 * share:.0f} %")

        yield write
        return
    with tqdm(total=100, file=sys.stderr, leave=False, bar_format="{desc:<12} {bar:30} {percentage:3.0f}%") as bar:

        def show(stage: str, share: float) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.n = round(100 * share)
            bar.refresh()

        yield show
