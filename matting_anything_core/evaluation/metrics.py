"""How far a matte is from the truth: SAD, MSE, MAD, Grad and Conn for a matte, IMQ for the instances of many pictures.

Everything here is a pure function of arrays. A matte is H×W: float in 0..1, bool, or uint8 in 0..255.

Sources: Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009 (Grad: first-order
Gaussian derivatives of sigma 1.4, exponent 2; Conn: theta 0.15, exponent 1), in the form that the literature after
"Deep Image Matting" prints (for Conn, the source region of a level is the largest 4-connected component of the joint
mask at that level, ten levels); Sun et al., "Human Instance Matting via Mutual Guidance and Multi-Instance
Refinement", CVPR 2022, section 5 (IMQ).

`reference=True` computes what the program released with "Matting Anything" computes, for its numbers to be comparable:
- Conn: it takes the background for one more component, so where the background is larger than the subject the
  "source region" is the background. Its numbers are wrong by tens of per cent, either way.
- IMQ: one pixel is added to every area and 1e-6 to the denominator of RQ. It also leaves out pictures that have no
  prediction at all, where the definition counts their instances as missed; what is left out is the caller's choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import MissingExtraError
from ..geometry import mask_window
from ..opencv import cv2

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
QualityKind = Literal["mad", "mse", "grad", "conn", "iou"]

QUALITY_KINDS: tuple[QualityKind, ...] = ("mad", "mse", "grad", "conn", "iou")
GRADIENT_SIGMA = 1.4
CONNECTIVITY_STEP = 0.1
CONNECTIVITY_THETA = 0.15
SIMILARITY_WEIGHT = 10.0
"""Sun et al. 2022: similarity = 1 - min(10 · error, 1)."""


@dataclass(frozen=True)
class Errors:
    """Errors over a region, in the units in which papers print them; 0 is perfect.

    sad, grad, conn: sums over the region, in thousands. mse, mad: means over the region, times 1000.
    pixels: how many pixels the region has. Means over an empty region are 0.
    """

    sad: float
    mse: float
    mad: float
    grad: float
    conn: float
    pixels: int

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ErrorMaps:
    """The error of every pixel, H×W float32, from which the errors of any region are sums."""

    absolute: FloatArray
    squared: FloatArray
    gradient: FloatArray
    connectivity: FloatArray

    def over(self, region: BoolArray | None = None) -> Errors:
        """The errors over `region` (H×W bool), or over the whole picture."""
        if region is not None and region.shape != self.absolute.shape:
            raise ValueError(f"the region is {region.shape}, the mattes are {self.absolute.shape}")
        pixels = self.absolute.size if region is None else int(np.count_nonzero(region))
        absolute, squared, gradient, connectivity = (
            float(np.sum(field if region is None else field[region], dtype=np.float64))
            for field in (self.absolute, self.squared, self.gradient, self.connectivity)
        )
        count = max(pixels, 1)
        return Errors(
            sad=absolute / 1000, mse=squared / count * 1000, mad=absolute / count * 1000,
            grad=gradient / 1000, conn=connectivity / 1000, pixels=pixels,
        )


def as_alpha(matte: Array) -> FloatArray:
    """A matte as float32 in 0..1; uint8 is divided by 255. Raises ValueError for other shapes, types and ranges."""
    if matte.ndim != 2:
        raise ValueError(f"a matte has the shape {matte.shape}; expected height x width")
    if matte.dtype == np.uint8:
        return matte.astype(np.float32) / np.float32(255)
    if matte.dtype.kind not in "bf":
        raise ValueError(f"a matte holds {matte.dtype}; expected float in 0..1, bool or uint8")
    alpha: FloatArray = matte.astype(np.float32)
    if alpha.size and not (float(alpha.min()) >= -1e-6 and float(alpha.max()) <= 1 + 1e-6):
        raise ValueError(f"a matte holds values from {alpha.min()} to {alpha.max()}; expected 0..1, without NaN")
    return alpha


def error_maps(prediction: Array, truth: Array, *, reference: bool = False) -> ErrorMaps:
    """The errors of `prediction` against `truth` (mattes of the same size), pixel by pixel."""
    alpha, target = as_alpha(prediction), as_alpha(truth)
    if alpha.shape != target.shape:
        raise ValueError(f"the prediction is {alpha.shape}, the true matte {target.shape}")
    difference = alpha - target
    return ErrorMaps(
        absolute=np.abs(difference),
        squared=difference * difference,
        gradient=(gradient_magnitude(alpha) - gradient_magnitude(target)) ** 2,
        connectivity=connectivity_map(alpha, target, reference=reference),
    )


def measure(prediction: Array, truth: Array, region: BoolArray | None = None, *, reference: bool = False) -> Errors:
    """SAD, MSE, MAD, Grad and Conn of a matte over `region` (H×W bool), or over the whole picture.

    The band of a trimap is `trimap == 128`. See ErrorMaps for several regions at the cost of one.
    """
    return error_maps(prediction, truth, reference=reference).over(region)


def _gaussian_derivative_kernels(sigma: float) -> tuple[FloatArray, FloatArray]:
    """A Gaussian and its derivative, cut where the Gaussian falls below 0.01; their outer product has unit energy."""
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 0.01)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    gaussian = np.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    derivative = -x * gaussian / sigma**2
    derivative /= np.linalg.norm(gaussian) * np.linalg.norm(derivative)
    return gaussian.astype(np.float32), derivative.astype(np.float32)


def gradient_magnitude(alpha: FloatArray, sigma: float = GRADIENT_SIGMA) -> FloatArray:
    """|∇α| by first-order Gaussian derivatives, H×W float32; the border is repeated outwards."""
    smooth, derivative = _gaussian_derivative_kernels(sigma)
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, derivative, smooth, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, smooth, derivative, borderType=cv2.BORDER_REPLICATE)
    magnitude: FloatArray = np.sqrt(across * across + down * down)
    return magnitude


def connectivity_map(alpha: FloatArray, target: FloatArray, *, reference: bool = False) -> FloatArray:
    """|φ(α) - φ(α*)| of every pixel, H×W float32, after Rhemann et al. 2009.

    l is the highest level up to which a pixel belongs without a gap to the source region Ω of both mattes, d = α - l,
    and φ = 1 - d where d >= 0.15, else 1. A fully connected pixel has l = 1.
    """
    reached = _connected_level(np.minimum(alpha, target), reference=reference)
    difference: FloatArray = np.abs(_connectedness(alpha, reached) - _connectedness(target, reached))
    return difference


def _connectedness(alpha: FloatArray, reached: FloatArray) -> FloatArray:
    distance = alpha - reached
    phi: FloatArray = np.float32(1) - distance * (distance >= CONNECTIVITY_THETA)
    return phi


def _connected_level(joint: FloatArray, *, reference: bool) -> FloatArray:
    """l of every pixel: 0, 0.1 … 0.9, or 1 for what belongs to Ω at every level. `joint` is min(α, α*)."""
    # α as float32 against levels as float64: 51/255 in float32 lies a hair above 0.2, so it reaches the level 0.2.
    levels = [step * CONNECTIVITY_STEP for step in range(1, round(1 / CONNECTIVITY_STEP) + 1)]
    # Nothing outside of this box belongs to any joint mask, so all of it has one common value.
    box = mask_window(joint >= levels[0]).slices()
    inner = np.ascontiguousarray(joint[box])
    reached = np.ones(inner.shape, np.float32)
    connected = np.ones(inner.shape, np.bool_)
    outside, outside_connected = 1.0, True
    for below, level in zip([0.0, *levels[:-1]], levels, strict=True):
        mask = inner >= level
        source, is_background = _source_region(mask, joint.size, reference=reference)
        reached[connected & ~source] = below
        connected &= source
        if outside_connected and not is_background:
            outside, outside_connected = below, False
    result = np.full(joint.shape, outside, np.float32)
    result[box] = reached
    return result


def _source_region(mask: BoolArray, total: int, *, reference: bool) -> tuple[BoolArray, bool]:
    """Ω of one level: the largest 4-connected component of the joint mask, and whether that is the background (which
    only the released program takes for a component). `total`: pixels of the whole picture, of which mask is a part."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    largest = int(areas.max(initial=0))
    if reference and total - int(areas.sum()) >= largest:
        return ~mask, True
    if largest == 0:
        return np.zeros_like(mask), False
    return np.asarray(labels == 1 + int(areas.argmax())), False


# Instances: IMQ, Sun et al. 2022


@dataclass(frozen=True)
class InstanceMatches:
    """What IMQ needs to know of one picture: how many instances it has and were predicted, and the pairs found.

    pairs: for each (prediction, truth) pair of the best assignment, its IoU and its similarities by kind, 0..1.
    """

    truths: int
    predictions: int
    pairs: tuple[tuple[float, dict[QualityKind, float]], ...]


@dataclass(frozen=True)
class InstanceQuality:
    """IMQ = MQ · RQ; each in 0..1 (papers print them times 100). mq: mean similarity of the matched pairs;
    rq: matched / (matched + false positives / 2 + misses / 2)."""

    imq: float
    mq: float
    rq: float


def instance_iou(predictions: Sequence[Array], truths: Sequence[Array]) -> npt.NDArray[np.float64]:
    """IoU of the supports (alpha > 0) of every prediction with every truth: P×T float64."""
    result = np.zeros((len(predictions), len(truths)))
    for row, prediction in enumerate(predictions):
        for column, truth in enumerate(truths):
            covered, wanted = prediction > 0, truth > 0
            union = np.count_nonzero(covered | wanted)
            result[row, column] = np.count_nonzero(covered & wanted) / union if union else 0.0
    return result


def best_assignment(gain: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column), each row and column at most once, as many as fit, with the greatest sum of `gain`.

    SciPy's linear_sum_assignment. Raises MissingExtraError without the extra `evaluate`.
    """
    require_assignment()
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]


def require_assignment() -> None:
    """Raise MissingExtraError where SciPy is not installed, for runs that will need it."""
    try:
        import scipy.optimize  # noqa: F401
    except ImportError:
        raise MissingExtraError("matching instances (IMQ) needs SciPy; install it with "
                                "pip install 'matting-anything-core[evaluate]', or measure without it: "
                                "--no-instances") from None


def match_instances(
    predictions: Sequence[Array], truths: Sequence[Array], *, reference: bool = False
) -> InstanceMatches:
    """Match predicted instances to true ones (lists of mattes of one picture) so that the sum of IoU is greatest, and
    measure each pair over the union of its supports. Raises ValueError for mattes of different sizes."""
    mattes, targets = [as_alpha(matte) for matte in predictions], [as_alpha(matte) for matte in truths]
    if len({matte.shape for matte in [*mattes, *targets]}) > 1:
        raise ValueError("the mattes of one picture have different sizes")
    iou = instance_iou(mattes, targets)
    pairs = []
    for row, column in best_assignment(iou):
        if iou[row, column] > 0:
            similarity = instance_similarity(mattes[row], targets[column], reference=reference)
            similarity["iou"] = float(iou[row, column])
            pairs.append((float(iou[row, column]), similarity))
    return InstanceMatches(truths=len(targets), predictions=len(mattes), pairs=tuple(pairs))


def instance_similarity(
    prediction: FloatArray, truth: FloatArray, *, reference: bool = False
) -> dict[QualityKind, float]:
    """1 - min(10 · error, 1) for the errors mad, mse, grad and conn, averaged over the union of both supports."""
    region = (prediction > 0) | (truth > 0)
    # The program that IMQ comes with has Conn right, so there is no `reference` to it here.
    maps = error_maps(prediction, truth)
    area = int(np.count_nonzero(region)) + (1 if reference else 0)
    fields: dict[QualityKind, FloatArray] = {
        "mad": maps.absolute, "mse": maps.squared, "grad": maps.gradient, "conn": maps.connectivity,
    }
    result: dict[QualityKind, float] = {}
    for kind, field in fields.items():
        error = float(np.sum(field[region], dtype=np.float64)) / max(area, 1)
        result[kind] = 1 - min(SIMILARITY_WEIGHT * error, 1.0)
    return result


def instance_quality(
    pictures: Sequence[InstanceMatches], *, threshold: float = 0.5, reference: bool = False
) -> dict[QualityKind, InstanceQuality]:
    """IMQ over a set of pictures. A pair counts as matched when its IoU is at least `threshold`."""
    epsilon = 1e-6 if reference else 0.0
    matched = [similarity for picture in pictures for iou, similarity in picture.pairs if iou >= threshold]
    hits = len(matched)
    extra = sum(picture.predictions for picture in pictures) - hits
    missed = sum(picture.truths for picture in pictures) - hits
    denominator = hits + extra / 2 + missed / 2 + epsilon
    rq = hits / denominator if denominator else 0.0
    result: dict[QualityKind, InstanceQuality] = {}
    for kind in QUALITY_KINDS:
        mq = sum(similarity[kind] for similarity in matched) / hits if hits else 0.0
        result[kind] = InstanceQuality(imq=mq * rq, mq=mq, rq=rq)
    return result


# The band around the boundary


def trimap_of(truth: Array, kernel: int = 25) -> npt.NDArray[np.uint8]:
    """A trimap made from a true matte, H×W uint8: 128 where alpha is neither 0 nor 1 and within `kernel` // 2 pixels
    of such (or of the boundary of a hard matte), else 0 and 255. For data that comes without trimaps."""
    alpha = as_alpha(truth)
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel, kernel))
    # Not zero, dilated, without what is surely one: unknown reaches to both sides of every boundary.
    possible = cv2.dilate((alpha >= 1 / 255).view(np.uint8), element)
    certain = cv2.erode((alpha > 254 / 255).view(np.uint8), element)
    result = np.full(alpha.shape, 128, np.uint8)
    result[possible == 0] = 0
    result[certain == 1] = 255
    return result
