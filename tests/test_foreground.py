from __future__ import annotations

import numpy as np
import pytest
import torch

from matting_anything_core.errors import ImageError
from matting_anything_core.foreground import composite, estimate_foreground, estimate_foreground_tensor

data = pytest.importorskip("skimage.data")
cv2 = pytest.importorskip("cv2")


@pytest.fixture(autouse=True)
def _one_thread():
    """The pictures are small, and on a busy machine threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(name, side):
    pixels = getattr(data, name)()[..., :3].astype(np.float32) / 255
    short = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - short) // 2, (pixels.shape[1] - short) // 2
    square = pixels[top:top + short, left:left + short]
    return np.clip(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), 0, 1)


def hair(side, seed):
    """A disc with fine curved strands, drawn at four times the size."""
    rng, s = np.random.default_rng(seed), 4
    mask = np.zeros((side * s, side * s), np.uint8)
    centre, radius = side * s / 2, side * s * 0.28
    cv2.circle(mask, (int(centre), int(centre)), int(radius), 255, -1)
    along = np.linspace(0, 1, 20)
    for _ in range(200):
        angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.6, 0.6) * along
        reach = radius * (0.95 + rng.uniform(0.2, 0.7) * along)
        line = np.stack([centre + reach * np.cos(angle), centre + reach * np.sin(angle)], 1)
        cv2.polylines(mask, [line.astype(np.int32)], False, 255, int(rng.integers(2, 7)), cv2.LINE_AA)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def blurred(side, seed):
    rng, mask = np.random.default_rng(seed), np.zeros((side, side), np.float32)
    for _ in range(5):
        middle, axes = rng.uniform(0.25, 0.75, 2) * side, rng.uniform(0.08, 0.25, 2) * side
        cv2.ellipse(mask, tuple(map(int, middle)), tuple(map(int, axes)), rng.uniform(0, 180), 0, 360, 1, -1)
    return np.clip(cv2.GaussianBlur(mask, (0, 0), 2.5), 0, 1)


def composites(side=320):
    pairs = (("coffee", "chelsea"), ("chelsea", "rocket"), ("rocket", "astronaut"), ("retina", "coffee"))
    for seed, (front, back) in enumerate(pairs):
        for kind in (hair, blurred):
            alpha, front_colours = kind(side, seed), picture(front, side)
            pixels = alpha[..., None] * front_colours + (1 - alpha[..., None]) * picture(back, side)
            yield (np.round(pixels * 255) / 255).astype(np.float32), alpha, front_colours


def transition_error(estimate, truth, alpha):
    return np.abs(estimate - truth)[(alpha > 0.02) & (alpha < 0.98)].mean()


def test_known_foregrounds_are_found():
    pymatting = pytest.importorskip("pymatting")
    own, ours, theirs = [], [], []
    for image, alpha, truth in composites():
        own.append(transition_error(image, truth, alpha))
        ours.append(transition_error(estimate_foreground(image, alpha), truth, alpha))
        theirs.append(transition_error(pymatting.estimate_foreground_ml(image, alpha), truth, alpha))
    assert np.mean(ours) <= np.mean(own) / 3
    assert np.mean(ours) <= np.mean(theirs)
    assert (np.array(ours) <= 1.2 * np.array(theirs)).all()


def test_sure_pixels_and_range():
    image, alpha, _ = next(composites())
    before = image.copy(), alpha.copy()
    result = estimate_foreground(image, alpha)
    assert result.dtype == np.float32
    assert result.shape == image.shape
    assert (result[alpha == 1] == image[alpha == 1]).all()
    assert 0 <= result.min() <= result.max() <= 1
    assert (image == before[0]).all()
    assert (alpha == before[1]).all()
    assert (result == estimate_foreground(image, alpha)).all()


def test_outside_continues_without_a_fringe():
    """Around a red disc on blue ground nothing blue is left, neither in the soft edge nor beyond it."""
    y, x = np.mgrid[:200, :300].astype(np.float32)
    alpha = np.clip((60 - np.hypot(x - 150, y - 100)) / 6 + 0.5, 0, 1).astype(np.float32)
    image = alpha[..., None] * np.float32([0.9, 0.1, 0.1]) + (1 - alpha[..., None]) * np.float32([0.1, 0.2, 0.9])
    result = estimate_foreground(image, alpha)
    assert np.abs(result - np.float32([0.9, 0.1, 0.1])).max() < 0.02


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 700), (700, 1), (3, 5), (33, 65), (127, 1000)])
def test_sizes(shape):
    rng = np.random.default_rng(0)
    image, alpha = rng.random((*shape, 3), np.float32), rng.random(shape, np.float32)
    result = estimate_foreground(image, alpha)
    assert result.shape == (*shape, 3)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_alpha(value):
    image = np.random.default_rng(0).random((40, 50, 3), np.float32)
    result = estimate_foreground(image, np.full((40, 50), value, np.float32))
    assert np.isfinite(result).all()
    if value == 1:
        assert (result == image).all()


@pytest.mark.parametrize("side", [7, 40])
def test_tiles_do_not_show(monkeypatch, side):
    from matting_anything_core import foreground

    image, alpha, _ = next(composites(130))
    whole = estimate_foreground(image, alpha)
    monkeypatch.setattr(foreground, "TILE", side)
    assert np.abs(estimate_foreground(image, alpha) - whole).max() < 1e-5


def test_tensors_and_read_only_arrays(recwarn):
    image, alpha, _ = next(composites(64))
    wanted = estimate_foreground(image, alpha)
    assert (estimate_foreground_tensor(torch.from_numpy(image), torch.from_numpy(alpha)).numpy() == wanted).all()
    image.setflags(write=False)
    assert (estimate_foreground(image, alpha) == wanted).all()
    assert (estimate_foreground(image.astype(np.float64), alpha.astype(np.float64)) == wanted).all()
    assert not recwarn.list


@pytest.mark.parametrize(("image", "alpha"), [
    (np.zeros((4, 4, 3), np.float32), np.zeros((4, 5), np.float32)),
    (np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)),
    (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)),
    (np.full((4, 4, 3), 200.0, np.float32), np.zeros((4, 4), np.float32)),
    (np.zeros((4, 4, 3), np.float32), np.full((4, 4), np.nan, np.float32)),
    (np.zeros((0, 4, 3), np.float32), np.zeros((0, 4), np.float32)),
    (None, np.zeros((4, 4), np.float32)),
])
def test_what_cannot_be_is_refused(image, alpha):
    with pytest.raises(ImageError):
        estimate_foreground(image, alpha)


def test_composite():
    rng = np.random.default_rng(0)
    front, alpha = rng.random((20, 30, 3), np.float32), rng.random((20, 30), np.float32)
    back = rng.random((20, 30, 3), np.float32)
    wanted = alpha[..., None] * front + (1 - alpha[..., None]) * back
    assert np.allclose(composite(front, alpha, back), wanted, atol=1e-6)
    colour = np.float32([0.2, 0.4, 0.6])
    wanted = alpha[..., None] * front + (1 - alpha[..., None]) * colour
    assert np.allclose(composite(front, alpha, colour), wanted, atol=1e-6)


@pytest.mark.parametrize("size", [(40, 40), (10, 15), (7, 90), (300, 11), (1, 1)])
def test_background_of_another_size_covers(size):
    """A ramp from left to right is scaled alike in both directions and cropped in the middle."""
    ramp = np.repeat(np.repeat(np.linspace(0, 1, size[1], dtype=np.float32)[None, :, None], size[0], 0), 3, 2)
    result = composite(np.zeros((20, 30, 3), np.float32), np.zeros((20, 30), np.float32), ramp)
    assert result.shape == (20, 30, 3)
    assert np.abs(result[:, :, 0].mean() - ramp.mean()) < 0.05
    assert (np.diff(result[:, :, 0], axis=1) >= -1e-5).all()


def test_composite_refuses():
    front, alpha = np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.float32)
    for background in (np.zeros((4, 4), np.float32), np.float32([0, 0, 255]), np.zeros((4, 4, 4), np.float32)):
        with pytest.raises(ImageError):
            composite(front, alpha, background)
