"""The warnings that come while a command works, for its summary or its JSON."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def warnings_heard() -> Iterator[list[str]]:
    """The warnings of this library while it is entered; they are shown as ever."""
    said: list[str] = []
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **named: Any) -> None:
        if issubclass(category, UserWarning):
            said.append(str(message))
        before(message, category, filename, *rest, **named)

    warnings.showwarning = show
    try:
        yield said
    finally:
        warnings.showwarning = before
