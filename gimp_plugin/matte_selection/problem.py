"""The errors of this plug-in: its own, whose texts are in the user's language, and those of the client."""

from __future__ import annotations

from client import ClientError
from translation import _


class Problem(ClientError):
    """Its text is shown to the user; it names the remedy."""

    def __init__(self, text: str) -> None:
        super().__init__(text)


def told(error: ClientError) -> str:
    """An error's text in the user's language."""
    text = _(error.template)
    return text.format(**error.values) if error.values else text
