"""The plug-in in GIMP: every GIMP 3 of this user gets the files, and a note of the Python that runs the service."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..replacing import replace_text
from .files import InstallError, host_files, put_folder, remove_folder

NAME = "matte_selection"
"""The plug-in's folder; GIMP wants the file to run to bear the same name."""
CLIENT = Path(__file__).resolve().parent.parent / "client.py"
"""The client of the service; it needs nothing but Python's standard library, and so nothing of this package."""
FLATPAK, SNAP = "org.gimp.GIMP", "gimp"


@dataclass(frozen=True)
class Profile:
    """One GIMP's folder of a user: what it is called, where it is, and where its plug-in looks for settings."""

    label: str
    folder: Path
    settings: Path

    @property
    def plugin(self) -> Path:
        """The plug-in's folder in it."""
        return self.folder / "plug-ins" / NAME


def roots(home: Path, environment: Mapping[str, str], platform: str) -> list[tuple[str, Path, Path]]:
    """Where GIMPs keep their folders: (kind, folder that holds one folder a version, the plug-in's settings file).

    platform: as sys.platform has it.
    """
    if platform == "win32":
        roaming = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
        return [("Windows", roaming / "GIMP", roaming / "matting_anything" / "gimp.json")]
    settings = home / ".config" / "matting_anything" / "gimp.json"
    if platform == "darwin":
        return [("macOS", home / "Library" / "Application Support" / "GIMP", settings)]
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return [
        ("Linux", config / "GIMP", settings),
        ("Flatpak", home / ".var" / "app" / FLATPAK / "config" / "GIMP", settings),
        ("Snap", home / "snap" / SNAP / "current" / ".config" / "GIMP",
         home / "snap" / SNAP / "common" / "matting_anything" / "gimp.json"),
    ]


def find_profiles(
    home: Path | None = None, environment: Mapping[str, str] | None = None, platform: str = sys.platform
) -> list[Profile]:
    """Every GIMP 3 profile of this user. Raises InstallError, which says where was looked, when there is none."""
    home = Path.home() if home is None else home
    environment = os.environ if environment is None else environment
    places = roots(home, environment, platform)
    found, old = [], []
    for kind, folder, settings in places:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if re.fullmatch(r"3\.\d+", path.name) and path.is_dir():
                found.append(Profile(f"GIMP {path.name} ({kind})", path, settings))
            elif re.fullmatch(r"2\.\d+", path.name):
                old.append(f"GIMP {path.name} ({kind})")
    chosen = environment.get("GIMP3_DIRECTORY")
    if chosen and Path(chosen).is_dir():
        found.append(Profile("GIMP (GIMP3_DIRECTORY)", Path(chosen), places[0][2]))
    if found:
        return found
    looked = ", ".join(str(folder) for _, folder, _ in places)
    there = f" There is only {', '.join(old)}; the plug-in needs GIMP 3." if old else ""
    raise InstallError(f"no GIMP 3 was found; looked in {looked}.{there} Start GIMP 3 once so that it makes its "
                       "folder, or name that folder with --profile")


def named_profile(folder: Path) -> Profile:
    """The profile in a folder that the user names. Raises InstallError when it does not exist."""
    if not folder.is_dir():
        raise InstallError(f"{folder} is no folder; expected GIMP's own, as GIMP shows it in Edit > Preferences > "
                           "Folders > Plug-ins, without the plug-ins at its end")
    folder = folder.resolve()
    folder = folder.parent if folder.name == "plug-ins" else folder
    known = {path.resolve(): settings for _, path, settings in roots(Path.home(), os.environ, sys.platform)}
    return Profile(f"GIMP ({folder})", folder, known.get(folder.parent, next(iter(known.values()))))


def install(profile: Profile, python: Path) -> list[str]:
    """Put the plug-in into a profile and note the interpreter; returns what was done, a line each.

    Raises InstallError when that cannot be, or what was written is not what should be there.
    """
    settings = _read(profile.settings)
    before = profile.plugin.exists()
    count = put_plugin(profile.plugin)
    done = [f"{profile.label}: {'replaced the' if before else 'put the'} plug-in, {count} files, "
            f"{'in' if before else 'into'} {profile.plugin}"]
    settings["installed"] = {"python": str(python), "version": _version()}
    _write(profile.settings, settings)
    done.append(f"{profile.label}: noted the Python {python} in {profile.settings}")
    if settings.get("python"):
        done.append(f"{profile.label}: that file names {settings['python']} as your own choice, which goes before it")
    return done


def put_plugin(folder: Path) -> int:
    """Put the plug-in's files and its copy of the service's client into a folder, in the place of what is there.

    Returns the number of files. Raises InstallError when that cannot be, or what was written is not what should be
    there.
    """
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / NAME
        try:
            shutil.copytree(host_files("gimp_plugin") / NAME, source,
                            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            shutil.copy(CLIENT, source)
            main = source / f"{NAME}.py"
            main.chmod(main.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)  # else GIMP skips it silently
        except OSError as error:
            raise InstallError(f"{work} cannot be written: {error.strerror or error}; make room there, or set TMPDIR "
                               "to another folder") from None
        put_folder(source, folder)
        return _verify(source, folder)


def uninstall(profile: Profile) -> list[str]:
    """Take the plug-in out of a profile; returns what was done. Raises InstallError."""
    done = [f"{profile.label}: removed {profile.plugin}" if remove_folder(profile.plugin)
            else f"{profile.label}: the plug-in was not there ({profile.plugin})"]
    settings = _read(profile.settings)
    if settings.pop("installed", None) is not None:
        _write(profile.settings, settings)
        done.append(f"{profile.label}: removed the note in {profile.settings}")
    return done


def check_python(python: Path) -> str:
    """The version of the package that a Python has. Raises InstallError when it cannot run the service."""
    code = "import matting_anything_core, starlette, uvicorn, torch; print(matting_anything_core.__version__)"
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"the Python {python} cannot be run: {error}; name another with --python") from None
    if done.returncode:
        line = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise InstallError(f"the Python {python} cannot run the service: {line}; name one with --python in which "
                           "matting-anything is installed")
    return done.stdout.strip()


def _verify(source: Path, target: Path) -> int:
    """How many files were copied. Raises InstallError when one differs, or GIMP could not run the plug-in."""
    names = [str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()]
    _, different, unread = filecmp.cmpfiles(source, target, names, shallow=False)
    if different or unread:
        raise InstallError(f"these files were not copied well to {target}: {', '.join(sorted(different + unread))}; "
                           "is the disk full?")
    if not os.access(target / f"{NAME}.py", os.X_OK):
        raise InstallError(f"{target / NAME}.py cannot be made executable; is the file system mounted with noexec?")
    return len(names)


def _read(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InstallError(f"the settings file {file} cannot be read: {error}; correct or delete it") from None
    if not isinstance(settings, dict):
        raise InstallError(f"the settings file {file} holds no JSON object; correct or delete it")
    return settings


def _write(file: Path, settings: dict[str, Any]) -> None:
    """Write the settings whole or not at all; no file when there are none."""
    try:
        if not settings:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, json.dumps(settings, indent=2) + "\n")
    except OSError as error:
        raise InstallError(f"the settings file {file} cannot be written: {error.strerror or error}; make it writable "
                           "for you") from None


def _version() -> str:
    from .. import __version__

    return __version__
