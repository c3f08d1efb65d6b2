"""What a batch notes beside its results: of what and how each was made, and who is at work on them.

    out/.matting-anything/results.jsonl    one line a result: its file, the fingerprint of image, prompt and settings,
                                           the file's size and time, the score, the box, the warnings
    out/.matting-anything/lock             held while a batch writes there

A result whose fingerprint has changed is made anew, unless somebody has changed its file since.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ImageError, MattingError

FOLDER = ".matting-anything"
INTENDED = "intended"
"""The fingerprint of a result that was about to be made anew."""


@dataclass(frozen=True)
class Entry:
    """What is known of one result.

    fingerprint: of what it was made of and how. size, time: of its file when it was written, in bytes and nanoseconds.
    score, box, warnings, empty, unsure: as in the summary.
    """

    fingerprint: str
    size: int
    time: int
    score: float | None = None
    box: tuple[float, ...] | None = None
    warnings: tuple[str, ...] = ()
    empty: bool = False
    unsure: bool = False

    def untouched(self, file: Path) -> bool:
        """Whether the file is as it was written."""
        try:
            state = file.stat()
        except (OSError, ValueError):
            return False
        return (state.st_size, state.st_mtime_ns) == (self.size, self.time)


class Journal:
    """The results of a folder, read when it is opened and noted line by line; a line that was cut off by a crash is
    left aside. May be used by several threads."""

    def __init__(self, folder: str | os.PathLike[str], name: str = "results", *, read: bool = True) -> None:
        """Read what is noted in the folder; `name` is the file that this one writes to (shards and processes have their
        own). read: False to note only.

        Raises ImageError when nothing can be written there.
        """
        self.folder, self.name = Path(folder), name
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        notes = self.folder / FOLDER
        try:
            notes.mkdir(parents=True, exist_ok=True)
            for file in sorted(notes.glob("*.jsonl")) if read else ():
                self._read(file)
            self._file = open(notes / f"{name}.jsonl", "a", encoding="ascii", newline="\n")  # noqa: SIM115
            if self._file.tell():
                self._file.write("\n")  # after a line that a crash has cut off
                self._file.flush()
        except OSError as error:
            raise ImageError(f"the folder {os.fspath(folder)!r} cannot be written to: {error.strerror or error}") \
                from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self, file: Path) -> None:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                box = row.get("box")
                entry = Entry(
                    str(row["fingerprint"]), int(row["size"]), int(row["time"]), row.get("score"),
                    None if box is None else tuple(map(float, box)), tuple(map(str, row.get("warnings", ()))),
                    bool(row.get("empty")), bool(row.get("unsure")))
                before = self._entries.get(row["out"])
                if before is None or before.time <= entry.time:  # several processes may have made it, one after another
                    self._entries[row["out"]] = entry
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue

    def _key(self, out: Path) -> str:
        return os.path.relpath(os.path.abspath(out), os.path.abspath(self.folder)).replace(os.sep, "/")

    def entry(self, out: Path) -> Entry | None:
        """What is noted of a result; None when it is not known."""
        with self._lock:
            return self._entries.get(self._key(out))

    def note(self, out: Path, fingerprint: str, **known: Any) -> Entry | None:
        """Note that a result has been written, and give what is noted. A journal that cannot be written (a full disk)
        costs no result."""
        try:
            state = out.stat()
            entry = Entry(fingerprint, state.st_size, state.st_mtime_ns, **known)
            with self._lock:
                self._entries[self._key(out)] = entry
                print(json.dumps({"out": self._key(out), **dataclasses.asdict(entry)}), file=self._file, flush=True)
            return entry
        except OSError as error:
            warnings.warn(f"the journal of {self.folder} cannot be written: {error.strerror or error}", UserWarning,
                          stacklevel=2)
        return None

    def intend(self, out: Path) -> None:
        """Note that a result that is there is about to be made anew elsewhere, and by whom is not known: until it is
        noted, its file counts as one that is to be made."""
        with self._lock, contextlib.suppress(OSError):
            before = self._entries.get(self._key(out))
            self._entries[self._key(out)] = entry = Entry(INTENDED, -1, 0 if before is None else before.time)
            print(json.dumps({"out": self._key(out), **dataclasses.asdict(entry)}), file=self._file, flush=True)


def fingerprint(*parts: object) -> str:
    """A short text that changes when any of the parts does."""
    return hashlib.sha256("\0".join(described(part) for part in parts).encode("utf-8", "backslashreplace")) \
        .hexdigest()[:20]


def described(value: Any) -> str:
    """A value in words that are the same for equal values, and others for other ones.

    A path counts by its file's name, size and time, an array by its content, a function by its name (what it does
    cannot be seen), an object with the method `described` by what that gives.
    """
    own = getattr(value, "described", None)
    if callable(own):
        return str(own())
    if isinstance(value, os.PathLike):
        return file_state(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value)
                  if field.name != "source")  # a matte's model; what it made is in the rest
        return f"{type(value).__name__}({', '.join(f'{name}={described(item)}' for name, item in fields)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{described(key)}: {described(item)}" for key, item in value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(described(item) for item in value) + "]"
    if isinstance(value, (bytes, bytearray)):
        return hashlib.sha256(value).hexdigest()
    if hasattr(value, "tobytes"):
        return f"{getattr(value, 'dtype', '')}{getattr(value, 'shape', getattr(value, 'size', ''))}" \
               + hashlib.sha256(value.tobytes()).hexdigest()
    if hasattr(value, "detach"):
        return described(value.detach().cpu().float().numpy())
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return repr(value)


def file_state(path: str | os.PathLike[str]) -> str:
    """A file's name, size and time of change; its name alone when it is not there."""
    name = os.path.basename(os.fspath(path))
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return str(name)
    return f"{name!s}/{state.st_size}/{state.st_mtime_ns}"


@contextmanager
def at_work(folder: str | os.PathLike[str], shard: str = "") -> Iterator[None]:
    """Hold the folder of results: one batch at a time, or several shards of one (`shard`: such as "1-of-4").

    Raises MattingError when another process is at work there.
    """
    from filelock import FileLock, Timeout

    notes = Path(folder) / FOLDER
    mine = notes / (f"shard-{shard}.lock" if shard else "lock")
    of = shard.partition("-of-")[2]
    others = [path for path in (notes / "lock", *notes.glob("shard-*.lock"))
              if path != mine and not (shard and path.name.endswith(f"-of-{of}.lock"))]
    with ExitStack() as held:
        try:
            notes.mkdir(parents=True, exist_ok=True)
            for path in (mine, *(path for path in others if path.exists())):
                lock = FileLock(path, timeout=0)
                lock.acquire()
                if path == mine:
                    held.callback(lock.release)
                else:  # only to see that nobody holds it
                    lock.release()
            if not shard:
                (notes / "holder").write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        except Timeout:
            raise MattingError(
                f"another batch{_holder(notes)} is writing into {os.fspath(folder)!r}; wait for it, or choose another "
                "folder. To share the work, start each with a --shard of its own: 1/2 and 2/2") from None
        except (OSError, NotImplementedError) as error:
            warnings.warn(f"{os.fspath(folder)!r} cannot be locked against a second batch "
                          f"({getattr(error, 'strerror', None) or error}); see to it that there is only one",
                          UserWarning, stacklevel=3)
        yield


def _holder(notes: Path) -> str:
    try:
        return f" ({(notes / 'holder').read_text(encoding='utf-8')[:80]})"
    except (OSError, UnicodeDecodeError):
        return ""
