"""A real GIMP for these tests, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from matting_anything_core import read_image
from matting_anything_core.assets import demo_picture

from .root import NoHost, gimp_root
from .session import Session, open_session


@pytest.fixture(scope="session")
def root() -> Path:
    """The root folder with GIMP; made if needed, which takes two minutes."""
    try:
        return gimp_root()
    except NoHost as why:
        pytest.skip(f"no real GIMP here: {why}")


@pytest.fixture(scope="session")
def new_session(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Session]:
    """Makes a GIMP profile with the plug-in and photo.png in its folder."""
    def make(name: str) -> Session:
        session = open_session(root, tmp_path_factory.mktemp(name))
        read_image(demo_picture()).save(session.folder / "photo.png")
        return session

    return make
