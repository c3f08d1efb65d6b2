"""Standard output and error: names that an encoding cannot hold, control characters, warnings in one line."""

from __future__ import annotations

import codecs
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

ESCAPED = "matting-anything-escaped"
"""The name of the error handler below, for str.encode and streams."""
_PACKAGE = str(Path(__file__).resolve().parent.parent)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a file name that is no UTF-8 go out as they are; what the encoding lacks becomes \\u732b."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    code = ord(error.object[error.start])
    if 0xDC80 <= code <= 0xDCFF:
        return bytes([code - 0xDC00]), error.start + 1
    one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    return codecs.backslashreplace_errors(one)


codecs.register_error(ESCAPED, _escape)


@contextmanager
def any_name() -> Iterator[None]:
    """While this is entered, standard output and error take any name, whatever their encoding."""
    changed: list[tuple[Any, str]] = []
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ESCAPED)
            changed.append((stream, "strict"))
    try:
        yield
    finally:
        for stream, before in changed:
            if not stream.closed:
                stream.reconfigure(errors=before)


@contextmanager
def short_warnings(quiet: bool) -> Iterator[None]:
    """Warnings of this library in one line on standard error; none of them when `quiet`."""
    with warnings.catch_warnings():
        plain = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                 file: TextIO | None = None, line: str | None = None) -> None:
            if not os.path.abspath(filename).startswith(_PACKAGE):
                plain(message, category, filename, lineno, file, line)
            elif not quiet:
                note(f"warning: {message}")

        warnings.showwarning = show
        yield


def note(text: str) -> None:
    """One line for the user on standard error, above a bar that may be there."""
    from tqdm import tqdm

    tqdm.write(f"matting-anything: {text}", file=sys.stderr)


def shown(path: str | os.PathLike[str]) -> str:
    """A path as it is printed: as it is for programs, without control characters for a terminal."""
    name = os.fspath(path)
    if not sys.stdout.isatty():
        return name
    return "".join(char if char.isprintable() or 0xDC80 <= ord(char) <= 0xDCFF else ascii(char)[1:-1] for char in name)


def as_text(name: object) -> str:
    """A name that UTF-8 can hold: lone surrogates (bytes of a name that was no UTF-8) become \\udce9."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")
