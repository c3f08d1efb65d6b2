"""Pictures that memory does not suffice for: refused in numbers, before the work begins where that can be known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import PictureMemoryError
from ..memory import free_memory, in_words, is_out_of_memory

_ASK_ABOVE = 16 << 20  # smaller needs are not worth a look at the system


def shortage(what: str, nbytes: int) -> PictureMemoryError:
    """The error that says that `what` needs `nbytes`."""
    room = free_memory()
    return PictureMemoryError(
        f"{what} needs about {in_words(nbytes)} of memory, "
        f"{'more than there is' if room is None else f'and {in_words(room.free)} are free'}; make the picture smaller, "
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
        room = free_memory()
        if room is not None and nbytes > room.free:
            raise shortage(what, nbytes)
    try:
        yield
    except (MemoryError, ImportError) as error:  # ImportError: a library that finds no room for itself
        if not is_out_of_memory(error):
            raise
        raise shortage(what, nbytes) from None
