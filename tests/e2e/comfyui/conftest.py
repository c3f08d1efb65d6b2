"""COMFYUI_DIR is a ComfyUI; COMFYUI_PYTHON the Python that runs it, with this project installed (default: this one)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = os.environ.get("COMFYUI_DIR")
    if not folder:
        pytest.skip("COMFYUI_DIR does not name a ComfyUI, and it is on no package index")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    with Server(Path(folder), python, tmp_path_factory.mktemp("comfyui")) as it:
        yield it
