"""How a browser gets the token: by a code in the address that it is opened with, which works once and for seconds.

The address stands on the browser's command line, where every user of the machine can read it, so the token must not. A
code that somebody else has read is no use to them: on Linux only a connection of this user is let in with it, and
everywhere it is gone once the browser has come.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import sys
import time
from pathlib import Path

SECONDS = 30.0
"""How long a code works: a browser on a slow machine takes a while to start."""
MOST = 16
"""Codes that wait; the oldest goes when there are more."""


class Handover:
    """The codes that wait for a browser."""

    def __init__(self) -> None:
        self._codes: dict[str, float] = {}

    def code(self) -> str:
        """A new code."""
        self._expire()
        while len(self._codes) >= MOST:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(32)
        self._codes[code] = time.monotonic() + SECONDS
        return code

    def take(self, code: str, client: tuple[str, int] | None, server: tuple[str, int] | None) -> bool:
        """Whether this code lets in who comes from `client` to `server`; it does so once."""
        self._expire()
        if code not in self._codes or not _may_be_mine(client, server):
            return False
        del self._codes[code]
        return True

    def _expire(self) -> None:
        now = time.monotonic()
        self._codes = {code: until for code, until in self._codes.items() if until > now}


def _may_be_mine(client: tuple[str, int] | None, server: tuple[str, int] | None) -> bool:
    """Whether a connection on this machine is of this user; True where that cannot be told."""
    if not sys.platform.startswith("linux") or client is None or server is None or client[0] != "127.0.0.1":
        return True
    owner = _owner(client, server)
    return owner is None or owner in (os.getuid(), 0)


def _owner(client: tuple[str, int], server: tuple[str, int], table: Path = Path("/proc/net/tcp")) -> int | None:
    """The user whose process has opened a connection, as Linux lists them."""
    ends = tuple(f"{struct.unpack('=I', socket.inet_aton(host))[0]:08X}:{port:04X}" for host, port in (client, server))
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return None
    return next((int(words[7]) for words in map(str.split, lines) if tuple(words[1:3]) == ends), None)
