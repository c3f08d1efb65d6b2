"""Whole runs over folders: resuming, reports, the command, the systems."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from matting_anything_core import Prompt, load_model
from matting_anything_core.cli import main
from matting_anything_core.evaluation.clicks import Click, ClicksProtocol, Course, next_click, obeyed, truth_of
from matting_anything_core.evaluation.clicks_page import clicks_html
from matting_anything_core.evaluation.clicks_report import (
    clicks_json,
    clicks_markdown,
    falls_of,
    summarise_clicks,
)
from matting_anything_core.evaluation.clicks_runner import ClicksRun, evaluate_clicks, strip_name
from matting_anything_core.evaluation.clicks_systems import GrabCutClicks, ModelClicks
from matting_anything_core.evaluation.data import DataError, read_alpha, read_benchmark
from matting_anything_core.evaluation.journal import Journal
from matting_anything_core.evaluation.tasks import tasks_of

NASTY = "<img src=x onerror=alert(1)>|`*_"


def run(dataset, output, systems=None, protocol=None, **options):
    return evaluate_clicks(dataset, systems or [GrabCutClicks(iterations=1)],
                           protocol or ClicksProtocol("nothing", clicks=3), output, **options)


def without_times(report):
    content = clicks_json(report)
    for system in content["systems"]:
        system["first_seconds"] = system["click_seconds"] = 0
    for courses in content["objects"].values():
        for course in courses.values():
            course["first_seconds"], course["seconds"] = 0, [0 for _ in course["seconds"]]
    return content


# Resuming


def test_a_killed_run_goes_on_and_gives_the_same_report(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=5)
    program = """
import os, signal, sys
from pathlib import Path
from matting_anything_core.evaluation.clicks import ClicksProtocol
from matting_anything_core.evaluation.clicks_runner import evaluate_clicks
from matting_anything_core.evaluation.clicks_systems import GrabCutClicks
from matting_anything_core.evaluation.data import read_benchmark

def progress(name, share):
    if share >= 0.5:
        os.kill(os.getpid(), signal.SIGKILL)

root = Path(sys.argv[1])
evaluate_clicks(read_benchmark("folder", root / "set"), [GrabCutClicks(iterations=1)],
                ClicksProtocol("nothing", clicks=3), root / "killed", progress=progress)
"""
    if os.name == "nt":
        pytest.skip("no SIGKILL")
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False,
                           env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert ended.returncode == -signal.SIGKILL
    path = tmp_path / "killed" / "clicks.jsonl"
    noted = len(Journal(path).read())
    assert noted == 2
    with path.open("ab") as stream:
        stream.write(b'{"key": "half a li')
    seen = []
    resumed = run(dataset, tmp_path / "killed", progress=lambda name, share: seen.append((name, share)))
    assert {name for name, _ in seen} == {"2", "3", "4", "done"}
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    assert seen[0][1] == pytest.approx(0.4)
    assert seen[-1] == ("done", 1.0)
    whole = run(dataset, tmp_path / "whole")
    assert without_times(summarise_clicks(resumed)) == without_times(summarise_clicks(whole))
    assert len(path.read_text().splitlines()) == 5
    assert clicks_html(summarise_clicks(resumed)).count("<img") == 5


def test_other_settings_are_measured_anew_and_the_same_ones_only_when_asked(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=2)
    path = tmp_path / "out" / "clicks.jsonl"

    def count(**options):
        run(dataset, tmp_path / "out", **options)
        return len(path.read_text().splitlines())

    assert count() == 2
    assert count() == 2
    assert count(protocol=ClicksProtocol("nothing", clicks=2)) == 4
    assert count(protocol=ClicksProtocol("box", clicks=3)) == 6
    assert count(systems=[GrabCutClicks(iterations=1, radius=2)]) == 8
    assert count(anew=True) == 10
    assert count() == 10


def test_a_limit_spreads_over_the_folder_and_results_of_others_are_left_out(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=6)
    whole = run(dataset, tmp_path / "out")
    some = run(dataset, tmp_path / "out", limit=2)
    assert some.tasks == ("0", "3")
    assert set(some.courses["grabcut"]) == {"0", "3"}
    assert some.courses["grabcut"]["3"] == whole.courses["grabcut"]["3"]


def test_every_object_of_an_image_is_a_task_of_its_own(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=2, instances=2)
    assert [task.name for task in tasks_of(dataset)] == ["0/00", "0/01", "1/00", "1/01"]
    result = run(dataset, tmp_path / "out")
    assert set(result.courses["grabcut"]) == {"0/00", "0/01", "1/00", "1/01"}
    first, second = (result.courses["grabcut"][name].clicks[0] for name in ("0/00", "0/01"))
    assert first.x < 32 < second.x


def test_what_cannot_be_read_is_left_out_for_all_and_said(tmp_path, make_set, save):
    make_set(tmp_path / "set", count=4)
    (tmp_path / "set" / "images" / "0.png").write_bytes(b"nothing")
    save(tmp_path / "set" / "alphas" / "1.png", np.zeros((48, 64)))
    save(tmp_path / "set" / "alphas" / "2.png", np.full((40, 64), 255))
    result = run(read_benchmark("folder", tmp_path / "set"), tmp_path / "out")
    assert set(result.courses["grabcut"]) == {"3"}
    assert len(result.problems) == 3
    for problem, said in zip(result.problems, ("0.png cannot be read", "nothing above one half", "64x40 pixels"),
                             strict=True):
        assert said in problem
    report = summarise_clicks(result)
    assert "1.png: the truth has nothing above one half" in clicks_html(report)


def test_two_systems_of_one_name_are_refused(tmp_path, make_set):
    with pytest.raises(DataError, match="same name"):
        run(make_set(tmp_path / "set", count=1), tmp_path / "out", systems=[GrabCutClicks(), GrabCutClicks(radius=2)])


# Reports


def course(iou, *, discs=None, newest=None, mad=None, label=0):
    made = len(iou) - 1
    return Course(tuple(iou), mad, tuple(Click(index, 1, label) for index in range(made)),
                  tuple(discs or range(1, made + 1)), tuple(discs or range(1, made + 1)),
                  tuple(newest or (True,) * made), 2.0, (0.5,) * made)


def made_run(courses, dataset, output, **protocol):
    tasks = tuple(next(iter(courses.values())))
    return ClicksRun(dataset, ClicksProtocol(**{"clicks": 4, **protocol}), tuple(courses), tasks, courses,
                     output=output)


def test_the_numbers_of_a_report_by_hand(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=1)
    courses = {"ours": {
        "a": course([0.8, 0.88, 0.91, 0.9, 0.96], discs=(1, 1, 2, 3), newest=(True, False, True, True)),
        "b": course([0.9, 0.896, 1.0]),  # nothing was wrong any more
    }}
    [summary] = summarise_clicks(made_run(courses, dataset, tmp_path)).systems
    assert summary.iou == pytest.approx((0.85, 0.888, 0.955, 0.95, 0.98))
    assert summary.noc == pytest.approx(((1 + 0) / 2, (2 + 0) / 2, (4 + 2) / 2))
    assert summary.never == (0, 0, 0)
    assert summary.clicks == 6
    assert summary.obeyed == pytest.approx((1 + 1 + 2 + 3 + 1 + 2) / (1 + 2 + 3 + 4 + 1 + 2))
    assert summary.obeyed_newest == pytest.approx(5 / 6)
    assert summary.obeyed_last == pytest.approx((3 + 2) / 6)
    assert summary.harmed == pytest.approx((2 / 6, 0))
    assert summary.fall == pytest.approx((0.01 + 0.004) / 2)
    assert summary.worst_fall == pytest.approx(0.01)
    assert (summary.first_seconds, summary.click_seconds) == (2.0, 0.5)
    assert summary.mad == ()


def test_the_first_click_from_nothing_harms_nothing_and_noc_starts_at_one():
    falling = course([0.0, 0.9, 0.85, 0.85])
    assert falls_of(falling, ClicksProtocol("nothing")) == pytest.approx([0.05, 0.0])
    assert falls_of(replace(falling, iou=(0.95, 0.9, 0.85, 0.85)), ClicksProtocol("box")) == \
        pytest.approx([0.05, 0.05, 0.0])


def test_the_worst_are_those_of_the_first_system(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=1)
    courses = {
        "ours": {"a": course([0.8, 0.9]), "b": course([0.9, 0.7]), "c": course([0.1, 0.2])},
        "theirs": {"a": course([0.8, 0.1]), "b": course([0.9, 0.9]), "c": course([0.1, 0.9])},
    }
    report = summarise_clicks(made_run(courses, dataset, tmp_path), shown=2)
    assert report.worst == ("c", "b")
    assert report.harmed == ("b",)


def test_only_objects_that_every_system_has_are_counted(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=1)
    courses = {"ours": {"a": course([0.8, 0.9]), "b": course([0.1, 0.1])}, "theirs": {"a": course([0.8, 0.1])}}
    report = summarise_clicks(made_run(courses, dataset, tmp_path))
    assert report.tasks == ("a",)
    assert report.systems[0].iou[1] == 0.9
    empty = summarise_clicks(made_run({"ours": {}}, dataset, tmp_path))
    assert "No object could be evaluated" in clicks_html(empty)
    assert clicks_json(empty)["systems"] == []
    assert clicks_markdown(empty)


def test_others_numbers_stand_beside_ours_from_nothing_only(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=1)
    nothing = summarise_clicks(made_run({"ours": {"a": course([0, 0.9])}}, dataset, tmp_path, start="nothing"))
    box = summarise_clicks(made_run({"ours": {"a": course([0.8, 0.9])}}, dataset, tmp_path))
    for render in (clicks_html, clicks_markdown):
        assert "SAM, ViT-H" in render(nothing)
        assert "easured by others" in render(nothing)
        assert "arXiv 2405.18706" in render(nothing)
        assert "SAM, ViT-H" not in render(box)
    assert all(number["source"] for number in clicks_json(nothing)["published"])


def test_names_are_escaped_everywhere(tmp_path, make_set):
    dataset = make_set(tmp_path / "set", count=1)
    courses = {NASTY: {NASTY: course([0.1, 0.05])}}
    report = summarise_clicks(made_run(courses, dataset, tmp_path))
    assert "<img src=x" not in clicks_html(report)
    assert "<img src=x" not in clicks_markdown(report)
    for line in clicks_markdown(report).splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3


def test_a_strip_shows_every_turn_of_a_short_course(tmp_path, make_set):
    result = run(make_set(tmp_path / "set", count=1), tmp_path / "out")
    made = len(result.courses["grabcut"]["0"].clicks)
    with Image.open(tmp_path / "out" / "strips" / strip_name("grabcut", "0")) as opened:
        assert opened.size == (64 * (made + 1), 48)
    page = clicks_html(summarise_clicks(result))
    assert f"repeat({made + 1},minmax(0,1fr))" in page


def test_a_strip_of_many_clicks_shows_the_first_ones_and_the_last(tmp_path, make_set):
    result = run(make_set(tmp_path / "set", count=1), tmp_path / "out", protocol=ClicksProtocol("nothing", clicks=15),
                 systems=[GrabCutClicks(iterations=1, radius=0)])
    assert len(result.courses["grabcut"]["0"].clicks) == 15
    with Image.open(tmp_path / "out" / "strips" / strip_name("grabcut", "0")) as opened:
        assert opened.size == (64 * 10, 48)
    page = clicks_html(summarise_clicks(result))
    assert "repeat(10,minmax(0,1fr))" in page
    assert re.search(r"<span>15: 0\.\d+", page)
    assert not re.search(r"<span>9: 0\.\d+", page)


# Systems


def test_grabcut_obeys_its_seeds_and_goes_on_from_its_result(disc):
    alpha = disc(32, 24, 14)
    generator = np.random.default_rng(0)
    image = np.where(alpha[..., None] > 0.5, [220, 140, 40], [40, 70, 150]) + generator.normal(0, 12, (48, 64, 3))
    image = np.clip(image, 0, 255).astype(np.uint8)
    system = GrabCutClicks()
    turn = system.start(image, None)
    assert not turn.alpha.any()
    turn = system.click(turn, (32.5, 24.5), 1)
    assert turn.alpha[24, 32] == 1
    kept = turn.alpha.copy()
    other = system.click(turn, (10.5, 24.5), 1)  # wrong on purpose: a seed holds whatever the colours say
    back = system.click(other, (10.5, 24.5), 0)
    np.testing.assert_array_equal(turn.alpha, kept)  # turns are values
    assert obeyed(other.alpha, [Click(32, 24, 1), Click(10, 24, 1)]) == [(True, True)] * 2
    assert obeyed(back.alpha, [Click(32, 24, 1), Click(10, 24, 0)]) == [(True, True)] * 2
    box = system.start(image, (16.0, 8.0, 48.0, 40.0))
    assert not box.alpha[:, :16].any()
    truth = truth_of((alpha > 0.5).astype(np.float32))
    assert next_click(box.alpha, truth) is None or box.alpha[24, 32] == 1


@pytest.mark.filterwarnings("ignore:GrabCut failed")
@pytest.mark.parametrize("box", [None, (0.0, 0.0, 64.0, 48.0), (5.0, 5.0, 6.0, 6.0)])
def test_grabcut_copes_with_images_of_one_colour(box):
    system = GrabCutClicks()
    turn = system.start(np.full((48, 64, 3), 90, np.uint8), box)
    for point, label in (((63.5, 47.5), 1), ((0.5, 0.5), 0), ((5.5, 5.5), 1)):
        turn = system.click(turn, point, label)
        assert turn.alpha[int(point[1]), int(point[0])] == label


def test_grabcut_cuts_large_images_at_a_smaller_size():
    image = np.random.default_rng(0).integers(0, 255, (90, 60, 3), np.uint8)
    turn = GrabCutClicks(longest=30).start(image, (10.0, 20.0, 40.0, 70.0))
    turn = GrabCutClicks(longest=30).click(turn, (59.5, 89.5), 1)
    assert turn.alpha.shape == (90, 60)
    assert set(np.unique(turn.alpha)) <= {0.0, 1.0}
    assert turn.alpha[89, 59] == 1


@pytest.fixture(scope="module")
def lite():
    return load_model("lite", device="cpu")


def test_the_model_starts_from_its_matte_of_the_box_and_hears_every_click(lite, tmp_path, make_set):
    make_set(tmp_path / "set", count=1)
    image = np.asarray(Image.open(tmp_path / "set" / "images" / "0.png").convert("RGB"))
    system = ModelClicks("lite", lite)
    embedding = lite.embed(image)
    turn = system.start(image, (8.0, 14.0, 28.0, 34.0))
    [expected] = lite.matte(embedding, Prompt(box=(8.0, 14.0, 28.0, 34.0)))
    np.testing.assert_array_equal(turn.alpha, expected.alpha)
    nothing = system.start(image, None)
    assert not nothing.alpha.any()
    [expected] = lite.matte(embedding, Prompt(points=[(18.5, 24.5)], labels=[1]))
    first = system.click(nothing, (18.5, 24.5), 1)
    np.testing.assert_array_equal(first.alpha, expected.alpha)
    assert system.click(first, (50.5, 10.5), 0).alpha.shape == (48, 64)
    mask = system.as_mask()
    assert mask.name == "lite mask"
    assert set(np.unique(mask.start(image, (8.0, 14.0, 28.0, 34.0)).alpha)) <= {0.0, 1.0}
    assert mask.settings != system.settings


# The command


def test_the_command_measures_the_model_beside_grabcut(tmp_path, make_set, capsys):
    data = make_set(tmp_path / "set", count=3).root
    command = ["evaluate", "clicks", "--data", str(data), "--output", str(tmp_path / "out"), "--device", "cpu",
               "--limit", "2", "--clicks", "2", "--against", "grabcut", "--against", "mask"]
    assert main(command) == 0
    text = capsys.readouterr().out
    for line in ("objects: 2 of 2 asked for", "mean IoU after 2", "NoC@90 (cap 2; never)", "alpha error",
                 str(tmp_path / "out" / "report.html")):
        assert line in text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [system["name"] for system in report["systems"]] == ["lite", "lite mask", "grabcut"]
    # What the report says of the start is what the library gives for the true box.
    truth = truth_of(read_alpha(data / "alphas" / "0.png"))
    model = load_model("lite", device="cpu")
    [matte] = model.matte(model.embed(data / "images" / "0.png"), Prompt(box=truth.box))
    assert report["objects"]["0"]["lite"]["mad"][0] == \
        pytest.approx(1000 * np.abs(matte.alpha - truth.alpha).mean(), rel=1e-4)
    noted = (tmp_path / "out" / "clicks.jsonl").read_text()
    assert main([*command, "--verbose"]) == 0
    assert (tmp_path / "out" / "clicks.jsonl").read_text() == noted
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "http" not in re.sub(r"http://www.w3.org/\S+", "", page)  # nothing is loaded from elsewhere


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "clicks", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("examples:", "--from", "NoC", "masks/NAME.png", "clicks.jsonl", "128"):
        assert word in text
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "clicks" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "none"], "nobody is to be measured"),
    (["--model", "none", "--against", "mask"], "needs a --model"),
    (["--data", "nowhere"], "is no folder"),
])
def test_what_makes_no_sense_is_refused(tmp_path, make_set, capsys, arguments, message):
    data = make_set(tmp_path / "set", count=1).root
    assert main(["evaluate", "clicks", "--data", str(data), "--output", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [
    ["--clicks", "0"], ["--clicks", "101"], ["--clicks", "many"], ["--from", "mask"], ["--ignored", "300"],
    ["--ignored", "-1"], ["--against", "crystal-ball"], ["--limit", "0"],
])
def test_arguments_out_of_range_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "clicks", "--data", "x", *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_objects_left_out_show_in_the_exit_code(tmp_path, make_set, capsys):
    data = make_set(tmp_path / "set", count=2).root
    (data / "images" / "1.png").write_bytes(b"nothing")
    assert main(["evaluate", "clicks", "--data", str(data), "--output", str(tmp_path / "out"), "--model", "none",
                 "--against", "grabcut", "--clicks", "1"]) == 1
    assert "left out: " in capsys.readouterr().err
