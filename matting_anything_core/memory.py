"""How much memory there is, and errors that say so: whatever runs out of it ends in a DeviceError with numbers.

Running out shows in many ways: Python's MemoryError, numpy's, a RuntimeError of torch's allocator for the CPU, CUDA's
and MPS's own errors, OpenCV's, and where the address space is limited (`ulimit -v`) a library that cannot be loaded.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from .errors import DeviceError, MattingError

_ADVICE = "close other programs, take a smaller image or a smaller model (lite, vit_b)"
_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "insufficient memory",  # OpenCV
    "invalid buffer size",  # MPS, for a single tensor beyond what it can address
    "std::bad_alloc",
    "could not create a primitive",  # oneDNN, which does not say why
    "failed to map segment",  # the loader of shared libraries
    "cannot map zero-fill pages",
    "unable to allocate",
    "unable to mmap",
)
_QUOTED = re.compile(r"(?<!\w)(?:'[^']*'|\"[^\"]*\"|<[^>]*>)")
"""Names of files and the like in an error, which may say anything."""
_NUMBER = r"(\d+(?:\.\d*)?)"
_ASKED = (
    (re.compile(rf"tried to allocate {_NUMBER} ([KMGT]i?B)", re.IGNORECASE), None),  # CUDA, MPS
    (re.compile(rf"unable to allocate {_NUMBER} ([KMGT]i?B)", re.IGNORECASE), None),  # numpy
    (re.compile(r"tried to allocate (\d+) bytes", re.IGNORECASE), 1),  # torch on the CPU
    (re.compile(r"failed to allocate (\d+) bytes", re.IGNORECASE), 1),  # OpenCV
    (re.compile(r"unable to mmap (\d+) bytes", re.IGNORECASE), 1),  # torch, mapping a file
)


class Room(NamedTuple):
    """How much memory is free for this process and how much there is in all, in bytes, and what bounds it."""

    free: int
    total: int
    bound: str
    used: int
    """What this process holds, counted as the bound counts."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device's, or the machine's, memory does not suffice."""
    if isinstance(error, MattingError):
        return False
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    if not isinstance(error, (RuntimeError, OSError, ImportError)) and type(error).__module__ != "cv2":
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    text = _QUOTED.sub("", str(error)).lower()
    return any(sign in text for sign in _SIGNS)


def asked_for(error: BaseException) -> int | None:
    """The bytes that the failed allocation was about, where the error tells."""
    for pattern, unit in _ASKED:
        if found := pattern.search(str(error)):
            scale = unit or 1024 ** (1 + "KMGT".index(found[2][0].upper()))
            return int(float(found[1]) * scale)
    return None


def free_memory() -> Room | None:
    """The tightest bound on what this process can still have; None where the system does not say."""
    rooms = _limits()
    with contextlib.suppress(OSError, ValueError, KeyError):
        known = _meminfo()
        rooms.append(Room(known["MemAvailable"] + known.get("SwapFree", 0),
                          known["MemTotal"] + known.get("SwapTotal", 0), "the machine", _pages(1)))
    return min(rooms, default=None)


def total_memory() -> int | None:
    """The bytes this process could have if it and the machine did nothing else; None where the system does not say."""
    totals = [room.total for room in _limits()]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        totals.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(totals, default=None)


def in_words(nbytes: int) -> str:
    """Bytes for people: "3.2 GB", "12 MB"."""
    if nbytes >= 1e12:
        return f"{nbytes / 1e12:.1f} TB"
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{max(1, round(nbytes / 1e6))} MB"


def shortage(what: str, needed: int | None = None, *, advice: str = "", memory: str = "") -> DeviceError:
    """The error for work that does not fit.

    Parameters
    ----------
    what : str
        The work: "matting an image of 6000 x 4000 pixels".
    needed : int, optional
        Bytes that it needs at least, where that is known.
    advice : str
        What to do, in the place of the usual.
    memory : str
        Of a device, its name; left out, it is the machine's memory.
    """
    room = None if memory else free_memory()
    need = f"at least {in_words(needed)} of memory" if needed else "more memory than there is"
    there = f" on {memory}" if memory else ""
    if room is not None:
        there = f"; {room.bound} has {in_words(room.total)}, {in_words(room.free)} of it free"
    others = ", or raise that limit" if not advice and room is not None and room.bound != "the machine" else ""
    return DeviceError(f"{what} needs {need}{there}; {advice or _ADVICE}{others}")


@contextlib.contextmanager
def memory_errors(what: str, *, advice: str = "", memory: str = "", least: int = 0) -> Iterator[None]:
    """Work that ends in a DeviceError when memory runs out, however that shows.

    Parameters
    ----------
    what, advice, memory : as for `shortage`.
    least : int
        Bytes that it needs at least, which is said when the error itself says less.
    """
    try:
        yield
        return
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        failed = error
    # What the frames of the error hold is freed now: a caller that catches the new one goes on with other work.
    traceback.clear_frames(failed.__traceback__)
    failed.__traceback__ = None
    asked = asked_for(failed) or 0
    if asked and not memory and (room := free_memory()) is not None:
        asked += room.used
    raise shortage(what, max(least, asked), advice=advice, memory=memory) from failed


def _pages(column: int) -> int:
    """A number of /proc/self/statm in bytes: 0 is the address space, 1 what is in memory, 5 the data; 0 elsewhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return int(_read("/proc/self/statm").split()[column]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _meminfo() -> dict[str, int]:
    with open("/proc/meminfo", encoding="ascii") as file:
        return {name: 1024 * int(value.split()[0]) for name, value in (line.split(":", 1) for line in file)}


def _limits() -> list[Room]:
    """The limits that were put on this process."""
    found = []
    if sys.platform != "win32":
        import resource

        for kind, column, name in ((resource.RLIMIT_AS, 0, "the limit of this process (ulimit -v)"),
                                   (resource.RLIMIT_DATA, 5, "the limit of this process (ulimit -d)")):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                used = _pages(column)
                found.append(Room(max(0, soft - used), soft, name, used))
    for folder in _groups():
        for most, now in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with contextlib.suppress(OSError, ValueError):  # no such group; "max"
                total = int(_read(f"{folder}/{most}"))
                used = _in_use(folder, now)
                if total < 1 << 60:
                    found.append(Room(max(0, total - used), total, "the limit of this container (cgroup)", _pages(1)))
    return found


def _groups() -> list[str]:
    """The folders of this process's control group and of those around it."""
    folders = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"]
    with contextlib.suppress(OSError, ValueError):
        for line in _read("/proc/self/cgroup").splitlines():
            number, _, path = line.split(":", 2)
            parts = [part for part in path.split("/") if part and part != ".."] if number == "0" else []
            folders += [f"/sys/fs/cgroup/{'/'.join(parts[:depth])}" for depth in range(1, len(parts) + 1)]
    return folders


def _in_use(folder: str, name: str) -> int:
    """What a control group uses, without the pages of files that it would drop for others."""
    used = int(_read(f"{folder}/{name}"))
    with contextlib.suppress(OSError, ValueError):
        counts = dict(line.split()[:2] for line in _read(f"{folder}/memory.stat").splitlines())
        used -= int(counts.get("total_inactive_file", counts.get("inactive_file", "0")))
    return max(0, used)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()
