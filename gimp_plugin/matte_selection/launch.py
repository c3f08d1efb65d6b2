"""Starting the service, once, however many GIMPs ask at the same time.

A lock file is held while a service starts. Whoever waits for it finds the service running afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from places import INSTALL, find_interpreter, runtime_folder, sandbox
from problem import Problem
from translation import _

SERVE = "matting-anything serve"
PATIENCE = 180.0
"""Seconds to wait for a service: the first import of torch from a slow disk takes minutes."""
IDLE = "15"
"""Minutes without a request after which the service ends by itself."""
STRANGE = ("PYTHON", "GI_", "GEGL_", "BABL_", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_")
"""Variables that GIMP sets for its own Python and libraries; another Python would load the wrong ones."""

Wait = Callable[[], None]
"""Called again and again while waiting, to move a bar; it may raise to give up."""


def start(connect: Callable[[], Any], wait: Wait) -> Any:
    """Start a service and return the first that `connect` gives (it returns None while there is none).

    Raises Problem, with the last line the service wrote, when it ends early or does not answer.
    """
    folder = runtime_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _lock(folder / "start.lock", wait):
            return connect() or _start(folder, connect, wait)
    except OSError as error:
        raise Problem(_("The service's folder {folder} cannot be used: {error}. Make it writable for you.")
                      .format(folder=folder, error=error)) from None


def _start(folder: Path, connect: Callable[[], Any], wait: Wait) -> Any:
    log = folder / "start.log"
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as complaints:
        process = _spawn(complaints)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        service = connect()
        if service is not None:
            return service
        if process.poll() is not None:
            service = connect()  # a launcher ends where the service it has started goes on
            if service is not None:
                return service
            raise Problem(_early_end(process, log))
        wait()
        time.sleep(0.05)
    _end(process)
    raise Problem(_("The service did not answer within {seconds} seconds. Its last line was: {line} — run “{command}” "
                    "in a terminal to see more.").format(seconds=int(PATIENCE), line=last_line(log), command=SERVE))


def environment() -> dict[str, str]:
    """The variables for another Python: those of before GIMP added its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    return {**kept, "PYTHONSAFEPATH": "1"}  # what lies in the home folder is no module


def _spawn(complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process of its own that outlives GIMP, with the environment as it was before GIMP changed it."""
    interpreter = find_interpreter()
    command = [str(interpreter.path), "-m", "matting_anything_core.cli", "serve", "--idle-exit", IDLE]
    if sandbox() == "flatpak":
        command = ["flatpak-spawn", "--host", *command]
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NO_WINDOW
                    | subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        # Its standard output holds the token; nobody is to read that from a file.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints,
                                cwd=os.path.expanduser("~"), env=environment(), **detached)
    except OSError as error:
        if sandbox():
            raise Problem(_outside()) from None
        raise Problem(_("The Python “{path}”, named by {origin}, cannot be run: {error}. Run “{command}” in the Python "
                        "environment that has matting-anything.").format(
                            path=interpreter.path, origin=interpreter.origin, error=error.strerror, command=INSTALL)
                      ) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it has started."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _early_end(process: subprocess.Popen[bytes], log: Path) -> str:
    line = last_line(log)
    if sandbox():
        return _outside() + " " + line
    if "No module named" in line:
        interpreter = find_interpreter()
        return _("The Python “{path}”, named by {origin}, does not have all of matting-anything ({line}). Run "
                 "“{command}” in the Python environment that has it.").format(
                     path=interpreter.path, origin=interpreter.origin, line=line, command=INSTALL)
    return _("The service ended at once (exit status {status}): {line} — run “{command}” in a terminal to see more.") \
        .format(status=process.returncode, line=line or "–", command=SERVE)


def _outside() -> str:
    if sandbox() == "snap":
        command = f"MATTING_ANYTHING_RUNTIME='{runtime_folder()}' {SERVE}"
        return _("A GIMP from Snap may not start other programs. Run this in a terminal and try again: {command}") \
            .format(command=command)
    return _("A GIMP from Flatpak may not start other programs. Run “{command}” in a terminal and try again; or allow "
             "it once and for all: {allow}").format(
                 command=SERVE, allow="flatpak override --user --talk-name=org.freedesktop.Flatpak org.gimp.GIMP")


def last_line(file: Path) -> str:
    """The last line of a log that holds anything, cut to 300 characters; "" when there is none."""
    try:
        with open(file, "rb") as source:
            source.seek(max(0, file.stat().st_size - 4096))
            lines = source.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


@contextlib.contextmanager
def _lock(file: Path, wait: Wait) -> Iterator[None]:
    """Hold a lock that ends with this process, whatever happens to it."""
    with open(file, "a+b") as held:
        deadline = time.monotonic() + PATIENCE
        while not _try_lock(held):
            if time.monotonic() > deadline:
                raise Problem(_("Another program has been starting the service for {seconds} seconds. End it, or run "
                                "“{command}” in a terminal.").format(seconds=int(PATIENCE), command=SERVE))
            wait()
            time.sleep(0.05)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
