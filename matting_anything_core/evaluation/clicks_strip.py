"""How one object was corrected, as a strip of small images: one for each turn that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .clicks import Click, FloatArray, ImageArray, Truth
from .thumbnails import BACKDROP, shrink

PANEL_SIDE = 240
MOST_PANELS = 10
MISSING, EXTRA = (255, 170, 60), (90, 180, 255)
"""What is missing is shown in orange, what is too much in blue."""
POSITIVE, NEGATIVE = (40, 200, 80), (230, 50, 50)


@dataclass(frozen=True, eq=False)
class Panel:
    """What there was, and the click that came then (None: there was none)."""

    alpha: FloatArray
    following: Click | None


def has_panel(made: int, clicks: int) -> bool:
    """Whether a strip of up to `clicks` clicks has a panel after so many: after all of the first ones. Besides these it
    has one for the end."""
    return made <= (clicks if clicks < MOST_PANELS else MOST_PANELS - 2)


def strip(image: ImageArray, truth: Truth, panels: Sequence[Panel]) -> ImageArray:
    """The panels side by side, uint8 h×w×3: the cut-out, its errors tinted, and the click that comes next."""
    return np.concatenate([_drawn(image, truth, panel) for panel in panels], axis=1)


def _drawn(image: ImageArray, truth: Truth, panel: Panel) -> ImageArray:
    found = panel.alpha > 0.5
    alpha = panel.alpha[..., None]
    canvas = image * alpha + np.asarray(BACKDROP, np.float32) * (1 - alpha)
    for wrong, colour in ((truth.inside & ~found, MISSING), (found & ~truth.inside & truth.counted, EXTRA)):
        canvas[wrong] = 0.4 * canvas[wrong] + 0.6 * np.asarray(colour, np.float32)
    shrunk = shrink(canvas.astype(np.float32), PANEL_SIDE)
    small = np.ascontiguousarray(np.clip(np.rint(shrunk), 0, 255).astype(np.uint8))
    if panel.following is not None:
        scale = small.shape[1] / image.shape[1]
        centre = (int(panel.following.point[0] * scale), int(panel.following.point[1] * scale))
        cv2.circle(small, centre, 6, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(small, centre, 5, POSITIVE if panel.following.label else NEGATIVE, -1, cv2.LINE_AA)
    # A white line between the panels; their widths stay equal, so that captions can stand below them.
    small[:, -1] = 255
    return small
