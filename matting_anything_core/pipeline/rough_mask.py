"""A mask given as a prompt: how much of it is believed.

Far from its outline it is right; near it, within what a hand or another program is off by, the decoder (told the mask's
bounds), colours and edges decide. Holes and islands of that size are doubtful all through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

DOUBTFUL = 16.0
"""Pixels of the network's input about the outline within which a mask is believed the less the nearer it is …"""
BELIEVED = 8.0
"""… and the logits of what lies farther inside or outside."""
DECODER = 0.5
"""Weight of the decoder's logits, which count up to …"""
LIMIT = 8.0
"""… this."""


def with_rough_mask(mask: Array, decoded: Array) -> Array:
    """The logits of an object of which there is a rough mask.

    Parameters
    ----------
    mask : ndarray
        h×w bool, at the size of a view's input.
    decoded : ndarray
        h×w float, what the decoder says of an object in the mask's bounds.

    Returns
    -------
    h×w float32 logits.
    """
    import numpy as np

    from ..opencv import cv2

    inside, outside = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (mask, ~mask))
    believed = np.clip((inside - outside) / DOUBTFUL, -1, 1) * BELIEVED
    return np.asarray(believed + DECODER * np.clip(decoded, -LIMIT, LIMIT), np.float32)
