"""A progress bar for the library's progress callbacks; silent when standard error is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..types import ProgressCallback


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A callback (stage, share) that draws a bar on standard error."""
    from tqdm import tqdm

    with tqdm(total=100, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False,
              bar_format="{desc:<12} {bar:30} {percentage:3.0f}%") as bar:

        def show(stage: str, share: float) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.n = round(100 * share)
            bar.refresh()

        yield show
