"""A box says how far its object goes: beyond it and a margin there is nothing, unless the hand says so."""

from __future__ import annotations

import math

import numpy as np
import pytest

from matting_anything_core import MattingAnything, Prompt, Stroke, load_model
from matting_anything_core.pipeline.prompting import ALPHA_MARGIN, beyond


@pytest.fixture(scope="module")
def lite() -> MattingAnything:
    return load_model("lite", device="cpu")


def flag(height: int = 240, width: int = 360) -> np.ndarray:
    """Stripes that go on beyond every box, with noise."""
    colours = np.array([(200, 40, 40), (240, 240, 235), (40, 60, 160)], np.float32)
    image = np.repeat(colours[np.arange(height) // 30 % 3][:, None], width, 1)
    image += np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def blobs() -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Equal discs, and a box around one of them."""
    y, x = np.mgrid[:300, :420]
    image = np.full((300, 420, 3), (70, 110, 80), np.float32)
    for column in (70, 210, 350):
        for row in (80, 220):
            image[(x - column) ** 2 + (y - row) ** 2 < 45**2] = (210, 90, 60)
    image += np.random.default_rng(1).normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), (162, 32, 258, 128)


def outside(box: tuple[float, ...], shape: tuple[int, int]) -> np.ndarray:
    """What lies beyond a box and a margin of a twentieth of its sides, a pixel to spare."""
    x0, y0, x1, y1 = box
    across, down = 0.05 * (x1 - x0) + 1, 0.05 * (y1 - y0) + 1
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows < y0 - down) | (rows >= y1 + down) | (columns < x0 - across) | (columns >= x1 + across)


@pytest.mark.parametrize("box", [(60, 60, 180, 120), (40, 100, 300, 140), (100, 20, 160, 220), (0, 0, 120, 90),
                                 (20, 20, 330, 200)])
def test_stripes_that_go_on_end_at_their_box(lite, box) -> None:
    image = flag()
    [found] = lite.matte(lite.embed(image), box)
    far = outside(box, image.shape[:2])
    assert not found.alpha[far].any()
    assert not found.mask[far].any()
    assert found.alpha.any()


def test_other_blobs_stay_out_unless_they_are_pointed_at(lite) -> None:
    image, box = blobs()
    embedding = lite.embed(image)
    [alone] = lite.matte(embedding, box)
    far = outside(box, image.shape[:2])
    assert alone.alpha[80, 210] > 0.5
    assert not alone.alpha[far].any()
    # The same click at once, later, and as a stroke: what it points at comes along, beyond the box as well.
    [at_once] = lite.matte(embedding, Prompt(box=box, points=[(350, 80)], labels=[1]))
    later = alone.corrected(points=[(350, 80)])
    stroke = alone.corrected(keep=[Stroke([(330, 80), (370, 80)], 8)])
    for found in (at_once, later, stroke):
        assert found.alpha[80, 345:356].min() > 0.5
        assert found.alpha[60:100, 330:370].mean() > 0.9
        assert found.alpha[80, 210] > 0.5
        assert not found.alpha[190:250].any()
    again = later.corrected(points=[(210, 60)])  # … and stays when something else is corrected
    assert again.alpha[60:100, 330:370].mean() > 0.9


def test_several_boxes_together_end_at_each_of_them(lite) -> None:
    image, _ = blobs()
    boxes = [(22, 32, 118, 128), (302, 172, 398, 268)]
    found = lite.matte_together(lite.embed(image), [Prompt(box=box) for box in boxes])
    far = outside(boxes[0], image.shape[:2]) & outside(boxes[1], image.shape[:2])
    assert found.alpha[80, 70] > 0.5
    assert found.alpha[220, 350] > 0.5
    assert not found.alpha[far].any()
    with_a_point = lite.matte_together(lite.embed(image), [Prompt(box=boxes[0]), Prompt(points=[(350, 220)])])
    assert with_a_point.alpha[220, 350] > 0.5  # a point sets no bounds


def test_what_lies_beyond() -> None:
    far = beyond([(10, 20, 30, 40), (50, 0, 60, 10)], 50, 70)
    m = ALPHA_MARGIN
    rows, columns = slice(math.floor(20 - 20 * m), math.ceil(40 + 20 * m)), slice(math.floor(10 - 20 * m), None)
    assert not far[rows, columns][:, :20].any()
    assert not far[:10, 50:60].any()
    assert far[45:].all()
    assert far[:, 65:].all()
    assert beyond([(0, 0, 70, 50)], 50, 70).sum() == 0
