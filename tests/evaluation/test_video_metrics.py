"""Errors of clips: against numbers worked out by hand, and the command on a folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from matting_anything_core import write_image
from matting_anything_core.cli import main
from matting_anything_core.evaluation.video_metrics import boundary_agreement, measure_clip, messddt, region_agreement


def _clip(count: int = 3):
    rgb = np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8)
    truth = np.zeros((32, 40), np.float32)
    truth[8:24, 10:30] = 1
    return [(truth.copy(), truth, rgb) for _ in range(count)]


def test_a_perfect_clip_has_no_error():
    errors = measure_clip(_clip())
    assert (errors.mad, errors.mse, errors.dtssd, errors.messddt, errors.grad, errors.conn) == (0, 0, 0, 0, 0, 0)
    assert (errors.j, errors.f, errors.jf, errors.frames) == (1, 1, 1, 3)


def test_shimmer_counts_over_time_and_a_steady_error_does_not():
    steady, shimmer = _clip(), _clip()
    for index in range(3):
        steady[index][0][0, :10] = 0.5
        shimmer[index][0][0, :10] = 0.5 if index % 2 else 0
    still, moved = measure_clip(steady), measure_clip(shimmer)
    assert still.mad == pytest.approx(1000 * 5 / 1280)
    assert still.dtssd == 0
    assert moved.dtssd == pytest.approx(100 * np.sqrt(10 * 0.25 / 1280))
    assert moved.messddt > 0
    assert still.messddt < moved.messddt


def test_messddt_follows_the_motion():
    """An error that moves along with the object is steady."""
    truth = np.zeros((20, 30), np.float32)
    before, alpha = truth.copy(), truth.copy()
    before[5, 5], alpha[5, 8] = 0.5, 0.5
    back = np.zeros((20, 30, 2), np.float32)
    assert messddt(before, alpha, truth, truth, back) == pytest.approx(1000 * 2 * 0.25 / 600)
    back[..., 0] = -3
    assert messddt(before, alpha, truth, truth, back) == pytest.approx(0, abs=1e-4)


def test_regions_and_boundaries():
    one, other = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    one[10:30, 10:30] = True
    other[10:30, 20:40] = True
    assert region_agreement(one, other) == pytest.approx(200 / 600)
    assert boundary_agreement(one, one) == 1
    assert 0 < boundary_agreement(one, other) < 1
    nothing = np.zeros((60, 80), bool)
    assert (region_agreement(nothing, nothing), boundary_agreement(nothing, nothing)) == (1, 1)
    assert (region_agreement(one, nothing), boundary_agreement(one, nothing)) == (0, 0)


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="no frames"):
        measure_clip([])


def test_the_command_measures_mattes_made_elsewhere_and_goes_on(tmp_path, capsys):
    data = tmp_path / "clips"
    for name in ("one", "two"):
        for part in ("frames", "alphas", "theirs"):
            place = tmp_path / "theirs" / name if part == "theirs" else data / name / part
            place.mkdir(parents=True)
            for index, (alpha, _, rgb) in enumerate(_clip()):
                write_image(place / f"{index}.png", rgb if part == "frames" else alpha)
    command = ["evaluate", "video", "--data", str(data), "--model", "none", "--against",
               f"folder:{tmp_path / 'theirs'}", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    assert "1.000" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "video.json").read_text())
    [clips] = found.values()
    assert {name: errors["mad"] for name, errors in clips.items()} == {"one": 0, "two": 0}
    write_image(tmp_path / "theirs" / "one" / "0.png", np.ones((32, 40), np.float32))
    assert main(command) == 0  # noted already
    assert json.loads((tmp_path / "out" / "video.json").read_text()) == found
    assert main([*command, "--anew"]) == 0
    assert json.loads((tmp_path / "out" / "video.json").read_text()) != found


def test_missing_mattes_are_told(tmp_path, capsys):
    (tmp_path / "c" / "frames").mkdir(parents=True)
    (tmp_path / "c" / "alphas").mkdir()
    write_image(tmp_path / "c" / "frames" / "1.png", np.zeros((8, 8, 3), np.uint8))
    write_image(tmp_path / "c" / "alphas" / "2.png", np.zeros((8, 8), np.uint8))
    assert main(["evaluate", "video", "--data", str(tmp_path), "--model", "none", "--against", "folder:x"]) == 2
    assert "nothing for 1.png" in capsys.readouterr().err
