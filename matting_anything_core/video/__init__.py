"""Clips: mark an object in a frame or a few, get a steady matte of every frame.

    for matte in matte_video("clip.mp4", {0: (120, 40, 560, 700)}):
        matte.alpha

The steps are public as well: `begin` and `follow` (tracker.py) go from frame to frame on a Track that the caller holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import matte_video
    from .marks import Correction
    from .tracker import Track, begin, follow

__all__ = ["Correction", "Track", "begin", "follow", "matte_video"]
_LAZY = {"Correction": "marks", "Track": "tracker", "begin": "tracker", "follow": "tracker", "matte_video": "api"}


def __getattr__(name: str) -> Any:
    """Import torch and OpenCV when they are first needed (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value
