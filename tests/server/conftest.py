"""A runtime folder of each test's own, and one service for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import tiny_model

from matting_anything_core.server.settings import Settings

from .service import Client, in_a_thread


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """The tiny network has nothing to share out: threads would only wait for each other, long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of the test's own."""
    folder = tmp_path / "runtime"
    monkeypatch.setenv("MATTING_ANYTHING_RUNTIME", str(folder))
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One service with the tiny network for the tests of a file that leave it as they found it."""
    folder = tmp_path_factory.mktemp("service") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATTING_ANYTHING_RUNTIME", str(folder))
        with in_a_thread(folder, Settings(memory=1 << 30), tiny_model()) as running:
            yield running
