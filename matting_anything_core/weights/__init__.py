"""Weights: what is published (catalogue), getting it (download, fetch), reading it safely (files, recognise, store),
turning it into safetensors (convert) and checking it (verify).

Nothing here goes to the network unless `fetch` is called, and no file is ever allowed to run code: pickles are read by
torch's restricted unpickler only, and what is read must have exactly the tensors of the network it claims to be.
"""

from __future__ import annotations

from .store import Checkpoint, bundled_path, open_checkpoint

__all__ = ["Checkpoint", "bundled_path", "open_checkpoint"]
