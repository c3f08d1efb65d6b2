"""The plug-in's client against the real service: starting it, and everything that can go wrong with it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import client
import numpy as np
import pytest
import service
from client import ClientError

from matting_anything_core import matte, read_image
from matting_anything_core.assets import DEMO_BOX, demo_picture

from .conftest import PLUGIN

pytestmark = pytest.mark.timeout(300)
BOX = {"box": list(DEMO_BOX)}


def nothing() -> None:
    """What is done while waiting."""


@pytest.fixture
def picture() -> np.ndarray:
    return read_image(demo_picture()).rgb


def send(running: client.Service, picture: np.ndarray) -> str:
    height, width, channels = picture.shape
    return running.upload_pixels([part.tobytes() for part in np.array_split(picture, 5)], width, height, channels, "u8")


def alpha(running: client.Service, picture: np.ndarray) -> np.ndarray:
    height, width, _ = picture.shape
    name = running.matte(send(running, picture), BOX, model="lite")["matte"]
    data = b"".join(running.rows(name, "alpha", "u16", (width, height, 1), nothing))
    running.forget(name)
    running.forget(name)  # what is forgotten already is no problem
    return np.frombuffer(data, "<u2").reshape(height, width) / 65535


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z" if sys.platform == "linux" else True


def kill(running: client.Service) -> None:
    process = running.status["pid"]
    os.kill(process, signal.SIGKILL)
    for _ in range(200):
        if not alive(process):
            return
        time.sleep(0.05)
    raise AssertionError("the service outlived SIGKILL")


def test_it_is_started_once_and_mattes_as_the_library_does(runtime: Path, picture: np.ndarray) -> None:
    assert service.running() is None
    first = service.find(nothing)
    assert service.find(nothing).status["pid"] == first.status["pid"]
    events: list[dict] = []
    name = first.matte(send(first, picture), BOX, events.append, model="lite")["matte"]
    assert {"encode", "matte"} <= {event.get("stage") for event in events}
    data = b"".join(first.rows(name, "cutout", "u8", (512, 512, 4), nothing))
    wanted = matte(picture, DEMO_BOX)
    cutout = np.frombuffer(data, np.uint8).reshape(512, 512, 4)
    assert np.abs(cutout[..., 3] / 255 - wanted.alpha).max() <= 1 / 255
    assert np.abs(alpha(first, picture) - wanted.alpha).max() <= 1 / 65535
    assert (runtime / "start.log").stat().st_mode & 0o077 == 0
    assert first.token not in (runtime / "start.log").read_text() + repr(first)


def test_killed_before_and_after_a_job_it_is_started_anew(picture: np.ndarray) -> None:
    first = service.find(nothing)
    before = alpha(first, picture)
    kill(first)  # leaves a stale endpoint
    assert service.running() is None
    second = service.find(nothing)
    assert second.status["pid"] != first.status["pid"]
    np.testing.assert_array_equal(alpha(second, picture), before)


def test_killed_during_a_job_it_is_told_with_the_remedy(picture: np.ndarray) -> None:
    running = service.find(nothing)
    image = send(running, picture)
    with pytest.raises(ClientError, match=r"ended in the middle of its work.*Try again.*server\.log"):
        running.matte(image, BOX, lambda event: kill(running) if alive(running.status["pid"]) else None)
    with pytest.raises(ClientError, match="Try again"):
        send(running, picture)


def test_killed_while_the_matte_is_fetched(picture: np.ndarray) -> None:
    running = service.find(nothing)
    large = np.tile(picture, (8, 8, 1))  # more than the sockets' buffers hold
    name = running.matte(send(running, large), {"box": [0, 0, 500, 500]})["matte"]
    strips = running.rows(name, "alpha", "u16", (4096, 4096, 1), nothing)
    next(strips)
    kill(running)
    with pytest.raises(ClientError, match="ended in the middle of its work"):
        list(strips)


def test_closing_the_connection_cancels_the_job(picture: np.ndarray) -> None:
    running = service.find(nothing)
    image = send(running, picture)

    def leave(event: dict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.matte(image, BOX, leave)
    for _ in range(200):
        found = service.running()
        assert found is not None
        if found.status["queue"]["running"] == 0:
            return
        time.sleep(0.05)
    raise AssertionError("the job goes on although nobody waits for it")


def test_a_wrong_token_is_told_with_the_remedy(runtime: Path) -> None:
    process = service.find(nothing).status["pid"]
    file = runtime / "server.json"
    right = file.read_text()
    file.write_text(json.dumps({**json.loads(right), "token": "wrong"}))
    with pytest.raises(ClientError, match=rf"does not take the token.*process {process}.*delete"):
        service.find(nothing)
    file.write_text(right)


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of a web server that is none of ours."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_a_stale_endpoint_whose_port_another_program_has_taken(runtime: Path, stranger: int) -> None:
    runtime.mkdir()
    (runtime / "server.json").write_text(json.dumps({"port": stranger, "token": "old", "pid": 1, "protocol": 1}))
    assert service.running() is None
    assert service.find(nothing).port != stranger


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"port": "x", "token": 1}', '{"port": 99999, "token": ""}',
                                     '{"port": 1, "token": "a\\nb"}'])
def test_a_damaged_endpoint_counts_for_nothing(runtime: Path, content: str) -> None:
    runtime.mkdir()
    (runtime / "server.json").write_text(content)
    assert service.running() is None


def test_another_version_of_the_protocol_is_told(runtime: Path) -> None:
    class Newer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"protocol": 2}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Newer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    runtime.mkdir()
    (runtime / "server.json").write_text(json.dumps({"port": server.server_address[1], "token": "t", "pid": 1}))
    with pytest.raises(ClientError, match=r"serve --stop.*matting-anything install gimp"):
        service.find(nothing)
    server.shutdown()
    server.server_close()


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "interpreter"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    monkeypatch.setenv("MATTING_ANYTHING_PYTHON", str(path))


def test_an_interpreter_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, f'exec {sys.executable} -S "$@"')
    with pytest.raises(ClientError, match=r"No module named.*matting-anything install gimp"):
        service.find(nothing)


def test_an_early_end_is_told_with_the_logs_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, "echo starting >&2; echo the disk is full >&2; exit 3")
    with pytest.raises(ClientError, match=r"exit status 3.*the disk is full.*matting-anything serve"):
        service.find(nothing)


def test_an_interpreter_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "interpreter"
    path.write_text("no program")
    monkeypatch.setenv("MATTING_ANYTHING_PYTHON", str(path))
    with pytest.raises(ClientError, match=r"cannot be run.*matting-anything install gimp"):
        service.find(nothing)


def test_a_service_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/process; echo thinking >&2; sleep 600")
    monkeypatch.setattr(client, "STARTING", 1.0)
    with pytest.raises(ClientError, match=r"did not answer.*thinking.*matting-anything serve"):
        service.find(nothing)
    assert not alive(int((tmp_path / "process").read_text()))


def test_the_service_gets_no_variables_of_gimps_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "GI_TYPELIB_PATH", "GEGL_PATH", "BABL_PATH", "LD_LIBRARY_PATH",
                 "DYLD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "/of-its-own")
    script(tmp_path, monkeypatch, f"env > {tmp_path}/environment; exit 1")
    with pytest.raises(ClientError):
        service.find(nothing)
    assert "/of-its-own" not in (tmp_path / "environment").read_text()


def test_a_picture_beyond_the_services_limits_is_told_before_it_is_sent() -> None:
    small = client.Service(1, "token", {"limits": {"pixels": 1_000_000, "body_bytes": 10_000_000}})
    with pytest.raises(ClientError, match=r"4000 × 3000.*1 megapixels.*Scale"):
        small.upload_pixels([], 4000, 3000, 3, "u8")


def test_two_that_start_at_once_share_one_service(runtime: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(PLUGIN)!r}); import service; " \
           "print(service.find(lambda: None).status['pid'])"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    processes = {process.communicate()[0].strip() for process in both}
    assert len(processes) == 1
    assert processes == {str(json.loads((runtime / "server.json").read_text())["pid"])}
