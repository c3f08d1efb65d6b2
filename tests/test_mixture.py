from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_anything_core.pipeline.color_model import fitted, log_likelihood


def test_one_gaussian_has_its_own_density() -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[90.0, 20.0, 0.0], [20.0, 60.0, 10.0], [0.0, 10.0, 40.0]])
    colours = rng.multivariate_normal([120, 90, 60], covariance, 4).astype(np.float32)
    mixture = fitted(colours[:1])
    away = colours - colours[0]
    expected = -0.5 * (away**2).sum(1) / 30 - 1.5 * np.log(30)
    np.testing.assert_allclose(log_likelihood(mixture, colours), expected, rtol=1e-4)


def test_colours_are_told_apart_whatever_their_clusters() -> None:
    rng = np.random.default_rng(1)
    warm = np.concatenate([rng.normal(m, 6, (400, 3)) for m in ([200, 60, 50], [230, 200, 40], [150, 20, 90])])
    cold = np.concatenate([rng.normal(m, 6, (400, 3)) for m in ([40, 70, 160], [20, 160, 150])])
    first, second = fitted(warm), fitted(cold)
    for colours, sign in ((warm, 1), (cold, -1)):
        difference = log_likelihood(first, colours) - log_likelihood(second, colours)
        assert (sign * difference > 0).mean() > 0.99


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_any_colours_have_a_mixture(count: int, seed: int, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    colours = np.full((count, 3), 77.0) if flat else rng.uniform(0, 255, (count, 3))
    mixture = fitted(colours)
    assert 1 <= len(mixture) <= 5
    assert np.isfinite(log_likelihood(mixture, rng.uniform(0, 255, (7, 5, 3)))).all()
