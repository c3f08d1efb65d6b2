"""Run a script in a real GIMP, in namespaces of its own: no process and no mount outlives the run.

    session folder (same path inside and outside)
      home/     GIMP's HOME, with the plug-in          inside.py  what every script starts with
      python    the interpreter that the plug-in is told: this test's own, outside of GIMP's root folder
      runtime/  the service's folder

Inside GIMP's root folder the machine's own is mounted at /host; `python` steps out there. So the service runs in the
environment of the tests, and GIMP in its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matting_anything_core.install.gimp import NAME, put_plugin

HERE = Path(__file__).resolve().parent

ENTER = r"""
set -e
mount --make-rprivate /
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/tmp"
mkdir -p "$ROOT/host" "$ROOT$FOLDER"
mount --rbind / "$ROOT/host"
mount --bind "$FOLDER" "$ROOT$FOLDER"
set +e
timeout -k 5 "$LIMIT" chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/bin TERM=dumb LANG=C.UTF-8 "$@"
status=$?
sleep 0.3
for process in "$ROOT"/proc/[0-9]*; do
    [ "${process##*/}" = $$ ] || tr '\0' ' ' < "$process/cmdline" | sed 's/$/\n/'
done > "$FOLDER/left.txt" 2>/dev/null
exit $status
"""

NOISE = ("gimp_flush(): error", "cannot open display", "gimp_wire_read(): unexpected EOF", "list of contexts not empty",
         "stale context", "Failed to set fd limit", "Welcome to GIMP")


@dataclass(frozen=True)
class Finished:
    """What a run left: its exit status, its output, and the processes that were still there at its end."""

    status: int
    output: str
    errors: str
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Session:
    """A GIMP of its own, with the plug-in installed, in a folder."""

    root: Path
    folder: Path

    @property
    def home(self) -> Path:
        """GIMP's home folder."""
        return self.folder / "home"

    @property
    def runtime(self) -> Path:
        """The service's folder."""
        return self.folder / "runtime"

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a run."""
        return {
            "FOLDER": str(self.folder), "HOME": str(self.home),
            "TMPDIR": str(self.folder / "tmp"), "XDG_RUNTIME_DIR": str(self.folder / "tmp"),
            "MATTING_ANYTHING_RUNTIME": str(self.runtime), "MATTING_ANYTHING_PYTHON": str(self.folder / "python"),
            **{name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}, **more,
        }

    def enter(self, command: list[str], *, limit: float = 240, **more: str) -> Finished:
        """Run a command in GIMP's root folder."""
        words = [f"{name}={value}" for name, value in self.environment(**more).items()]
        process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "sh", "-c", ENTER, "enter", *words,
             *command],
            env={**os.environ, "ROOT": str(self.root), "FOLDER": str(self.folder), "LIMIT": str(limit)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=limit + 30)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        left = self.folder / "left.txt"
        lines = [line for line in errors.splitlines() if line and not any(noise in line for noise in NOISE)]
        processes = [line.strip() for line in left.read_text().splitlines()] if left.exists() else []
        return Finished(process.returncode, output, "\n".join(lines), [line for line in processes if line])

    def run(self, script: Path, *, limit: float = 240, copies: int = 1, **more: str) -> Finished:
        """Run a script in GIMP's own Python; it may import from inside.py.

        copies: GIMPs that do so at the same time, each noting its results in results.json, results1.json …
        """
        for file in (HERE / "inside.py", script):
            shutil.copy(file, self.folder)
        code = f"import runpy, sys; sys.path.insert(0, {str(self.folder)!r}); " \
               f"runpy.run_path({str(self.folder / script.name)!r})"
        command = ["gimp-console-3.0", "-i", "--no-splash", "--quit", "--batch-interpreter=python-fu-eval", "-b", code]
        if copies > 1:
            others = "".join(f'RESULTS=results{number} "$@" & ' for number in range(1, copies))
            command = ["sh", "-c", f'{others} "$@"; wait', "sh", *command]
        return self.enter(command, limit=limit, **more)

    def drive(self, script: Path, *, limit: float = 240, **more: str) -> Finished:
        """Run a script beside GIMP's window; it may import from window.py."""
        for file in (HERE / "window.py", script):
            shutil.copy(file, self.folder)
        return self.enter(["python3", str(self.folder / script.name)], limit=limit, **more)


def open_session(root: Path, folder: Path) -> Session:
    """A new GIMP profile in `folder` with the plug-in in it."""
    session = Session(root, folder)
    for part in ("tmp", "runtime"):
        (folder / part).mkdir(parents=True, mode=0o700)
    profile = root / "var/cache/matting-anything-profile"
    if not profile.exists():  # GIMP asks its 130 own plug-ins once, and not in every session
        first = Session(root, folder)
        first.home.mkdir()
        done = first.enter(["gimp-console-3.0", "-i", "--no-splash", "--quit",
                            "--batch-interpreter=python-fu-eval", "-b", "print(1)"])
        if done.status:
            raise RuntimeError(f"GIMP does not start in {root} (status {done.status}):\n{done.errors[-2000:]}")
        shutil.move(first.home, profile)
    shutil.copytree(profile, session.home, symlinks=True)
    put_plugin(session.home / ".config/GIMP/3.0/plug-ins" / NAME)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec /usr/sbin/chroot /host env HOME="$HOME" {sys.executable} "$@"\n')
    python.chmod(0o755)
    return session


def results(session: Session, number: str = "") -> dict[str, Any]:
    """What the script noted with `note(name, …)`, in one GIMP of perhaps several."""
    file = session.folder / f"results{number}.json"
    return json.loads(file.read_text()) if file.exists() else {}
