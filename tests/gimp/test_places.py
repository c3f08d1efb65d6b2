"""Where the plug-in looks for the interpreter, the settings and the service."""

from __future__ import annotations

import json
from pathlib import Path

import places
import pytest
from problem import Problem

from matting_anything_core.install import gimp
from matting_anything_core.server import endpoint


def settings(**content: object) -> Path:
    file = places.settings_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def python(folder: Path, name: str) -> str:
    path = folder / name
    path.touch()
    return str(path)


def test_settings_go_before_the_environment_and_that_before_the_installers_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other, noted = (python(tmp_path, name) for name in ("mine", "other", "noted"))
    monkeypatch.delenv("MATTING_ANYTHING_PYTHON")
    settings(installed={"python": noted})
    found = places.find_interpreter()
    assert (str(found.path), "installer" in found.origin) == (noted, True)
    monkeypatch.setenv("MATTING_ANYTHING_PYTHON", other)
    assert str(places.find_interpreter().path) == other
    settings(python=mine, installed={"python": noted})
    assert str(places.find_interpreter().path) == mine


def test_a_missing_interpreter_is_told_with_who_named_it_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTING_ANYTHING_PYTHON", "/no/such/python")
    with pytest.raises(Problem, match=r"/no/such/python.*MATTING_ANYTHING_PYTHON.*matting-anything install gimp"):
        places.find_interpreter()
    monkeypatch.delenv("MATTING_ANYTHING_PYTHON")
    with pytest.raises(Problem, match="matting-anything install gimp"):
        places.find_interpreter()


@pytest.mark.parametrize("content", ["{", "[]", '"text"', "\udcff"])
def test_damaged_settings_are_told(content: str) -> None:
    settings().write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(Problem, match=r"gimp\.json"):
        places.find_interpreter()


def test_the_service_and_the_installer_use_the_same_places(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places.runtime_folder() == endpoint.runtime_folder() == runtime
    monkeypatch.delenv("MATTING_ANYTHING_RUNTIME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    home = tmp_path / "home"
    assert places.runtime_folder() == endpoint.runtime_folder() == home / ".cache" / "matting_anything"
    by_kind = {kind: file for kind, _, file in gimp.roots(home, {}, "linux")}
    assert places.settings_file() == by_kind["Linux"] == by_kind["Flatpak"]
    monkeypatch.setenv("SNAP_NAME", "gimp")
    monkeypatch.setenv("SNAP_USER_COMMON", str(home / "snap" / "gimp" / "common"))
    assert places.settings_file() == by_kind["Snap"]
