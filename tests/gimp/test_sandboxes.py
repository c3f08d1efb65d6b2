"""GIMPs from Flatpak and Snap, by the variables and commands that they have: no such sandbox is here to be had."""

from __future__ import annotations

import os
from pathlib import Path

import client
import places
import pytest
import service
from problem import Problem


def command(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n" + text)
    (folder / name).chmod(0o755)


@pytest.fixture
def flatpak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GIMP in Flatpak; returns the folder of its commands."""
    monkeypatch.setenv("FLATPAK_ID", "org.gimp.GIMP")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def test_flatpak_without_the_permission_names_both_remedies(flatpak: Path) -> None:
    command(flatpak, "flatpak-spawn", "echo Portal call failed: org.freedesktop.DBus.Error.ServiceUnknown >&2; exit 1")
    with pytest.raises(Problem, match=r"matting-anything serve.*flatpak override --user.*Portal call failed"):
        service.find(lambda: None)


def test_flatpak_without_the_command_names_both_remedies(flatpak: Path) -> None:
    with pytest.raises(Problem, match=r"matting-anything serve.*flatpak override --user"):
        service.find(lambda: None)


def test_flatpak_with_the_permission_starts_the_service_outside(flatpak: Path, tmp_path: Path) -> None:
    command(flatpak, "flatpak-spawn", f'echo "$1" > {tmp_path}/asked; shift; exec "$@"')
    assert service.find(lambda: None).status["protocol"] == client.PROTOCOL
    assert (tmp_path / "asked").read_text() == "--host\n"


def test_flatpak_uses_a_service_that_runs_already(flatpak: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLATPAK_ID")
    outside = service.find(lambda: None)
    monkeypatch.setenv("FLATPAK_ID", "org.gimp.GIMP")
    assert service.find(lambda: None).status["pid"] == outside.status["pid"]


def test_snap_names_the_command_with_the_folder_that_both_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MATTING_ANYTHING_RUNTIME")
    monkeypatch.setenv("SNAP_NAME", "gimp")
    monkeypatch.setenv("SNAP_USER_COMMON", str(tmp_path / "common"))
    monkeypatch.setenv("MATTING_ANYTHING_PYTHON", "/bin/false")
    assert places.runtime_folder() == tmp_path / "common" / "matting_anything"
    with pytest.raises(Problem, match=rf"MATTING_ANYTHING_RUNTIME='{tmp_path}/common/matting_anything' matting-"):
        service.find(lambda: None)
    assert os.path.isdir(places.runtime_folder())
