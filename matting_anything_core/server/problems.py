"""What can be wrong with a request besides what the library's own errors say; answers.py gives each its status."""

from __future__ import annotations

from ..errors import PromptError


class Malformed(Exception):
    """A request that does not follow the protocol: 400."""


class TooLarge(Exception):
    """A request for more than the limits allow: 413."""


class Forgotten(PromptError):
    """A prompt that goes on from a matte which is not kept any more: 422."""


class NoRoom(Exception):
    """A request for which there is no memory now, but may be later: 503."""
