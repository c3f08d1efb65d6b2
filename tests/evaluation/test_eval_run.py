from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from matting_anything_core import MissingExtraError
from matting_anything_core.evaluation.data import DataError, read_benchmark
from matting_anything_core.evaluation.journal import Journal
from matting_anything_core.evaluation.page import as_html
from matting_anything_core.evaluation.protocol import PROTOCOLS
from matting_anything_core.evaluation.report import as_json, as_markdown, summarise, write_reports
from matting_anything_core.evaluation.runner import Options, evaluate, spread, with_overrides
from matting_anything_core.evaluation.systems import FolderSystem, GrabCut

NASTY = "<img src=x onerror=alert(1)>|`*_"


def without_times(report):
    content = as_json(report)
    for system in content["systems"]:
        system["seconds"] = 0
    for systems in content["pictures"].values():
        for result in systems.values():
            result["seconds"] = 0
    return content


def run(dataset, output, systems=None, options=None, progress=None, **changes):
    protocol = with_overrides(PROTOCOLS["folder"], **changes)
    return evaluate(dataset, systems or [GrabCut()], protocol, output, options, progress)


# Resuming


class Stop(Exception):
    pass


def stopper(after):
    seen = []

    def progress(name, share):
        seen.append((name, share))
        if len(seen) > after:
            raise Stop

    return progress, seen


def test_a_stopped_and_resumed_run_gives_the_same_report(tmp_path, make_set):
    dataset = make_set(tmp_path / "set")
    whole = summarise(run(dataset, tmp_path / "whole"))
    progress, _ = stopper(3)
    with pytest.raises(Stop):
        run(dataset, tmp_path / "parts", progress=progress)
    journal = Journal(tmp_path / "parts" / "results.jsonl")
    noted = len(journal.read())
    assert 1 <= noted < 6
    progress, seen = stopper(99)
    resumed = summarise(run(dataset, tmp_path / "parts", progress=progress))
    assert len(seen) == 6 - noted + 1  # what is noted is not done again; and the last call says it is done
    assert seen[-1] == ("done", 1.0)
    assert len(journal.read()) == 6
    assert without_times(resumed) == without_times(whole)
    assert as_html(resumed).count("<img") == as_html(whole).count("<img") > 0


KILLED = """
import os, signal, sys
from pathlib import Path
from matting_anything_core.evaluation.data import read_benchmark
from matting_anything_core.evaluation.protocol import PROTOCOLS
from matting_anything_core.evaluation.runner import evaluate
from matting_anything_core.evaluation.systems import GrabCut

def progress(name, share):
    if share >= 0.5:
        os.kill(os.getpid(), signal.SIGKILL)

root = Path(sys.argv[1])
evaluate(read_benchmark("folder", root / "set"), [GrabCut()], PROTOCOLS["folder"], root / "killed", None, progress)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_run_with_a_torn_line_gives_the_same_report(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=8)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False,
                           env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert ended.returncode == -signal.SIGKILL
    path = tmp_path / "killed" / "results.jsonl"
    noted = Journal(path).read()
    assert 0 < len(noted) < 8
    with path.open("ab") as stream:
        stream.write(b'{"key": "half a li')
    assert Journal(path).read() == noted
    resumed = summarise(run(dataset, tmp_path / "killed"))
    assert without_times(resumed) == without_times(summarise(run(dataset, tmp_path / "whole")))
    assert len(path.read_text().splitlines()) == 8


def test_changed_settings_are_measured_anew_and_old_results_stay(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=2)
    first = summarise(run(dataset, tmp_path / "out"))
    jittered = summarise(run(dataset, tmp_path / "out", box_jitter=0.3))
    assert jittered.systems[0].values != first.systems[0].values
    progress, seen = stopper(99)
    again = summarise(run(dataset, tmp_path / "out", progress=progress))
    assert seen == [("done", 1.0)]
    assert without_times(again) == without_times(first)
    other = run(dataset, tmp_path / "out", systems=[GrabCut(iterations=1)])
    assert len(Journal(tmp_path / "out" / "results.jsonl").read()) == 6
    assert set(other.records["grabcut"]) == {"0", "1"}


def test_a_damaged_journal_is_told_by_line(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    with pytest.raises(DataError, match="line 2"):
        Journal(path).read()


# What is measured


def test_limit_is_spread_over_the_set_and_workers_change_nothing(tmp_path, make_set):
    dataset = make_set(tmp_path / "set")
    assert [sample.name for sample in spread(dataset.samples, 3)] == ["0", "2", "4"]
    assert spread(dataset.samples, 99) == dataset.samples
    one = summarise(run(dataset, tmp_path / "one", options=Options(limit=4, workers=1)))
    many = summarise(run(dataset, tmp_path / "many", options=Options(limit=4, workers=5)))
    assert len(one.pictures) == 4
    assert without_times(one) == without_times(many)


def test_kept_predictions_measure_the_same_when_read_back(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=3, instances=2)
    kept = run(dataset, tmp_path / "out", options=Options(keep=True), instances=True)
    folder = tmp_path / "out" / "predictions" / "grabcut"
    assert sorted(path.name for path in (folder / "0").iterdir()) == ["00.png", "01.png"]
    again = run(dataset, tmp_path / "again", systems=[FolderSystem(folder)], instances=True)
    assert summarise(again).systems[0].values == summarise(kept).systems[0].values
    # Asked for later, they are made although the numbers are there.
    run(dataset, tmp_path / "out", systems=[GrabCut(iterations=2)], instances=True)
    (folder / "1" / "00.png").unlink()
    run(dataset, tmp_path / "out", options=Options(keep=True), instances=True)
    assert (folder / "1" / "00.png").exists()


def test_a_missing_prediction_counts_as_empty_and_reference_leaves_it_out(tmp_path, make_set, save):
    dataset = make_set(tmp_path / "set", count=2)
    save(tmp_path / "theirs" / "0.png", np.asarray(Image.open(dataset.samples[0].alphas[0])))
    system = FolderSystem(tmp_path / "theirs")
    counted = summarise(run(dataset, tmp_path / "a", systems=[system], instances=True)).systems[0]
    assert counted.missing == 1
    alpha = np.asarray(Image.open(dataset.samples[1].alphas[0])) / 255
    assert counted.values["MAD"] == pytest.approx(1000 * alpha.mean() / 2, rel=1e-5)
    assert counted.values["IMQ iou"] == pytest.approx(100 / 1.5)
    skipped = summarise(run(dataset, tmp_path / "b", systems=[system], instances=True, reference=True)).systems[0]
    assert skipped.values["MAD"] == 0
    assert skipped.values["IMQ iou"] == pytest.approx(100, rel=1e-5)


def test_several_instances_and_imq(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=2, instances=2)
    summary = summarise(run(dataset, tmp_path / "out", instances=True)).systems[0]
    assert 50 < summary.values["IMQ iou"] <= 100
    record = run(dataset, tmp_path / "out", instances=True).records["grabcut"]["0"]
    assert len(record["errors"]) == 2
    assert record["matches"]["truths"] == 2


def test_pictures_that_cannot_be_read_are_left_out_by_name_and_tried_again(tmp_path, make_set, save):
    dataset = make_set(tmp_path / "set", count=3)
    good = dataset.samples[1].alphas[0].read_bytes()
    dataset.samples[1].alphas[0].write_bytes(b"torn")
    save(tmp_path / "set" / "alphas" / "2.png", np.zeros((5, 5)))
    result = run(dataset, tmp_path / "out")
    assert len(result.problems) == 2
    assert "1.png cannot be read" in result.problems[0]
    assert "2.png is 5x5 pixels" in result.problems[1]
    report = summarise(result)
    assert report.pictures == ("0",)
    assert "Left out (2)" in as_markdown(report)
    dataset.samples[1].alphas[0].write_bytes(good)
    assert summarise(run(dataset, tmp_path / "out")).pictures == ("0", "1")


def test_two_systems_of_one_name_are_refused(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=1)
    with pytest.raises(DataError, match="same name"):
        run(dataset, tmp_path / "out", systems=[GrabCut(), GrabCut(iterations=2)])


# The report


def test_the_report_orders_pictures_and_compares_systems(tmp_path, make_set, save):
    dataset = make_set(tmp_path / "set")
    for index, sample in enumerate(dataset.samples):
        alpha = np.array(Image.open(sample.alphas[0]))
        save(tmp_path / "exact" / f"{sample.name}.png", alpha)
        alpha[:index] = 255
        save(tmp_path / "worse" / f"{sample.name}.png", alpha)
    systems = [FolderSystem(tmp_path / "worse"), FolderSystem(tmp_path / "exact")]
    report = summarise(run(dataset, tmp_path / "out", systems=systems), shown=2)
    assert report.worst == ("5", "4")
    assert report.best == ("0", "1")
    assert report.lost == ("5",)
    assert report.systems[0].wins is None
    assert report.systems[1].wins == 0  # "0" is a draw, the others are worse
    assert report.systems[1].values["MAD"] == 0
    markdown = as_markdown(report)
    assert "| folder:exact | **0.00** |" in markdown
    assert "0 of 6" in markdown
    paths = write_reports(report, as_html)
    assert [path.name for path in paths] == ["report.md", "report.json", "report.html"]
    assert json.loads(paths[1].read_text())["systems"][1]["values"]["SAD"] == 0
    assert not list((tmp_path / "out").glob(".*part"))


def test_names_are_escaped_in_page_and_markdown(tmp_path, save, disc):
    name = NASTY.replace("|", "") if os.name == "nt" else NASTY
    save(tmp_path / "set" / "images" / f"{name}.png", np.full((20, 20, 3), 90))
    save(tmp_path / "set" / "alphas" / f"{name}.png", 255 * disc(10, 10, 5, (20, 20)))
    dataset = read_benchmark("folder", tmp_path / "set")
    (tmp_path / "set" / "alphas").joinpath(f"{name}.png").read_bytes()
    save(tmp_path / "<b>their&s" / f"{name}.png", np.zeros((20, 20)))
    report = summarise(run(dataset, tmp_path / "out", systems=[FolderSystem(tmp_path / "<b>their&s")]))
    page = as_html(report)
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img src=x" not in page
    assert "<b>" not in page
    assert "src=\"http" not in page
    markdown = as_markdown(report)
    assert "<img" not in markdown
    assert "\\`\\*\\_" in markdown


def test_published_numbers_stand_beside_with_their_source(tmp_path, save, disc):
    root = tmp_path / "HIM2K"
    save(root / "images/natural/a.png", np.full((20, 20, 3), 90))
    save(root / "alphas/natural/a/00.png", 255 * disc(10, 10, 5, (20, 20)))
    result = evaluate(read_benchmark("him2k", root), [GrabCut()], PROTOCOLS["him2k"], tmp_path / "out")
    report = summarise(result)
    for text in (as_markdown(report), as_html(report)):
        assert "68.37" in text
        assert "arXiv 2306.05399" in text
        assert "1 of 1 found (320 published)" in text
    assert "IMQ mad" in report.systems[0].values


def test_a_run_in_which_nothing_worked_still_reports(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=1)
    dataset.samples[0].image.write_bytes(b"")
    report = summarise(run(dataset, tmp_path / "out"))
    assert report.pictures == ()
    assert "No picture could be evaluated" in as_html(report)
    assert "Left out (1)" in as_markdown(report)


def test_a_run_that_will_match_instances_needs_scipy_from_the_start(tmp_path, make_set, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    dataset = make_set(tmp_path / "set", count=1)
    with pytest.raises(MissingExtraError, match="SciPy"):
        run(dataset, tmp_path / "out", instances=True)
    assert not (tmp_path / "out").exists()
    assert run(dataset, tmp_path / "out").records["grabcut"]
