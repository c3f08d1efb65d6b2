"""torch, imported so that its threads sleep soon (see threads.py); for modules to import before those that use it."""

from __future__ import annotations

from .startup import loading
from .threads import gentle_start

with loading("torch"), gentle_start():
    import torch

__all__ = ["torch"]
