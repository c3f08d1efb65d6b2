"""What a track remembers of past frames: the colours and the features of the object and of what is around it.

A mask that is carried from frame to frame drifts; what was there in the frames that a hand has marked, and in a few
since, holds it. Colours are soft histograms as in pipeline/color_model.py, coarser, that are kept; features are those
of the encoder, of which the nearest ones are looked up (Chen et al., "Blazingly Fast Video Object Segmentation with
Pixel-Wise Metric Learning", CVPR 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BINS = 24
"""Bins along each axis of CIE L*a*b*."""
UNSEEN = 1e-4
"""Added to each bin's share: how likely a colour is that was not seen."""
FRESH = 0.3
"""How much of the colours that are remembered of the last frames a new one is."""
MOST = 128
"""Features of each side that are kept of a frame."""
FRAMES = 3
"""Frames whose features are kept besides those that were marked."""


@dataclass(frozen=True, eq=False)
class Memory:
    """Colours and features, of frames that were marked and of the last few.

    object_, around: BINS³ float32, shares of colours in marked frames. lately, lately_around: in the last frames.
    marked: features (object's, background's) of marked frames, each n×256 float32 of length 1. recent: the same of the
    last frames, the newest last.
    """

    object_: Array
    around: Array
    lately: Array
    lately_around: Array
    marked: tuple[tuple[Array, Array], ...] = ()
    recent: tuple[tuple[Array, Array], ...] = ()

    @property
    def marked_only(self) -> Memory:
        """What is known of marked frames, which no mistake of tracking has touched."""
        return Memory(self.object_, self.around, self.object_, self.around, self.marked)

    def colours(self, rgb: Array) -> Array:
        """How much likelier each colour of h×w×3 uint8 is of the object than of what is around it: h×w float32, a
        logarithm."""
        import numpy as np

        ours, theirs = self.object_ + self.lately, self.around + self.lately_around
        ratio = np.log((ours / 2 + UNSEEN) / (theirs / 2 + UNSEEN)).astype(np.float32)
        result: Array = ratio[_bins(rgb)]
        return result

    def likeness(self, features: Array) -> Array:
        """How much nearer each feature (n×256, of length 1) is to one of the object than to one of what is around it: n
        float32, a difference of cosines."""
        import numpy as np

        kept = (*self.marked, *self.recent)
        if not kept:  # the object, or what is around it, was smaller than a feature's place
            return np.zeros(len(features), np.float32)
        ours, theirs = (np.concatenate([pair[side] for pair in kept]) for side in (0, 1))
        near = [_nearest(features, side) for side in (ours, theirs)]
        return near[0] - near[1]

    def with_frame(self, rgb: Array, alpha: Array, near: Array, features: tuple[Array, Array] | None,
                   marked: bool) -> Memory:
        """This memory and one frame more.

        Parameters
        ----------
        rgb, alpha, near : ndarray
            h×w×3 uint8; h×w float32, the object's; h×w bool, what counts as around it.
        features : of the object and around it.
        marked : bool
            A hand has said what the object is in this frame.
        """
        new = of_frame(rgb, alpha, near)
        lately = _mixed(self.lately, new.object_, 0.5 if marked else FRESH)
        lately_around = _mixed(self.lately_around, new.around, 0.5 if marked else FRESH)
        object_, around = self.object_, self.around
        if marked:
            object_, around = _mixed(object_, new.object_, 0.5), _mixed(around, new.around, 0.5)
        kept, recent = self.marked, self.recent
        if features is not None and all(map(len, features)):
            if marked:
                kept = (*kept[:1], *kept[1:][-2:], features)
            else:
                recent = (*recent, features)[-FRAMES:]
        return Memory(object_, around, lately, lately_around, kept, recent)


def of_frame(rgb: Array, alpha: Array, near: Array) -> Memory:
    """The memory of the colours of one frame."""
    object_, around = _shares(rgb, alpha), _shares(rgb, (1 - alpha) * near)
    return Memory(object_, around, object_, around)


def _mixed(old: Array, new: Array, share: float) -> Array:
    result: Array = old + share * (new - old) if new.any() else old
    return result


def _bins(rgb: Array) -> Array:
    import numpy as np

    from ..opencv import cv2

    lab = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB).astype(np.int32) * BINS >> 8
    return np.asarray((lab[..., 0] * BINS + lab[..., 1]) * BINS + lab[..., 2])


def _shares(rgb: Array, weight: Array) -> Array:
    """The share of each bin, blurred by a binomial kernel along each axis."""
    import numpy as np

    flat = np.bincount(_bins(rgb).ravel(), np.where(weight > 0.8, weight, 0).ravel(), BINS**3)
    shares: Array = flat.reshape(BINS, BINS, BINS) / max(float(flat.sum()), 1e-6)
    for axis in range(3):
        padded = np.pad(shares, [(1, 1) if axis == other else (0, 0) for other in range(3)], mode="edge")
        before, here, after = (padded.take(range(i, i + BINS), axis) for i in range(3))
        shares = (before + 2 * here + after) / 4
    return shares.ravel().astype(np.float32)


def _nearest(features: Array, kept: Array) -> Array:
    """The mean cosine of each feature with the three nearest of those that are kept."""
    import numpy as np

    cosines = features @ kept.T
    count = min(3, cosines.shape[1])
    best = np.partition(cosines, cosines.shape[1] - count, 1)[:, -count:]
    result: Array = best.mean(1)
    return result
