"""The local service as GIMP finds and starts it; client.py, which the installer puts beside this file, speaks to it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import Any

import client
from places import INSTALL, find_interpreter, runtime_folder, sandbox
from problem import Problem, told
from translation import _

IDLE = "15"
"""Minutes without a request after which a service that is started here ends by itself."""
STRANGE = ("PYTHON", "GI_", "GEGL_", "BABL_", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_")
"""Variables that GIMP sets for its own Python and libraries; another Python would load the wrong ones."""


def find(wait: client.Wait) -> client.Service:
    """The running service, or one that is started now. Raises ClientError with the remedy."""
    stop = stop_command()
    found = running(wait)
    if found is not None:
        return found
    interpreter = find_interpreter()
    command = [str(interpreter.path), "-m", "matting_anything_core.cli", "serve", "--idle-exit", IDLE]
    if sandbox() == "flatpak":
        command = ["flatpak-spawn", "--host", *command]
    try:
        return client.start(command, folder=runtime_folder(), environment=environment(), stop=stop, meanwhile=wait)
    except client.ClientError as error:
        if sandbox() and error.kind in ("NoProgram", "NoPackage", "EndedEarly"):
            raise Problem(f"{_outside()} {error.values.get('line', '')}".strip()) from None
        names: dict[str, Any] = {"path": interpreter.path, "origin": interpreter.origin, "command": INSTALL}
        if error.kind == "NoProgram":
            raise Problem(_("The Python “{path}”, named by {origin}, cannot be run: {error}. Run “{command}” in the "
                            "Python environment that has matting-anything.").format(
                                error=error.values["error"], **names)) from None
        if error.kind == "NoPackage":
            raise Problem(_("The Python “{path}”, named by {origin}, does not have all of matting-anything ({line}). "
                            "Run “{command}” in the Python environment that has it.").format(
                                line=error.values["line"], **names)) from None
        raise


def running(wait: client.Wait | None = None) -> client.Service | None:
    """The running service. Raises ClientError when it does not answer or is of another version."""
    try:
        return client.connect(runtime_folder(), stop=stop_command(), meanwhile=wait)
    except client.ClientError as error:
        if error.kind != "OtherVersion":
            raise
        hint = _("For this plug-in run “{command}”.").format(command=INSTALL)
        raise Problem(f"{told(error)} {hint}") from None


def stop_command() -> str:
    """The command that ends the service, as it works in this user's terminal: its environment may not be active there.
    """
    try:
        command = [str(find_interpreter().path), "-m", "matting_anything_core.cli", "serve", "--stop"]
        words = subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)
    except Problem:
        words = client.STOP
    given = os.environ.get("MATTING_ANYTHING_RUNTIME") or (str(runtime_folder()) if sandbox() == "snap" else "")
    return f"MATTING_ANYTHING_RUNTIME={shlex.quote(given)} {words}" if given and sys.platform != "win32" else words


def environment() -> dict[str, str]:
    """The variables for another Python: those of before GIMP added its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    return {**kept, "PYTHONSAFEPATH": "1"}  # what lies in the home folder is no module


def _outside() -> str:
    if sandbox() == "snap":
        command = f"MATTING_ANYTHING_RUNTIME='{runtime_folder()}' {client.SERVE}"
        return _("A GIMP from Snap may not start other programs. Run this in a terminal and try again: {command}") \
            .format(command=command)
    return _("A GIMP from Flatpak may not start other programs. Run “{command}” in a terminal and try again; or allow "
             "it once and for all: {allow}").format(
                 command=client.SERVE,
                 allow="flatpak override --user --talk-name=org.freedesktop.Flatpak org.gimp.GIMP")
