"""The window one works in, in a real GIMP: boxes, clicks and strokes with the matte over the picture, undo, zoom, and
the result in the image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matting_anything_core import read_image

from .session import HERE, Session
from .test_window import LAYERS, changed

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def seen(new_session: Callable[[str], Session]) -> Callable[[str], Any]:
    """Screenshots by name, H×W×3 uint8, and under "area" where the picture is in them."""
    session = new_session("workbench")
    finished = session.drive(HERE / "workbench.py", limit=400)
    if "MATTING_ANYTHING_SCREENSHOTS" in os.environ:
        for file in session.folder.glob("*.png"):
            shutil.copy(file, Path(os.environ["MATTING_ANYTHING_SCREENSHOTS"]))
    assert finished.status == 0, finished.output + finished.errors
    for complaint in ("Traceback", "CRITICAL", "WARNING", "mnemonic"):
        assert complaint not in finished.errors, finished.errors
    left, top, width, height = (int(part) for part in (session.folder / "area.txt").read_text().split())
    area = slice(top, top + height), slice(left, left + width)
    return lambda name: area if name == "area" else read_image(session.folder / f"{name}.png").rgb


def test_a_box_shows_the_matte_and_a_click_corrects_it(seen: Callable[[str], Any]) -> None:
    assert changed(seen("bench"), seen("boxed"), seen("area")) > 0.15
    assert changed(seen("boxed"), seen("dropped"), seen("area")) > 0.01


def test_undo_and_redo_show_what_was_there(seen: Callable[[str], Any]) -> None:
    assert changed(seen("boxed"), seen("undone"), seen("area")) < 0.001
    assert changed(seen("dropped"), seen("redone"), seen("area")) < 0.001


def test_a_stroke_is_taken_into_the_subject(seen: Callable[[str], Any]) -> None:
    assert changed(seen("boxed"), seen("painted"), seen("area")) > 0.003


def test_the_picture_is_zoomed_and_fitted_again(seen: Callable[[str], Any]) -> None:
    assert changed(seen("boxed"), seen("zoomed"), seen("area")) > 0.2
    assert changed(seen("boxed"), seen("fitted"), seen("area")) < 0.001


def test_the_result_is_a_mask_that_one_step_undoes(seen: Callable[[str], Any]) -> None:
    assert changed(seen("taken_back"), seen("applied"), LAYERS) > 0.05
