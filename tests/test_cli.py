"""The command line, with the bundled model, as a newcomer types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from matting_anything_core import matte, read_image, write_image
from matting_anything_core.assets import DEMO_BOX, demo_picture
from matting_anything_core.cli import build_parser, main

BOX = ",".join(f"{value:g}" for value in DEMO_BOX)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "photo.jpg"
    path.write_bytes(demo_picture())
    return path


def test_the_demo_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "deep" / "demo")]) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "deep" / "demo") in said
    for name in ("sheet.png", "cutout.png", "alpha.png", "composite.png", "picture.png"):
        assert name in said
        assert read_image(tmp_path / "deep" / "demo" / name).height >= 200
    cutout = read_image(tmp_path / "deep" / "demo" / "cutout.png")
    assert cutout.alpha is not None
    # The astronaut fills the middle of the picture, and the wall above her shoulder is not part of her.
    assert cutout.alpha[300:, 150:300].mean() > 200
    assert cutout.alpha[20:120, 60:110].mean() < 60


def test_alpha_on_the_command_line_is_mattes_alpha(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "alpha.png"
    assert main(["matte", str(photo), "--box", BOX, "--output", "alpha", "--bits", "16", "-o", str(out)]) == 0
    written = read_image(out).rgb[..., 0]
    assert written.dtype == np.uint16
    np.testing.assert_allclose(written / 65535, matte(photo, DEMO_BOX).alpha, atol=1 / 65535)


def test_every_output_and_the_sheet(photo: Path, tmp_path: Path) -> None:
    expected = matte(photo, DEMO_BOX)
    for output, suffix in (("cutout", "webp"), ("foreground", "png"), ("composite", "jpg")):
        out = tmp_path / f"{output}.{suffix}"
        more = ["--background", "#20a040", "--sheet", str(tmp_path / "sheet.png")] if output == "composite" else []
        assert main(["matte", str(photo), "--box", BOX, "--output", output, "-o", str(out), *more]) == 0
        assert (read_image(out).alpha is not None) == (output == "cutout")
    green = read_image(tmp_path / "composite.jpg").rgb[expected.alpha == 0]
    assert np.abs(green.astype(int) - (32, 160, 64)).mean() < 8
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.width > 3.5 * sheet.height  # four square panels in a row


def test_several_boxes_are_several_files(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matte", str(photo), "--box", BOX, "--box", "300,0,500,200", "-o", str(tmp_path / "out.png")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-1.png", "out-2.png"]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "out-1.png"), str(tmp_path / "out-2.png")]


def test_a_rough_mask_and_points(photo: Path, tmp_path: Path) -> None:
    rough = np.zeros((512, 512), np.uint8)
    rough[100:500, 100:330] = 255
    write_image(tmp_path / "rough.png", rough)
    out = tmp_path / "out.png"
    assert main(["matte", str(photo), "--mask", str(tmp_path / "rough.png"), "-o", str(out)]) == 0
    alpha = read_image(out).alpha
    assert alpha is not None
    assert alpha[340:360, 210:230].mean() > 200
    assert main(["matte", str(photo), "--point", "220,300", "--point", "480,20,0", "-o", str(out)]) == 0
    alpha = read_image(out).alpha
    assert alpha is not None
    assert alpha[295:305, 215:225].mean() > alpha[15:25, 475:485].mean() + 100


@pytest.mark.parametrize(("arguments", "message", "status"), [
    (["--box", "5,5,3,9"], "corners are reversed", 2),
    (["--box", "5,5,9"], "expected x0,y0,x1,y1", 2),
    (["--box", "600,0,700,50"], "outside the picture, which is 512 x 512", 2),
    (["--box", "0.5,0.5,0.2,0.3"], "centre form", 2),
    (["--point", "5,5,7"], "a label is 1", 2),
    (["--subject", "--box", BOX], "finds by itself what to matte", 2),
    (["--box", BOX, "--box", BOX, "--point", "5,5"], "not clear which object", 2),
    (["--box", BOX, "--background", "white"], "needs --output composite", 2),
    (["--box", BOX, "--all-matches"], "without --text", 2),
    (["--box", BOX, "--crop=x"], "--crop was given as 'x'", 2),
    (["--box", BOX, "--grow", "2", "--shrink", "2"], "expected one of them", 2),
    (["--box", BOX, "--feather", "-2"], "feather was given as -2", 2),
    (["--box", BOX, "--quality", "0"], "from 1 to 100", 2),
    (["--box", BOX, "--max-pixels", "many"], "a number of pixels such as 300M", 2),
    (["--box", BOX, "--max-pixels", "0.1M"], "raise --max-pixels", 3),
    (["--box", BOX, "--output", "alpha", "--premultiplied"], "needs --output cutout", 2),
    (["--box", BOX, "--format", "webp"], "whose suffix is the format", 2),
    (["--box", BOX, "--model", "vit_b"], "weights fetch vit_b", 4),
    (["--box", BOX, "--device", "cuda:77"], "cuda", 5),
    (["--box", BOX, "--mask", "nowhere.png"], "nowhere.png", 3),
])
def test_errors_are_one_line_and_their_kind_is_the_status(
    photo: Path, tmp_path: Path, arguments: list[str], message: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    assert main(["matte", str(photo), "-o", str(out), *arguments]) == status
    error = capsys.readouterr().err
    assert error.startswith("matting-anything: ")
    assert error.count("\n") == 1
    assert message in error
    assert not out.exists()


@pytest.mark.parametrize("out", ["out.gif", "out", "out.png/deeper.png"])
def test_what_cannot_be_written_is_told(photo: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "out.png").write_bytes(b"")
    assert main(["matte", str(photo), "--box", BOX, "-o", str(tmp_path / out)]) == 3


def test_verbose_shows_the_traceback(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matte", str(photo), "--box", "9,9,1,1", "-o", str(tmp_path / "o.png"), "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_every_command_has_help_with_examples() -> None:
    [commands] = [action.choices for action in build_parser()._actions if isinstance(action.choices, dict)]
    assert {"demo", "matte", "weights", "evaluate", "train", "benchmark", "completion"} <= set(commands)
    for parser in commands.values():
        assert "matting-anything" in (parser.epilog or "")
        assert parser.format_help()


def test_importing_the_library_imports_nothing_heavy() -> None:
    script = ("import sys, matting_anything_core, matting_anything_core.cli as cli; cli.build_parser(); "
              "print([name for name in ('torch', 'numpy', 'PIL', 'cv2', 'timm') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
