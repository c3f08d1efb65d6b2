"""COMFYUI_DIR is a ComfyUI; COMFYUI_PYTHON the Python that runs it, with this project installed (default: this one)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .server import Server


@pytest.fixture(scope="session")
def new_server() -> Callable[[Path], Server]:
    """Makes a server, not yet started, of its base folder."""
    folder = os.environ.get("COMFYUI_DIR")
    if not folder:
        pytest.skip("COMFYUI_DIR does not name a ComfyUI, and it is on no package index")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    return lambda base: Server(Path(folder), python, base)


@pytest.fixture(scope="session")
def server(new_server: Callable[[Path], Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with new_server(tmp_path_factory.mktemp("comfyui")) as it:
        yield it
