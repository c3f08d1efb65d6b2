"""A machine on which OpenCV cannot be loaded is told at once, in one line, what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from matting_anything_core.opencv import seeded

LIBGL = "ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
FAULTS = {
    "libGL": (LIBGL, "libgl1"),
    "libgthread": ("ImportError('libgthread-2.0.so.0: cannot open shared object file')", "libglib2.0-0"),
    "numpy": ("ImportError('numpy.core.multiarray failed to import')", "pip install --upgrade opencv-python numpy"),
    "numpy 2": ("AttributeError('_ARRAY_API not found')", "pip install --upgrade opencv-python numpy"),
    "none": ("ModuleNotFoundError('No module named cv2', name='cv2')", "pip install opencv-python (or"),
    "other": ("ImportError('bad magic')", "pip install --force-reinstall opencv-python"),
}


@pytest.fixture
def without(tmp_path):
    """Run code, or a command, where `import cv2` fails in a given way."""
    def run(fault, *command):
        (tmp_path / "nocv" / "cv2").mkdir(parents=True)
        (tmp_path / "nocv" / "cv2" / "__init__.py").write_text(f"raise {fault}\n")
        path = os.pathsep.join([str(tmp_path / "nocv"), str(Path(__file__).parents[2])])
        return subprocess.run([sys.executable, *command], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
                              text=True, check=False, cwd=tmp_path)

    return run


@pytest.mark.parametrize("name", FAULTS)
def test_loading_a_model_says_what_to_install(without, name):
    fault, advice = FAULTS[name]
    code = ("from matting_anything_core import MissingExtraError, load_model\n"
            "try: load_model('no such model')\nexcept MissingExtraError as error: print(error)")
    said = without(fault, "-c", code).stdout
    assert said.startswith("OpenCV (cv2) cannot be loaded here: ")
    assert advice in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", [
    ["matte", "no such picture.png", "--box", "1,1,5,5", "-o", "x.png"], ["demo"],
    ["evaluate", "folder", "--data", ".", "--against", "grabcut"], ["serve", "--port", "0"],
    ["batch", "photos", "-o", "out"],
])
def test_commands_end_in_one_line(without, tmp_path, command):
    (tmp_path / "photos").mkdir()
    for folder in ("photos", "images", "alphas"):
        (tmp_path / folder).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.zeros((40, 50, 3), np.uint8))
    done = without(LIBGL, "-m", "matting_anything_core.cli", *command)
    assert done.returncode > 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "opencv-python-headless" in done.stderr or "there is no file" in done.stderr


def test_everything_takes_opencv_from_one_place():
    """Where it is imported otherwise, its absence would be a traceback."""
    root = Path(__file__).parents[2] / "matting_anything_core"
    found = [str(path.relative_to(root)) for path in root.rglob("*.py")
             if any(line.strip().startswith(("import cv2", "from cv2")) for line in path.read_text().splitlines())]
    allowed = ("opencv.py", "image")  # image* tells it in its own words
    assert [path for path in found if not path.startswith(allowed)] == []


def test_help_needs_no_opencv(without):
    assert without(LIBGL, "-m", "matting_anything_core.cli", "matte", "--help").returncode == 0


def test_seeded_work_is_the_same_every_time_and_leaves_the_callers_numbers():
    def draw():
        return cv2.randu(np.zeros(4, np.float32), 0, 1).copy()

    cv2.setRNGSeed(5)
    first = draw()
    cv2.setRNGSeed(5)
    assert np.array_equal(seeded(draw), seeded(draw))
    assert np.array_equal(draw(), first)
    with pytest.raises(ZeroDivisionError):
        seeded(lambda: 1 / 0)
