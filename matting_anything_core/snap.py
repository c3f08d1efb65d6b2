"""The small model's masks, decided anew with the colours of the picture.

Its mask decoder draws outlines on a grid of four pixels of a small square, and where an object's colours are strange
to it, it is unsure of whole parts. Both are mended by what this one picture tells. Three things are put together, all
as logits: what the decoder says; how much likelier a pixel's colour is among what surely is the object than among what
surely is not (a mixture of Gaussians each, as in Rother, Kolmogorov, Blake, "GrabCut", SIGGRAPH 2004); and what the
neighbours of like colour are. The last is a mean field as in Krähenbühl and Koltun, "Efficient Inference in Fully
Connected CRFs", NeurIPS 2011, its messages passed by a guided filter (He, Sun, Tang, ECCV 2010).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .geometry import Fit
from .guided import Guide
from .mixture import fitted, log_likelihood

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CERTAIN = 4.0
"""Pixels with logits beyond this, and at least half of the object, tell what colours object and background have; in the
second round …"""
SETTLED = 1.0
"""… those with logits beyond this after the first."""
ENOUGH = 300
"""Where fewer pixels than this are certain, colours tell nothing."""
AROUND = 48
"""Pixels of the square around the object that tell what the background looks like, and that are decided."""
ROUNDS = 2
COLOURS = 1.0
"""Weight of the colours' logits, which count up to …"""
COLOURS_LIMIT = 4.0
"""… this; the decoder's count up to …"""
LIMIT = 8.0
"""… this."""
OWN = 0.5
"""Weight of a pixel's own logits beside …"""
NEIGHBOURS = 8.0
"""… those of its neighbours, all of one opinion; opinions are the tanh of logits over …"""
OPINION = 3.0
"""… this."""
STEPS = 6
RADIUS = 6
"""Neighbours are up to twice this far away, in pixels of the square."""
CRUMBS = 0.1
"""A piece smaller than this share of the largest is not part of an object that is asked for as a whole."""
AWAY = -10.0
"""The logit outside of the picture."""


def snapped(logits: Tensor, rgb: np.ndarray[Any, Any], fit: Fit, *, whole: bool = False) -> Tensor:
    """Mask logits 1×h×w of one object in the padded square -> logits 1×S×S whose outline follows the picture's edges.

    rgb: uint8, the picture as it lies in the square: as many rows and columns as `fit.scaled` says. whole: it is one
    object, as a box says, of which crumbs are no part; several objects and what points mark may be in pieces of any
    size. An object without an outline inside of the picture (nothing, or all of it) stays as it is, and so does what
    is farther than AROUND from the object. The same input gives the same output.
    """
    import numpy as np
    import torch
    from torch.nn import functional as F

    from .opencv import cv2

    height, width = fit.scaled
    square = F.interpolate(logits.unsqueeze(0), (fit.square, fit.square), mode="bilinear", align_corners=False)[0]
    everywhere = square[0, :height, :width].cpu().numpy()
    part = _around(everywhere > 0)
    decoded = np.ascontiguousarray(everywhere[part])
    if not (decoded > 0).any() or (everywhere > 0).all():
        return square
    colours = np.ascontiguousarray(rgb[part])
    lab = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB).astype(np.float32)
    spread = Guide(colours.astype(np.float32) / 255, RADIUS)
    near = cv2.dilate((decoded > 0).astype(np.uint8), np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8)) > 0
    object_ = decoded > min(CERTAIN, float(np.median(decoded[decoded > 0])))
    background = near & (decoded < -CERTAIN)
    for _ in range(ROUNDS):
        if min(np.count_nonzero(object_), np.count_nonzero(background)) < ENOUGH:
            own = np.clip(decoded, -LIMIT, LIMIT)
        else:
            likelier = log_likelihood(fitted(lab[object_]), lab) - log_likelihood(fitted(lab[background]), lab)
            own = np.clip(decoded, -LIMIT, LIMIT) + COLOURS * np.clip(likelier, -COLOURS_LIMIT, COLOURS_LIMIT)
        values = own.astype(np.float32)
        for _ in range(STEPS):
            values = OWN * own + NEIGHBOURS * spread(np.tanh(values / np.float32(OPINION)))
        object_, background = values > SETTLED, near & (values < -SETTLED)
    if whole:
        values = np.where(_crumbs(values > 0), -SETTLED, values)
    result = torch.full_like(square, AWAY)
    result[0, :height, :width] = square[0, :height, :width].clamp(max=AWAY)
    result[0, :height, :width][part] = torch.from_numpy(values.astype(np.float32)).to(square.device)
    return result


def _crumbs(there: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which pixels of what is there lie in pieces that are small beside the largest one: H×W bool."""
    import numpy as np

    from .opencv import cv2

    _, pieces, stats, _ = cv2.connectedComponentsWithStats(there.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    small: np.ndarray[Any, Any] = np.concatenate([[False], areas < CRUMBS * areas.max(initial=0)])[pieces]
    return small


def _around(there: np.ndarray[Any, Any]) -> tuple[slice, slice]:
    """The rows and columns of what is there and AROUND pixels more."""
    import numpy as np

    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return (slice(max(int(rows[0]) - AROUND, 0), int(rows[-1]) + AROUND + 1),
            slice(max(int(columns[0]) - AROUND, 0), int(columns[-1]) + AROUND + 1))
