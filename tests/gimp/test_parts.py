"""The parts of a selection: their bounds, however they are connected."""

from __future__ import annotations

import numpy as np
import parts
from hypothesis import given
from hypothesis import strategies as st


def flooded(picture: np.ndarray, least: int) -> list[parts.Box]:
    """The same by flooding from pixel to pixel."""
    left = {(int(x), int(y)) for y, x in zip(*np.nonzero(picture >= 128), strict=True)}
    found = []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            x, y = edge.pop()
            part.add((x, y))
            near = {(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)} & left
            left -= near
            edge += near
        columns, rows = [x for x, _ in part], [y for _, y in part]
        box = min(columns), min(rows), max(columns) + 1, max(rows) + 1
        found += [box] if min(box[2] - box[0], box[3] - box[1]) >= least else []
    return sorted(found, key=lambda box: (box[1], box[0]))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.randoms(use_true_random=False))
def test_boxes_are_those_of_the_connected_parts(width: int, height: int, least: int, random: object) -> None:
    picture = np.array([[random.choice((0, 100, 128, 255)) for _ in range(width)]  # type: ignore[attr-defined]
                        for _ in range(height)], np.uint8)
    found = parts.boxes([row.tobytes() for row in picture], least)
    assert sorted(found) == sorted(flooded(picture, least))
    assert [(y, x) for x, y, *_ in found] == sorted((y, x) for x, y, *_ in found)


def test_bounds_hold_all_that_is_not_zero() -> None:
    picture = np.zeros((7, 9), np.uint8)
    assert parts.bounds(row.tobytes() for row in picture) is None
    picture[2, 3] = picture[5, 1] = 1
    assert parts.bounds(row.tobytes() for row in picture) == (1, 2, 4, 6)
