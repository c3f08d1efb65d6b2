from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from matting_anything_core.benchmark import FIRST, SECOND, Job, Measured, measure, subject_logits, table
from matting_anything_core.cli import main
from matting_anything_core.errors import MattingError
from matting_anything_core.geometry import Fit


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(path)
    return path


def test_one_run_prints_both_paths_and_writes_numbers(picture, tmp_path, capsys):
    out = tmp_path / "times.json"
    arguments = ["benchmark", "--model", "lite", "--rounds", "1", "--threads", "1", "--image", str(picture),
                 "--json", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for line in ("encode", "decode", "alpha", "first prompt", "second prompt", "whole matte()", "peak memory"):
        assert line in printed
    numbers = json.loads(out.read_text())["lite"]
    own = (*FIRST, "matte", "foreground"), (*SECOND, "matte")
    for way, first, second in (("plain", FIRST, SECOND), ("exact", *own)):
        assert all(numbers[way]["first"][stage] > 0 for stage in first)
        assert all(numbers[way]["second"][stage] > 0 for stage in second)
        assert 5e7 < numbers[way]["peak"] < 1e10


def test_a_model_that_is_not_there_is_refused_with_what_to_do(picture, capsys):
    assert main(["benchmark", "--model", "vit_b", "--image", str(picture)]) == 4
    assert "--random-weights" in capsys.readouterr().err


def test_a_failing_process_is_an_error_with_its_last_line(picture):
    job = Job("no-such-model", "exact", str(picture), (1, 1, 50, 50), 1)
    with pytest.raises(MattingError, match="no-such-model"):
        measure(job)


def test_tables_hold_ratios_and_tell_what_is_unknown():
    plain = Measured({"encode": 2.0, "decode": 1.0, "alpha": 5.0}, {"decode": 1.0, "alpha": 4.0}, 400)
    exact = Measured({"encode": 1.0, "decode": 1.0, "alpha": 2.0}, {"decode": 0.25, "alpha": 0.25}, None)
    lines = {" ".join(line.split()[:2]): line for line in table("x", plain, exact)}
    assert lines["first prompt"].endswith("0.50x")
    assert lines["second prompt,"].endswith("0.10x")
    assert lines["whole matte(),"].endswith("-")
    assert lines["peak memory"].endswith("-")
    assert plain.better(Measured(dict(plain.first, encode=1.5), plain.second, 300)).first["encode"] == 1.5


def test_the_subject_is_an_ellipse_in_its_box():
    logits = subject_logits((20, 10, 60, 50), Fit(100, 200, 400))[0]
    rows, columns = (logits > 0).nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 24, 10, 29)
    assert float((logits > 0).sum()) == pytest.approx(np.pi * 10 * 10, rel=0.03)
