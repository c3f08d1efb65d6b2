"""The window one works in, in a real GIMP: boxes, clicks and strokes with the matte over the picture, undo, zoom, and
the result in the image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from matting_anything_core import Prompt, load_model, read_image

from .session import HERE, Session, results
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
    for complaint in ("Traceback", "CRITICAL", "WARNING", "PyGIWarning", "mnemonic"):
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


BOX = (60.0, 20.0, 400.0, 500.0)


@pytest.fixture(scope="module")
def bench(new_session: Callable[[str], Session]) -> tuple[dict[str, Any], Callable[[str], Any]]:
    """What bench.py noted, and the arrays it kept."""
    session = new_session("bench")
    finished = session.run(HERE / "bench.py", limit=300)
    noted = results(session)
    assert "failed" not in noted, noted["failed"]["error"]
    assert finished.status == 0, finished.errors
    for complaint in ("Traceback", "CRITICAL"):
        assert complaint not in finished.errors, finished.errors
    return noted, lambda name: np.load(session.folder / f"{name}.npz")


def test_what_is_applied_is_what_the_library_makes_of_the_marks(bench: Any) -> None:
    noted, kept = bench
    assert noted["bench_mask"]["applied"] == ["done", ""]
    model = load_model("lite", device="cpu")
    embedding = model.embed(kept("bench_mask")["sent"])
    first = model.matte(embedding, [Prompt(box=BOX)])[0]
    wanted = model.matte(embedding, [Prompt(box=BOX, points=[(215, 380)], labels=[0], previous=first)])[0]
    mask = kept("bench_mask")["mask"]
    assert np.abs(mask - wanted.alpha).max() <= 1 / 255
    assert mask[380, 215] < 0.5
    assert noted["bench_mask"]["undo"]


def test_the_edge_is_shifted_and_made_harder(bench: Any) -> None:
    noted, kept = bench
    assert noted["bench_edge"]["applied"] == ["done", ""]
    model = load_model("lite", device="cpu")
    alpha = model.matte(model.embed(kept("bench_mask")["sent"]), [Prompt(box=BOX)])[0].alpha
    mask = kept("bench_edge")["mask"]
    assert mask.mean() > alpha.mean() + 0.005
    assert ((mask > 0.02) & (mask < 0.98)).mean() < 0.3 * ((alpha > 0.02) & (alpha < 0.98)).mean()
    assert mask[alpha > 0.9].min() > 0.99


def test_colours_are_cleaned_as_far_as_is_asked(bench: Any) -> None:
    noted, kept = bench
    assert [noted[f"bench_{name}"]["applied"][0] for name in ("clean", "half", "raw")] == ["done"] * 3
    raw, half, clean = (kept(f"bench_{name}")["made"] for name in ("raw", "half", "clean"))
    own = kept("bench_raw")["own"]
    soft = (clean[..., 3] > 0.1) & (clean[..., 3] < 0.9)
    assert np.abs(raw[..., :3] - own)[soft].max() < 1e-5
    assert np.abs(clean[..., :3] - own)[soft].max() > 0.1
    change, part = (np.abs(one[..., :3] - own)[soft].sum() for one in (clean, half))
    assert 0.4 * change < part < 0.7 * change


def test_the_band_about_the_edge_is_looked_at_anew(bench: Any) -> None:
    kept = bench[1]("bench_refined")
    trimap, before, after = kept["trimap"], kept["before"], kept["after"]
    assert bench[0]["bench_refined"]["applied"] == ["done", ""]
    assert set(np.unique(trimap)) == {0, 128, 255}
    hard = before >= 0.5
    far = ndimage.distance_transform_edt(hard) + ndimage.distance_transform_edt(~hard)
    soft = (before > 0.06) & (before < 0.94)
    assert (trimap[soft] == 128).all()
    assert (trimap[far < 5] == 128).mean() > 0.95
    clear = (far > 30) & ~ndimage.binary_dilation(soft, iterations=30)
    assert clear.mean() > 0.2
    assert (trimap[clear] == np.where(hard, 255, 0)[clear]).all()
    model = load_model("lite", device="cpu")
    wanted = model.matte(model.embed(kept_picture(bench)), [Prompt(trimap=trimap)])[0].alpha
    assert np.abs(after - wanted).max() < 1e-3
    assert np.abs(after - before).max() > 0.1


def kept_picture(bench: Any) -> Any:
    return bench[1]("bench_mask")["sent"]


def test_a_mask_that_is_there_is_corrected(bench: Any) -> None:
    noted, kept = bench
    assert noted["bench_previous"]["applied"] == ["done", ""]
    mask = kept("bench_previous")["mask"]
    assert mask[72:108, 126:134].max() < 0.5
    assert mask[200:400, 200:300].min() > 0.99


def test_a_layer_that_was_painted_on_meanwhile_is_noticed(bench: Any) -> None:
    noted = bench[0]["bench_changed"]
    assert noted["applied"][0] == "refused"
    assert "was changed while this window was open" in noted["applied"][1]
    assert not noted["mask"]
    assert noted["hint"].startswith("Drag a box around the subject")
