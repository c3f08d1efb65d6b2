"""The file of results, one JSON object a line, only ever appended to, so that a run can be killed at any time.

A line is written in one go and synced; a line torn by a crash is the last one, has no line end, and is cut off.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .data import DataError


@dataclass(frozen=True)
class Journal:
    """Results by line. Records are JSON objects."""

    path: Path

    def read(self) -> list[dict[str, Any]]:
        """All whole records. Raises DataError when a whole line is no JSON object."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        records = []
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise DataError(f"{self.path}, line {number} is no result; remove the line, or the file to start anew")
            records.append(record)
        return records

    def repair(self) -> None:
        """Cut off a torn last line, so that the next record starts on a line of its own."""
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; it is on the disk when this returns."""
        line = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            written = os.write(descriptor, line)
            if written != len(line):
                raise OSError(f"{self.path}: only {written} of {len(line)} bytes were written; is the disk full?")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
