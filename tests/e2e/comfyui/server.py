"""A real ComfyUI for the tests: started on a free port of this machine, with a folder of its own, ended by its pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parents[3] / "comfy_nodes"


class Server:
    """Context manager; `base` is ComfyUI's base directory (custom_nodes, input, output, models …)."""

    def __init__(self, comfyui: Path, python: str, base: Path) -> None:
        self.comfyui, self.python, self.base = comfyui, python, base
        for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
            (base / name).mkdir(parents=True, exist_ok=True)
        (base / "custom_nodes" / "matting_anything").symlink_to(PACK)
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

    def start(self, graph: dict[str, Any]) -> str:
        """Queue a graph in API format. Raises ValueError with ComfyUI's words when it is refused."""
        try:
            return str(self.post("/prompt", {"prompt": graph})["prompt_id"])
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

    def pictures(self, entry: dict[str, Any], node: str) -> list[Path]:
        """The files a SaveImage node wrote."""
        written = entry["outputs"][node]["images"]
        return [self.base / "output" / item["subfolder"] / item["filename"] for item in written]


def event(entry: dict[str, Any], name: str) -> dict[str, Any] | None:
    """One of ComfyUI's messages about a run, such as execution_error."""
    return next((data for kind, data in entry["status"]["messages"] if kind == name), None)


def to_api(workflow: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """A workflow as the page saves it, in the format that the server runs; `known` is /object_info."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        kinds = {**known[node["type"]]["input"].get("required", {}), **known[node["type"]]["input"].get("optional", {})}
        inputs = {item["name"]: links[item["link"]] for item in node["inputs"] if item["link"] is not None}
        values = iter(node.get("widgets_values") or [])
        for name, (kind, *more) in kinds.items():
            options = more[0] if more else {}
            widget = isinstance(kind, list) or kind in ("STRING", "INT", "FLOAT", "BOOLEAN", "COMBO")
            if widget and not options.get("forceInput"):
                inputs[name] = next(values)
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph
