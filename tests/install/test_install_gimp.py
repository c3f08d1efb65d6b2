"""`matting-anything install gimp` on made folder trees of every system."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from matting_anything_core.cli import main
from matting_anything_core.install import files, gimp

PLUGIN = files.host_files("gimp_plugin") / gimp.NAME


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("XDG_CONFIG_HOME", "GIMP3_DIRECTORY", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    return folder


def made(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True)


def test_all_gimps_of_a_linux_user_are_found(home: Path) -> None:
    made(home / ".config/GIMP/3.0", home / ".config/GIMP/3.2", home / ".config/GIMP/2.10",
         home / ".var/app/org.gimp.GIMP/config/GIMP/3.0", home / "snap/gimp/412/.config/GIMP/3.0")
    (home / "snap/gimp/current").symlink_to("412")
    (home / ".config/GIMP/3.4").touch()  # no folder
    found = gimp.find_profiles(home, {}, "linux")
    assert [profile.label for profile in found] == [
        "GIMP 3.0 (Linux)", "GIMP 3.2 (Linux)", "GIMP 3.0 (Flatpak)", "GIMP 3.0 (Snap)"]
    assert found[3].settings == home / "snap/gimp/common/matting_anything/gimp.json"
    assert {profile.settings for profile in found[:3]} == {home / ".config/matting_anything/gimp.json"}


def test_gimp_is_found_where_xdg_or_its_own_variable_puts_it(home: Path, tmp_path: Path) -> None:
    made(tmp_path / "config/GIMP/3.0", tmp_path / "own")
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "GIMP3_DIRECTORY": str(tmp_path / "own")}
    assert [profile.folder for profile in gimp.find_profiles(home, environment, "linux")] == [
        tmp_path / "config/GIMP/3.0", tmp_path / "own"]


def test_gimp_is_found_on_macos(home: Path) -> None:
    made(home / "Library/Application Support/GIMP/3.0")
    [profile] = gimp.find_profiles(home, {}, "darwin")
    assert profile.plugin == home / "Library/Application Support/GIMP/3.0/plug-ins/matte_selection"
    assert profile.settings == home / ".config/matting_anything/gimp.json"


def test_gimp_is_found_on_windows(home: Path, tmp_path: Path) -> None:
    made(tmp_path / "Roaming/GIMP/3.0")
    [profile] = gimp.find_profiles(home, {"APPDATA": str(tmp_path / "Roaming")}, "win32")
    assert profile.plugin == tmp_path / "Roaming/GIMP/3.0/plug-ins/matte_selection"
    assert profile.settings == tmp_path / "Roaming/matting_anything/gimp.json"
    made(home / "AppData/Roaming/GIMP/3.0")
    [profile] = gimp.find_profiles(home, {}, "win32")
    assert profile.folder == home / "AppData/Roaming/GIMP/3.0"


def test_no_gimp_is_told_with_where_was_looked(home: Path) -> None:
    made(home / ".config/GIMP/2.10")
    with pytest.raises(files.InstallError, match=r"looked in .*org\.gimp\.GIMP.*only GIMP 2\.10.*--profile"):
        gimp.find_profiles(home, {}, "linux")


def test_the_command_puts_the_plug_in_and_says_what_it_did(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(home / ".config/GIMP/3.0", home / ".var/app/org.gimp.GIMP/config/GIMP/3.0")
    assert main(["install", "gimp"]) == 0
    said = capsys.readouterr().out
    for folder in (home / ".config/GIMP/3.0", home / ".var/app/org.gimp.GIMP/config/GIMP/3.0"):
        plugin = folder / "plug-ins/matte_selection"
        assert str(plugin) in said
        assert os.access(plugin / "matte_selection.py", os.X_OK)
        names = {path.relative_to(plugin) for path in plugin.rglob("*") if path.is_file()}
        assert names == {path.relative_to(PLUGIN) for path in PLUGIN.rglob("*")
                         if path.is_file() and "__pycache__" not in path.parts} | {Path("client.py")}
        assert (plugin / "client.py").read_bytes() == gimp.CLIENT.read_bytes()
        assert not list((folder / "plug-ins").glob(".*")), "no half of an installation is left"
    note = home / ".config/matting_anything/gimp.json"
    assert str(note) in said
    assert json.loads(note.read_text())["installed"]["python"] == sys.executable
    assert "Flatpak" in said.splitlines()[-1]


def test_it_replaces_an_older_one_and_keeps_the_users_own_settings(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = home / ".config/GIMP/3.0/plug-ins/matte_selection"
    made(plugin, home / ".config/matting_anything")
    (plugin / "old.py").touch()
    note = home / ".config/matting_anything/gimp.json"
    note.write_text('{"python": "/mine"}')
    assert main(["install", "gimp"]) == 0
    assert "replaced" in capsys.readouterr().out
    assert not (plugin / "old.py").exists()
    assert json.loads(note.read_text())["python"] == "/mine"
    assert main(["install", "gimp", "--uninstall"]) == 0
    assert not plugin.exists()
    assert json.loads(note.read_text()) == {"python": "/mine"}
    said = capsys.readouterr().out
    assert f"removed {plugin}" in said
    assert main(["install", "gimp", "--uninstall"]) == 0
    assert "was not there" in capsys.readouterr().out


def test_a_linked_folder_is_replaced_and_what_it_links_to_stays(home: Path, tmp_path: Path) -> None:
    plugin, source = home / ".config/GIMP/3.0/plug-ins/matte_selection", tmp_path / "mine"
    made(plugin.parent, source)
    (source / "work.py").touch()
    plugin.symlink_to(source)
    assert main(["install", "gimp"]) == 0
    assert not plugin.is_symlink()
    assert (source / "work.py").exists()
    assert (plugin / "matte_selection.py").exists()


def test_dry_run_does_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(home / ".config/GIMP/3.0")
    assert main(["install", "gimp", "--dry-run"]) == 0
    assert "would write" in capsys.readouterr().out
    assert not list((home / ".config/GIMP/3.0").iterdir())


def test_a_profile_may_be_named(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "portable" / "plug-ins")
    assert main(["install", "gimp", "--profile", str(tmp_path / "portable" / "plug-ins")]) == 0
    assert (tmp_path / "portable/plug-ins/matte_selection/matte_selection.py").exists()
    assert main(["install", "gimp", "--profile", str(tmp_path / "nowhere")]) == 2
    assert "Edit > Preferences > Folders" in capsys.readouterr().err


def test_a_python_without_the_package_is_refused_before_anything_is_written(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(home / ".config/GIMP/3.0")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    assert main(["install", "gimp", "--python", str(python)]) == 2
    assert "No module named" in (said := capsys.readouterr().err)
    assert "--python" in said
    assert not list((home / ".config/GIMP/3.0").iterdir())


def test_damaged_settings_are_told_before_anything_is_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(home / ".config/GIMP/3.0", home / ".config/matting_anything")
    (home / ".config/matting_anything/gimp.json").write_text("{")
    assert main(["install", "gimp"]) == 2
    assert "gimp.json" in capsys.readouterr().err
    assert not list((home / ".config/GIMP/3.0").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(home / ".config/GIMP/3.0")
    (home / ".config/GIMP/3.0").chmod(0o500)
    assert main(["install", "gimp"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_folder_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(home / ".config/GIMP/3.0")
    (home / ".config/GIMP/3.0/plug-ins").touch()
    assert main(["install", "gimp"]) == 2
    assert "cannot be written" in capsys.readouterr().err
