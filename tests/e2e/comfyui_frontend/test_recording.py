"""What the other tests take for the real server's word on the nodes is still its word.

COMFYUI_DIR is a checkout of ComfyUI 0.27, COMFYUI_PYTHON the Python that runs it (by default this one). After a change
of the nodes, `python -m tests.e2e.comfyui_frontend.test_recording` in the checkout writes data/object_info.json anew.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .conftest import HERE, PACK, object_info
from .frontend_server import PACK as PACK_NAME

COMFYUI = os.environ.get("COMFYUI_DIR")
CORE_NODES = ("EmptyImage", "ImageScale", "LoadImage", "PreviewImage")
BOOT_SECONDS = 240


def record(base: Path) -> dict[str, Any]:
    """Start a real server with only our nodes, its folders in `base`, and ask it for the nodes that the tests use."""
    (base / "custom_nodes").mkdir(parents=True)
    (base / "custom_nodes" / PACK_NAME).symlink_to(PACK)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    options = ["--cpu", "--port", str(port), "--database-url", "sqlite:///:memory:", "--disable-api-nodes"]
    command = [python, "main.py", "--base-directory", str(base), *options]
    with (base / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=COMFYUI, stdout=log, stderr=subprocess.STDOUT)
        try:
            info = ask(f"http://127.0.0.1:{port}/object_info", server, base / "log")
        finally:
            server.terminate()
            server.wait(30)
    kept = {name: info[name] for name in sorted(info) if name in CORE_NODES or name.startswith("MattingAnything")}
    kept["LoadImage"]["input"]["required"]["image"][0] = []  # the files that happen to be there
    return kept


def ask(url: str, server: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    for _ in range(BOOT_SECONDS):
        time.sleep(1)
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                info: dict[str, Any] = json.load(answer)
                return info
        except urllib.error.URLError:
            continue
    raise TimeoutError(log.read_text())


@pytest.mark.timeout(300)
@pytest.mark.skipif(not COMFYUI, reason="COMFYUI_DIR names no checkout of ComfyUI 0.27")
def test_the_recording_is_what_the_real_server_says(tmp_path: Path) -> None:
    assert record(tmp_path / "base") == object_info()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        recorded = record(Path(folder) / "base")
    (HERE / "data" / "object_info.json").write_text(json.dumps(recorded, indent=1) + "\n")
