"""`matte` as people use it in scripts: several images, streams, names of any kind, what is there already, JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matting_anything_core import matte, read_image, write_image
from matting_anything_core.assets import demo_picture
from matting_anything_core.cli import main, status_of
from matting_anything_core.cli.matte import expanded
from matting_anything_core.errors import (
    DeviceError,
    ImageError,
    MattingError,
    MissingExtraError,
    NothingFoundError,
    PromptError,
    TooManyPixelsError,
    WeightsError,
)

BOX = "15,3,140,158"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.ascontiguousarray(read_image(demo_picture()).rgb[::3, ::3][:160, :160])


@pytest.fixture
def photo(tmp_path: Path, pixels: np.ndarray) -> Path:
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    write_image(path, pixels)
    return path


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in ("matte", *arguments)])


def test_several_images_into_a_folder(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = photo.parent / "deep" / "photo.png"
    other.parent.mkdir()
    other.write_bytes(photo.read_bytes())
    broken = photo.parent / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")
    out = tmp_path / "new" / "cuts"
    # Options may stand between the files, and what fails does not end the rest.
    assert run(photo, "--box", BOX, broken, "-o", out, other) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(out / "photo.png"), str(out / "deep" / "photo.png")]
    assert "broken.jpg" in said.err
    assert "1 of 3 images failed" in said.err
    assert (out / "photo.png").read_bytes() == (out / "deep" / "photo.png").read_bytes()
    assert run(photo, other, "--box", BOX, "-o", tmp_path / "one.png") == 2
    assert "give a folder" in capsys.readouterr().err


def test_one_image_into_a_folder_and_two_objects(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "cuts"
    assert run(photo, "--box", BOX, "--box", "60,10,150,90", "-o", f"{out}{os.sep}", "--format", "webp") == 0
    assert sorted(path.name for path in out.iterdir()) == ["photo-1.webp", "photo-2.webp"]


def test_patterns_that_a_shell_has_left(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.png", "a.png", "[x].png"):
        (photo.parent / name).write_bytes(photo.read_bytes())
    monkeypatch.chdir(photo.parent)
    assert expanded(["?.png", "photo.png"]) == ["a.png", "b.png", "photo.png"]
    assert expanded(["[x].png"]) == ["[x].png"]  # a file of that name is meant, not x.png
    assert expanded(["-", "nowhere.png"]) == ["-", "nowhere.png"]
    with pytest.raises(ImageError, match=r"none that matches"):
        expanded(["*.jpg"])
    with pytest.raises(PromptError, match="more than once"):
        expanded(["-", "-"])
    assert run("[ab].png", "--box", BOX, "-o", tmp_path / "cuts") == 0
    assert sorted(path.name for path in (tmp_path / "cuts").iterdir()) == ["a.png", "b.png"]


class Piped:
    """Standard output of bytes, as a pipe is."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        return None


def test_from_standard_input_to_standard_output(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(photo.read_bytes()))
    piped = Piped()
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys, "stdout", piped)
    assert run("-", "--box", BOX, "-o", "-", "--output", "alpha", "--format", "tif", "--bits", "16") == 0
    written = read_image(piped.buffer.getvalue())
    np.testing.assert_allclose(written.rgb[..., 0] / 65535, matte(photo, tuple(map(float, BOX.split(",")))).alpha,
                               atol=1 / 65535)


@pytest.mark.parametrize(("arguments", "words"), [
    (["-", "--mask", "-", "-o", "x.png"], "holds one of them"), (["a.png", "b.png", "-o", "-"], "several were asked"),
    (["a.png", "-o", "-", "--json"], "both need standard output"), (["-", "-o", "-", "--format", "jpg"], "no alpha"),
    (["a.png", "-o", "-", "--box", "1,1,2,2"], "several were asked for"),
])
def test_streams_that_cannot_be(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--box", BOX, *arguments) in (2, 3)
    assert words in capsys.readouterr().err


def test_a_terminal_is_no_place_for_images(photo: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert run("-", "--box", BOX, "-o", "x.png") == 2
    assert "keyboard" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(photo, "--box", BOX, "-o", "-") == 2
    assert "terminal" in capsys.readouterr().err


def test_boxes_of_every_kind(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Negative numbers, per cent and shares on the command line are what Python makes of the same box in pixels."""
    for text, box in (("-10,-5,120,150", (-10, -5, 120, 150)), ("-5%,0%,75%,100%", (-8, 0, 120, 160)),
                      ("0.1,0.05,0.9,1", (16, 8, 144, 160))):
        out = tmp_path / "x.png"
        assert run(photo, "--box", text, "-o", out, "--output", "alpha", "--force") == 0
        np.testing.assert_allclose(read_image(out).rgb[..., 0] / 255, matte(photo, box).alpha, atol=0.51 / 255)
    assert "0.1,0.05,0.9,1 was read as shares of width and height; per cent say so: 10%,5%,90%,100%" in \
        capsys.readouterr().err
    assert run(photo, "--point", "50%,60%", "--point", "1%,1%,0", "-o", tmp_path / "p.png", "--json") == 0
    assert json.loads(capsys.readouterr().out)["empty"] is False


def test_a_near_empty_box_warns(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--box", "9,9,10,10", "-o", tmp_path / "x.png") == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "next to nothing" in line]
    assert len(warned) == 1
    assert warned[0].startswith("matting-anything: warning: the box (9, 9, 10, 10) holds only 1 x 1 pixels")
    assert run(photo, "--box", "9,9,10,10", "-o", tmp_path / "x.png", "--json", "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "next to nothing" in json.loads(said.out)["warnings"][0]


def test_what_is_there_is_not_lost_silently(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    out.write_bytes(b"precious")
    assert run(photo, "--box", BOX, "-o", out, "--no-clobber") == 0
    assert "is kept" in capsys.readouterr().err
    assert out.read_bytes() == b"precious"
    assert run(photo, "--box", BOX, "-o", out) == 0
    assert "was there already and has been replaced" in capsys.readouterr().err
    assert run(photo, "--box", BOX, "-o", out, "--force") == 0
    assert capsys.readouterr().err == ""
    # One of two is there: that one is kept, the other is made.
    (tmp_path / "y-1.png").write_bytes(b"precious")
    assert run(photo, "--box", BOX, "--box", "60,10,150,90", "-o", tmp_path / "y.png", "--no-clobber") == 0
    assert (tmp_path / "y-1.png").read_bytes() == b"precious"
    assert read_image(tmp_path / "y-2.png").width == 160


def test_an_image_is_not_replaced_by_its_own_result(photo: Path, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    before = photo.read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(photo)
    for arguments in ([photo, "-o", photo], [link, "-o", photo], [photo, "-o", f"{photo.parent}{os.sep}"],
                      [photo, "-o", tmp_path / "x.png", "--sheet", photo]):
        assert run(*arguments, "--box", BOX) == 3
        assert "is the image itself" in capsys.readouterr().err
        assert photo.read_bytes() == before
    assert run(photo, "-o", photo, "--box", BOX, "--force") == 0
    assert read_image(photo).alpha is not None


def test_json_is_one_object_a_result(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    assert run(photo, "--box", BOX, "--box", "60,10,150,90", "-o", out, "--json", "--crop", "4") == 0
    one, two = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (one["image"], one["out"], one["object"], two["object"], one["objects"]) == (
        str(photo), str(tmp_path / "x-1.png"), 1, 2, 2)
    assert (one["width"], one["height"], one["box"], one["replaced"]) == (160, 160, [15, 3, 140, 158], False)
    x0, y0, x1, y1 = one["crop"]
    written = read_image(one["out"])
    assert (written.width, written.height) == (x1 - x0, y1 - y0)
    assert 0 < one["coverage"] < 1
    assert one["score"] == pytest.approx(matte(photo, (15, 3, 140, 158)).score, abs=1e-3)
    assert run(tmp_path / "nowhere.png", "--box", BOX, "-o", out, "--json") == 3
    error = json.loads(capsys.readouterr().out)
    assert (error["kind"], error["status"]) == ("ImageError", 3)
    assert "nowhere.png" in error["error"]
    assert run(tmp_path / "nowhere.png", photo, "--box", BOX, "-o", tmp_path / "f", "--json") == 1
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["status"] == 3
    assert second["out"] == str(tmp_path / "f" / "photo.png")


def test_quiet_says_nothing(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in range(2):
        arguments = ["matte", str(photo), "--box", BOX, "-o", str(tmp_path / "x.png")]
        arguments.insert(place * len(arguments), "--quiet")
        assert main(arguments) == 0
        assert capsys.readouterr() == ("", "")


def test_adjustments_on_the_command_line(photo: Path, tmp_path: Path) -> None:
    def alpha(*arguments: str) -> np.ndarray:
        out = tmp_path / "x.png"
        assert run(photo, "--box", BOX, "-o", out, "--force", "--output", "alpha", "--bits", "16", *arguments) == 0
        return read_image(out).rgb[..., 0].astype(int)

    plain = alpha()
    np.testing.assert_allclose(alpha("--invert"), 65535 - plain, atol=1)
    assert (alpha("--grow", "3") >= plain).all()
    assert (alpha("--shrink", "3") <= plain).all()
    np.testing.assert_array_equal(alpha("--grow", "-3"), alpha("--shrink", "3"))
    assert np.abs(alpha("--feather", "4") - plain).max() > 1000
    rows = np.flatnonzero((plain >= 65535 / 512).any(1))
    assert len(alpha("--crop")) == rows[-1] + 1 - rows[0]
    # --crop without a number takes no file for its margin.
    assert main(["matte", "--box", BOX, "-o", str(tmp_path / "y.png"), "--crop", str(photo)]) == 0
    assert main(["matte", str(photo), "--box", BOX, "-o", str(tmp_path / "z.png"), "--crop", "5%"]) == 0
    assert read_image(tmp_path / "z.png").height > read_image(tmp_path / "y.png").height
    assert run(photo, "--box", BOX, "-o", tmp_path / "q.webp", "--quality", "20") == 0
    assert run(photo, "--box", BOX, "-o", tmp_path / "l.webp") == 0
    assert (tmp_path / "q.webp").stat().st_size < (tmp_path / "l.webp").stat().st_size / 2


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_names_that_standard_output_cannot_hold(photo: Path, tmp_path: Path, encoding: str) -> None:
    """Written is written: whatever the encoding, of every box, also for a name whose bytes are no UTF-8."""
    for number, name in enumerate(["猫", *(["caf\udce9"] if sys.platform == "linux" else [])]):
        source, out = tmp_path / f"{name}.png", tmp_path / f"{number}" / f"{name}-out.png"
        source.write_bytes(photo.read_bytes())
        out.parent.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "matting_anything_core", "matte", source, "--box", BOX, "--box", "60,10,150,90",
             "-o", out], capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding})
        told = [line for line in done.stderr.splitlines() if not line.endswith(b" %")]  # progress on a busy machine
        assert (done.returncode, told) == (0, [])
        assert len(list(out.parent.iterdir())) == 2
        lines = done.stdout.splitlines()
        assert len(lines) == 2
        if encoding == "utf-8":  # as bytes that name the file
            assert [os.path.exists(line) for line in lines] == [True, True]


def test_a_terminal_gets_no_control_characters(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a\x1b]0;b\n.png"
    assert run(photo, "--box", BOX, "-o", out) == 0
    assert capsys.readouterr().out == f"{out}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(photo, "--box", BOX, "-o", out, "--force") == 0
    assert capsys.readouterr().out == f"{tmp_path}/a\\x1b]0;b\\n.png\n"


def test_every_kind_of_error_has_its_status() -> None:
    kinds = (PromptError, MattingError, ImageError, TooManyPixelsError, WeightsError, DeviceError, MissingExtraError,
             NothingFoundError)
    assert [status_of(kind("x")) for kind in kinds] == [2, 2, 3, 3, 4, 5, 6, 7]


def test_words_that_match_nothing(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    import matting_anything_core.api as api

    def nothing(*_: Any, **__: Any) -> list[Any]:
        return []

    monkeypatch.setattr(api, "all_matches", nothing)
    assert run(photo, "--text", "unicorn", "--all-matches", "-o", tmp_path / "x.png") == 7
    assert "nothing in" in capsys.readouterr().err


def test_corrections_strokes_and_trimaps_from_files(photo: Path, pixels: np.ndarray, tmp_path: Path) -> None:
    alpha = tmp_path / "alpha.png"
    assert run(photo, "--box", BOX, "--output", "alpha", "-o", alpha) == 0
    first = read_image(alpha).rgb[..., 0]
    y, x = (int(v[len(v) // 2]) for v in np.nonzero(first > 250))
    assert run(photo, "--previous", alpha, "--point", f"{x},{y},0", "--output", "alpha", "-o", tmp_path / "b.png") == 0
    second = read_image(tmp_path / "b.png").rgb[..., 0]
    assert second[y, x] < 128
    assert (second == first).mean() > 0.5
    strokes = np.zeros(pixels.shape[:2], np.uint8)
    strokes[40:44, 20:60] = 255
    write_image(tmp_path / "strokes.png", strokes)
    for name, fine in (("--drop", lambda part: part.max() < 128), ("--keep", lambda part: part.min() > 127)):
        out = tmp_path / f"{name[2:]}-done.png"
        assert run(photo, "--box", BOX, name, tmp_path / "strokes.png", "--output", "alpha", "-o", out) == 0
        assert fine(read_image(out).rgb[..., 0][strokes > 0])
    trimap = np.full(pixels.shape[:2], 128, np.uint8)
    trimap[:20], trimap[60:90, 60:90] = 0, 255
    write_image(tmp_path / "trimap.png", trimap)
    assert run(photo, "--trimap", tmp_path / "trimap.png", "--output", "alpha", "-o", tmp_path / "t.png") == 0
    solved = read_image(tmp_path / "t.png").rgb[..., 0]
    assert solved[:20].max() == 0
    assert solved[60:90, 60:90].min() == 255


def test_marks_that_contradict_are_told(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--box", BOX, "--point", "80,80", "--point", "80,80,0", "-o", tmp_path / "o.png") == 0
    assert "the later one counts" in capsys.readouterr().err
