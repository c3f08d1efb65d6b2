"""How the browser gets the token, and how other machines are let in."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from tiny import tiny_model

from matting_anything_core.cli import main
from matting_anything_core.errors import ServiceError
from matting_anything_core.server import handover
from matting_anything_core.server.guard import Access
from matting_anything_core.server.handover import Handover
from matting_anything_core.server.run import serve
from matting_anything_core.server.settings import Settings

from .service import Client, in_a_process, in_a_thread, start, until
from .test_guard import call


def browser(folder: Path, text: str) -> Path:
    """A program that stands for the browser: it notes what it was called with."""
    path = folder / "browser"
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/called\n{text}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="the browser here is a shell script")
def test_the_browsers_command_line_holds_no_token_and_does_not_block(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", str(browser(tmp_path, "exec sleep 120 > /dev/null 2>&1")))
    with in_a_process(runtime, "--open") as (_, client):
        until((tmp_path / "called").exists)
        address = until(lambda: (tmp_path / "called").read_text().strip())
        assert client.endpoint.token not in address
        assert address.startswith(client.endpoint.url + "/open?code=")
        assert client.status()["protocol"] == 1  # the browser runs still
        answer = requests.get(address, allow_redirects=False, timeout=30)
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"/#token={client.endpoint.token}"
        again = requests.get(address, allow_redirects=False, timeout=30)
        assert again.status_code == 403
        assert "serve --open" in again.text
        assert client.endpoint.token not in again.text
        assert client.endpoint.token not in (runtime / "server.log").read_text()
        assert re.search(r"code=\S+", (runtime / "server.log").read_text()) is None
        # A second one opens the page of the first.
        (tmp_path / "called").unlink()
        browser(tmp_path, "")
        second = start(runtime, "--open")
        out, error = second.communicate(timeout=60)
        assert (second.returncode, error) == (0, "")
        assert f"process id {client.endpoint.pid}" in out
        assert (tmp_path / "called").read_text().strip() not in ("", address)


def test_a_code_works_once_and_for_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Handover()
    code, other = given.code(), given.code()
    assert len(code) > 40
    assert not given.take("", None, None)
    assert not given.take(code[:-1], None, None)
    assert [given.take(code, None, None) for _ in range(2)] == [True, False]
    now = time.monotonic()
    monkeypatch.setattr(handover.time, "monotonic", lambda: now + handover.SECONDS + 1)
    assert not given.take(other, None, None)
    many = [given.code() for _ in range(handover.MOST + 1)]
    assert [given.take(code, None, None) for code in (many[0], many[1])] == [False, True]


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="needs to be another user")
def test_another_user_of_the_machine_cannot_use_the_code(client: Client) -> None:
    path = client("POST", "/v1/open").json()["path"]
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{client.endpoint.port}\r\nConnection: close\r\n\r\n"
    code = ("import encodings.idna, os, socket, sys; os.setuid(65534); "
            "s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.sendall(sys.argv[2].encode()); "
            "print(s.recv(12).decode())")
    done = subprocess.run([sys.executable, "-S", "-c", code, str(client.endpoint.port), head], capture_output=True,
                          text=True, check=True)
    assert done.stdout.strip() == "HTTP/1.1 403"
    assert requests.get(client.endpoint.url + path, allow_redirects=False, timeout=30).status_code == 303


def test_the_code_needs_the_token_and_the_right_host(client: Client) -> None:
    assert requests.post(client.endpoint.url + "/v1/open", timeout=30).status_code == 401
    path = client("POST", "/v1/open").json()["path"]
    assert call(client, path, Host="evil.example", Authorization=None)[0] == 403
    assert requests.head(client.endpoint.url + path, timeout=30).status_code == 403
    assert call(client, path, Authorization=None)[0] == 303


@pytest.mark.parametrize(("host", "expected"), [
    ("127.0.0.1:8000", True), ("localhost:9000", True), ("192.168.1.20:8000", True), ("[::1]:8000", True),
    ("studio:8000", True), ("STUDIO", True), ("evil.example:8000", False), ("", False), ("studio.evil.example", False),
    ("1.2.3.4.evil.example:80", False)])
def test_under_which_names_others_may_ask(host: str, expected: bool) -> None:
    access = Access("t", 8000, frozenset({"studio"}))
    assert access.host(host) is expected
    assert access.origin(f"http://{host}", host)
    assert access.origin(f"https://{host}", host)
    assert not access.origin("http://evil.example", host)
    assert not Access("t", 8000).host("192.168.1.20:8000")


def own_address() -> str:
    """An address of this machine that is not 127.0.0.1."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        if not (found := str(probe.getsockname()[0])).startswith("127.0.0.1"):
            return found
    return "127.0.0.2"


@pytest.mark.parametrize("every", [True, False])
def test_other_machines_need_the_token(runtime: Path, every: bool) -> None:
    if not every and sys.platform == "darwin":
        pytest.skip("macOS has no 127.0.0.2")
    address = own_address()
    with in_a_thread(runtime, Settings(), tiny_model(), host="0.0.0.0" if every else address,
                     names=["studio"]) as client:
        assert client.status()["protocol"] == 1  # here as ever
        port = client.endpoint.port
        url = f"http://{address}:{port}/v1/status"
        assert requests.get(url, timeout=30).status_code == 401
        token = {"Authorization": f"Bearer {client.endpoint.token}"}
        assert requests.get(url, headers=token, timeout=30).status_code == 200
        for name, status in (("studio:80", 200), ("evil.example", 403), (f"{address}:{port}", 200)):
            assert requests.get(url, headers={**token, "Host": name}, timeout=30).status_code == status
        assert requests.get(url, headers={**token, "Origin": "http://evil.example"}, timeout=30).status_code == 403


def test_without_host_other_machines_are_not_listened_to(client: Client) -> None:
    connection = http.client.HTTPConnection(own_address(), client.endpoint.port, timeout=5)
    with pytest.raises((ConnectionRefusedError, TimeoutError)):
        connection.request("GET", "/")


def test_the_command_warns_and_keeps_a_given_token_to_itself(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "0123456789abcdef0123456789abcdef"
    monkeypatch.setenv("MATTING_ANYTHING_TOKEN", token)
    process = start(runtime, "--host", "0.0.0.0")
    try:
        until((runtime / "server.json").exists)
        assert json.loads((runtime / "server.json").read_text())["token"] == token
    finally:
        assert main(["serve", "--stop"]) == 0
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert token not in out + error
    assert "warning: other machines can reach this service at 0.0.0.0" in error


@pytest.mark.parametrize(("options", "words"), [
    ({"host": "no.such.host.invalid"}, "no address of this machine"), ({"host": "192.0.2.1"}, "cannot be used"),
    ({"token": "short"}, "at least 16"), ({"token": "with a space in the middle"}, "printable"),
    ({"token": "ümlaut-ümlaut-ümlaut"}, "printable")])
def test_hosts_and_tokens_that_cannot_be(runtime: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(ServiceError, match=words):
        serve(Settings(), model=tiny_model(), **options)  # type: ignore[arg-type]
    assert not (runtime / "server.json").exists()
    assert main(["serve", "--allow-host", "studio"]) == 2
