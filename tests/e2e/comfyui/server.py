"""A real ComfyUI for the tests: started on a free port of this machine, with a folder of its own, ended by its pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from websockets.sync.client import connect

PACK = Path(__file__).resolve().parents[3] / "comfy_nodes"
TEXT = 3
"""The kind of binary message that carries a text for a node."""


class Told(NamedTuple):
    """What ComfyUI told an open page while a graph ran: each node's steps of progress, and each node's texts."""

    progress: dict[str, list[tuple[int, int]]]
    texts: dict[str, list[str]]


class Server:
    """Context manager; `base` is ComfyUI's base directory (custom_nodes, input, output, models …)."""

    def __init__(self, comfyui: Path, python: str, base: Path) -> None:
        self.comfyui, self.python, self.base = comfyui, python, base
        for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
            (base / name).mkdir(parents=True, exist_ok=True)
        (base / "custom_nodes" / "matting_anything").symlink_to(PACK)
        (base / "custom_nodes" / "gray_image.py").symlink_to(Path(__file__).with_name("gray_image.py"))
        for picture in (PACK / "example_pictures").glob("*.png"):
            (base / "input" / picture.name).symlink_to(picture)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def __enter__(self) -> Server:
        self._log = (self.base / "server.log").open("wb")
        self._process = subprocess.Popen(
            [self.python, "-u", "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port),
             "--base-directory", str(self.base), "--disable-auto-launch", "--disable-api-nodes",
             "--database-url", "sqlite:///:memory:"],
            cwd=self.comfyui, stdout=self._log, stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "MATTING_ANYTHING_HOME": str(self.base / "weights")},
        )
        while True:
            try:
                self.get("/system_stats")
                return self
            except (OSError, ValueError):
                if self._process.poll() is not None:
                    raise RuntimeError(f"ComfyUI ended before it answered:\n{self.log()[-4000:]}") from None
                time.sleep(0.3)

    def __exit__(self, *_: object) -> None:
        for sign in (signal.SIGINT, signal.SIGKILL):
            self._process.send_signal(sign)
            try:
                self._process.wait(15)
                break
            except subprocess.TimeoutExpired:
                continue
        self._log.close()

    def log(self) -> str:
        return (self.base / "server.log").read_text("utf-8", "replace")

    def get(self, path: str) -> Any:
        with self._open(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return json.loads(answer.read())

    def post(self, path: str, content: object) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(content).encode(),
                                         {"Content-Type": "application/json"})
        with self._open(request, timeout=60) as answer:
            body = answer.read()
            return json.loads(body) if body.strip() else None

    def start(self, graph: dict[str, Any], client: str | None = None) -> str:
        """Queue a graph in API format. Raises ValueError with ComfyUI's words when it is refused."""
        try:
            return str(self.post("/prompt", {"prompt": graph, "client_id": client})["prompt_id"])
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode("utf-8", "replace")) from None

    def wait(self, name: str) -> dict[str, Any]:
        """The history entry of a graph that has ended, well or not."""
        while True:
            entry = self.get(f"/history/{name}").get(name)
            if entry and (entry.get("status") or {}).get("status_str"):
                return dict(entry)
            if self._process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended:\n{self.log()[-4000:]}")
            time.sleep(0.1)

    def run(self, graph: dict[str, Any]) -> dict[str, Any]:
        return self.wait(self.start(graph))

    def watch(self, graph: dict[str, Any]) -> tuple[dict[str, Any], Told]:
        """Run a graph as a page does, which is told about it all along."""
        client = uuid.uuid4().hex
        told = Told({}, {})
        with connect(f"ws://127.0.0.1:{self.port}/ws?clientId={client}", proxy=None) as socket:
            name = self.start(graph, client)
            for message in socket:
                if isinstance(message, bytes):
                    kind, length = struct.unpack_from(">II", message)
                    if kind == TEXT:
                        node = message[8 : 8 + length].decode()
                        told.texts.setdefault(node, []).append(message[8 + length :].decode())
                    continue
                content = json.loads(message)
                data = content["data"]
                if content["type"] == "progress":
                    told.progress.setdefault(data["node"], []).append((data["value"], data["max"]))
                elif content["type"] == "executing" and data["node"] is None and data["prompt_id"] == name:
                    break
        return self.wait(name), told

    def pictures(self, entry: dict[str, Any], node: str) -> list[Path]:
        """The files a SaveImage node wrote."""
        written = entry["outputs"][node]["images"]
        return [self.base / "output" / item["subfolder"] / item["filename"] for item in written]
