"""GIMP's window: dialog, help, result, undo in one step, last values, cancel, and a message when something fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matting_anything_core import read_image

from .session import HERE, Session

pytestmark = pytest.mark.timeout(600)
CANVAS = slice(190, 670), slice(380, 750)
"""Rows and columns of the screen inside the selection of dialog.py, where its moving border does not reach."""
LAYERS = slice(590, 630), slice(1160, 1280)


@pytest.fixture(scope="module")
def shots(new_session: Callable[[str], Session]) -> Callable[[str], Any]:
    """Screenshots by name, H×W×3 uint8. MATTING_ANYTHING_SCREENSHOTS names a folder to keep them in."""
    session = new_session("window")
    finished = session.drive(HERE / "dialog.py", limit=400)
    if "MATTING_ANYTHING_SCREENSHOTS" in os.environ:
        for file in session.folder.glob("*.png"):
            shutil.copy(file, Path(os.environ["MATTING_ANYTHING_SCREENSHOTS"]))
    assert finished.status == 0, finished.output + finished.errors
    assert "Traceback" not in finished.errors, finished.errors
    for complaint in ("CRITICAL", "WARNING", "PyGIWarning", "mnemonic"):
        assert complaint not in finished.errors, finished.errors
    left = [line for line in finished.left if "matting_anything_core" in line or "matte_selection.py" in line]
    assert left == [], "the service was killed at the end, and no call of the plug-in hangs"
    return lambda name: read_image(session.folder / f"{name}.png").rgb


def changed(one: Any, other: Any, part: tuple[slice, slice] = CANVAS) -> float:
    """The share of pixels that differ clearly."""
    return float((np.abs(one[part].astype(int) - other[part]).max(axis=2) > 24).mean())


def test_the_result_is_seen_and_one_step_undoes_it(shots: Callable[[str], Any]) -> None:
    assert changed(shots("before"), shots("after")) > 0.15
    assert changed(shots("before"), shots("after"), LAYERS) > 0.05, "the layer shows a mask"
    assert changed(shots("before"), shots("undone")) < 0.01
    assert changed(shots("before"), shots("undone"), LAYERS) < 0.01


def test_last_values_give_the_same_without_a_dialog(shots: Callable[[str], Any]) -> None:
    assert changed(shots("after"), shots("again")) < 0.01


def test_cancel_leaves_the_image_and_gives_no_message(shots: Callable[[str], Any]) -> None:
    assert changed(shots("before"), shots("cancelled")) < 0.01
    assert changed(shots("before"), shots("cancelled"), LAYERS) < 0.01


def test_windows_are_shown_over_the_image(shots: Callable[[str], Any]) -> None:
    for name in ("dialog", "help", "check", "message"):
        assert changed(shots("before"), shots(name)) > 0.2, name
