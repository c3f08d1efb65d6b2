"""The plug-in's modules that know nothing of GIMP, as they are installed, with a runtime folder of their own and the
real service."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from matting_anything_core.install.gimp import put_plugin

PLUGIN = Path(tempfile.mkdtemp()) / "matte_selection"
"""With its copy of the service's client, which a checkout has not."""
put_plugin(PLUGIN)
atexit.register(shutil.rmtree, PLUGIN.parent)
sys.path.insert(0, str(PLUGIN))


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The service's folder, and a home folder without settings; at the end no service runs."""
    from matting_anything_core.server.endpoint import stop_running

    folder = tmp_path / "runtime"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("MATTING_ANYTHING_RUNTIME", str(folder))
    monkeypatch.setenv("MATTING_ANYTHING_PYTHON", sys.executable)
    yield folder
    stop_running()
