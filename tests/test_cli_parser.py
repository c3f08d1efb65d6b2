"""The command line itself: help in any width, negative numbers, the nearest option, completion, logs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from matting_anything_core.cli import build_parser, main
from matting_anything_core.cli.options import matte_options
from matting_anything_core.cli.parser import joined
from matting_anything_core.cli.progress import log_lines, progress_bar
from matting_anything_core.options import CHOICES, OPTION_HELP, SWITCHES, MatteOptions


def parsers(parser: argparse.ArgumentParser | None = None) -> Iterator[argparse.ArgumentParser]:
    parser = parser or build_parser()
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_help_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    for parser in parsers():
        lines = parser.format_help().splitlines()
        assert not [line for line in lines if len(line) > width], parser.prog
        assert "\x1b" not in parser.format_help()


@pytest.mark.parametrize("command", [["matte", "a.png", "-o", "b.png"], ["batch", "a", "-o", "b"], ["demo"],
                                     ["video", "a.mp4", "-o", "b.mov"]])
def test_every_option_of_a_matte_can_be_given(command: list[str]) -> None:
    parser = build_parser()
    assert matte_options(parser.parse_args(command)) == MatteOptions()
    other: dict[str, object] = {name: values[-1] for name, values in CHOICES.items()}
    other |= {name: not on for name, on in SWITCHES.items()}
    assert other.keys() == OPTION_HELP.keys()
    words = [f"--{name}={value}" if isinstance(value, str) else f"--{name}" if value else f"--no-{name}"
             for name, value in other.items()]
    assert matte_options(parser.parse_args([*command, *words])) == MatteOptions(**other)  # type: ignore[arg-type]


def test_help_that_is_cut_can_still_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is broken into lines is continued as a shell expects it, and nothing of it is lost."""
    whole = parsers_text(monkeypatch, 200)
    narrow = parsers_text(monkeypatch, 40).replace(" \\\n", " ")
    for line in whole.splitlines():
        if line.startswith("  matting-anything ") and "   " not in line.strip():
            assert " ".join(line.split()) in " ".join(narrow.split())


def parsers_text(monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return "\n".join(parser.format_help() for parser in parsers())


@pytest.mark.parametrize(("arguments", "expected"), [
    (["--box", "-10,80,520,400"], ["--box=-10,80,520,400"]), (["--box", "-5%,0%,50%,9%"], ["--box=-5%,0%,50%,9%"]),
    (["--point", "-.5,3"], ["--point=-.5,3"]), (["--grow", "-2"], ["--grow=-2"]), (["a", "-o", "-"], ["a", "-o", "-"]),
    (["--box=1,2,3,4", "-5"], ["--box=1,2,3,4", "-5"]), (["--", "--box", "-1,2"], ["--", "--box", "-1,2"]),
    (["--crop", "a.png"], ["--crop=0", "a.png"]), (["--crop", "5%", "a.png"], ["--crop=5%", "a.png"]),
    (["a.png", "--crop"], ["a.png", "--crop=0"]), (["--box", "-o"], ["--box", "-o"]),
])
def test_negative_numbers_belong_to_the_option_before(arguments: list[str], expected: list[str]) -> None:
    assert joined(arguments) == expected
    assert joined(expected) == expected


@pytest.mark.parametrize(("arguments", "words"), [
    (["matte", "x.png", "--boks", "1,2,3,4", "-o", "y.png"], ["usage: matting-anything matte", "did you mean --box?"]),
    (["matte", "x.png", "-box", "1,2,3,4", "-o", "y.png"], ["did you mean --box?"]),
    (["batch", "x", "-o", "y", "--overwite"], ["usage: matting-anything batch", "did you mean --overwrite?"]),
    (["weights", "fetch", "vit_b", "--truts"], ["usage: matting-anything weights fetch", "did you mean --trust?"]),
    (["mate", "x.png"], ["did you mean matte?"]), (["weights", "lst"], ["did you mean list?"]),
    (["matte", "x.png", "-o", "y.png", "--output", "alfa"], ["did you mean alpha?", "(known: cutout, alpha"]),
    (["demo", "photo.jpg"], ["usage: matting-anything demo", "unexpected argument 'photo.jpg'"]),
    (["matte", "x.png", "-o", "y.png", "--zzzzzz"], ["unknown option --zzzzzz\n"]),
    (["matte", "x.png"], ["usage: matting-anything matte", "-o/--out"]),
    (["matte", "x.png", "-o", "y.png", "--no-clobber", "--force"], ["not allowed with"]), ([], ["COMMAND"]),
])
def test_a_wrong_word_names_the_nearest(arguments: list[str], words: list[str],
                                        capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("matte", "box", "weights", "no-clobber", "cutout"):
        assert word in script


def test_completion_in_a_real_shell() -> None:
    script = f"""eval "$({sys.executable} -m matting_anything_core completion bash)"
COMP_WORDS=(matting-anything matte --no-c); COMP_CWORD=2
{'_shtab_matting_anything'}
echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["--no-clobber"], done.stderr


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "matting_anything_core", "--version"], capture_output=True, text=True,
                          check=True, env={**os.environ})
    assert done.stdout.startswith("matting-anything ")


def test_a_log_gets_a_line_every_half_minute(capsys: pytest.CaptureFixture[str],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = 0.0, []
    tell = log_lines(said.append, every=30, clock=lambda: now)
    for now in range(0, 100, 7):
        tell(f"at {now}")
    assert said == ["at 35", "at 70"]
    import matting_anything_core.cli.progress as module

    monkeypatch.setattr(module, "EVERY", 0.0)
    with progress_bar() as show:
        show("encoding", 0.5)
    assert capsys.readouterr().err == "matting-anything: encoding 50 %\n"
    with progress_bar(quiet=True) as show:
        show("encoding", 0.5)
    assert capsys.readouterr().err == ""
