"""The command on a small set, with the bundled model where the model takes part."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from matting_anything_core import Prompt, load_model
from matting_anything_core.cli import main
from matting_anything_core.evaluation.data import read_alpha
from matting_anything_core.evaluation.protocol import box_of
from matting_anything_core.evaluation.runner import as_saved


@pytest.fixture
def data(tmp_path, make_set):
    return make_set(tmp_path / "set", count=3).root


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("examples:", "him2k", "--against", "validation/original", "--box-jitter", "results.jsonl"):
        assert word in text


def test_the_model_beside_its_mask_and_grabcut(tmp_path, data, capsys):
    output = tmp_path / "out"
    assert main(["evaluate", "folder", "--data", str(data), "--output", str(output), "--device", "cpu", "--limit", "2",
                 "--against", "mask", "--against", "grabcut", "--instances", "--keep"]) == 0
    text = capsys.readouterr().out
    assert "pictures: 2 of 3 found" in text
    assert str(output / "report.html") in text
    report = json.loads((output / "report.json").read_text())
    lite, mask, grabcut = report["systems"]
    assert [lite["name"], mask["name"], grabcut["name"]] == ["lite", "lite mask", "grabcut"]
    kept = np.asarray(Image.open(output / "predictions" / "lite-mask" / "0.png"))
    assert set(np.unique(kept)) <= {0, 255}
    # What was measured is what the library gives for the true matte's box.
    model = load_model("lite", device="cpu")
    truth = read_alpha(data / "alphas" / "0.png")
    (wanted,) = model.matte(model.embed(data / "images" / "0.png"), [Prompt(box=box_of(truth))])
    kept = np.asarray(Image.open(output / "predictions" / "lite" / "0.png"))
    np.testing.assert_array_equal(kept, as_saved(wanted.alpha))
    errors = report["pictures"]["0"]["lite"]["errors"][0]["whole"]
    assert errors["mad"] == pytest.approx(1000 * np.abs(kept / 255 - truth).mean(), rel=1e-4)
    journal = (output / "results.jsonl").read_text()
    assert main(["evaluate", "folder", "--data", str(data), "--output", str(output), "--device", "cpu", "--limit", "2",
                 "--against", "mask", "--against", "grabcut", "--instances", "--keep"]) == 0
    assert (output / "results.jsonl").read_text() == journal


@pytest.mark.parametrize("prompt", [["--prompt", "point"], ["--box-jitter", "0.1", "--seed", "3"]])
def test_other_prompts(tmp_path, data, prompt, capsys):
    assert main(["evaluate", "folder", "--data", str(data), "--output", str(tmp_path / "out"), "--device", "cpu",
                 "--limit", "1", *prompt]) == 0
    assert ("point" if "point" in prompt else "moved by up to 10%, seed 3") in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "none"], "nobody is to be measured"),
    (["--model", "none", "--against", "mask"], "needs a --model"),
    (["--model", "none", "--against", "crystal-ball"], "there is no system"),
    (["--model", "none", "--against", "grabcut", "--prompt", "text"], "knows nothing of --prompt text"),
    (["--model", "none", "--against", "grabcut", "--box-jitter", "0.9"], "box jitter"),
])
def test_what_makes_no_sense_is_refused(tmp_path, data, capsys, arguments, message):
    assert main(["evaluate", "folder", "--data", str(data), "--output", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_files_stop_the_run_unless_allowed(tmp_path, data, capsys):
    (data / "alphas" / "1.png").unlink()
    command = ["evaluate", "folder", "--data", str(data), "--output", str(tmp_path / "out"), "--model", "none",
               "--against", "grabcut"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "1.png: no true matte" in error
    assert "--allow-missing" in error
    assert main([*command, "--allow-missing"]) == 0
    assert "no true matte" in (tmp_path / "out" / "report.html").read_text()


def test_pictures_that_had_to_be_left_out_show_in_the_exit_code(tmp_path, data, capsys):
    (data / "images" / "1.png").write_bytes(b"nothing")
    assert main(["evaluate", "folder", "--data", str(data), "--output", str(tmp_path / "out"), "--model", "none",
                 "--against", "grabcut"]) == 1
    assert "left out: " in capsys.readouterr().err


def test_words_that_the_data_does_not_have(tmp_path, data, capsys):
    assert main(["evaluate", "folder", "--data", str(data), "--output", str(tmp_path / "out"), "--device", "cpu",
                 "--prompt", "text"]) == 1
    assert "has no words" in capsys.readouterr().err


@pytest.mark.parametrize(("there", "status", "remedy"), [
    (False, 6, "[text]"), (True, 4, "weights fetch grounding-dino-tiny"),
], ids=["without transformers", "without weights"])
def test_words_need_their_extra_and_weights(tmp_path, data, capsys, monkeypatch, there, status, remedy):
    if there:
        pytest.importorskip("transformers")
    else:
        monkeypatch.setitem(sys.modules, "transformers", None)  # what a missing package looks like
    (data / "texts.json").write_text(json.dumps({"0": "a disc", "1": "a disc", "2": "a disc"}))
    assert main(["evaluate", "folder", "--data", str(data), "--output", str(tmp_path / "out"), "--device", "cpu",
                 "--prompt", "text"]) == status
    assert remedy in capsys.readouterr().err
