"""Blending along the flow: still edges become steady, moving ones leave nothing behind, and directions give way."""

from __future__ import annotations

import numpy as np
from clips import disc, frame

from matting_anything_core.video.flow import flow_between, small, warp
from matting_anything_core.video.passes import blended
from matting_anything_core.video.smoothing import steadied


def test_shimmer_of_a_still_edge_is_less_than_half():
    image, alpha = frame((60, 48))
    generator = np.random.default_rng(0)
    edge = (alpha > 0) & (alpha < 1)
    flow = flow_between(small(image), small(image))
    before, plain, steady = alpha, [], []
    for _ in range(8):
        shaken = alpha.copy()
        shaken[edge] = np.clip(alpha[edge] + generator.normal(0, 0.1, edge.sum()), 0, 1)
        before = steadied(before, shaken, flow)
        plain.append(shaken)
        steady.append(before)
    assert np.diff(steady, axis=0).std() < 0.5 * np.diff(plain, axis=0).std()
    assert (before[alpha == 1] == 1).all()
    assert (before[disc((60, 48), 21, 96, 128) == 0] == 0).all()


def test_nothing_trails_behind_a_moving_edge():
    (one, before), (other, alpha) = frame((50, 48)), frame((56, 48))
    result = steadied(before, alpha, flow_between(small(one), small(other)))
    assert np.abs(result - alpha).max() < 0.3
    assert np.abs(result - alpha).mean() < 0.002


def test_strength_zero_and_another_size_change_nothing():
    image, alpha = frame((50, 48))
    flow = flow_between(small(image), small(image))
    assert steadied(alpha * 0, alpha, flow, 0) is alpha
    assert steadied(np.zeros((4, 4), np.float32), alpha, flow) is alpha


def test_flow_follows_a_disc_and_doubts_what_is_uncovered():
    (one, before), (other, alpha) = frame((50, 48)), frame((55, 48))
    flow = flow_between(one, other)
    inside = disc((55, 48), 14, 96, 128) > 0.5
    assert abs(flow.back[inside].sum(-1).mean() + 5) < 0.5  # across its diagonal stripes; along them nothing tells
    assert np.abs(warp(before, flow.back) - alpha).mean() < 0.02
    uncovered = (before > 0.9) & (alpha < 0.1)
    assert flow.sure[uncovered].mean() < 0.5 * flow.sure[inside].mean()


def test_directions_give_way_evenly_where_they_agree_and_at_once_where_not():
    forth, back = np.array([[0.5, 1.0]], np.float32), np.array([[0.6, 0.0]], np.float32)
    assert np.allclose(blended(forth, back, 0.0), forth)
    assert np.allclose(blended(forth, back, 1.0), back)
    quarter = blended(forth, back, 0.25)
    assert 0.5 < quarter[0, 0] < 0.55
    assert quarter[0, 1] == 1.0
    assert blended(forth, back, 0.75)[0, 1] == 0.0
