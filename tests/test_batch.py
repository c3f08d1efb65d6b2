"""Batches: folders and manifests, what is skipped, what fails, and that an interruption leaves nothing half."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import picture, tiny_model

from matting_anything_core import Prompt, PromptError, matte, read_image, write_image
from matting_anything_core.assets import demo_picture
from matting_anything_core.batch import AHEAD, BatchOptions, Item, clear_subject, in_shares, items_in, matte_batch
from matting_anything_core.cli import main
from matting_anything_core.cli.batch import noted_interrupt
from matting_anything_core.errors import ImageError, MattingError, WeightsError
from matting_anything_core.manifest import read_manifest
from matting_anything_core.options import MatteOptions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, b.jpg, a broken c.png, sub/d.png with 16 bits, and what is no picture."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    write_image(folder / "a.png", picture(40, 50, seed=1))
    write_image(folder / "b.jpg", picture(30, 60, seed=2))
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    write_image(folder / "sub" / "d.png", picture(33, 44, seed=3).astype(np.uint16) * 257, bits=16)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"no picture")
    return folder


def summary(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        return {Path(row["image"]).name: row for row in csv.DictReader(file)}


def test_a_folder_is_what_matte_gives_for_each(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcomes = list(matte_batch(items_in(folder, out), model=tiny_model(), output="alpha"))
    ended = {Path(str(one.item.image)).name: one.status for one in outcomes}
    assert ended["c.png"] == "failed"
    assert {ended[name] for name in ("a.png", "b.jpg", "d.png")} <= {"unsure", "empty"}  # noise has no subject
    assert all(one.warnings for one in outcomes if one.status == "unsure")
    assert "damaged" in outcomes[2].message
    for name, written, top in (("a.png", "a.png", 255), ("b.jpg", "b.png", 255), ("sub/d.png", "sub/d.png", 65535)):
        image = read_image(folder / name)
        truth = matte(image, model=tiny_model()).alpha
        np.testing.assert_allclose(read_image(out / written).rgb[..., 0] / top, truth, atol=0.5001 / top)
    assert sorted(path.name for path in out.rglob("*")) == ["a.png", "b.png", "d.png", "sub"]


def test_what_is_there_is_skipped_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    items = items_in(folder, tmp_path / "out")
    first = list(matte_batch(items, model=tiny_model()))
    before = (tmp_path / "out" / "a.png").stat()
    again = list(matte_batch(items, model=tiny_model()))
    assert [one.status for one in again] == ["skipped", "skipped", "failed", "skipped"]
    assert again[0].matte is None
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before.st_mtime_ns
    assert [one.status for one in matte_batch(items, model=tiny_model(), overwrite=True)] == \
        [one.status for one in first]


def test_without_files_the_mattes_are_yielded_one_by_one() -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Item(picture(20 + taken, 30), (1, 1, 20, 15))

    batch = matte_batch(endless(), model=tiny_model())
    for index in range(1, 6):
        outcome = next(batch)
        assert outcome.matte is not None
        np.testing.assert_array_equal(
            outcome.matte.alpha, matte(picture(20 + index, 30), (1, 1, 20, 15), model=tiny_model()).alpha)
        assert taken <= index + 2 * AHEAD + 2  # never far ahead of what is used
    batch.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("matting-")]


def test_rules_and_prompts() -> None:
    items = [Item(picture(40, 60), rule) for rule in (
        clear_subject, in_shares(0.1, 0.25, 0.5, 1), Prompt(points=[(3, 4)]), {"box": [1, 2, 3, 4]})]
    boxes = [outcome.matte.box if outcome.matte else None for outcome in matte_batch(items, model=tiny_model())]
    assert boxes == [(0, 0, 60, 40), (6, 10, 30, 40), None, (1, 2, 3, 4)]


def test_one_picture_with_many_prompts_is_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", picture(40, 60))
    model, count = tiny_model(), 0
    embed = model.embed

    def counted(*arguments, **keywords):
        nonlocal count
        count += 1
        return embed(*arguments, **keywords)

    monkeypatch.setattr(model, "embed", counted)
    items = [Item(tmp_path / "a.png", (1, 1, 20 + i, 30)) for i in range(5)]
    assert [outcome.status for outcome in matte_batch(items, model=model)] == ["done"] * 5
    assert count == 1


def test_prompts_that_do_not_fit_fail_alone(tmp_path: Path) -> None:
    items = [Item(picture(20, 20), (100, 100, 200, 200)), Item(picture(20, 20), (3, 2, 1, 4)),
             Item(picture(20, 20), (1, 1, 9, 9))]
    outcomes = list(matte_batch(items, model=tiny_model()))
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "done"]
    assert "outside the picture" in outcomes[0].message


def test_what_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    items = [Item(picture(20, 20), (1, 1, 9, 9), tmp_path / "file" / "a.png"),
             Item(picture(20, 20), (1, 1, 9, 9), tmp_path / "b.png")]
    assert [outcome.status for outcome in matte_batch(items, model=tiny_model())] == ["failed", "done"]


def test_keywords_take_the_place_of_fields_and_unknown_ones_are_named() -> None:
    given = BatchOptions(output="alpha", bits=16, matte=MatteOptions(sides="two"))
    found = BatchOptions.of(given, {"bits": 8, "guidance": "alpha"})
    assert found == BatchOptions(output="alpha", bits=8, matte=MatteOptions(sides="two", guidance="alpha"))
    with pytest.raises(MattingError, match=r"unknown option ouput; expected .*output.* guidance"):
        next(matte_batch([], model=tiny_model(), ouput="alpha"))  # type: ignore[call-arg]
    with pytest.raises(PromptError, match="guidance was given as 'alpah'"):
        next(matte_batch([], model=tiny_model(), guidance="alpah"))  # type: ignore[arg-type]


def test_a_model_that_is_not_there_ends_it_at_once(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="weights fetch vit_b"):
        next(matte_batch([Item(picture(9, 9), (1, 1, 5, 5))], model="vit_b"))


def test_names_of_what_is_written(tmp_path: Path) -> None:
    for name in ("x/a.png", "x/a.jpg", "x/b.png", "x/out/old.png", "x/B.PNG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    items = items_in(tmp_path / "x", tmp_path / "x" / "out", suffix=".webp")
    assert [str(item.out.relative_to(tmp_path / "x" / "out")) for item in items if item.out] == \
        ["B.webp", "a.jpg.webp", "a.png.webp", "b.webp"]
    with pytest.raises(ImageError, match="no picture"):
        items_in(_made(tmp_path / "empty"), tmp_path / "y")
    with pytest.raises(ImageError, match="no folder"):
        items_in(tmp_path / "nowhere", tmp_path / "y")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# Manifests

CSV = """\
path,box,points,labels,mask,text,out
a.png,"1,2,30,40",,,,,
a.png,,"3,4; 5,6",1 0,,,points
a.png,,,,m.png,,deep/mask.webp
b.png,,,,,a dog,
c.png,,,,,,
"""
JSONL = "\n".join(json.dumps(row) for row in (
    {"path": "a.png", "box": [1, 2, 30, 40]}, {"path": "a.png", "points": [[3, 4], [5, 6]], "labels": [1, 0],
                                               "out": "points"},
    {"path": "a.png", "mask": "m.png", "out": "deep/mask.webp"}, {"path": "b.png", "text": "a dog", "box": None},
    {"path": "c.png"})) + "\n\n"


@pytest.mark.parametrize(("name", "text"), [("list.csv", CSV), ("list.jsonl", JSONL), ("list.csv", "\ufeff" + CSV)])
def test_manifests(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    mask = np.zeros((50, 60), np.uint8)
    mask[5:20, 5:20] = 255
    write_image(tmp_path / "m.png", mask)
    items = read_manifest(tmp_path / name, "out", suffix=".tif")
    assert [str(item.out) for item in items] == ["out/a-1.tif", "out/points.tif", "out/deep/mask.webp", "out/b.tif",
                                                 "out/c.tif"]
    assert {Path(str(item.image)) for item in items} == {tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"}
    box, points, rule, text_prompt, rest = (item.prompt for item in items)
    assert isinstance(box, Prompt)
    assert box.box == (1, 2, 30, 40)
    assert isinstance(points, Prompt)
    assert (points.points, points.labels) == (((3, 4), (5, 6)), (1, 0))
    assert callable(rule)
    np.testing.assert_array_equal(rule(read_image(picture(50, 60))).mask, mask > 0)
    assert isinstance(text_prompt, Prompt)
    assert text_prompt.text == "a dog"
    assert rest is clear_subject


@pytest.mark.parametrize(("name", "text", "words"), [
    ("a.csv", "file,box\na.png,\n", "a column 'file'"), ("a.csv", "path\n\n", "names no picture"),
    ("a.csv", "", "names no picture"), ("a.csv", "path,box\n,\n", "line 2: the path"),
    ("a.csv", 'path,box\na.png,"1,2,x,4"\n', "line 2: box is '1,2,x,4'"),
    ("a.csv", 'path,box\na.png,"1,2,3"\n', "line 2: the box has 3 values"),
    ("a.csv", "path,out\na.png,../x\n", "inside the folder"), ("a.csv", "path,out\na.png,/etc/x\n", "inside the"),
    ("a.csv", "path,out\na.png,C:\\x\n", "inside the folder"), ("a.csv", "path,out\na.png,x\\..\\..\\y\n", "inside"),
    ("a.csv", "path\na.png,b,c\n", "a column 'what comes after"),
    ("a.jsonl", "[1]\n", "line 1: it is no JSON object"), ("a.jsonl", '{"path": "a.png"}\n{', "line 2: it is no JSON"),
    ("a.jsonl", '{"path": 3}\n', "line 1: the path"), ("a.jsonl", '{"path": "a", "labels": [1]}\n', "without points"),
    ("a.jsonl", '{"path": "a", "out": 3}\n', "out is no name"), ("a.jsonl", "[" * 9999, "line 1: it is no JSON"),
    ("a.jsonl", '{"path": "a", "mask": [[1]]}\n', "mask is no path"),
])
def test_manifests_that_cannot_be(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PromptError) as caught:
        read_manifest(tmp_path / name, "out")
    assert words in str(caught.value)


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"path\n\xff\xfe\n")
    for name in ("a.csv", "nowhere.csv"):
        with pytest.raises(ImageError, match="cannot be read"):
            read_manifest(tmp_path / name, "out")


# The command


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["batch", str(folder), "-o", str(out), "--box", "10%,0%,90%,100%"]) == 1
    said = capsys.readouterr()
    assert "3 done, 1 failed of 4" in said.out
    assert "c.png" in said.err
    lines = summary(out)
    assert {name: row["status"] for name, row in lines.items()} == {
        "a.png": "done", "b.jpg": "done", "c.png": "failed", "d.png": "done"}
    assert "damaged" in lines["c.png"]["message"]
    assert read_image(out / "a.png").alpha is not None
    (folder / "c.png").unlink()
    assert main(["batch", str(folder), "-o", str(out), "--box", "10%,0%,90%,100%"]) == 0
    assert "3 skipped" in capsys.readouterr().out


def test_the_command_with_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(demo_picture())
    rows = 'photo.jpg,"2,2,400,510",she\nphoto.jpg,"400,0,512,512",rest.webp\n'
    (tmp_path / "list.csv").write_text("path,box,out\n" + rows)
    assert main(["batch", str(tmp_path / "list.csv"), "-o", str(tmp_path / "out"), "--output", "alpha"]) == 0
    np.testing.assert_allclose(read_image(tmp_path / "out" / "she.png").rgb[..., 0] / 255,
                               matte(demo_picture(), (2, 2, 400, 510)).alpha, atol=0.51 / 255)
    assert (tmp_path / "out" / "rest.webp").is_file()


@pytest.mark.parametrize(("arguments", "words"), [
    (["--box", "1,2,3"], "expected x0,y0,x1,y1"), (["--box", "10%,0,90%,100%"], "each with %"),
    (["--box", "90%,0%,10%,100%"], "left before right"), (["--box", "0%,0%,190%,100%"], "shares go from"),
    (["--format", "jpg"], "JPEG holds no alpha"), (["--format", "webp", "--bits", "16"], "no 16 bits"),
    (["--background", "white"], "needs --output composite"), (["--model", "vit_b"], "weights fetch vit_b"),
    (["--text", " "], "words"),
])
def test_the_command_says_what_is_wrong_before_it_begins(
    folder: Path, tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["batch", str(folder), "-o", str(out), *arguments]) in (2, 3, 4)
    error = [line for line in capsys.readouterr().err.splitlines() if "left out of" not in line]
    assert words in error[0]
    assert len(error) == 1
    assert not list(out.rglob("*")) if out.exists() else True


def test_sources_that_cannot_be(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source, words in ((folder / "a.png", "matting-anything matte"), (tmp_path / "nowhere", "no folder"),
                          (tmp_path / "nowhere.csv", "cannot be read")):
        assert main(["batch", str(source), "-o", str(tmp_path / "out")]) == 3
        assert words in capsys.readouterr().err


def test_two_items_with_one_output_fail_alone(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "twice.csv").write_text("path,box,out\na.png,5,5,30,30,x\nb.jpg,5,5,30,25,x\nsub/d.png,5,5,30,30,y\n")
    assert main(["batch", str(folder / "twice.csv"), "-o", str(tmp_path / "out")]) == 1
    assert "written twice" in capsys.readouterr().err
    assert {name: row["status"] for name, row in summary(tmp_path / "out").items()} == {
        "a.png": "done", "b.jpg": "failed", "d.png": "done"}
    assert (read_image(tmp_path / "out" / "x.png").height, read_image(tmp_path / "out" / "y.png").height) == (40, 33)


def test_an_interrupt_that_a_callback_swallows_counts_at_the_next_picture() -> None:
    before = signal.getsignal(signal.SIGINT)
    with noted_interrupt() as check:
        check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_an_interrupted_batch_goes_on_where_it_was(tmp_path: Path) -> None:
    """The batch is long, so that it is not over before a busy machine has sent the signal; the rest of it is short."""
    photos, out = _made(tmp_path / "photos"), tmp_path / "out"
    for index in range(400):
        write_image(photos / f"{index:03}.png", picture(120, 160, seed=index))
    command = [sys.executable, "-m", "matting_anything_core.cli", "batch", str(photos), "-o", str(out),
               "--output", "alpha", "--box", "10%,10%,90%,90%"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 120
    while len(list(out.glob("*.png"))) < 3:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from here" in error
    assert "Traceback" not in error
    done = sorted(out.glob("*.png"))
    assert 3 <= len(done) < 400
    assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]
    for path in done:
        assert read_image(path).width == 160
    counted = sum(row["status"] == "done" for row in summary(out).values())
    assert f"{counted} done" in said
    left = sorted(path for path in photos.iterdir() if not (out / path.name).exists())
    for path in left[5:]:
        path.unlink()
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True,
                           env={**os.environ, "OMP_NUM_THREADS": "1"})
    total = len(done) + 5
    assert f"5 done, {len(done)} skipped of {total}" in again.stdout.replace("empty, ", "")
    assert len(list(out.glob("*.png"))) == total
