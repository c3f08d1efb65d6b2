"""How far the mattes of a clip are from the truth, frame by frame and over time.

dtSSD and MESSDdt are of Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015, in the units
of Lin et al., "Robust High-Resolution Video Matting", WACV 2022, whose dtSSD is a root of a mean; J and F are those of
Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..opencv import cv2
from ..video.flow import enlarged, flow_between, small
from .metrics import Array, BoolArray, FloatArray, as_alpha, measure

BOUNDARY = 0.008
"""F: a boundary may be off by this share of the image's diagonal."""
NAMES = ("mad", "mse", "dtssd", "messddt", "grad", "conn", "j", "f")


@dataclass(frozen=True)
class ClipErrors:
    """Means over the frames of a clip.

    mad, mse: times 1000. dtssd: times 100; over pairs of frames. messddt: times 1000, over pairs. grad, conn: sums over
    a frame, in thousands. 0 is perfect. j, f: region and boundary agreement of what is above half, 0..1; 1 is perfect.
    frames: how many.
    """

    mad: float
    mse: float
    dtssd: float
    messddt: float
    grad: float
    conn: float
    j: float
    f: float
    frames: int

    @property
    def jf(self) -> float:
        """The mean of J and F."""
        return (self.j + self.f) / 2


def measure_clip(frames: Iterable[tuple[Array, Array, Array]]) -> ClipErrors:
    """The errors of a clip, which is gone through once; two frames at a time are in memory.

    Parameters
    ----------
    frames
        (prediction H×W, truth H×W, colours H×W×3 uint8) in order; mattes as `metrics.as_alpha` takes them. The colours
        are for the flow of MESSDdt.

    Raises
    ------
    ValueError
        For no frames, other types and sizes that differ.
    """
    sums: dict[str, list[float]] = {name: [] for name in NAMES}
    before: tuple[FloatArray, FloatArray, Array] | None = None
    for prediction, truth, rgb in frames:
        alpha, target = as_alpha(prediction), as_alpha(truth)
        errors = measure(alpha, target)
        for name in ("mad", "mse", "grad", "conn"):
            sums[name].append(getattr(errors, name))
        sums["j"].append(region_agreement(alpha > 0.5, target > 0.5))
        sums["f"].append(boundary_agreement(alpha > 0.5, target > 0.5))
        reduced = small(np.ascontiguousarray(rgb))
        if before is not None:
            if before[0].shape != alpha.shape:
                raise ValueError(f"a frame is {alpha.shape}, the one before it {before[0].shape}")
            sums["dtssd"].append(dtssd(before[0], alpha, before[1], target))
            back = enlarged(flow_between(before[2], reduced).back, *alpha.shape)
            sums["messddt"].append(messddt(before[0], alpha, before[1], target, back))
        before = alpha, target, reduced
    if before is None:
        raise ValueError("the clip has no frames")
    means = {name: float(np.mean(values)) if values else 0.0 for name, values in sums.items()}
    return ClipErrors(**means, frames=len(sums["mad"]))


def dtssd(before: FloatArray, alpha: FloatArray, before_true: FloatArray, true: FloatArray) -> float:
    """How differently the matte changes from one frame to the next than the true one does, times 100."""
    change = (alpha - before) - (true - before_true)
    return 100 * math.sqrt(float(np.mean(change * change, dtype=np.float64)))


def messddt(before: FloatArray, alpha: FloatArray, before_true: FloatArray, true: FloatArray, back: Array) -> float:
    """How much the squared error changes along the motion, times 1000. back: H×W×2, the steps to where each pixel was a
    frame ago."""
    height, width = alpha.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    error_before, error = (before - before_true) ** 2, (alpha - true) ** 2
    moved = cv2.remap(error_before, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE)
    return 1000 * float(np.mean(np.abs(error - moved), dtype=np.float64))


def region_agreement(mask: BoolArray, truth: BoolArray) -> float:
    """J: the intersection over the union; 1 for two empty masks."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def boundary_agreement(mask: BoolArray, truth: BoolArray) -> float:
    """F: the harmonic mean of precision and recall of the boundary's pixels, which may be off by BOUNDARY."""
    reach = max(1, math.ceil(BOUNDARY * math.hypot(*mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    one, other = _boundary(mask), _boundary(truth)
    if not one.any() or not other.any():
        return float(one.any() == other.any())
    near_one, near_other = (cv2.dilate(edge.astype(np.uint8), disc) > 0 for edge in (one, other))
    precision = np.count_nonzero(one & near_other) / np.count_nonzero(one)
    recall = np.count_nonzero(other & near_one) / np.count_nonzero(other)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: BoolArray) -> BoolArray:
    """Pixels that differ from their right, lower or lower right neighbour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    edge: BoolArray = (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:])
    return edge
