"""Which outputs somebody takes, and mattes as the Impact pack's segments."""

from __future__ import annotations

import numpy as np
import pytest

from comfy_nodes.prompts import read_boxes
from comfy_nodes.segs import segs_of
from comfy_nodes.wiring import source_of, taken
from matting_anything_core import Matte, Prompt, read_image

GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "2": {"class_type": "PointsEditor", "inputs": {"bbox_format": "xywh"}},
    "3": {"class_type": "Matte", "inputs": {"image": ["1", 0], "boxes": ["2", 1], "size": [4, 5, 6]}},
    "7:4": {"class_type": "Save", "inputs": {"images": ["3", 1]}},
}


@pytest.mark.parametrize(("node", "outputs", "expected"), [
    ("3", (1, 2), True), ("3", (2,), False), ("1", (0,), True), ("7:4", (0,), False), ("99", (0,), True),
    (None, (0,), True)])
def test_who_takes_what(node: str | None, outputs: tuple[int, ...], expected: bool) -> None:
    assert taken(GRAPH, node, outputs) is expected
    assert taken(None, node, outputs) is True


def test_where_an_input_comes_from() -> None:
    assert source_of(GRAPH, "3", "boxes")["inputs"]["bbox_format"] == "xywh"
    for node, name in (("3", "mask"), ("3", "size"), ("1", "image"), ("99", "boxes"), (None, "boxes")):
        assert source_of(GRAPH, node, name) == {}


def test_mattes_are_segments_that_come_back() -> None:
    alpha = np.zeros((40, 60), np.float32)
    alpha[10:30, 20:50] = 0.7
    alpha[15:25, 25:45] = 1
    alpha[10:14, 20:30] = 0
    image = read_image(np.zeros((40, 60, 3), np.uint8))
    one, empty = (Matte(alpha=values, mask=values > 0.5, score=0.8, prompt=Prompt(box=(0, 0, 60, 40)), image=image,
                        phrase=phrase, phrase_score=score)
                  for values, phrase, score in ((alpha, "cat", 0.4), (alpha * 0, None, None)))
    (height, width), [segment] = segs_of(image, [one, empty])
    assert (height, width) == (40, 60)
    assert (segment.bbox, segment.crop_region, segment.label) == ([20, 10, 50, 30], [5, 0, 60, 40], "cat")
    assert segment.confidence == pytest.approx(0.4)
    np.testing.assert_array_equal(segment.cropped_mask, alpha[0:40, 5:60])
    assert segment._replace(label="dog").label == "dog"  # what the Impact pack does with its own
    read = read_boxes(((40, 60), [segment]), [(60, 40)])
    assert read is not None
    [[back]] = read.objects
    assert back.box == (20, 10, 50, 30)
    np.testing.assert_array_equal(back.shape.drawn(), alpha > 0.5)
