"""The networks of alpha heads that go with any segmenter, by the head's name.

A new one is a file beside this one with its network and its entry (see head_network.py), and its entry here. Mask-to-
Matte is none of them: it works on the features of the segmenter that it was trained with.
"""

from __future__ import annotations

from .backbone import Shapes
from .head_network import HeadNetwork
from .vitmatte import VITMATTE

HEAD_NETWORKS: dict[str, HeadNetwork] = {one.head: one for one in (VITMATTE,)}


def recognised_head(shapes: Shapes) -> HeadNetwork | None:
    """The head's network whose tensors these are, in any published layout; None for an unknown one."""
    return next((one for one in HEAD_NETWORKS.values()
                 if one.recognises({one.rename(name): shape for name, shape in shapes.items()})), None)
