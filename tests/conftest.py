"""What every test has: hypothesis without deadlines (shared machines stall), and a cache folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing a developer has installed or cached may decide a test."""
    home = tmp_path_factory.getbasetemp() / "matting-anything-home"
    monkeypatch.setenv("MATTING_ANYTHING_HOME", str(home))
    return home
