"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from matting_anything_core.replacing import replace_text, replacing


def test_the_file_is_the_old_one_until_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_bytes(b"old")
    with replacing(path, synced=True) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["note"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_goes_wrong_leaves_the_old_one_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "note"
    replace_text(path, "old")

    def half() -> None:
        with replacing(path) as file:
            file.write(b"half of i")
            raise error

    with pytest.raises(error):
        half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note"]


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    replace_text(tmp_path / ("n" * 255), "text ä")
    assert (tmp_path / ("n" * 255)).read_text(encoding="utf-8") == "text ä"


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes are POSIX's")
def test_links_stay_links_and_private_files_are_private(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("note")
    replace_text(tmp_path / "link", "text", private=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "note").read_text() == "text"
    assert stat.S_IMODE((tmp_path / "note").stat().st_mode) == 0o600
    replace_text(tmp_path / "note", "text")
    mask = os.umask(0o022)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "note").stat().st_mode) == 0o666 & ~mask


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_text(tmp_path / "none" / "note", "text")
