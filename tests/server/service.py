"""A real service on 127.0.0.1: with a tiny network in a thread of the test, or the command itself in a process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests

from matting_anything_core.model import MattingAnything
from matting_anything_core.server.endpoint import Endpoint, read_endpoint
from matting_anything_core.server.run import serve
from matting_anything_core.server.settings import Settings

BOX = {"box": [8, 6, 60, 50]}


@dataclass
class Client:
    """A client of the protocol, as short as can be."""

    endpoint: Endpoint
    runtime: Path
    session: requests.Session = field(default_factory=requests.Session)

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.endpoint.token}", **options.pop("headers", {})}
        return self.session.request(method, self.endpoint.url + path, headers=headers, timeout=600, **options)

    def upload(self, pixels: np.ndarray) -> str:
        """Raw pixels; returns the picture's id."""
        height, width = pixels.shape[:2]
        kind = {"uint8": "u8", "uint16": "u16", "float32": "f32"}[pixels.dtype.name]
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        query = f"?width={width}&height={height}&channels={channels}&dtype={kind}"
        answer = self("POST", "/v1/images" + query, data=np.ascontiguousarray(pixels).tobytes(),
                      headers={"Content-Type": "application/octet-stream"})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["image"])

    def mattes(self, image: str, *prompts: dict[str, Any], **more: Any) -> requests.Response:
        return self("POST", f"/v1/images/{image}/mattes", json={"prompts": list(prompts), **more})

    def alpha(self, matte: str, form: str = "f32", output: str = "alpha") -> np.ndarray:
        answer = self("GET", f"/v1/mattes/{matte}/{output}?format={form}")
        assert answer.status_code == 200, answer.text
        dtype = {"u8": "u1", "u16": "<u2", "f32": "<f4"}[form]
        shape = [int(answer.headers[f"X-{name}"]) for name in ("Height", "Width", "Channels")]
        return np.frombuffer(answer.content, dtype).reshape(shape).squeeze()

    def status(self) -> dict[str, Any]:
        return self("GET", "/v1/status").json()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.runtime / "server.log").read_text().splitlines()]

    def half_a_request(self, method: str, path: str, body: bytes, *headers: str, sent: int | None = None,
                       ) -> socket.socket:
        """Send a request by hand, perhaps not all of its body, and leave the connection open."""
        head = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.endpoint.port}",
                f"Authorization: Bearer {self.endpoint.token}", f"Content-Length: {len(body)}", *headers]
        connection = socket.create_connection((self.endpoint.host, self.endpoint.port), timeout=60)
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body[:sent])
        return connection

    def ask_by_hand(self, image: str, *prompts: dict[str, Any]) -> socket.socket:
        """Ask for mattes and return without waiting for the answer."""
        return self.half_a_request("POST", f"/v1/images/{image}/mattes", json.dumps({"prompts": prompts}).encode(),
                                   "Content-Type: application/json")


def until(condition: Callable[[], Any], patience: float = 60) -> Any:
    """Wait until something is so; the patience is for a stalled machine, not for the service."""
    end = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return result


@contextlib.contextmanager
def in_a_thread(runtime: Path, settings: Settings, model: MattingAnything, **options: Any) -> Iterator[Client]:
    """Serve in a thread of this process, with MATTING_ANYTHING_RUNTIME set to `runtime`."""
    found: list[Any] = []
    there = threading.Event()

    def target() -> None:
        try:
            serve(settings, model=model, ready=lambda endpoint: (found.append(endpoint), there.set()), **options)
        except BaseException as error:
            found.append(error)
            there.set()

    thread = threading.Thread(target=target)
    thread.start()
    there.wait(60)
    if not isinstance(found[0], Endpoint):
        raise found[0]
    client = Client(found[0], runtime)
    try:
        yield client
    finally:
        with contextlib.suppress(requests.ConnectionError):
            client("POST", "/v1/shutdown")
        thread.join(60)
        assert not thread.is_alive()


@contextlib.contextmanager
def in_a_process(runtime: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """The command `matting-anything serve`, once it is ready."""
    process = start(runtime, *arguments)
    try:
        until(lambda: read_endpoint() is not None or process.poll() is not None)
        endpoint = read_endpoint()
        assert endpoint is not None, process.communicate()
        yield process, Client(endpoint, runtime)
    finally:
        process.kill()
        process.communicate()


def start(runtime: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command and do not wait for it."""
    environment = {**os.environ, "MATTING_ANYTHING_RUNTIME": str(runtime), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "matting_anything_core.cli", "serve", *arguments], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
