"""The life of a service: one a folder, stale endpoints, ports, idleness, signals, and what is left behind: nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from tiny import picture, tiny_model

from matting_anything_core.cli import main
from matting_anything_core.errors import ServiceError, WeightsError
from matting_anything_core.server import endpoint as endpoints
from matting_anything_core.server.endpoint import Endpoint, read_endpoint, running, write_endpoint
from matting_anything_core.server.run import serve
from matting_anything_core.server.settings import Settings

from .service import BOX, Client, in_a_process, in_a_thread, start, until
from .test_jobs import LARGE, MANY


def gone(process: subprocess.Popen[str], patience: float = 60) -> tuple[int, str, str]:
    """Wait for the end of a process: its status, standard output and error."""
    out, err = process.communicate(timeout=patience)
    return process.returncode, out, err


def test_the_command_from_start_to_end(runtime: Path) -> None:
    with in_a_process(runtime) as (process, client):
        status = client.status()
        assert status["pid"] == process.pid == client.endpoint.pid
        assert status["models"]["loaded"] == ["lite"]
        # A second one refuses and names the first; the first goes on.
        second = start(runtime)
        code, _, error = gone(second)
        assert code == 2
        assert error.count("\n") == 1
        assert f"runs already at {client.endpoint.url} (process id {process.pid})" in error
        assert "--force" in error
        assert client.status()["pid"] == process.pid
        # With --force the next one takes its place.
        with in_a_process_replacing(runtime, client.endpoint) as (third, after):
            code, out, error = gone(process)
            assert (code, error) == (0, "")
            assert client.endpoint.url in out
            assert f"/#token={client.endpoint.token}" in out
            assert after.status()["pid"] == third.pid
            # --stop ends it, and nothing but the log, the lock and what the page needs stays.
            assert main(["serve", "--stop"]) == 0
            assert gone(third)[0] == 0
            assert sorted(path.name for path in runtime.iterdir()) == ["page.json", "server.lock", "server.log"]
    with pytest.raises(requests.ConnectionError):
        client.status()


class in_a_process_replacing:
    """The command with --force, once its own endpoint has replaced the old one."""

    def __init__(self, runtime: Path, old: Endpoint) -> None:
        self.process = start(runtime, "--force")
        self.runtime, self.old = runtime, old

    def __enter__(self) -> tuple[subprocess.Popen[str], Client]:
        until(lambda: read_endpoint() not in (None, self.old) or self.process.poll() is not None)
        endpoint = read_endpoint()
        assert endpoint is not None
        return self.process, Client(endpoint, self.runtime)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_during_a_job(runtime: Path, number: str) -> None:
    with in_a_process(runtime) as (process, client):
        image = client.upload(LARGE)
        running = client.ask_by_hand(image, *MANY * 3)
        until(lambda: client.status()["queue"]["running"])
        waiting = client.ask_by_hand(image, BOX)
        until(lambda: client.status()["queue"]["waiting"])
        process.send_signal(getattr(signal, number))
        assert waiting.recv(12) == b"HTTP/1.1 503"
        assert running.recv(12) == b"HTTP/1.1 503"
        assert gone(process)[0] == 0
        assert not (runtime / "server.json").exists()
        assert [line["event"] for line in client.log()][-1] == "stopped"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_service_leaves_a_stale_endpoint_that_is_replaced(runtime: Path) -> None:
    with in_a_process(runtime) as (process, client):
        image = client.upload(LARGE)
        connection = client.ask_by_hand(image, *MANY)
        until(lambda: client.status()["queue"]["running"])
        process.kill()
        process.wait()
        assert connection.recv(12) == b""
        assert read_endpoint() == client.endpoint
        assert endpoints.running() is None
    with in_a_thread(runtime, Settings(), tiny_model()) as after:
        assert after.endpoint != client.endpoint
        assert read_endpoint() == after.endpoint
        assert after.mattes(after.upload(picture(20, 20)), {"box": [2, 2, 18, 18]}).status_code == 200


@pytest.mark.parametrize("content", [
    "", "{", "[]", '{"protocol": 1}', "\0" * 100,
    *(json.dumps({"protocol": 1, "version": "0", "host": host, "port": port, "token": "x", "pid": 1, "started": 0})
      for host, port in (("127.0.0.1", 1), ("evil.example", 80), ("127.0.0.1", "x"))),
])
def test_stale_and_damaged_endpoints_are_replaced(runtime: Path, content: str) -> None:
    runtime.mkdir()
    (runtime / "server.json").write_text(content)
    assert running() is None
    with in_a_thread(runtime, Settings(), tiny_model()) as client:
        assert running() == read_endpoint() == client.endpoint
    assert not (runtime / "server.json").exists()


def test_an_endpoint_behind_which_someone_else_answers_is_stale(runtime: Path, tmp_path: Path) -> None:
    with in_a_thread(runtime, Settings(), tiny_model()) as client:
        other = {**client.endpoint.__dict__, "token": "another"}
        write_endpoint(Endpoint(**other))
        assert running() is None
        write_endpoint(client.endpoint)


def test_a_service_does_not_remove_the_endpoint_of_another(runtime: Path) -> None:
    with in_a_thread(runtime, Settings(), tiny_model()) as client:
        other = Endpoint(**{**client.endpoint.__dict__, "token": "another"})
        write_endpoint(other)
    assert read_endpoint() == other


def test_a_taken_port_is_named(runtime: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServiceError, match=f"the port {port} of 127.0.0.1 cannot be used.*--port"):
            serve(Settings(), model=tiny_model(), port=port)
    assert read_endpoint() is None
    with in_a_thread(runtime, Settings(), tiny_model(), port=port) as client:  # nothing holds lock or port any more
        assert client.endpoint.port == port


def test_missing_weights_end_it_with_the_remedy(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--model", "vit_b"]) == 4
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "weights fetch vit_b" in error
    assert read_endpoint() is None
    [line] = [json.loads(line) for line in (runtime / "server.log").read_text().splitlines()]
    assert (line["event"], line["kind"]) == ("cannot start", "WeightsError")
    with pytest.raises(WeightsError):
        serve(Settings(model="nonsense"))


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--idle-exit", "-1"], ["--queue", "-1"],
                                       ["--log", "/nowhere/at/all.log"]])
def test_settings_that_cannot_be(runtime: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *arguments]) == 2
    assert capsys.readouterr().err.startswith("matting-anything: ")
    assert read_endpoint() is None


def test_stopping_what_does_not_run(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--stop"]) == 0
    assert capsys.readouterr().out == "no service runs\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process for a while")
def test_a_hung_service_is_found_named_and_stopped(
    runtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matting_anything_core.server.run.LOCK_PATIENCE", 1.0)
    with in_a_process(runtime) as (process, client):
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(ServiceError, match=rf"process id {process.pid} at {client.endpoint.url}.*serve --stop"):
            serve(Settings(), model=tiny_model())
        assert process.poll() is None
        assert main(["serve", "--stop"]) == 0
        assert f"its process {process.pid} was ended" in capsys.readouterr().out
        assert process.wait(30) is not None
    assert sorted(path.name for path in runtime.iterdir()) == ["page.json", "server.lock", "server.log"]
    assert main(["serve", "--stop"]) == 0
    assert capsys.readouterr().out == "no service runs\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process for a while")
def test_one_that_hangs_while_it_starts_is_stopped_too(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = start(runtime)
    until((runtime / "server.pid").exists)
    until(lambda: (runtime / "server.pid").read_text().strip())
    process.send_signal(signal.SIGSTOP)
    assert not (runtime / "server.json").exists()
    assert main(["serve", "--stop"]) == 0
    assert f"its process {process.pid} was ended" in capsys.readouterr().out
    process.communicate(timeout=30)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process for a while")
def test_force_takes_the_place_of_a_hung_service(runtime: Path) -> None:
    with in_a_process(runtime) as (process, _):
        process.send_signal(signal.SIGSTOP)
        with in_a_thread(runtime, Settings(), tiny_model(), force=True) as client:
            assert client.status()["pid"] == os.getpid()
            assert process.wait(30) is not None


def test_what_has_taken_a_dead_services_port_is_not_ended(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing holds the lock, so the process that is named there is another's by now."""
    with in_a_thread(runtime, Settings(), tiny_model()) as client:
        old = client.endpoint
    command = [sys.executable, "-c", "input()"]
    with socket.socket() as other, subprocess.Popen(command, stdin=subprocess.PIPE) as innocent:
        other.bind(("127.0.0.1", 0))
        other.listen()  # and never answers
        write_endpoint(Endpoint(**{**old.__dict__, "port": other.getsockname()[1], "pid": innocent.pid}))
        assert main(["serve", "--stop"]) == 0
        assert capsys.readouterr().out == "no service runs\n"
        assert innocent.poll() is None
        innocent.communicate(b"\n")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs to give a folder to another user")
def test_a_folder_of_another_user_is_refused(runtime: Path) -> None:
    runtime.mkdir()
    os.chown(runtime, 12345, 12345)
    with pytest.raises(ServiceError, match="belongs to another user"):
        serve(Settings(), model=tiny_model())


def test_it_ends_when_nobody_asks(runtime: Path) -> None:
    """Requests put the end off, also those that take longer than the idle time itself."""
    with in_a_thread(runtime, Settings(idle_exit=0.6), tiny_model()) as client:
        image = client.upload(LARGE)
        for _ in range(3):
            time.sleep(0.3)
            assert client.status()["idle_exit_s"] == 0.6
        assert client.mattes(image, *MANY).status_code == 200
        assert client.status()["queue"]["running"] == 0
        until(lambda: not (runtime / "server.json").exists())
        until(lambda: client.log()[-1]["event"] == "stopped")
        assert "idle" in [line["event"] for line in client.log()]


def test_the_log_is_bounded_and_of_json(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matting_anything_core.server.log.LARGEST", 5000)
    with in_a_thread(runtime, Settings(), tiny_model()) as client:
        for _ in range(100):
            client("GET", "/v1/images/" + "x" * 300)
        lines = client.log()
    assert len(lines) < 40
    assert {path.name for path in runtime.iterdir()} >= {"server.log", "server.log.1"}
    assert max((runtime / name).stat().st_size for name in ("server.log", "server.log.1")) <= 5000
    assert all(set(line) >= {"time", "level", "event"} for line in lines)


def test_the_next_service_takes_the_same_port_and_key(runtime: Path) -> None:
    def once(**options: Any) -> tuple[int, str]:
        with in_a_thread(runtime, Settings(memory=1 << 28), tiny_model(), **options) as client:
            return client.endpoint.port, client("GET", "/v1/page").json()["key"]

    port, key = once()
    assert once() == (port, key)
    assert (runtime / "page.json").stat().st_mode & 0o077 == 0
    with socket.create_server(("127.0.0.1", port)):  # somebody else's by now
        other, same = once()
        assert other != port
        assert same == key
    (runtime / "page.json").write_text('{"port": "x", "key": 7}')
    assert once()[1] != key
