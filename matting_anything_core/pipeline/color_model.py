"""What colours the parts of an image have: soft histograms.

GrabCut's mixtures of Gaussians (Rother et al., SIGGRAPH 2004) do the same; histograms are as good here, ten times as
fast, and change smoothly with what they are made of, where clusters jump.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BINS = 48
"""Bins along each axis of CIE L*a*b*."""
UNSEEN = 2e-5
"""Added to each bin's share: how likely a colour is that was not seen."""


class Colors:
    """The colours of an image, ready to be compared."""

    def __init__(self, rgb: Array) -> None:
        """rgb: H×W×3 uint8."""
        import numpy as np

        from ..opencv import cv2

        lab = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB).astype(np.int32) * BINS >> 8
        self._bins = (lab[..., 0] * BINS + lab[..., 1]) * BINS + lab[..., 2]

    def within(self, part: tuple[slice, slice]) -> Colors:
        """Those of some rows and columns."""
        result = copy.copy(self)
        result._bins = self._bins[part]
        return result

    def log_ratio(self, object_: Array, background: Array) -> Array:
        """How much more likely each pixel's colour is in the object than in the background.

        Parameters
        ----------
        object_, background : ndarray
            H×W, how surely each pixel is of the one and of the other, at least 0.

        Returns
        -------
        H×W float32, the logarithm of the ratio of likelihoods; 0 where neither knows the colour.
        """
        import numpy as np

        ours, theirs = (self._shares(weight) for weight in (object_, background))
        ratio = np.log((ours + UNSEEN) / (theirs + UNSEEN)).astype(np.float32)
        result: Array = ratio[self._bins]
        return result

    def _shares(self, weight: Array) -> Array:
        """The share of each bin, blurred by a binomial kernel along each axis."""
        import numpy as np

        flat = np.bincount(self._bins.ravel(), weight.ravel(), BINS**3)
        shares: Array = flat.reshape(BINS, BINS, BINS) / max(float(flat.sum()), 1e-6)
        for axis in range(3):
            padded = np.pad(shares, [(1, 1) if axis == other else (0, 0) for other in range(3)], mode="edge")
            before, here, after = (padded.take(range(i, i + BINS), axis) for i in range(3))
            shares = (before + 2 * here + after) / 4
        return shares.ravel()
