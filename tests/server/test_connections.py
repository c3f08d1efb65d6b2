"""Connections: those who say nothing lock nobody out, and what is wrong before a request is told as JSON."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import picture, tiny_model

from matting_anything_core.server.settings import Settings

from .service import BOX, Client, in_a_thread, until


@pytest.fixture
def quick(runtime: Path) -> Iterator[Client]:
    """A service that waits for headers for a second and a half."""
    with in_a_thread(runtime, Settings(headers=1.5), tiny_model()) as client:
        yield client


def opened(client: Client, count: int, said: bytes = b"") -> list[socket.socket]:
    connections = []
    for _ in range(count):
        connection = socket.create_connection((client.endpoint.host, client.endpoint.port), timeout=30)
        connection.sendall(said)
        connections.append(connection)
    return connections


def answer(connection: socket.socket) -> tuple[int, dict]:
    """What comes until the end of the connection: its status and its JSON."""
    text = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    assert b"application/json" in head.lower()
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize("said", [b"", b"GET /v1/status HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                  b"POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n"],
                         ids=["silent", "half a header", "refused", "half a body"])
def test_three_hundred_strangers_lock_nobody_out(client: Client, said: bytes) -> None:
    strangers = opened(client, 300, said)
    fresh = Client(client.endpoint, client.runtime)
    began = time.monotonic()
    assert fresh("GET", "/v1/status").status_code == 200
    image = fresh.upload(picture(20, 30))
    assert fresh.mattes(image, BOX).status_code == 200
    assert time.monotonic() - began < 10
    for connection in strangers:
        connection.close()


def test_who_has_shown_the_token_stays_when_strangers_come(runtime: Path) -> None:
    with in_a_thread(runtime, Settings(strangers=10), tiny_model()) as client:
        assert client.status()["protocol"] == 1
        kept = client.session.get_adapter("http://").poolmanager  # its connection is open still
        strangers = opened(client, 40)
        status, error = answer(strangers[0])
        assert (status, error["kind"]) == (503, "TooManyConnections")
        assert client.status()["protocol"] == 1
        assert kept is client.session.get_adapter("http://").poolmanager
        strangers[-1].sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % client.endpoint.port)
        assert strangers[-1].recv(12) == b"HTTP/1.1 200"  # the newest are still there
        for connection in strangers:
            connection.close()


@pytest.mark.parametrize("said", [b"", b"GET /v1/status HTTP/1.1\r\nHost: "])
def test_who_sends_no_request_is_hung_up_on(quick: Client, said: bytes) -> None:
    [connection] = opened(quick, 1, said)
    status, error = answer(connection)
    assert (status, error["kind"]) == (408, "TooSlow")
    assert "1.5 seconds" in error["message"]


def test_headers_in_drops_do_not_put_the_end_off(quick: Client) -> None:
    [connection] = opened(quick, 1, b"GET /v1/status HTTP/1.1\r\n")
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - began < 30:
            connection.sendall(b"X-Drop: 1\r\n")
            time.sleep(0.2)
            connection.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                if connection.recv(10):
                    break
    assert time.monotonic() - began < 10


def test_the_second_request_may_not_hang_either(quick: Client) -> None:
    head = f"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:{quick.endpoint.port}\r\n" \
           f"Authorization: Bearer {quick.endpoint.token}\r\n\r\n"
    [connection] = opened(quick, 1, head.encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    connection.sendall(b"GET /v1/sta")
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass
    assert time.monotonic() - began < 10


def test_a_long_answer_is_not_cut_off(quick: Client) -> None:
    """Only who is waited for is hung up on, not who waits for a job."""
    image = quick.upload(picture(2000, 1500))
    boxes = [{"box": [0, 0, 1500 - i, 2000 - i]} for i in range(16)]
    assert quick.mattes(image, *boxes).status_code == 200


@pytest.mark.parametrize("said", [b"\0" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000,
                                  b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_request_is_told_as_json(client: Client, said: bytes) -> None:
    [connection] = opened(client, 1, said)
    status, error = answer(connection)
    assert (status, error["kind"]) == (400, "Malformed")


def test_a_forwarded_address_makes_nobody_another(quick: Client) -> None:
    """The address that a connection is known by is its own, not one that its headers claim."""
    answered = quick("GET", "/v1/status", headers={"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https"})
    assert answered.status_code == 200
    strangers = opened(quick, 300)
    assert until(lambda: quick("GET", "/v1/status").status_code == 200)
    for connection in strangers:
        connection.close()
