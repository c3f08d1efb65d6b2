"""Steady edges: alpha of consecutive frames is blended along the flow where the flow holds and the colours agree.

Each frame is matted by itself, so where an edge is hard to tell its alpha comes out a little different every time, and
shimmers. Where a pixel is surely the same piece of the same thing as a frame ago, its alpha should be as it was. Behind
moving edges, where something is uncovered, the flow does not hold, and nothing is carried there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..geometry import mask_window

if TYPE_CHECKING:
    import numpy as np

    from ..result import Matte
    from .flow import Flow

    Array = np.ndarray[Any, Any]

STRENGTH = 0.7
"""How much the last frame's alpha counts where the flow surely holds …"""
AGREE = 0.35
"""… and the two alphas differ by much less than this: more is something that happens, and not shimmer. Blended, it
would be a ghost."""

SOLID = 0.98
"""Pixels of more alpha have the frame's own colours."""


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
    # Only about the object, and what moved there.
    reach = int(np.abs(flow.back).max() * max(height / flow.back.shape[0], width / flow.back.shape[1])) + 2
    around = mask_window((before > 0) | (alpha > 0), reach)
    if around.empty:
        return alpha
    part = around.slices()
    back = enlarged(flow.back, height, width)[part]
    weight = np.float32(strength) * resized(flow.sure, height, width)[part]
    y, x = np.mgrid[part].astype(np.float32)
    # Cubic: linear weights would blur the edge a little more with every frame.
    moved = cv2.remap(before, x + back[..., 0], y + back[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    now = alpha[part]
    change = np.clip(moved, 0, 1) - now
    result = alpha.copy()
    result[part] = now + weight * np.exp(-((change / np.float32(AGREE)) ** 2)) * change
    return result


class SteadyColours:
    """Clean foreground colours that are steady like alpha: those of soft pixels, which are estimated, are blended along
    the flow. Where alpha is 1 they are the frame's own. Takes the mattes of one object in order."""

    def __init__(self, strength: float = STRENGTH) -> None:
        self._strength = strength
        self._before: tuple[Array, Array] | None = None

    def __call__(self, matte: Matte) -> Matte:
        """The matte with steady colours in the place of its own."""
        import copy

        from .flow import flow_between, small

        if self._strength <= 0:
            return matte
        rgb, colours = small(matte.image.rgb8()), matte.foreground
        if self._before is not None and self._before[1].shape == colours.shape and self._before[0].shape == rgb.shape:
            flow = flow_between(self._before[0], rgb)
            colours = _steady_colours(self._before[1], colours, matte.alpha, flow, self._strength)
            matte = copy.copy(matte)
            matte.__dict__["foreground"] = colours  # what its cached_property would keep
        self._before = rgb, colours
        return matte


def _steady_colours(before: Array, colours: Array, alpha: Array, flow: Flow, strength: float) -> Array:
    """Colours H×W×3 blended with those of the frame before where alpha is soft, as `steadied` does with alpha."""
    import numpy as np

    from ..opencv import cv2
    from .flow import enlarged, resized

    height, width = alpha.shape
    soft = (alpha > 0) & (alpha < SOLID)
    around = mask_window(soft)
    if around.empty:
        return colours
    part = around.slices()
    back = enlarged(flow.back, height, width)[part]
    y, x = np.mgrid[part].astype(np.float32)
    moved = cv2.remap(before, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    change = moved - colours[part]
    alike = np.exp(-((np.abs(change).max(-1) / np.float32(AGREE)) ** 2))
    weight = np.float32(strength) * resized(flow.sure, height, width)[part] * alike * soft[part]
    result = colours.copy()
    result[part] += weight[..., None] * change
    result.setflags(write=False)
    return result
