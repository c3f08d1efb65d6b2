"""Films in and out: what PyAV reads and what is written, down to its pixel formats, times, sound and alpha."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import box_of, moving
from tiny import tiny_model

pytest.importorskip("av")

from films import look_into, make_film

from matting_anything_core import read_image
from matting_anything_core.cli import main
from matting_anything_core.errors import CancelledError, ImageError, MattingError
from matting_anything_core.result import Matte
from matting_anything_core.types import Prompt
from matting_anything_core.video.film import Look, matte_film
from matting_anything_core.video.smoothing import SteadyColours
from matting_anything_core.video.source import open_clip

FRAMES, ALPHAS = moving(5)
BOX = box_of(ALPHAS[0])


@pytest.fixture(autouse=True)
def _no_doubts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "source.mp4", FRAMES, sound=True)


def _made(film: Path, out: Path, **keywords):
    return matte_film(film, {0: BOX}, out, model=tiny_model(64), **keywords)


@pytest.mark.parametrize(("out", "look", "codec", "layouts", "alpha"), [
    ("o.mov", Look(), "prores", ("yuva444p10le", "yuva444p12le"), True),
    ("o.webm", Look(), "vp9", ("yuva420p",), True),
    ("o.mp4", Look("alpha"), "h264", ("yuv420p",), False),
    ("o.mkv", Look("alpha", codec="hevc"), "hevc", ("yuv420p",), False),
    ("c.mp4", Look("composite", "#20a040"), "h264", ("yuv420p",), False),
])
def test_films_have_the_right_form_times_sound_and_alpha(film, tmp_path, out, look, codec, layouts, alpha):
    done = _made(film, tmp_path / out, look=look)
    found = look_into(tmp_path / out)
    assert done.frames == len(found["frames"]) == len(FRAMES)
    assert (found["codec"], found["layout"] in layouts) == (codec, True)
    assert (found["size"], found["matrix"], found["range"]) == ((96, 128), 1, 1)
    steps = np.diff(found["times"])
    assert np.allclose(steps, 1 / 24, atol=0.002)
    assert found["sound"] == pytest.approx(1.0, abs=0.06)
    sequence = tmp_path / "seq"
    _made(film, sequence, look=Look("alpha", bits=16))
    true = read_image(sequence / "000002.png").rgb[..., 0].astype(np.float32) / 65535
    if alpha:
        assert np.abs(found["frames"][2][..., 3] - true).mean() < 0.02
    elif look.output == "alpha":
        assert np.abs(found["frames"][2][..., 0] - true).mean() < 0.02
    assert sorted(os.listdir(tmp_path)) == sorted([out, "seq"])  # nothing else is left


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg's own tools are not installed")
@pytest.mark.parametrize(("out", "decoder"), [("o.mov", []), ("o.webm", ["-c:v", "libvpx-vp9"])])
def test_ffmpegs_own_tools_read_the_alpha(film, tmp_path, out, decoder):
    _made(film, tmp_path / out)
    _made(film, tmp_path / "seq", look=Look(bits=16))
    subprocess.run(["ffmpeg", "-v", "error", *decoder, "-i", str(tmp_path / out), "-frames:v", "1", "-pix_fmt", "rgba",
                    str(tmp_path / "f.png")], check=True)
    found, true = read_image(tmp_path / "f.png"), read_image(tmp_path / "seq" / "000000.png")
    assert np.abs(found.alpha / 255 - true.alpha / 65535).mean() < 0.01
    assert np.abs(found.rgb / 255 - true.rgb / 65535).mean() < 0.02


def test_colours_come_through_prores_as_they_were(film, tmp_path):
    _made(film, tmp_path / "c.mov", look=Look("foreground"))
    _made(film, tmp_path / "seq", look=Look("foreground", bits=16))
    found = look_into(tmp_path / "c.mov")["frames"][1][..., :3]
    true = read_image(tmp_path / "seq" / "000001.png").rgb.astype(np.float32) / 65535
    assert np.abs(found - true).mean() < 0.02
    assert np.abs((found - true).mean((0, 1))).max() < 0.01  # no tint: matrix and range are right


def test_estimated_colours_are_steady_and_solid_ones_the_frames_own():
    alpha = np.zeros((48, 64), np.float32)
    alpha[10:38, 10:40], alpha[10:38, 40:48] = 1, 0.5
    generator = np.random.default_rng(0)
    base = FRAMES[0][:48, :64].astype(np.float32)
    steady, plain, made = SteadyColours(0.7), [], []
    for _ in range(5):
        noisy = np.clip(base + generator.normal(0, 3, base.shape), 0, 255).astype(np.uint8)
        matte = Matte(alpha, alpha > 0.5, 1.0, Prompt(box=(10, 10, 48, 38)), read_image(noisy))
        plain.append(matte.foreground)
        made.append(steady(matte).foreground)
    soft = (alpha > 0) & (alpha < 1)
    assert np.diff(made, axis=0)[:, soft].std() < 0.8 * np.diff(plain, axis=0)[:, soft].std()
    assert all(np.array_equal(a[alpha == 1], b[alpha == 1]) for a, b in zip(made, plain, strict=True))


@pytest.mark.parametrize(("matrix", "full"), [(1, False), (6, False), (1, True)])
def test_matrix_and_range_are_read(tmp_path, matrix, full):
    clip = open_clip(make_film(tmp_path / "f.mp4", FRAMES[:1], matrix=matrix, full=full))
    error = clip.read(0).rgb.astype(np.float32) - FRAMES[0]
    clip.close()
    assert np.abs(error).mean() < 2.5
    assert np.abs(error.mean((0, 1))).max() < 1


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (-90, -1), (180, 2)])
def test_frames_are_upright(tmp_path, rotation, turns):
    clip = open_clip(make_film(tmp_path / "f.mp4", FRAMES[:2], rotation=rotation))
    seen = clip.read(0).rgb.astype(np.float32)
    clip.close()
    assert np.abs(seen - np.rot90(FRAMES[0], turns)).mean() < 3


def test_frames_can_be_read_in_any_order(film):
    clip, again = open_clip(film), open_clip(film)
    forward = [again.read(index).rgb for index in range(5)]
    for index in (4, 3, 0, 1, 2, 4, 0):
        assert np.array_equal(clip.read(index).rgb, forward[index])
    with pytest.raises(IndexError):
        clip.read(5)
    assert np.array_equal(clip.read(2).rgb, forward[2])
    clip.close()
    again.close()


def test_a_variable_frame_rate_is_kept(tmp_path):
    times = [0, 25, 75, 80, 200]
    source = make_film(tmp_path / "v.mp4", FRAMES, times=times)
    _made(source, tmp_path / "o.mov")
    assert np.allclose(look_into(tmp_path / "o.mov")["times"], np.array(times) / 600, atol=1e-3)


def test_a_folder_of_images_has_the_rate_that_is_asked_for(tmp_path):
    from matting_anything_core import write_image

    (tmp_path / "in").mkdir()
    for index, image in enumerate(FRAMES[:3]):
        write_image(tmp_path / "in" / f"{index}.png", image)
    _made(tmp_path / "in", tmp_path / "o.mov", rate=Fraction(10))
    assert np.allclose(look_into(tmp_path / "o.mov")["times"], [0, 0.1, 0.2], atol=1e-3)


def test_what_was_stopped_leaves_no_film_and_goes_on(film, tmp_path, monkeypatch):
    monkeypatch.setattr("matting_anything_core.video.passes.EVERY", 1)
    _made(film, tmp_path / "whole.mov")
    steps: list[str] = []

    def stop(stage: str, _share: float) -> None:
        steps.append(stage)
        if len(steps) == 4:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        _made(film, tmp_path / "o.mov", progress=stop)
    assert sorted(os.listdir(tmp_path)) == ["o.mov.matting", "whole.mov"]
    again: list[str] = []
    _made(film, tmp_path / "o.mov", progress=lambda stage, _: again.append(stage))
    assert len(again) < 5
    assert (tmp_path / "o.mov").read_bytes() == (tmp_path / "whole.mov").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["o.mov", "whole.mov"]


def test_a_killed_command_goes_on_with_exactly_the_same_film(film, tmp_path):
    command = [sys.executable, "-m", "matting_anything_core", "--quiet", "video", str(film), "--box",
               ",".join(map(str, BOX)), "-o"]
    process = subprocess.Popen([*command, str(tmp_path / "o.mov")])
    kept = tmp_path / "o.mov.matting"
    deadline = time.monotonic() + 300
    while len(list(kept.glob("*.png"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "o.mov").exists()
    assert main(["--quiet", *command[4:], str(tmp_path / "o.mov")]) == 0
    assert main(["--quiet", *command[4:], str(tmp_path / "whole.mov")]) == 0
    assert (tmp_path / "o.mov").read_bytes() == (tmp_path / "whole.mov").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["o.mov", "whole.mov"]


@pytest.mark.parametrize(("out", "look", "told"), [
    ("o.mp4", Look(), "no transparency"),
    ("o.png", Look(), "sequence"),
    ("o.xyz", Look(), "known are"),
    ("o.webm", Look(codec="h264"), "cannot be written into .webm"),
    ("%d-%d.png", Look(), "once"),
    ("none/o.mov", Look(), "no folder"),
])
def test_what_cannot_be_written_is_told_before_the_work(film, tmp_path, out, look, told):
    with pytest.raises(ImageError, match=told):
        _made(film, tmp_path / out, look=look)
    assert not os.listdir(tmp_path)


def test_hostile_files_end_in_an_error(film, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[:900])
    text = tmp_path / "text.mp4"
    text.write_text("this is no film")
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    for path in (cut, text, empty):
        with pytest.raises(MattingError):
            open_clip(path)


def test_the_command_takes_marks_by_frame(film, tmp_path, capsys):
    marks = tmp_path / "marks.json"
    marks.write_text(json.dumps({"0": {"box": BOX}, "3": {"points": [[50, 48]], "labels": [1]}}))
    out = tmp_path / "a" / "%03d.png"
    for given in (["--marks", str(marks)],
                  ["--box", ",".join(map(str, BOX)), "--at", "3", "--point", "50,48"]):
        assert main(["video", str(film), *given, "--output", "alpha", "-o", str(out), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["frames"] == 5
        shutil.move(tmp_path / "a", tmp_path / f"a{len(given)}")
    assert (tmp_path / "a2" / "004.png").read_bytes() == (tmp_path / "a6" / "004.png").read_bytes()


def test_the_command_previews(film, tmp_path):
    assert main(["--quiet", "video", str(film), "--box", ",".join(map(str, BOX)), "--preview",
                 str(tmp_path / "look.png")]) == 0
    assert read_image(tmp_path / "look.png").height > 3 * 100


@pytest.mark.parametrize(("arguments", "told"), [
    (["-o", "o.mov"], "nothing says what to matte"),
    (["--box", "1,1,9,9"], "give -o OUT"),
    (["--box", "1,1,9,9", "--point", "3,3", "--box", "4,4,9,9", "-o", "o.mov"], "not clear"),
    (["--box", "1,1,9,9", "-o", "o.mov", "--rate", "zero"], "frames a second"),
    (["--at", "x", "--box", "1,1,9,9", "-o", "o.mov"], "is no frame"),
    (["--at", "3", "--point", "3,3,0", "-o", "o.mov"], "first one that is marked"),
    (["--box", "1,1,9,9", "--background", "red", "-o", "o.mov"], "needs --output composite"),
])
def test_the_command_says_what_is_wrong(film, capsys, monkeypatch, tmp_path, arguments, told):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["video", str(film), *arguments])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    assert status == 2
    assert told in capsys.readouterr().err.replace("\n", " ")
    assert not os.listdir(tmp_path)
