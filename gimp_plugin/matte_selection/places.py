"""Where things are on this machine: the service's folder, this plug-in's settings, the Python that runs the service.

All folders are written out in full. XDG variables are not asked: Flatpak redirects them, and the service outside of
the sandbox would look elsewhere.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import client
from problem import Problem
from translation import _

INSTALL = "matting-anything install gimp"


def _home() -> Path:
    return Path(os.path.expanduser("~"))


def sandbox() -> str:
    """"flatpak" or "snap" when GIMP runs in one of them, else ""."""
    if os.environ.get("FLATPAK_ID") or os.path.exists("/.flatpak-info"):
        return "flatpak"
    return "snap" if os.environ.get("SNAP_NAME") else ""


def runtime_folder() -> Path:
    """The folder in which the service leaves its address."""
    if sandbox() == "snap" and not os.environ.get("MATTING_ANYTHING_RUNTIME"):
        # A snap may not look into hidden folders of the home folder.
        return Path(os.environ.get("SNAP_USER_COMMON") or _home()) / "matting_anything"
    return client.runtime_folder()


def settings_file() -> Path:
    """A JSON object: "python" is the user's choice of interpreter, "installed" the installer's note."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or _home() / "AppData" / "Roaming") / "matting_anything" / "gimp.json"
    if sandbox() == "snap":
        return Path(os.environ.get("SNAP_USER_COMMON") or _home()) / "matting_anything" / "gimp.json"
    return _home() / ".config" / "matting_anything" / "gimp.json"


def read_settings() -> dict[str, Any]:
    """What the settings file holds; nothing when there is none. Raises Problem when it cannot be read."""
    file = settings_file()
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Problem(_("The settings file {file} cannot be read: {error}. Correct or delete it, then run "
                        "“{command}” again.").format(file=file, error=error, command=INSTALL)) from None
    if not isinstance(settings, dict):
        raise Problem(_("The settings file {file} holds no JSON object. Delete it, then run “{command}” again.")
                      .format(file=file, command=INSTALL))
    return settings


@dataclass(frozen=True)
class Interpreter:
    """A Python that has the package, and who named it."""

    path: Path
    origin: str


def find_interpreter() -> Interpreter:
    """The first that is named: by the settings, by the environment, by the installer.

    Raises Problem when none is named, or the one that is does not exist.
    """
    settings = read_settings()
    installed = settings.get("installed")
    named = (
        (settings.get("python"), _("the entry “python” in {file}").format(file=settings_file())),
        (os.environ.get("MATTING_ANYTHING_PYTHON"), _("the environment variable MATTING_ANYTHING_PYTHON")),
        (installed.get("python") if isinstance(installed, dict) else None,
         _("the installer's note in {file}").format(file=settings_file())),
    )
    for path, origin in named:
        if not path or not isinstance(path, str):
            continue
        if sandbox() != "flatpak" and not os.path.isfile(path):  # from inside Flatpak the host's files look different
            raise Problem(_("The Python “{path}”, named by {origin}, does not exist. Run “{command}” in the Python "
                            "environment that has matting-anything.").format(path=path, origin=origin, command=INSTALL))
        return Interpreter(Path(path), origin)
    raise Problem(_("It is not known which Python has matting-anything. Run “{command}” there; it notes the "
                    "interpreter in {file}.").format(command=INSTALL, file=settings_file()))
