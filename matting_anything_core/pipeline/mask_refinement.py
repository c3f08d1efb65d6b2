"""Mask refinement: a small model's masks, decided with the colours of the image.

A small mask decoder draws outlines on a grid of four pixels of its input, and where an object's colours are strange to
it, it is unsure of whole parts. Both are mended by what this one image tells. Three things are put together, all as
logits: what the decoder says; how much likelier a pixel's colour is among what surely is the object than among what
surely is not (color_model.py); and what the neighbours of like colour are. The last is a mean field as in Krähenbühl
and Koltun, "Efficient Inference in Fully Connected CRFs", NeurIPS 2011, its messages passed by a guided filter at half
of the size, and its last one at the whole size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..geometry import Fit, mask_window
from ..transfers import uploaded
from .color_model import Colors
from .guided_filter import Guide
from .masks import at_input_size

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array = np.ndarray[Any, Any]
    Rgb = np.ndarray[Any, Any]

CERTAIN = 3.0
"""Pixels with logits beyond this, and at least half of the object, tell what colours object and background have; in the
second round …"""
SETTLED = 1.0
"""… those with logits beyond this after the first."""
SHARPNESS = 3.0
"""How quickly a pixel counts fully that is beyond: it has the weight of the sigmoid of so many times the difference."""
AROUND = 48
"""Pixels of the input around the object that tell what the background looks like, and that are decided."""
ROUNDS = 2
COLORS_LIMIT = 4.0
"""The colours' logits count up to this; the decoder's count up to …"""
LIMIT = 8.0
"""… this."""
OWN = 0.5
"""Weight of a pixel's own logits beside …"""
NEIGHBORS = 8.0
"""… those of its neighbours, all of one opinion; opinions are the tanh of logits over …"""
OPINION = 3.0
"""… this."""
STEPS = 6
RADIUS = 3
"""Neighbours are up to twice this far away, in pixels of half of the input's size."""
SMALL_COMPONENT = 0.1
"""A component smaller than this share of the largest is not part of an object that is asked for as a whole."""
AWAY = -10.0
"""The logit outside of the image."""


def refine_mask(logits: Tensor, rgb: Rgb, fit: Fit, *, whole: bool = False) -> Tensor:
    """The mask of one object whose outline follows the image's edges.

    An object without an outline inside of the image (nothing, or all of it) stays as it is, and so does what is farther
    than AROUND from the object. The same input gives the same output.

    Parameters
    ----------
    logits : Tensor
        1×h×w over the padded input.
    rgb : ndarray
        uint8, the image as it lies in the input: as many rows and columns as `fit.scaled` says.
    fit : Fit
        How the image lies in the input.
    whole : bool
        It is one object, as a box says, of which small components are no part; several objects and what points mark may
        be in components of any size.

    Returns
    -------
    Logits 1×S×S.
    """
    import numpy as np
    import torch

    height, width = fit.scaled
    square = at_input_size(logits, fit)
    everywhere = square[0, :height, :width].cpu().numpy()
    part = _around(everywhere > 0)
    decoded = np.ascontiguousarray(everywhere[part])
    if not (decoded > 0).any() or (everywhere > 0).all():
        return square
    values = _mean_field(decoded, np.ascontiguousarray(rgb[part]))
    if whole:
        values = np.where(_small_components(values > 0), np.float32(-SETTLED), values)
    result = torch.full_like(square, AWAY)
    result[0, :height, :width] = square[0, :height, :width].clamp(max=AWAY)
    result[0, :height, :width][part] = uploaded(torch.from_numpy(values), square.device)
    return result


def _mean_field(decoded: Array, rgb: Rgb) -> Array:
    """The decoder's logits h×w and the colours h×w×3 -> logits h×w."""
    import numpy as np

    from ..opencv import cv2

    height, width = decoded.shape
    half = max(width // 2, 1), max(height // 2, 1)
    colours = cv2.resize(rgb, half, interpolation=cv2.INTER_AREA)
    evidence = np.clip(cv2.resize(decoded, half, interpolation=cv2.INTER_AREA), -LIMIT, LIMIT)
    guide, colors = Guide(_unit(colours), RADIUS), Colors(colours)
    near = cv2.dilate((evidence > 0).astype(np.uint8), np.ones((AROUND + 1, AROUND + 1), np.uint8))
    inside = evidence[evidence > 0]
    certain = min(CERTAIN, float(np.median(inside))) if len(inside) else CERTAIN
    object_, background = _beyond(evidence, certain) * (evidence > 0), near * _beyond(-evidence, CERTAIN)
    for _ in range(ROUNDS):
        likelier = colors.log_ratio(object_, background)
        own = evidence + np.clip(likelier, -COLORS_LIMIT, COLORS_LIMIT)
        values = own
        for _ in range(STEPS - 1):
            values = OWN * own + NEIGHBORS * guide(_opinion(values))
        object_, background = _beyond(values, SETTLED), near * _beyond(-values, SETTLED)
    last = np.clip(guide.functions(_opinion(values)).resized(width, height)(_unit(rgb)), -1, 1)
    own = cv2.resize(own, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(OWN * own + NEIGHBORS * last, np.float32)


def _opinion(values: Array) -> Array:
    import numpy as np

    return np.asarray(np.tanh(values * np.float32(1 / OPINION)))


def _beyond(values: Array, threshold: float) -> Array:
    """How surely values are beyond a threshold, 0..1."""
    import numpy as np

    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * SHARPNESS * (values - threshold)))


def _unit(rgb: Rgb) -> Array:
    import numpy as np

    return np.asarray(rgb.astype(np.float32) * np.float32(1 / 255))


def _small_components(there: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which pixels of what is there lie in components that are small beside the largest one: H×W bool."""
    import numpy as np

    from ..opencv import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(there.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    small: np.ndarray[Any, Any] = np.concatenate([[False], areas < SMALL_COMPONENT * areas.max(initial=0)])[labels]
    return small


def _around(there: np.ndarray[Any, Any]) -> tuple[slice, slice]:
    """The rows and columns of what is there and AROUND pixels more."""
    return mask_window(there, AROUND).slices()
