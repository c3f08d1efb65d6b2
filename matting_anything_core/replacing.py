"""Files that are written whole or not at all: under a passing name in the same folder, then renamed.

Whoever reads finds the old file or the new one, and what goes wrong (a full disk, Ctrl-C) leaves the old one and
nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO


@functools.lru_cache(maxsize=1)
def temporary_names() -> str:
    """What the names of all temporary files of this process begin with, and of none that another process writes (but
    for those it forks): whoever ends this process can clean up behind it."""
    return f".matting-{secrets.token_hex(6)}-"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, private: bool = False, synced: bool = False) -> Iterator[BinaryIO]:
    """A new file, open for writing bytes, that takes the place of `path` when the block ends without an error.

    Parameters
    ----------
    path
        Its folder must be there. A link stays a link: what it points to is replaced.
    private : bool
        Readable by this user alone.
    synced : bool
        On the disk before it is renamed: whole even after a power failure.

    Raises
    ------
    OSError, ValueError
        As the system says it; `path` is as it was.
    """
    target = os.path.realpath(path)
    # A short name of its own: a long one and an addition can be more than the file system takes.
    passing = os.path.join(os.path.dirname(target), f"{temporary_names()}{secrets.token_hex(4)}.tmp")
    mode = 0o600 if private else 0o666
    try:
        with open(passing, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(passing, target)
    except BaseException:
        with contextlib.suppress(OSError, ValueError):
            os.unlink(passing)
        raise


def replace_text(path: str | os.PathLike[str], text: str, *, private: bool = False) -> None:
    """Write a text file as UTF-8, whole or not at all. Raises OSError."""
    with replacing(path, private=private) as file:
        file.write(text.encode())
