"""What colours a part of a picture has: a mixture of Gaussians, as GrabCut has it (Rother et al., SIGGRAPH 2004)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

PARTS = 5
"""Gaussians in a mixture."""
SAMPLES = 3000
"""So many pixels, drawn at random, stand for all."""
SPREAD = 30.0
"""Added to every variance (of colours in 0..255): noise, and what was not seen."""


class Gaussian(NamedTuple):
    """weight: the logarithm of its share and of its normalisation; mean: 3; whiten: 3×3, to unit variance."""

    weight: float
    mean: np.ndarray[Any, Any]
    whiten: np.ndarray[Any, Any]


def fitted(colours: np.ndarray[Any, Any]) -> list[Gaussian]:
    """The mixture of colours N×3 in 0..255; N of at least one. The same colours give the same mixture."""
    import numpy as np

    from .opencv import cv2, seeded

    if len(colours) > SAMPLES:
        colours = colours[np.random.default_rng(0).integers(len(colours), size=SAMPLES)]
    colours = np.ascontiguousarray(colours, dtype=np.float32)
    count = min(PARTS, len(colours))
    if len(colours) == 1:  # which OpenCV would take for three values, not for a colour
        colours = np.repeat(colours, 2, axis=0)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    # k-means starts from a random guess.
    _, labels, _ = seeded(lambda: cv2.kmeans(colours, count, np.empty(0, np.int32), stop, 1, cv2.KMEANS_PP_CENTERS))
    result = []
    for index in range(count):
        part = colours[labels.ravel() == index]
        if len(part):
            mean = part.mean(0)
            covariance = (part - mean).T @ (part - mean) / len(part) + SPREAD * np.eye(3)
            whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T
            weight = float(np.log(len(part) / len(colours)) + np.linalg.slogdet(whiten)[1])
            result.append(Gaussian(weight, mean, whiten.astype(np.float32)))
    return result


def log_likelihood(mixture: list[Gaussian], colours: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of each of the colours …×3, float32, the logarithm of the likeliest Gaussian's density, but for a constant."""
    import numpy as np

    best: np.ndarray[Any, Any] | None = None
    for weight, mean, whiten in mixture:
        away = (colours - mean) @ whiten
        value = weight - 0.5 * np.einsum("...c,...c->...", away, away)
        best = value if best is None else np.maximum(best, value)
    assert best is not None
    return best
