"""Running out of memory, said in numbers: how much a step needs and how much there is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import PictureMemoryError

_ASK_ABOVE = 16 << 20  # smaller needs are not worth a look at the system


def free_memory() -> int | None:
    """Bytes that this process can still have, as far as the system says; None when it does not."""
    limits = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            known = dict(line.split(":", 1) for line in file)
        limits.append(1024 * sum(int(known[key].split()[0]) for key in ("MemAvailable", "SwapFree") if key in known))
    except (OSError, ValueError, KeyError):
        pass
    try:
        import resource

        (limit, _), page = resource.getrlimit(resource.RLIMIT_AS), os.sysconf("SC_PAGE_SIZE")
        if limit != resource.RLIM_INFINITY:
            with open("/proc/self/statm", encoding="ascii") as file:
                limits.append(max(0, limit - int(file.read().split()[0]) * page))
    except (ImportError, OSError, ValueError, AttributeError):
        pass
    return min(limits) if limits else None


def in_words(nbytes: int) -> str:
    """Bytes for people: `3.2 GB`, `12 MB`."""
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{max(1, round(nbytes / 1e6))} MB"


def shortage(what: str, nbytes: int) -> PictureMemoryError:
    """The error that says that `what` needs `nbytes`."""
    free = free_memory()
    return PictureMemoryError(
        f"{what} needs about {in_words(nbytes)} of memory, "
        f"{'more than there is' if free is None else f'and {in_words(free)} are free'}; make the picture smaller, "
        "close other programs, or use a machine with more memory")


@contextmanager
def memory_for(what: str, nbytes: int) -> Iterator[None]:
    """Work that needs at least `nbytes`: refused before it begins when the system has less, and when it runs out.

    Raises
    ------
    PictureMemoryError
        Says how much is needed and how much is free.
    """
    if nbytes > _ASK_ABOVE:
        free = free_memory()
        if free is not None and nbytes > free:
            raise shortage(what, nbytes)
    try:
        yield
    except MemoryError:
        raise shortage(what, nbytes) from None
    except ImportError as error:  # a library that finds no room for itself
        if any(words in str(error) for words in ("allocate memory", "map segment", "out of memory")):
            raise shortage(what, nbytes) from None
        raise
