"""What goes wrong beside a real GIMP: a message with the remedy, the image untouched, no process left behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .session import HERE, Session, results

pytestmark = pytest.mark.timeout(900)
SERVICE = "matting_anything_core.cli serve"
Make = Callable[[str], Session]


def told(session: Session, number: str = "") -> Any:
    return results(session, number)["call"]


@pytest.mark.parametrize(("name", "python", "remedy"), [
    ("missing", None, "matting-anything install gimp"),
    ("without", 'exec /usr/bin/python3 "$@"', "matting-anything install gimp"),
    ("broken", "echo there is no space left >&2; exit 1", "there is no space left"),
])
def test_no_service_can_be_started(name: str, python: str | None, remedy: str, new_session: Make) -> None:
    session = new_session(f"start_{name}")
    interpreter = session.folder / "python"
    interpreter.unlink() if python is None else interpreter.write_text(f"#!/bin/sh\n{python}\n")
    finished = session.run(HERE / "faults.py")
    noted = told(session)
    assert (noted["status"], noted["same"], noted["mask"]) == ("execution-error", True, False)
    assert remedy in noted["message"]
    assert finished.left == []


def test_a_stale_endpoint_is_replaced(new_session: Make) -> None:
    session = new_session("stale")
    (session.runtime / "server.json").write_text(json.dumps(
        {"protocol": 1, "version": "0.1.0", "host": "127.0.0.1", "port": 9, "token": "old", "pid": 1, "started": 0}))
    finished = session.run(HERE / "faults.py")
    assert (told(session)["status"], told(session)["mask"]) == ("success", True)
    assert [SERVICE in line for line in finished.left] == [True]


def test_a_hung_service_is_named_with_a_command_that_works(new_session: Make) -> None:
    """Its process is stopped; the message's command, run in a terminal, ends it."""
    session = new_session("hung")
    environment = {**os.environ, "MATTING_ANYTHING_RUNTIME": str(session.runtime)}
    process = subprocess.Popen([sys.executable, "-m", "matting_anything_core.cli", "serve"], env=environment,
                               stdout=subprocess.DEVNULL)
    try:
        while not (session.runtime / "server.json").exists():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        session.run(HERE / "faults.py")
        noted = told(session)
        assert (noted["status"], noted["same"], noted["mask"]) == ("execution-error", True, False)
        assert f"process {process.pid}" in noted["message"]
        command = re.search("“(.*serve --stop)”", noted["message"])
        assert command is not None, noted["message"]
        # GIMP lives in a root folder of its own; outside of it `python` is this test's.
        run = command[1].replace(str(session.folder / "python"), sys.executable)
        assert run != command[1]
        done = subprocess.run(["sh", "-c", run], capture_output=True, text=True, check=True)
        assert f"its process {process.pid} was ended" in done.stdout
        process.wait(30)
    finally:
        process.kill()
        process.wait()


def test_the_service_is_killed_during_the_job(new_session: Make) -> None:
    session = new_session("killed")
    killed = threading.Event()

    def kill() -> None:
        while not killed.is_set() and not _running(session):
            time.sleep(0.01)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if SERVICE.encode() in (process / "cmdline").read_bytes().replace(b"\0", b" ") and \
                        str(session.runtime).encode() in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
        killed.set()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    finished = session.run(HERE / "faults.py", SIDE="3000")
    assert killed.is_set()
    noted = told(session)
    assert (noted["status"], noted["same"], noted["mask"]) == ("execution-error", True, False)
    assert "Try again" in noted["message"]
    assert finished.left == []


def _running(session: Session) -> bool:
    """Whether the session's service has a job."""
    try:
        endpoint = json.loads((session.runtime / "server.json").read_text())
        connection = http.client.HTTPConnection("127.0.0.1", endpoint["port"], timeout=5)
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {endpoint['token']}"})
        return bool(json.loads(connection.getresponse().read())["queue"]["running"])
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return False


def test_two_gimps_at_once_share_one_service(new_session: Make) -> None:
    session = new_session("two")
    finished = session.run(HERE / "faults.py", copies=2)
    for number in ("", "1"):
        assert (told(session, number)["status"], told(session, number)["mask"]) == ("success", True)
    assert [SERVICE in line for line in finished.left] == [True], finished.left


def test_a_picture_beyond_the_services_memory_is_refused_before_it_is_sent(new_session: Make) -> None:
    session = new_session("large")
    python = session.folder / "python"
    python.write_text(python.read_text().replace('"$@"', '"$@" --memory 64M'))
    session.run(HERE / "faults.py", SIDE="2000")
    noted = told(session)
    assert (noted["status"], noted["same"]) == ("execution-error", True)
    assert "2000 × 2000" in noted["message"]
    assert "Scale it" in noted["message"]


@pytest.mark.slow
def test_a_layer_of_100_megapixels(new_session: Make) -> None:
    session = new_session("huge")
    finished = session.run(HERE / "faults.py", limit=600, SIDE="10000")
    assert (told(session)["status"], told(session)["mask"]) == ("success", True), told(session)
    assert [SERVICE in line for line in finished.left] == [True]
