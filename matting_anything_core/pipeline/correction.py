"""Corrections: a mask that obeys the user's seeds, each with the region it points at.

A seed on the wrong side of the mask points at a region that is wrong: a leg that is missing, a gap between two arms
that was filled. How far that region goes is read from what is around the seed: how near the mask's own edge is (of a
click in the middle of what is wrong, about as far as the true one), what the decoder says with the seed, how alike the
colours are, and how far they carry along the image's edges. A small network decides it pixel by pixel
(`assets/correction.npz`, trained by the project on clicks into masks that were wrong; see docs/lite); the connected
part around the seed changes sides, all else stays as it was.

The use of the former mask and of a local view is that of RITM (Sofiiuk et al., 2021) and FocalClick (Chen et al., CVPR
2022).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..geometry import mask_window
from .color_model import Colors
from .guided_filter import Guide
from .seeds import KEEP, groups

if TYPE_CHECKING:
    import numpy as np

    from .seeds import Marks

    Array = np.ndarray[Any, Any]
    Bools = np.ndarray[Any, np.dtype[np.bool_]]
    Rgb = np.ndarray[Any, np.dtype[np.uint8]]

REACH = 5.0
"""A region goes at most this many times as far as the seed is deep in the wrong side of the mask, and …"""
MARGIN = 8
"""… so many pixels more."""
SHALLOWEST = 3.0
"""Depths count as at least this, in pixels of the network's input, and …"""
DEEPEST = 0.2
"""… as at most this share of its longer side."""
SURE = 6.0
"""The logit, at least, of what a seed changed."""
CORE = 2.0
"""Around a seed so many pixels change with it whatever the network says."""
THRESHOLD = 0.65
"""How probable it must be that a pixel belongs to the seed's region."""
FEATURES = 20


def corrected(values: Array, marks: Marks, rgb: Rgb, evidence: Array | None = None) -> Array:
    """A mask that obeys the seeds.

    Parameters
    ----------
    values : ndarray
        h×w float32, the mask's logits.
    marks : ndarray
        h×w int8, see `Seeds`.
    rgb : ndarray
        h×w×3 uint8, the image.
    evidence : ndarray, optional
        h×w float32, what the decoder says, knowing the seeds.

    Returns
    -------
    h×w float32, logits that have the sign of every mark; as they were where no seed points.
    """
    import numpy as np

    result = values.copy()
    colors: Colors | None = None
    for mark, pixels in groups(marks):
        wrong = pixels & ((result > 0) != (mark == KEEP))
        if wrong.sum() * 2 > pixels.sum():  # else the mask obeys but for its edge
            colors = Colors(rgb) if colors is None else colors
            region, part = region_of(Scene(result, rgb, colors, evidence), pixels, mark)
            held = marks[part] * mark >= 0  # what other seeds say stays
            inside = region & held
            result[part][inside] = mark * np.maximum(np.abs(result[part][inside]), SURE)
        result[pixels] = mark * np.maximum(np.abs(result[pixels]), SURE)
    return result


class Scene(NamedTuple):
    """What is known where a seed lies: the mask's logits, the image, its colours, and the decoder's evidence."""

    values: Array
    rgb: Rgb
    colors: Colors
    evidence: Array | None


class Around(NamedTuple):
    """What is seen around a seed.

    part: the rows and columns. features: h×w×FEATURES float32. open: h×w bool, what is on the wrong side. core: h×w
    bool, what changes with the seed whatever is decided.
    """

    part: tuple[slice, slice]
    features: Array
    open: Bools
    core: Bools


def region_of(scene: Scene, seed: Bools, mark: int) -> tuple[Bools, tuple[slice, slice]]:
    """The pixels that change sides with a seed, and the part of the image in which they are."""
    import numpy as np

    from ..opencv import cv2

    seen = look_around(scene, seed, mark)
    logits = decide(seen.features) - np.float32(np.log(THRESHOLD / (1 - THRESHOLD)))
    logits = _smooth(logits, scene.rgb[seen.part])
    region = ((logits > 0) | seen.core) & seen.open
    _, labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    own = np.unique(labels[seen.core & seen.open])
    return np.isin(labels, own[own > 0]), seen.part


def look_around(scene: Scene, seed: Bools, mark: int) -> Around:
    """The features of the pixels around a seed that is on the wrong side of the mask."""
    import numpy as np

    from ..opencv import cv2

    height, width = scene.values.shape
    open_ = (scene.values > 0) != (mark == KEEP)
    depths = cv2.distanceTransform(open_.astype(np.uint8), cv2.DIST_L2, 5)
    longest = max(height, width)
    depth = float(depths[seed].max()) if not open_.all() else longest
    depth = min(max(depth, SHALLOWEST), DEEPEST * longest)
    part = mask_window(seed, int(REACH * depth) + MARGIN).slices()
    away = cv2.distanceTransform((~seed[part]).astype(np.uint8), cv2.DIST_L2, 5)
    far = away / np.float32(depth)
    wrong, rgb = open_[part], scene.rgb[part]
    near = np.exp(-((far / 0.6) ** 2)) * wrong
    close = np.exp(-((away / 2.5) ** 2)) * wrong
    beyond = wrong * (far > 2) if np.count_nonzero(wrong & (far > 2)) > 50 else wrong * (far > 1.2)
    local = scene.colors.within(part)
    near_colour = np.clip(local.log_ratio(near, beyond + 1e-6), -6, 6) / 4
    close_colour = np.clip(local.log_ratio(close, beyond + 1e-6), -6, 6) / 4
    object_colour = np.clip(scene.colors.log_ratio(~open_, open_), -4, 4)[part] / 4
    lab = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB).astype(np.float32)
    half = max(rgb.shape[1] // 2, 1), max(rgb.shape[0] // 2, 1)
    small = cv2.resize(rgb, half, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    guide = Guide(small, max(2, int(depth / 4)))
    signed = [np.clip(x[part] * mark, -8, 8) / 8 if x is not None else np.zeros_like(far)
              for x in (scene.evidence, scene.values)]
    here = close / max(float(close.sum()), 1e-6)
    at_seed = [float((x * here).sum()) for x in (*signed, object_colour)]
    columns = [
        signed[0], signed[0] - at_seed[0], signed[1], signed[1] - at_seed[1],
        near_colour, _at_half(guide, near_colour), close_colour, object_colour,
        np.minimum(far, REACH) / 2, np.log1p(away) / 4, np.full_like(far, np.log(depth) / 4),
        _distance(lab, near), _distance(lab, close), _carried(guide, near), _carried(guide, close),
        np.minimum(depths[part] / np.float32(depth), 2), *(np.full_like(far, x) for x in at_seed),
        np.full_like(far, depth / longest * 5),
    ]
    features = np.stack(columns, -1).astype(np.float32)
    return Around(part, features, wrong, (away <= CORE) & wrong)


def _distance(lab: Array, weight: Array) -> Array:
    """How far each colour is from the mean one, in CIE L*a*b* (20 units count as 1, up to 4)."""
    import numpy as np

    mean = (lab * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)
    return np.asarray(np.minimum(np.sqrt(((lab - mean) ** 2).sum(-1)) / 20, 4), np.float32)


def _at_half(guide: Guide, values: Array) -> Array:
    """A map filtered at half of its size."""
    import numpy as np

    from ..opencv import cv2

    height, width = guide.rgb.shape[:2]
    small = cv2.resize(values.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(guide(small), (values.shape[1], values.shape[0]), interpolation=cv2.INTER_LINEAR)


def _carried(guide: Guide, seed: Array, times: int = 3) -> Array:
    """How far a seed's weight is carried along like colours."""
    import numpy as np

    from ..opencv import cv2

    height, width = guide.rgb.shape[:2]
    small = cv2.resize(seed.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    carried = small
    for _ in range(times):
        carried = np.maximum(guide(carried), small)
    large = cv2.resize(carried, (seed.shape[1], seed.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.clip(large, 0, 1)


def _smooth(logits: Array, rgb: Rgb) -> Array:
    """Logits in agreement with their neighbours of like colour: a mean field, at half of the size."""
    import numpy as np

    from ..opencv import cv2

    half = max(rgb.shape[1] // 2, 1), max(rgb.shape[0] // 2, 1)
    guide = Guide(cv2.resize(rgb, half, interpolation=cv2.INTER_AREA).astype(np.float32) / 255, 3)
    own = cv2.resize(np.clip(logits, -6, 6), half, interpolation=cv2.INTER_AREA)
    values = own
    for _ in range(3):
        values = 0.5 * own + 2 * guide(np.tanh(values / 2))
    return cv2.resize(values, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=1)
def _weights() -> tuple[tuple[Array, Array], ...]:
    """The network's layers, (outputs × inputs, outputs) each."""
    import importlib.resources

    import numpy as np

    path = importlib.resources.files("matting_anything_core.assets") / "correction.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as layers:
        return tuple((layers[f"weight{i}"].astype(np.float32), layers[f"bias{i}"].astype(np.float32))
                     for i in range(len(layers.files) // 2))


def decide(features: Array) -> Array:
    """The logit, for each pixel, that it belongs to the seed's region: …×FEATURES -> …"""
    import numpy as np

    x = features
    *hidden, (weight, bias) = _weights()
    for inner, shift in hidden:
        x = np.maximum(x @ inner.T + shift, 0)
    result: Array = (x @ weight.T + bias)[..., 0]
    return result
