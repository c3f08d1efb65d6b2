"""What a batch remembers: fingerprints of its results, who is at work, and what it leaves out."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import picture, tiny_model

from matting_anything_core import Prompt, read_image, write_image
from matting_anything_core.adjust import Adjustment
from matting_anything_core.batch import Item, Outcome, clear_subject, in_shares, items_in, matte_batch
from matting_anything_core.cli import main
from matting_anything_core.cli.batch import chosen, parse_shard
from matting_anything_core.errors import ImageError, MattingError, PromptError
from matting_anything_core.folders import images_in
from matting_anything_core.journal import FOLDER, Journal, at_work, described, fingerprint

BOX = "2,2,38,28"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "abc":
        write_image(folder / f"{name}.png", picture(30, 40, seed=ord(name)))
    return folder


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command loads a model of milliseconds."""
    import matting_anything_core.api as api

    monkeypatch.setattr(api, "load_model", lambda *_, **__: tiny_model())


def batch(items: list[Item], folder: Path, **options: Any) -> list[Outcome]:
    with Journal(folder) as journal:
        return list(matte_batch(items, model=tiny_model(), journal=journal, **options))


def table(folder: Path, name: str = "summary.csv") -> list[dict[str, str]]:
    with open(folder / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_changed_settings_are_noticed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    items = items_in(photos, out, Prompt(box=(2, 2, 38, 28)))
    assert [one.status for one in batch(items, out)] == ["done"] * 3
    again = batch(items, out)
    assert [one.status for one in again] == ["skipped"] * 3
    assert again[0].box == (2, 2, 38, 28)
    assert again[0].score is not None
    for changed in ({"output": "alpha"}, {"output": "alpha", "bits": 16}, {"guidance": "alpha"}, {"sides": "two"},
                    {"adjustment": Adjustment(grow=2)}, {"output": "composite", "background": (1, 2, 3)}):
        assert [one.status for one in batch(items, out, **changed)] == ["done"] * 3, changed
        assert [one.status for one in batch(items, out, **changed)] == ["skipped"] * 3, changed
    other = items_in(photos, out, Prompt(box=(2, 2, 38, 27)))
    outcomes = batch(other, out)
    assert [one.status for one in outcomes] == ["done"] * 3
    assert "have changed" in outcomes[0].message
    write_image(photos / "b.png", picture(30, 40, seed=9))  # another image under the same name
    assert [one.status for one in batch(other, out)] == ["skipped", "done", "skipped"]


def test_what_a_hand_has_changed_is_kept(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    items = items_in(photos, out, Prompt(box=(2, 2, 38, 28)))
    (out).mkdir()
    (out / "c.png").write_bytes(b"made elsewhere")
    assert [one.status for one in batch(items, out)] == ["done", "done", "skipped"]
    (out / "a.png").write_bytes(b"retouched")
    outcomes = batch(items, out, output="alpha")
    assert [one.status for one in outcomes] == ["skipped", "done", "skipped"]
    assert "changed by hand" in outcomes[0].message
    assert "made elsewhere" in outcomes[2].message
    assert (out / "a.png").read_bytes() == b"retouched"
    assert [one.status for one in batch(items, out, output="alpha", overwrite=True)] == ["done"] * 3


def test_a_journal_survives_a_crash_and_nonsense(tmp_path: Path) -> None:
    result = tmp_path / "a.png"
    result.write_bytes(b"x")
    with Journal(tmp_path) as journal:
        journal.note(result, "f", score=0.5, box=(1, 2, 3, 4), warnings=("w",), empty=True)
    file = tmp_path / FOLDER / "results.jsonl"
    with open(file, "ab") as stream:
        stream.write(b'\n[1]\n{"out": 5}\n\xff\xfe\n{"out": "b.png", "fingerpr')  # cut off
    with Journal(tmp_path) as journal:
        entry = journal.entry(result)
        assert entry is not None
        assert (entry.fingerprint, entry.score, entry.box, entry.warnings, entry.empty) == (
            "f", 0.5, (1, 2, 3, 4), ("w",), True)
        assert entry.untouched(result)
        journal.note(result, "g")
    result.write_bytes(b"other")
    with Journal(tmp_path) as journal:
        entry = journal.entry(result)
        assert entry is not None
        assert entry.fingerprint == "g"
        assert not entry.untouched(result)


@dataclass(frozen=True)
class Rule:
    share: float

    def __call__(self, image: Any) -> Any:
        return (0, 0, image.width * self.share, image.height)


def test_fingerprints_tell_values_apart(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"1")
    mask = np.zeros((9, 9), bool)
    mask[2:5, 2:5] = True
    values: list[Any] = [
        Prompt(box=(1, 2, 3, 4)), Prompt(box=(1, 2, 3, 5)), Prompt(points=[(1, 2)]), Prompt(text="a"),
        Prompt(mask=mask), Prompt(mask=~mask), clear_subject, in_shares(0, 0, 1, 1), in_shares(0, 0, 1, .5), Rule(.5),
        Rule(.25), (1, 2, 3, 4), {"box": (1, 2, 3, 4)}, "words", mask, None, 5, b"5", tmp_path / "m.png"]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert [fingerprint(value) for value in values] == [fingerprint(value) for value in values]
    assert fingerprint(Prompt(mask=mask)) == fingerprint(Prompt(mask=mask.copy()))
    assert "0x" not in "".join(described(value) for value in values)  # an address differs from run to run
    before = fingerprint(tmp_path / "m.png")
    (tmp_path / "m.png").write_bytes(b"22")
    assert fingerprint(tmp_path / "m.png") != before
    assert fingerprint(tmp_path / "caf\udce9.png")


def test_a_rule_that_raises_fails_alone(tmp_path: Path) -> None:
    def wrong(_: Any) -> Any:
        raise KeyError("no such row")

    class Odd:
        pass

    items = [Item(picture(20, 20), wrong), Item(picture(20, 20), lambda _: Odd()), Item(Odd(), (1, 1, 9, 9)),
             Item(picture(20, 20), (1, 1, 9, 9))]
    outcomes = list(matte_batch(items, model=tiny_model()))  # type: ignore[arg-type]
    assert [one.status for one in outcomes] == ["failed", "failed", "failed", "done"]
    assert "KeyError: 'no such row'" in outcomes[0].message
    assert isinstance(outcomes[0].error, MattingError)


def test_two_items_with_one_output_and_one_with_its_own_image(photos: Path, tmp_path: Path) -> None:
    box, out = (2.0, 2.0, 38.0, 28.0), tmp_path / "x.png"
    items = [Item(photos / "a.png", box, out), Item(photos / "b.png", box, tmp_path / "." / "x.png"),
             Item(photos / "c.png", box, photos / "c.png")]
    before = (photos / "c.png").read_bytes()
    outcomes = list(matte_batch(items, model=tiny_model(), overwrite=True))
    assert [one.status for one in outcomes] == ["done", "failed", "failed"]
    assert "written twice" in outcomes[1].message
    assert "the image itself" in outcomes[2].message
    assert (photos / "c.png").read_bytes() == before


# Folders


def test_results_never_lie_among_the_images(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    link = tmp_path / "link"
    link.symlink_to(photos)
    monkeypatch.chdir(photos)
    for source, out in ((photos, photos), (photos, link), (link, photos), (".", "."), (photos, "sub/..")):
        assert main(["batch", str(source), "-o", str(out), "--overwrite"]) == 3
        assert "among the images" in capsys.readouterr().err
    (tmp_path / "list.csv").write_text("path\nphotos/a.png\n")
    assert main(["batch", str(tmp_path / "list.csv"), "-o", str(photos), "--overwrite"]) == 3
    assert "would replace one of the images" in capsys.readouterr().err
    # Below it is well: that is left aside by the next run.
    for _ in range(2):
        assert main(["batch", str(photos), "-o", str(photos / "mattes"), "--box", BOX]) == 0
    assert "3 skipped of 3" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in photos.iterdir() if path.is_file()} == before
    # And the folder of the images inside of the results' folder, with names that would meet.
    inner = photos / "photos"
    inner.mkdir()
    (inner / "a.png").write_bytes(before[photos / "a.png"])
    (inner / "photos").mkdir()
    (inner / "photos" / "a.png").write_bytes(before[photos / "a.png"])
    with pytest.raises(ImageError, match="among the images"):
        items_in(inner, photos)


def test_what_is_left_out_is_said(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "notes.txt").write_text("x")
    (photos / "raw.CR2").write_bytes(b"x")
    (photos / "README").write_text("x")
    (photos / ".hidden.png").write_bytes(b"x")
    (photos / ".thumbs").mkdir()
    (photos / ".thumbs" / "a.png").write_bytes(b"x")
    (photos / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert main(["batch", str(photos), "-o", str(tmp_path / "out"), "--box", BOX]) == 0
    said = capsys.readouterr()
    assert "3 done of 3" in said.out
    for words in ("1 .txt files", "1 .cr2 files", "1 files without suffix", "1 hidden files", "1 hidden folders",
                  "1 broken links"):
        assert words in said.err
    assert main(["batch", str(photos), "-o", str(tmp_path / "out"), "--box", BOX, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_linked_folders_are_followed_once(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_image(other / "d.png", picture(9, 9))
    (other / "back").symlink_to(photos)  # a circle
    (photos / "link").symlink_to(other)
    (photos / "twice").symlink_to(other)
    (photos / "self").symlink_to(photos)
    found = images_in(photos, None, [".png"])
    assert [str(path.relative_to(photos)) for path in found.images] == ["a.png", "b.png", "c.png", "link/d.png"]
    assert found.left_out == {"links to folders that are there already": 3}


# Two at once


def test_a_second_process_is_refused(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    script = ("import sys, time\nfrom matting_anything_core.journal import at_work\n"
              "with at_work(sys.argv[1], sys.argv[2]):\n    print('held', flush=True)\n    time.sleep(600)\n")
    for held, asked, status in (("", [], 2), ("1-of-2", [], 2), ("", ["--shard", "1/2"], 2),
                                ("1-of-2", ["--shard", "1/2"], 2), ("1-of-3", ["--shard", "1/2"], 2),
                                ("1-of-2", ["--shard", "2/2"], 0)):
        process = subprocess.Popen([sys.executable, "-c", script, str(out), held], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            assert main(["batch", str(photos), "-o", str(out), "--box", BOX, *asked]) == status, (held, asked)
            error = capsys.readouterr().err
            assert ("another batch" in error) == (status == 2)
            if not held:
                assert f"process {process.pid}" in error
        finally:
            process.kill()
            process.wait()
    # The system lets go of what a process held that has died.
    assert main(["batch", str(photos), "-o", str(out), "--box", BOX]) == 0
    with at_work(out), pytest.raises(MattingError, match="--shard"), at_work(out):
        pass


def test_shards_share_the_work(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for shard in ("1/2", "2/2"):
        assert main(["batch", str(photos), "-o", str(out), "--box", BOX, "--shard", shard]) == 0
    names = [[Path(row["image"]).name for row in table(out, f"summary-{n}-of-2.csv")] for n in (1, 2)]
    assert names == [["a.png", "c.png"], ["b.png"]]
    assert main(["batch", str(photos), "-o", str(out), "--box", BOX]) == 0
    assert [row["status"] for row in table(out)] == ["skipped"] * 3


def test_which_of_them() -> None:
    items = [Item(name, (1, 1, 2, 2), Path(f"{name}-{n}")) for name in "abcdefgh" for n in range(2)]
    parts = [chosen(items, shuffle=True, shard=(n, 3)) for n in (1, 2, 3)]
    assert sorted(str(item.out) for part in parts for item in part) == sorted(str(item.out) for item in items)
    for part in parts:  # the items of an image stay together
        assert [item.image for item in part[::2]] == [item.image for item in part[1::2]]
    assert chosen(items) == items
    assert chosen(items, shuffle=True) != items
    assert chosen(items, shuffle=True) == chosen(items, shuffle=True)
    assert chosen(items, limit=3) == items[:3]
    assert (parse_shard(None), parse_shard(" 2 / 4 ")) == ((1, 1), (2, 4))
    for bad in ("0/4", "5/4", "1", "a/b", "-1/4", "1/0"):
        with pytest.raises(PromptError, match="expected I/N"):
            parse_shard(bad)


# The summary


def test_the_summary_grows_and_knows(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    import matting_anything_core.cli.batch as module

    out, sizes = tmp_path / "out", []
    follow = module.follow

    def watched(args: Any, batch: Any, count: int, take: Any, check: Any) -> None:
        def seen(outcome: Outcome) -> None:
            take(outcome)
            sizes.append(len(table(out)))

        follow(args, batch, count, seen, check)

    monkeypatch.setattr(module, "follow", watched)
    (photos / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert main(["batch", str(photos), "-o", str(out), "--box", "2,2,3,28", "--json"]) == 1
    assert sizes == [1, 2, 3]
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["status"] for one in objects] == ["done", "failed", "done"]
    first = table(out)[0]
    assert first["box"] == "2 2 3 28"
    assert 0 <= float(first["score"]) <= 1.5
    assert "next to nothing" in first["warnings"]
    assert objects[0]["box"] == [2, 2, 3, 28]
    assert "damaged" in objects[1]["message"]
    assert main(["batch", str(photos), "-o", str(out), "--box", "2,2,3,28"]) == 1
    assert (table(out)[0]["score"], table(out)[0]["status"]) == (first["score"], "skipped")
    assert "next to nothing" in table(out)[0]["warnings"]


def test_a_foreign_summary_is_not_replaced(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.csv").write_text("year,income\n")
    assert main(["batch", str(photos), "-o", str(out)]) == 3
    assert "no summary of a batch" in capsys.readouterr().err
    assert (out / "summary.csv").read_text() == "year,income\n"
    assert [path.name for path in out.iterdir()] == ["summary.csv"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_an_output_that_cannot_be_written_is_noticed_first(photos: Path, capsys: pytest.CaptureFixture[str],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    import matting_anything_core.api as api

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was loaded before the folder was tried")

    monkeypatch.setattr(api, "load_model", never)
    for out in ("/proc/self/net", "/proc/mattes", f"{photos}/a.png"):
        assert main(["batch", str(photos), "-o", out]) == 3
        assert "cannot be" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such names cannot be")
def test_names_that_are_no_utf8(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"caf\xe9 \x1b[31m\n.png")
    write_image(photos / name, picture(30, 40))
    (photos / os.fsdecode(b"bad\xe9.png")).write_bytes(b"nothing")
    out = tmp_path / "out"
    assert main(["batch", str(photos), "-o", str(out), "--box", BOX, "--json"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 5
    rows = {row["image"]: row["status"] for row in table(out)}
    assert rows[f"{photos}/caf\\udce9 \x1b[31m\n.png"] == "done"
    assert rows[f"{photos}/bad\\udce9.png"] == "failed"
    assert read_image(out / name).width == 40
    assert main(["batch", str(photos), "-o", str(out), "--box", BOX]) == 1
    assert "4 skipped, 1 failed of 5" in capsys.readouterr().out


def test_a_log_gets_lines(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                          monkeypatch: pytest.MonkeyPatch) -> None:
    import matting_anything_core.cli.progress as module

    monkeypatch.setattr(module, "EVERY", 0.0)
    assert main(["batch", str(photos), "-o", str(tmp_path / "out"), "--box", BOX, "--limit", "2"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("matting-anything: 1 of 2 images, 0 failed, about 0 min left")
    assert len(lines) == 2
    assert time.monotonic() > 0
