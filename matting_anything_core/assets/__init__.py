"""The pictures that come with the package; LICENCES.md beside this file says whose they are."""

from __future__ import annotations

import importlib.resources

DEMO_BOX: tuple[float, float, float, float] = (4.0, 4.0, 404.0, 512.0)
"""The box around the astronaut in the demo picture."""


def demo_picture() -> bytes:
    """The demo's picture as the bytes of a JPEG file: 512 × 512, Eileen Collins (NASA, public domain)."""
    return (importlib.resources.files(__package__) / "astronaut.jpg").read_bytes()
