"""Steady edges: alpha of consecutive frames is blended along the flow where the flow holds and the colours agree.

Each frame is matted by itself, so where an edge is hard to tell its alpha comes out a little different every time, and
shimmers. Where a pixel is surely the same piece of the same thing as a frame ago, its alpha should be as it was. Behind
moving edges, where something is uncovered, the flow does not hold, and nothing is carried there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .flow import Flow

    Array = np.ndarray[Any, Any]

STRENGTH = 0.7
"""How much the last frame's alpha counts where the flow surely holds …"""
AGREE = 0.35
"""… and the two alphas differ by much less than this: more is something that happens, and not shimmer. Blended, it
would be a ghost."""


def steadied(before: Array, alpha: Array, flow: Flow, strength: float = STRENGTH) -> Array:
    """Alpha that is steady.

    Parameters
    ----------
    before, alpha : ndarray
        H×W float32 in 0..1, the alpha of the last frame as it was given out, and of this one.
    flow : Flow
        Between the two frames, at any size.
    strength : float
        0..1; 0 is no blending.

    Returns
    -------
    H×W float32 in 0..1; exactly 0 and 1 where both are.
    """
    import numpy as np

    from ..opencv import cv2
    from .flow import enlarged, resized

    if strength <= 0 or before.shape != alpha.shape:
        return alpha
    height, width = alpha.shape
    rows, columns = (np.flatnonzero(((before > 0) | (alpha > 0)).any(axis)) for axis in (1, 0))
    if not len(rows):
        return alpha
    # Only about the object, and what moved there.
    reach = int(np.abs(flow.back).max() * max(height / flow.back.shape[0], width / flow.back.shape[1])) + 2
    top, bottom = max(rows[0] - reach, 0), min(rows[-1] + reach + 1, height)
    left, right = max(columns[0] - reach, 0), min(columns[-1] + reach + 1, width)
    part = slice(top, bottom), slice(left, right)
    back = enlarged(flow.back, height, width)[part]
    weight = np.float32(strength) * resized(flow.sure, height, width)[part]
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    # Cubic: linear weights would blur the edge a little more with every frame.
    moved = cv2.remap(before, x + back[..., 0], y + back[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    now = alpha[part]
    change = np.clip(moved, 0, 1) - now
    result = alpha.copy()
    result[part] = now + weight * np.exp(-((change / np.float32(AGREE)) ** 2)) * change
    return result
