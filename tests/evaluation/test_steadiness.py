"""Steadiness: changes that should not matter, brought back and compared."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from matting_anything_core.cli import main
from matting_anything_core.evaluation.data import DataError, read_alpha, read_benchmark
from matting_anything_core.evaluation.steadiness import (
    SteadinessProtocol,
    agreement,
    changes,
    evaluate_steadiness,
    limit_of,
)
from matting_anything_core.evaluation.steadiness_report import (
    steadiness_html,
    steadiness_json,
    steadiness_markdown,
    summarise_steadiness,
)
from matting_anything_core.evaluation.systems import GrabCut

NASTY = "<img src=x onerror=alert(1)>"
NAMES = ["jitter 1", "jitter 2", "jitter 3", "padding", "mirror left-right", "mirror top-bottom", "scale 0.5",
         "scale 2", "gray", "own mask"]


class Bright:
    """Takes what is bright inside of the box or mask, wherever the image went: as steady as can be. `weak` to one
    change: whatever comes with an image of that shape is empty."""

    def __init__(self, weak=None, name="bright", takes_masks=True):
        self.weak, self.name, self.takes_masks = weak, name, takes_masks

    @property
    def settings(self):
        return {"weak": self.weak, "name": self.name}

    def predict(self, sample, image, prompts):
        from matting_anything_core import PromptError

        if image.shape[:2] == self.weak:
            return [np.zeros(image.shape[:2], np.float32) for _ in prompts]
        result = []
        for prompt in prompts:
            inside = np.zeros(image.shape[:2], bool)
            if prompt.mask is not None:
                if not self.takes_masks:
                    raise PromptError("no masks")
                inside[:] = prompt.mask
            else:
                x0, y0, x1, y1 = (round(value) for value in prompt.box)
                inside[max(y0, 0):y1, max(x0, 0):x1] = True
            result.append((inside & (image.mean(axis=2) > 128)).astype(np.float32))
        return result


@pytest.fixture
def bright(tmp_path, save):
    """Two bright rectangles on dark ground, at the sides of images of odd size."""
    for index, box in enumerate([(10, 6, 40, 30), (0, 12, 21, 45)]):
        found = np.zeros((45, 61))
        found[box[1]:box[3], box[0]:box[2]] = 255
        save(tmp_path / "set" / "images" / f"{index}.png", np.stack([0.8 * found + 20] * 3, axis=2))
        save(tmp_path / "set" / "masks" / f"{index}.png", found)
    return read_benchmark("folder", tmp_path / "set")


def test_what_only_moves_with_the_image_is_steady(tmp_path, bright):
    run = evaluate_steadiness(bright, [Bright()], SteadinessProtocol(jitter=0), tmp_path / "out")
    for answers in run.answers["bright"].values():
        assert [answer.change for answer in answers] == NAMES
        found = {answer.change: answer.agreement for answer in answers}
        assert found.pop("scale 0.5") > 0.9  # half the resolution of an odd size cannot agree exactly
        assert set(found.values()) == {1.0}
    assert run.iou["bright"] == {"0": 1.0, "1": 1.0}


def test_the_prompt_moves_with_the_image(bright):
    image = np.random.default_rng(0).integers(0, 255, (45, 61, 3), np.uint8)
    alpha = np.zeros((45, 61), np.float32)
    alpha[6:30, 10:40] = 1
    box = (10.0, 6.0, 40.0, 30.0)
    seen = {change.name: change for change in changes("a", image, box, alpha, SteadinessProtocol())}
    assert list(seen) == NAMES
    assert seen["padding"].prompt.box == (17, 13, 47, 37)
    np.testing.assert_array_equal(seen["padding"].image[7:-7, 7:-7], image)
    assert (seen["padding"].image[0, 0] == image[0, 0]).all()
    assert seen["mirror left-right"].prompt.box == (21, 6, 51, 30)
    assert seen["mirror top-bottom"].prompt.box == (10, 15, 40, 39)
    assert seen["scale 2"].prompt.box == (20, 12, 80, 60)
    assert seen["scale 2"].image.shape == (90, 122, 3)
    assert (seen["gray"].image == seen["gray"].image[..., :1]).all()
    np.testing.assert_array_equal(seen["own mask"].prompt.mask, alpha > 0.5)
    for name in ("jitter 1", "jitter 2", "jitter 3"):
        moved = np.abs(np.subtract(seen[name].prompt.box, box))
        assert (moved <= np.array([0.61, 0.45, 0.61, 0.45]) + 1e-9).all()
        assert moved.max() > 0
    # Whatever was done to the image, bringing it back restores what was in it.
    for name in ("padding", "mirror left-right", "mirror top-bottom"):
        gray = seen[name].image[..., 0].astype(np.float32)
        np.testing.assert_array_equal(seen[name].back(gray), image[..., 0])
    assert seen["scale 0.5"].back(np.zeros((22, 30), np.float32)).shape == (45, 61)
    again = {change.name: change for change in changes("a", image, box, alpha, SteadinessProtocol())}
    other = {change.name: change for change in changes("b", image, box, alpha, SteadinessProtocol())}
    assert again["jitter 2"].prompt.box == seen["jitter 2"].prompt.box != other["jitter 2"].prompt.box


def test_an_empty_result_has_no_mask_to_give():
    image = np.zeros((20, 20, 3), np.uint8)
    names = [change.name for change in changes("a", image, (2.0, 2.0, 9.0, 9.0), np.zeros((20, 20), np.float32),
                                               SteadinessProtocol(draws=0))]
    assert names == NAMES[3:-1]


def test_agreement():
    one = np.zeros((4, 4), bool)
    assert agreement(one, one) == 1.0
    two = one.copy()
    two[0, :2] = True
    three = two.copy()
    three[0, 1], three[1, 1] = False, True
    assert agreement(two, three) == pytest.approx(1 / 3)
    assert agreement(one, two) == 0.0
    assert limit_of("jitter 3") == 0.99
    assert limit_of("gray") == 0.97


def test_what_breaks_is_counted_listed_and_shown(tmp_path, bright):
    weak = Bright(weak=(59, 75))  # the padded image
    run = evaluate_steadiness(bright, [weak], SteadinessProtocol(jitter=0), tmp_path / "out")
    report = summarise_steadiness(run, shown=1)
    rows = {summary.change: summary for summary in report.systems["bright"]}
    assert list(rows) == ["jitter", *NAMES[3:]]
    assert rows["padding"].steady == rows["padding"].lowest == rows["padding"].mean == 0
    assert rows["padding"].iou_change == -1
    assert rows["jitter"].asked == 6
    assert rows["jitter"].steady == rows["gray"].steady == 1
    [worst] = report.worst
    assert (worst.task, worst.change, worst.agreement, worst.iou_before, worst.iou_after) == ("0", "padding", 0, 1, 0)
    page = steadiness_html(report)
    assert page.count("<img") == 1
    assert "0: padding" in page
    assert "0, padding: 0.000 (IoU 1.000, then 0.000)" in steadiness_markdown(report)
    assert json.loads(json.dumps(steadiness_json(report)))["worst"][0]["change"] == "padding"


def test_a_stopped_run_goes_on(tmp_path, bright):
    def stop(name, share):
        if name == "1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_steadiness(bright, [Bright()], SteadinessProtocol(), tmp_path / "out", progress=stop)
    seen = []
    run = evaluate_steadiness(bright, [Bright()], SteadinessProtocol(), tmp_path / "out",
                              progress=lambda name, share: seen.append((name, share)))
    assert {name for name, _ in seen} == {"1", "done"}
    assert all(0.5 <= share <= 1 for _, share in seen)
    assert set(run.answers["bright"]) == {"0", "1"}
    assert len((tmp_path / "out" / "steadiness.jsonl").read_text().splitlines()) == 2


def test_systems_that_take_no_masks_have_no_answer_there(tmp_path, bright):
    run = evaluate_steadiness(bright, [Bright(name=NASTY, takes_masks=False)], SteadinessProtocol(draws=1),
                              tmp_path / "out")
    report = summarise_steadiness(run)
    assert "own mask" not in {summary.change for summary in report.systems[NASTY]}
    assert NASTY not in steadiness_html(report)
    assert NASTY not in steadiness_markdown(report)


def test_grabcut_can_be_asked(tmp_path, bright):
    run = evaluate_steadiness(bright, [GrabCut(iterations=1)], SteadinessProtocol(draws=1), tmp_path / "out", limit=1)
    answers = {answer.change: answer.agreement for answer in run.answers["grabcut"]["0"]}
    assert answers["own mask"] is None
    assert answers["gray"] > 0.9


@pytest.mark.parametrize(("changes", "message"), [
    ({"jitter": -0.1}, "jitter"), ({"jitter": 0.3}, "jitter"), ({"jitter": float("nan")}, "jitter"),
    ({"draws": 101}, "draws"), ({"padding": 0}, "padding"),
])
def test_a_protocol_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        SteadinessProtocol(**changes)


def test_the_command(tmp_path, make_set, capsys):
    data = make_set(tmp_path / "set", count=2).root
    command = ["evaluate", "steadiness", "--data", str(data), "--output", str(tmp_path / "out"), "--device", "cpu",
               "--limit", "1", "--draws", "1"]
    assert main(command) == 0
    text = capsys.readouterr().out
    for word in ("jitter: 1 boxes", "mirror top-bottom", "own mask", str(tmp_path / "out" / "report.html")):
        assert word in text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [answer["change"] for answer in report["objects"]["lite"]["0"]["answers"]] == ["jitter 1", *NAMES[3:]]
    assert read_alpha(data / "alphas" / "0.png").shape == Image.open(data / "images" / "0.png").size[::-1]
    assert main([*command, "--jitter", "0.9"]) == 2
    assert "expected a share" in capsys.readouterr().err
