"""Checkpoints that a crash cannot spoil, and the logs that go with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..replacing import replace_text, replacing


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, also through a power failure: whoever reads finds the old one or the new one, whole."""
    with replacing(path, synced=True) as file:
        torch.save(state, file)


def load_if_there(path: Path) -> dict[str, Any] | None:
    """The checkpoint's state, on the CPU; None when there is none yet."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def keep_rows_before(path: Path, stage: int, step: int) -> None:
    """Drop the rows of a log (stage, step, …) that a checkpoint does not cover: they will be made again."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = lines[:1]
    for line in lines[1:]:
        cells = line.split(",")
        if line.endswith("\n") and len(cells) > 2 and (int(cells[0]), int(cells[1])) <= (stage, step):
            kept.append(line)
    replace_text(path, "".join(kept))
