"""Jobs: one at a time, a bounded queue, and the end of those whose client goes away."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import select
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from tiny import picture, tiny_model

from matting_anything_core import matte
from matting_anything_core.server.jobs import Jobs, Stopping
from matting_anything_core.server.run import _listening
from matting_anything_core.server.settings import Settings

from .service import BOX, Client, in_a_thread, until

LARGE = picture(3000, 2400)
MANY = [{"box": [0, 0, 2400 - i, 3000 - i]} for i in range(16)]
"""On LARGE: some seconds of work, in steps of a tenth."""


@pytest.fixture
def large(client: Client) -> str:
    return client.upload(LARGE)


def idle(client: Client) -> bool:
    queue = client.status()["queue"]
    return bool(queue["running"] == queue["waiting"] == 0)


def wait_until_running(client: Client) -> None:
    until(lambda: client.status()["queue"]["running"])


def test_a_client_that_goes_away_ends_its_job(client: Client, large: str) -> None:
    before = client.status()["cache"]["bytes"]
    connection = client.ask_by_hand(large, *MANY)
    wait_until_running(client)
    connection.close()
    until(lambda: idle(client))
    # It has ended before its end: no matte of it was kept. What may be kept is the embedding.
    assert client.status()["cache"]["bytes"] - before < LARGE.shape[0] * LARGE.shape[1]
    until(lambda: [line for line in client.log() if line.get("status") == 499])


def test_a_client_that_leaves_the_stream_ends_its_job(client: Client, large: str) -> None:
    before = client.status()["cache"]["bytes"]
    body = json.dumps({"prompts": MANY}).encode()
    connection = client.half_a_request("POST", f"/v1/images/{large}/mattes", body, "Content-Type: application/json",
                                       "Accept: application/x-ndjson")
    text = b""
    while b'"stage":"matte"' not in text:
        text += connection.recv(4096)
    connection.close()
    until(lambda: idle(client))
    assert client.status()["cache"]["bytes"] - before < LARGE.shape[0] * LARGE.shape[1]


def test_a_client_that_goes_away_during_the_encoder_ends_it(runtime: Path) -> None:
    """A ViT of three blocks on a large square: the client leaves in the first ones, and no embedding comes of it."""
    slow = tiny_model(1536)
    with in_a_thread(runtime, Settings(), slow) as client:
        image = client.upload(picture(40, 40))
        before = client.status()["cache"]["bytes"]
        body = json.dumps({"prompts": [BOX]}).encode()
        connection = client.half_a_request("POST", f"/v1/images/{image}/mattes", body, "Content-Type: application/json",
                                           "Accept: application/x-ndjson")
        text = b""
        while b'"stage":"encode","share":0.3333' not in text:
            text += connection.recv(4096)
        assert b'"stage":"matte"' not in text
        connection.close()
        until(lambda: idle(client))
        assert client.status()["cache"]["bytes"] == before
        assert client.mattes(image, BOX).status_code == 200
        assert client.status()["cache"]["bytes"] > before


def test_a_client_that_leaves_clean_colours_ends_them(
    client: Client, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take many times as long as this test has patience; the first request for them leaves at once."""
    [found] = client.mattes(large, MANY[0]).json()["mattes"]
    before = client.status()["cache"]["bytes"]
    for output in ("cutout", "foreground", "composite"):
        connection = client.half_a_request("GET", f"/v1/mattes/{found['matte']}/{output}", b"")
        wait_until_running(client)
        connection.close()
        until(lambda: idle(client))
        until(lambda: client.status()["cache"]["work"] == 0)
        assert client.status()["cache"]["bytes"] == before  # no colours came of it
    assert client("GET", f"/v1/mattes/{found['matte']}/cutout").status_code == 200
    assert client.status()["cache"]["bytes"] > before


def test_a_job_that_waits_leaves_the_queue_with_its_client(client: Client, large: str) -> None:
    running = client.ask_by_hand(large, *MANY)
    wait_until_running(client)
    waiting = client.ask_by_hand(large, *MANY)
    until(lambda: client.status()["queue"] == {"running": 1, "waiting": 1, "limit": 16})
    waiting.close()
    until(lambda: client.status()["queue"]["waiting"] == 0)
    assert client.status()["queue"]["running"] == 1
    running.close()
    until(lambda: idle(client))


def test_positions_in_the_queue_are_told(client: Client, large: str) -> None:
    running = client.ask_by_hand(large, *MANY)
    wait_until_running(client)
    answer = client("POST", f"/v1/images/{large}/mattes", json={"prompts": [BOX]}, stream=True,
                    headers={"Accept": "application/x-ndjson"})
    lines = answer.iter_lines()
    assert json.loads(next(lines)) == {"event": "queued", "position": 1}
    running.close()
    events = [json.loads(line) for line in lines]
    assert events[-1]["event"] == "done"


def test_a_silent_stream_says_that_it_is_alive(client: Client, large: str) -> None:
    running = client.ask_by_hand(large, *MANY)
    wait_until_running(client)
    answer = client("POST", f"/v1/images/{large}/mattes", json={"prompts": [BOX]}, stream=True,
                    headers={"Accept": "application/x-ndjson"})
    lines = answer.iter_lines()
    assert json.loads(next(lines))["event"] == "queued"
    assert json.loads(next(lines)) == {"event": "alive"}
    answer.close()
    running.close()
    until(lambda: idle(client))


def test_the_queue_is_bounded(runtime: Path) -> None:
    with in_a_thread(runtime, Settings(waiting=2), tiny_model()) as client:
        image = client.upload(LARGE)
        busy = [client.ask_by_hand(image, *MANY)]
        wait_until_running(client)
        busy += [client.ask_by_hand(image, BOX) for _ in range(2)]
        until(lambda: client.status()["queue"] == {"running": 1, "waiting": 2, "limit": 2})
        answer = client.mattes(image, BOX)
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "1"
        assert answer.json()["error"]["kind"] == "QueueFull"
        busy[0].close()
        for connection in busy[1:]:
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.close()
        assert client.mattes(image, BOX).status_code == 200


def test_one_job_at_a_time_and_no_answer_is_anothers(client: Client) -> None:
    pictures = [picture(40 + i, 50, seed=i) for i in range(8)]
    results: dict[int, Any] = {}

    def ask(index: int) -> None:
        own = Client(client.endpoint, client.runtime)
        image = own.upload(pictures[index])
        answers = [own.mattes(image, {"box": [2, 2, 20 + k, 30]}).json()["mattes"][0]["matte"] for k in range(3)]
        results[index] = [own.alpha(answer) for answer in answers]

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for index, alphas in results.items():
        for k, alpha in enumerate(alphas):
            truth = matte(pictures[index], [2, 2, 20 + k, 30], model=tiny_model())
            np.testing.assert_array_equal(alpha, truth.alpha)
    assert len(results) == 8


def test_a_fault_is_500_and_the_service_goes_on(runtime: Path) -> None:
    broken = copy.copy(tiny_model())
    broken._sam = None  # type: ignore[assignment]
    with in_a_thread(runtime, Settings(), broken) as client:
        image = client.upload(picture(20, 20))
        for _ in range(2):
            answer = client.mattes(image, BOX)
            assert answer.status_code == 500
            assert answer.json()["error"]["kind"] == "InternalError"
        answer = client("POST", f"/v1/images/{image}/mattes", json={"prompts": [BOX]},
                        headers={"Accept": "application/x-ndjson"})
        assert json.loads(answer.text.splitlines()[-1])["kind"] == "InternalError"
        failed = until(lambda: [line for line in client.log() if line["event"] == "failed"][2:3])
        assert "AttributeError" in failed[0]["traceback"]


def test_a_client_that_falls_silent_is_told_so(runtime: Path) -> None:
    with in_a_thread(runtime, Settings(patience=0.2), tiny_model()) as client:
        with client.half_a_request("POST", "/v1/images?width=9&height=9&channels=1&dtype=u8", bytes(81),
                                   "Content-Type: application/octet-stream", sent=40) as connection:
            assert connection.recv(12) == b"HTTP/1.1 408"
        assert client.status()["queue"]["running"] == 0


def test_a_body_without_a_length_is_counted(runtime: Path) -> None:
    with in_a_thread(runtime, Settings(body=100_000), tiny_model()) as client:
        answer = client("POST", "/v1/images", data=iter([bytes(50_000)] * 5), headers={"Content-Type": "image/png"})
        assert answer.status_code == 413
        answer = client("POST", "/v1/images", data=bytes(100_001), headers={"Content-Type": "image/png"})
        assert answer.status_code == 413
        assert "100000" in answer.json()["error"]["message"]


def test_what_comes_in_at_once_is_bounded(runtime: Path) -> None:
    """Room is for two bodies of the largest size: of three that come in, whichever it meets, one is told to wait."""
    path, size = "/v1/images", 1 << 16  # small enough to be read at once, so that no reset overtakes the answer
    with in_a_thread(runtime, Settings(body=size), tiny_model()) as client:
        held = [client.half_a_request("POST", path, bytes(size), "Content-Type: image/png", sent=size - 1)
                for _ in range(3)]
        answered, _, _ = select.select(held, [], [], 60)
        assert answered
        assert {connection.recv(12) for connection in answered} == {b"HTTP/1.1 429"}
        for connection in held:
            connection.close()
        until(lambda: client("POST", path, data=bytes(1000), headers={"Content-Type": "image/png"}).status_code == 422)


def test_nonsense_on_the_port_does_no_harm(client: Client) -> None:
    for sent in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000,
                 b"POST /v1/images HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\xfc\x03"):
        connection = socket.create_connection((client.endpoint.host, client.endpoint.port), timeout=30)
        with connection, contextlib.suppress(OSError):  # it may hang up on us
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
    assert client.status()["protocol"] == 1


def test_keepalive_clients_are_told_that_it_stops(runtime: Path) -> None:
    with in_a_thread(runtime, Settings(grace=0.5), tiny_model()) as client:
        image = client.upload(LARGE)
        running = client.ask_by_hand(image, *MANY)
        wait_until_running(client)
        waiting = client.ask_by_hand(image, BOX)
        until(lambda: client.status()["queue"]["waiting"])
        assert client("POST", "/v1/shutdown").status_code == 202
        assert waiting.recv(12) == b"HTTP/1.1 503"
        with contextlib.suppress(requests.ConnectionError):  # when that connection was closed already
            assert client("GET", "/v1/status").status_code == 503
        assert running.recv(12) == b"HTTP/1.1 503"  # after its grace


def test_answers_do_not_wait_for_more_to_send() -> None:
    """asyncio turns Nagle's algorithm off for sockets that name TCP; with it, each answer came 40 ms late."""
    with _listening(0) as [listener]:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_job_that_takes_no_orders_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client is told that the service stops, and `stop` that the thread still works; its end comes too late for
    anyone to hear of it."""
    end = threading.Event()
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)

    async def run() -> tuple[bool, BaseException | None, Jobs]:
        jobs = Jobs(1)
        job = jobs.submit(lambda _progress: end.wait(60))
        while not jobs.running or job.stage is None:
            await asyncio.sleep(0.01)
        stopped = await jobs.stop(0.05, 0.05)
        return stopped, job.result.exception(), jobs

    stopped, error, jobs = asyncio.run(run())
    end.set()
    jobs._thread.join(10)
    assert not jobs._thread.is_alive()
    assert failed == []
    assert not stopped
    assert isinstance(error, Stopping)
