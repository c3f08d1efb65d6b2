"""What lasts from one service to the next, for the page: the port, and the key of what the page keeps in the browser.

A browser keeps things by the address of the page, so a service takes the port of the one before it, if that is free.
Should it not be, another user's program may stand there and be given what the browser keeps for this address; that is
why the page encrypts it, with a key that only a service of this user knows.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from .endpoint import runtime_folder

_FILE = "page.json"
_BYTES = 32


@dataclass(frozen=True)
class Remembered:
    """port: of the last service, 0 when there was none. key: base64 of 32 bytes, for AES-GCM."""

    port: int
    key: str


def recall() -> Remembered:
    """What the last service left; a new key when it left none, or none that can be read."""
    try:
        content: Any = json.loads((runtime_folder() / _FILE).read_text(encoding="utf-8"))
        port, key = content["port"], content["key"]
        if isinstance(port, int) and 0 <= port < 65536 and len(base64.b64decode(key, validate=True)) == _BYTES:
            return Remembered(port, key)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return Remembered(0, base64.b64encode(secrets.token_bytes(_BYTES)).decode())


def remember(what: Remembered) -> None:
    """Leave it for the next service, readable by this user alone. Where that fails the page forgets, no more."""
    path = runtime_folder() / _FILE
    temporary = path.with_name(f".page-{secrets.token_hex(6)}.tmp")
    with contextlib.suppress(OSError):
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(asdict(what), file)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
