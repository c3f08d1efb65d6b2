"""What PyInstaller must know of this package; it finds this folder by the entry point `pyinstaller40`."""

from __future__ import annotations

from pathlib import Path


def hook_folders() -> list[str]:
    """The folders in which PyInstaller looks for hooks."""
    return [str(Path(__file__).parent)]
