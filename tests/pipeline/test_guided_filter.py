"""The guided filter against its definition, window by window."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from matting_anything_core.pipeline.guided_filter import EPSILON, Guide, functions_on_device


def by_definition(rgb: np.ndarray, values: np.ndarray, radius: int) -> np.ndarray:
    """He, Sun, Tang 2010, equations 14 to 16, every window solved on its own."""
    height, width = values.shape
    rgb, values = rgb.astype(np.float64), values.astype(np.float64)

    def window(y: int, x: int) -> tuple[slice, slice]:
        return slice(max(y - radius, 0), y + radius + 1), slice(max(x - radius, 0), x + radius + 1)

    functions = np.zeros((height, width, 4))
    for y in range(height):
        for x in range(width):
            colours, p = rgb[window(y, x)].reshape(-1, 3), values[window(y, x)].ravel()
            centred = colours - colours.mean(0)
            a = np.linalg.solve(centred.T @ centred / len(p) + EPSILON * np.eye(3), centred.T @ (p - p.mean()) / len(p))
            functions[y, x] = *a, p.mean() - a @ colours.mean(0)
    means = np.array([[functions[window(y, x)].mean((0, 1)) for x in range(width)] for y in range(height)])
    return (means[..., :3] * rgb).sum(2) + means[..., 3]


@pytest.mark.parametrize("radius", [1, 2, 6])
def test_it_is_what_the_paper_says_up_to_the_border(radius: int) -> None:
    rng = np.random.default_rng(radius)
    rgb, values = rng.random((11, 14, 3), np.float32), rng.random((11, 14), np.float32)
    np.testing.assert_allclose(Guide(rgb, radius)(values), by_definition(rgb, values, radius), atol=2e-3)


def test_edges_of_the_picture_stay_and_noise_beside_them_goes() -> None:
    rng = np.random.default_rng(0)
    step = (np.arange(40) >= 20).astype(np.float32)
    rgb = np.ascontiguousarray(np.broadcast_to(0.5 * step[:, None], (40, 40, 3)), dtype=np.float32)
    noisy = (step + rng.normal(0, 0.2, (40, 40))).astype(np.float32)
    filtered = Guide(rgb, 4)(noisy)
    assert np.abs(filtered - step).max() < 0.15
    assert np.abs(filtered - step).mean() < 0.2 * np.abs(noisy - step).mean()


def test_functions_of_a_smaller_image_serve_the_larger_one() -> None:
    y, x = np.mgrid[:64, :96].astype(np.float32)
    disc = (np.hypot(x - 48, y - 32) < 20).astype(np.float32)
    rgb = np.stack([0.2 + 0.6 * disc, 0.5 - 0.3 * disc, 0.4 + 0 * disc], -1).astype(np.float32)
    small = np.ascontiguousarray(rgb[::2, ::2])
    large = Guide(small, 2).functions(np.ascontiguousarray(disc[::2, ::2])).resized(96, 64)(rgb)
    assert large.shape == (64, 96)
    assert np.abs(large - disc).mean() < 0.02


@pytest.mark.parametrize("radius", [1, 2])
def test_on_a_device_it_is_the_same_filter(radius):
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.random((9, 12, 3)).astype(np.float32), (60, 45), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    values = np.zeros((45, 60), np.float32)
    values[10:30, 15:45] = 1
    expected = Guide(image.astype(np.float64), radius).functions(values.astype(np.float64))
    planes = torch.from_numpy(image).permute(2, 0, 1).double()
    made = functions_on_device(planes, torch.from_numpy(values).double(), radius)
    np.testing.assert_allclose(made.numpy(), np.stack(expected), atol=1e-9)
