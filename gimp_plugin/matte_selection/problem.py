"""The one error of this plug-in: what went wrong, and what to do about it."""

from __future__ import annotations


class Problem(Exception):
    """Its text is shown to the user; it names the remedy. `kind` is the service's name for it, where it has one."""

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind
