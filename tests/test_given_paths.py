"""The wrong kind of thing where a path or an embedding belongs, and variables that nobody has set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import picture, tiny_model

from matting_anything_core import MattingError, PromptError, write_image
from matting_anything_core.batch import Item, matte_batch
from matting_anything_core.cli import main
from matting_anything_core.evaluation.data import read_benchmark
from matting_anything_core.evaluation.protocol import PROTOCOLS
from matting_anything_core.evaluation.runner import evaluate
from matting_anything_core.evaluation.systems import FolderSystem
from matting_anything_core.folders import filled_in, path_given
from matting_anything_core.training import recipe

BOX = (1, 1, 20, 20)


def test_a_text_is_a_path_and_other_things_are_none(tmp_path: Path) -> None:
    out: Any = str(tmp_path / "cut.png")
    [outcome] = matte_batch([Item(picture(24, 30), BOX, out)], model=tiny_model())
    assert outcome.status in ("done", "empty")
    assert Path(out).exists()
    assert Item("a.png", BOX, b"b.png").out == Path("b.png")  # type: ignore[arg-type]
    for wrong in (5, 0.5, ["a.png"], {"out": "a.png"}, object()):
        with pytest.raises(MattingError, match="expected a path"):
            Item("a.png", BOX, wrong)  # type: ignore[arg-type]
        with pytest.raises(MattingError, match="the folder was given as"):
            path_given(wrong, "the folder")


def test_folders_of_the_evaluation(tmp_path: Path) -> None:
    for name in ("images", "alphas"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", np.full((8, 9, 3), 200, np.uint8))
    found = read_benchmark("folder", str(tmp_path))  # type: ignore[arg-type]
    mattes = FolderSystem(str(tmp_path / "alphas"))  # type: ignore[arg-type]
    run = evaluate(found, [mattes], PROTOCOLS["folder"], str(tmp_path / "out"))  # type: ignore[arg-type]
    assert run.records[mattes.name]["a"]
    for call in (lambda: read_benchmark("folder", 5), lambda: read_benchmark("fodler", tmp_path),
                 lambda: FolderSystem(5), lambda: evaluate(found, [mattes], PROTOCOLS["folder"], 5)):
        with pytest.raises(MattingError, match="expected"):
            call()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("wrong", ["photo.jpg", Path("photo.jpg"), np.zeros((4, 4, 3), np.uint8), None, 5])
def test_a_picture_is_no_embedding(wrong: Any) -> None:
    with pytest.raises(PromptError, match=r"model\.embed\(image\)"):
        tiny_model().matte(wrong, BOX)
    with pytest.raises(PromptError, match=r"model\.embed\(image\)"):
        tiny_model().matte_together(wrong, [BOX, BOX])


def test_variables_are_filled_in_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN_DATA", "/data")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("MISSING_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert filled_in("$GIVEN_DATA/x", "it") == filled_in("${GIVEN_DATA}/x", "it") == "/data/x"
    assert filled_in("~/x", "it") == "/home/me/x"
    assert filled_in("", "it") == ""
    assert filled_in("cost in $.txt", "it") == "cost in $.txt"
    for text in ("$MISSING_DATA", "${MISSING_DATA}/x", "/a/$MISSING_DATA/b"):
        with pytest.raises(MattingError, match=r"the variable MISSING_DATA is not set.*export MISSING_DATA="):
            filled_in(text, "the folder")
    Path("$MISSING_DATA").mkdir()
    assert filled_in("$MISSING_DATA", "it") == "$MISSING_DATA"  # there is such a name


def test_commands_name_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MATTING_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "folder", "--data", "$MATTING_DATA/x", "--output", "out"]) == 2
    assert "the variable MATTING_DATA is not set" in capsys.readouterr().err
    recipes = Path(recipe.__file__).parent / "recipes"
    for name in ("mam_vit_b", "mam_vit_l", "mam_vit_h"):
        with pytest.raises(MattingError, match="the variable MATTING_DATA is not set"):
            _ = recipe.read_recipe(recipes / f"{name}.toml").root
    assert main(["train", "mam_vit_b", "--out", "run", "--dry-run"]) == 2
    assert "the variable MATTING_DATA is not set" in capsys.readouterr().err
