"""How one object was corrected, as a strip of small images: one for each turn that is shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..opencv import cv2
from .clicks import Click, FloatArray, ImageArray, Truth
from .thumbnails import BACKDROP, shrink

PANEL_SIDE = 240
MOST_PANELS = 10
MISSING, EXTRA = (255, 170, 60), (90, 180, 255)
"""What is missing is shown in orange, what is too much in blue."""
POSITIVE, NEGATIVE = (40, 200, 80), (230, 50, 50)


def has_panel(made: int, clicks: int) -> bool:
    """Whether a strip of up to `clicks` clicks has a panel after so many: after all of the first ones. Besides these it
    has one for the end."""
    return made <= (clicks if clicks < MOST_PANELS else MOST_PANELS - 2)


def panel(image: ImageArray, truth: Truth, alpha: FloatArray, following: Click | None) -> ImageArray:
    """One turn, small, uint8 h×w×3: the cut-out, its errors tinted, and the click that comes next."""
    found = alpha > 0.5
    small = shrink(image, PANEL_SIDE).astype(np.float32)
    share = shrink(alpha, PANEL_SIDE)[..., None]
    canvas = small * share + np.asarray(BACKDROP, np.float32) * (1 - share)
    for wrong, colour in ((truth.inside & ~found, MISSING), (found & ~truth.inside & truth.counted, EXTRA)):
        tint = 0.6 * shrink(wrong.astype(np.float32), PANEL_SIDE)[..., None]
        canvas = canvas * (1 - tint) + np.asarray(colour, np.float32) * tint
    drawn: ImageArray = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    if following is not None:
        scale = drawn.shape[1] / image.shape[1]
        centre = (int(following.point[0] * scale), int(following.point[1] * scale))
        cv2.circle(drawn, centre, 6, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(drawn, centre, 5, POSITIVE if following.label else NEGATIVE, -1, cv2.LINE_AA)
    # A white line between the panels; their widths stay equal, so that captions can stand below them.
    drawn[:, -1] = 255
    return drawn


def strip(panels: Sequence[ImageArray]) -> ImageArray:
    """Panels side by side."""
    return np.concatenate(panels, axis=1)
