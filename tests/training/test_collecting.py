"""The scripts in docs/lite/data get the bundled model's pictures again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from matting_anything_core.training.run import find_recipe

SCRIPTS = Path(__file__).parents[2] / "docs" / "lite" / "data"


def run(script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPTS / script, *map(str, words)], capture_output=True, text=True,
                          check=False)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_photographs_with_a_finely_drawn_object_are_taken(tmp_path: Path) -> None:
    work = tmp_path / "work"
    for name in ("images", "labels"):
        (work / "dataset" / "train" / name).mkdir(parents=True)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([0.5 + 0.25 * np.cos(angles), 0.5 + 0.25 * np.sin(angles)], 1)
    outlines = {"fine.rf.0a": circle, "coarse.rf.0b": circle[::4], "small.rf.0c": (circle - 0.5) / 4 + 0.5}
    for name, outline in outlines.items():
        cv2.imwrite(str(work / "dataset/train/images" / f"{name}.jpg"), np.full((100, 1000, 3), 200, np.uint8))
        (work / "dataset/train/labels" / f"{name}.txt").write_text("0 " + " ".join(map(str, outline.ravel())) + "\n")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=work, check=True)
    snapshots = tmp_path / "snapshots" / "ElAchker02+Instance-segmentation.git"
    subprocess.run(["git", "clone", "-q", "--bare", work, snapshots], check=True)

    done = run("masked.py", snapshots.parent, tmp_path / "out", "dogs_cats")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out/train/masked/dogs_cats"
    assert [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.*g"))] == [
        "image/fine.rf.0a.jpg", "mask/fine.rf.0a.png"]
    mask = cv2.imread(str(folder / "mask/fine.rf.0a.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (80, 800)  # the longer side is made 800
    assert set(np.unique(mask)) == {0, 255}
    assert (mask > 0).mean() == pytest.approx(np.pi / 16, rel=0.05)


@pytest.mark.parametrize("script", ["masked.py", "pictures.py"])
def test_snapshots_that_are_missing_are_named_with_what_gets_them(tmp_path: Path, script: str) -> None:
    listed = run(script, tmp_path, "--list")
    missing = run(script, tmp_path, tmp_path / "out")
    assert (listed.returncode, missing.returncode) == (0, 1)
    for command in listed.stdout.splitlines():
        assert command.startswith("git clone --bare https://github.com/")
        assert command in missing.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_written_is_what_the_recipe_reads() -> None:
    sources = [source.path for source in find_recipe("lite").sources]
    text = "".join((SCRIPTS / name).read_text(encoding="utf-8") for name in ("masked.py", "pictures.py"))
    shipped = ("fluent_emoji_3d", "trellis_examples", "clothing_co_parsing", "lomiri_ccby")  # docs/lite says from where
    wanted = {Path(path).name for path in sources if not path.startswith("package:")} - set(shipped)
    assert [name for name in sorted(wanted) if f'{name}"' not in text] == []
