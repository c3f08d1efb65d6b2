"""Batches in several processes: the same results, each once, whatever happens to a process or to all of them."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from tiny import picture, tiny_model

from matting_anything_core import MattingError, read_image, write_image
from matting_anything_core.batch import BatchOptions, Item, matte_batch
from matting_anything_core.cli import main
from matting_anything_core.cli.batch import parse_workers
from matting_anything_core.errors import PromptError, WeightsError
from matting_anything_core.journal import Entry, Journal
from matting_anything_core.memory import Room
from matting_anything_core.replacing import temporary_names
from matting_anything_core.times import STAGES, Times, in_words
from matting_anything_core.workers import check_workers, matte_in_processes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
ALPHA = BatchOptions(output="alpha")


class Deadly:
    """A rule that ends the process; with a file, only until that is there."""

    def __init__(self, once: Path | None = None) -> None:
        self.once = once

    def __call__(self, image: object) -> tuple[int, int, int, int]:
        if self.once is None or not self.once.exists():
            if self.once is not None:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 1, 1, 30, 20


def _photos(folder: Path, count: int, size: tuple[int, int] = (40, 60)) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for index in range(count):
        write_image(folder / f"{index:03}.png", picture(*size, seed=index))
    return sorted(folder.glob("*.png"))


def _summary(folder: Path) -> list[dict[str, str]]:
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_processes_give_what_one_gives(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "in", 5)
    photos[1].write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    whole = photos[2].read_bytes()
    photos[2].write_bytes(whole[:-12])  # the end mark is missing
    boxes = [(1, 1, 50, 35), (2, 2, 59, 39)]

    def items(folder: str) -> list[Item]:
        made = [Item(path, box, tmp_path / folder / f"{path.stem}-{index}.png")
                for path in photos for index, box in enumerate(boxes)]
        return [*made, Item(photos[0], (100, 100, 200, 200), tmp_path / folder / "outside.png")]

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        one = list(matte_batch(items("one"), output="alpha"))
        alone = {str(warning.message) for warning in heard if "end of" in str(warning.message)}
        heard.clear()
        with Journal(tmp_path / "two") as journal:
            several = list(matte_in_processes(
                [*items("two"), Item(photos[0], lambda image: boxes[0], tmp_path / "two" / "lambda.png"),
                 Item(photos[0], boxes[0])], workers=2, options=ALPHA, journal=journal))
        assert {str(warning.message) for warning in heard if "end of" in str(warning.message)} == alone != set()
    assert [outcome.status for outcome in several[:11]] == [outcome.status for outcome in one]
    assert [outcome.message for outcome in several[:11]] == [outcome.message for outcome in one]
    assert [outcome.box for outcome in several[:11]] == [outcome.box for outcome in one]
    assert [outcome.score for outcome in several[:11]] == pytest.approx([outcome.score for outcome in one], abs=1e-5)
    assert "no lambdas" in several[11].message
    assert "no file" in several[12].message
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").glob("*.png"))
    for name in names:
        # The same number of threads gives the same bits; another one may change the last.
        difference = abs(read_image(tmp_path / "one" / name).rgb.astype(int) - read_image(tmp_path / "two" / name).rgb)
        assert difference.max() <= 1
    with Journal(tmp_path / "two") as journal:
        assert journal.entry(tmp_path / "two" / names[0]) is not None
        again = list(matte_in_processes(items("two"), workers=1, options=ALPHA, journal=journal))
        assert [outcome.status for outcome in again] == [
            "skipped" if outcome.status == "done" else outcome.status for outcome in one]
        assert [outcome.score for outcome in again] == [outcome.score for outcome in several[:11]]


def test_an_image_that_ends_its_process_is_reported_and_its_neighbours_are_done(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "in", 6)
    rules = {1: Deadly(), 3: Deadly(tmp_path / "died once")}
    items = [Item(path, rules.get(index, (1, 1, 50, 35)), tmp_path / "out" / path.name)
             for index, path in enumerate(photos)]
    outcomes = list(matte_in_processes(items, workers=1, options=ALPHA))
    assert [outcome.item for outcome in outcomes] == items
    assert [outcome.status for outcome in outcomes] == ["done", "failed", *["done"] * 4]
    assert "the process that worked on it ended" in outcomes[1].message
    assert "SIGKILL" in outcomes[1].message
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        path.name for path in photos if path != photos[1]]


def test_a_killed_batch_and_an_interrupted_one_go_on(tmp_path: Path) -> None:
    photos, out = _photos(tmp_path / "in", 120, (120, 160)), tmp_path / "out"
    command = [sys.executable, "-m", "matting_anything_core.cli", "batch", str(tmp_path / "in"), "-o", str(out),
               "--output", "alpha", "--workers", "2"]

    def until(process: subprocess.Popen[str], count: int) -> None:
        end = time.monotonic() + 300
        while len(list(out.glob("*.png"))) < count:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    until(process, 3)
    process.kill()
    process.communicate()
    # In a session of its own: what Ctrl-C sends to a terminal's foreground processes reaches the workers as well.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    until(process, 12)
    os.killpg(process.pid, signal.SIGINT)
    said, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "goes on from here" in error
    assert "Traceback" not in error
    rows = _summary(out)
    assert f"{sum(row['status'] == 'done' for row in rows)} done" in said
    assert sum(row["status"] == "skipped" for row in rows) >= 3
    assert len({row["image"] for row in rows}) == len(rows)
    assert not list(out.glob(".matting-*.tmp"))
    done = list(out.glob("*.png"))
    assert 12 <= len(done) < 120
    for path in photos:
        if not (out / path.name).exists() and path != photos[-1]:
            path.unlink()
    assert main(command[3:-2]) == 0  # one process goes on where several were
    left = sorted(path.name for path in (tmp_path / "in").iterdir())
    assert sorted(path.name for path in out.glob("*.png")) == left == sorted(
        Path(row["image"]).name for row in _summary(out))
    for name in left:
        assert read_image(out / name).width == 160


def test_a_model_that_is_not_there_ends_it_at_once(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "in", 1)
    with pytest.raises(MattingError, match="each loads its own"):
        next(matte_in_processes([], model=tiny_model()))  # type: ignore[arg-type]
    assert main(["batch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--workers", "2",
                 "--model", "vit_b"]) == 4
    (tmp_path / "no.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"no\.safetensors"):
        next(matte_in_processes([Item(photos[0], (1, 1, 9, 9), tmp_path / "a.png")], workers=1,
                                model=tmp_path / "no.safetensors"))


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (parse_workers("4"), parse_workers("auto"), parse_workers("Auto")) == (4, "auto", "auto")
    for text in ("0", "-1", "two", "1.5", "", "10000"):
        with pytest.raises(PromptError, match="--workers"):
            parse_workers(text)
    for wrong in (0, True, 2.0, 5000):
        with pytest.raises(MattingError, match="workers was given"):
            check_workers(wrong)  # type: ignore[arg-type]
    monkeypatch.setattr("matting_anything_core.workers.cores", lambda: 8)
    monkeypatch.setattr("matting_anything_core.workers._devices", lambda device: ["cpu"])
    for gigabytes, count in ((1000, 8), (1, 1)):
        monkeypatch.setattr("matting_anything_core.workers.free_memory",
                            lambda size=gigabytes << 30: Room(size, size, "the machine", 0))
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            assert check_workers("auto") == count
        assert len(heard) == (count != 8)
    monkeypatch.setattr("matting_anything_core.workers._devices", lambda device: ["cuda:0", "cuda:1"])
    assert check_workers("auto") == 2


def test_the_latest_note_of_several_journals_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    for name, size, moment in (("b", 1, 5), ("a", 2, 9), ("c", 3, 7)):
        with Journal(tmp_path, name) as journal:
            file.write_bytes(b"x" * size)
            os.utime(file, ns=(moment, moment))
            journal.note(file, f"made by {name}")
    with Journal(tmp_path) as journal:
        assert journal.entry(file) == Entry("made by a", 2, 9)
    with Journal(tmp_path, read=False) as journal:
        assert journal.entry(file) is None


def test_where_the_time_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, times = _photos(tmp_path / "in", 2), Times()
    list(matte_batch([Item(path, (1, 1, 50, 35), tmp_path / f"{path.stem}.png") for path in photos],
                     model=tiny_model(), times=times))
    assert tuple(times.seconds()) == STAGES
    assert all(value > 0 for value in times.seconds().values())
    text = in_words({"read": 1.0, "decode": 3.0}, 2, 2.0)
    assert "25.0%" in text
    assert "1500.0" in text
    assert "1.00 images/s" in text
    assert "nothing" not in in_words({}, 0, 0.0)
    assert temporary_names() == temporary_names()
    assert main(["batch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--profile"]) == 0
    assert "mask and alpha" in capsys.readouterr().err
