"""How much memory the machine, or the container, has free."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory.stat"),
     "inactive_file"),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
     Path("/sys/fs/cgroup/memory/memory.stat"), "total_inactive_file"),
)
"""Of control groups, version 2 and 1: the limit, what is used, and where it says what of that is cache."""


def available_memory() -> int | None:
    """Bytes that a process can still take without swapping or being ended; None where that cannot be told."""
    found = [_of_machine(), *(_of_group(*group) for group in GROUPS)]
    return min((number for number in found if number is not None), default=None)


def _of_machine() -> int | None:
    return next((1024 * number for name, number in _numbers(MEMINFO) if name == "MemAvailable:"), None)


def _of_group(limit: Path, used: Path, stat: Path, cache: str) -> int | None:
    try:
        free = int(limit.read_text()) - int(used.read_text())  # "max" without a limit
    except (OSError, ValueError):
        return None
    return free + next((number for name, number in _numbers(stat) if name == cache), 0)


def _numbers(file: Path) -> list[tuple[str, int]]:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return []
    return [(words[0], int(words[1])) for words in lines if len(words) > 1 and words[1].isdecimal()]
