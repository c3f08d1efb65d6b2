"""The report of "Check Setup": everything somebody would ask for who helps from afar."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import client
import places
import service
from client import ClientError
from gi.repository import Gimp
from problem import told
from translation import _

ASK = "import matting_anything_core as m, torch; print(m.__version__, m.__path__[0], 'torch', torch.__version__)"


def report() -> str:
    """Text of several lines, the verdict first. The service is started when none runs."""
    found: client.Service | ClientError
    try:
        found = service.find(lambda: None)
    except ClientError as error:
        found = error
    if isinstance(found, ClientError):
        verdict = [_("NOT READY: {why}").format(why=told(found))]
    else:
        verdict = [_("Everything is there: Matte Selection is ready.")]
    return "\n".join([*verdict, "", *_about_gimp(), "", *_about_python(), "", *_about_service(found), ""])


def _about_gimp() -> Iterator[str]:
    folder = Path(__file__).resolve().parent
    main = folder / "matte_selection.py"
    yield f"GIMP           {Gimp.version()}, Python {platform.python_version()}, {platform.platform()}"
    yield f"sandbox        {places.sandbox() or '–'}"
    yield f"plug-in        {folder}" + ("" if os.access(main, os.X_OK) else " (matte_selection.py has no run bit!)")
    yield f"language       {os.environ.get('LANGUAGE') or os.environ.get('LANG') or '–'}"


def _about_python() -> Iterator[str]:
    yield f"settings       {places.settings_file()}" + ("" if places.settings_file().exists() else " (none)")
    for name in sorted(name for name in os.environ if name.startswith("MATTING_ANYTHING_")):
        yield f"               {name}={os.environ[name]}"
    try:
        interpreter = places.find_interpreter()
    except ClientError as error:
        yield f"interpreter    – {told(error)}"
        return
    yield f"interpreter    {interpreter.path} ({interpreter.origin})"
    yield f"package        {_package(interpreter.path)}"


def _package(python: Path) -> str:
    """Which version of the package that Python has, or its complaint."""
    try:
        done = subprocess.run([str(python), "-c", ASK], env=service.environment(), capture_output=True, text=True,
                              timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"– {error}"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return lines[-1] if lines else f"– exit status {done.returncode}"


def _about_service(found: client.Service | ClientError) -> Iterator[str]:
    folder = places.runtime_folder()
    yield f"runtime folder {folder}"
    if isinstance(found, client.Service):
        yield f"service        version {found.status.get('version')}, protocol {found.status.get('protocol')}, " \
              f"process {found.status.get('pid')}, port {found.port}"
        for name in ("device", "models", "text", "queue", "cache", "limits", "idle_exit_s"):
            yield f"  {name:<12} {json.dumps(found.status.get(name))}"
    for name in ("start.log", "server.log"):
        yield f"{name:<14} {client.last_line(folder / name) or '–'}"
    yield f"versions       plug-in protocol {client.PROTOCOL}, Python {sys.executable}"
