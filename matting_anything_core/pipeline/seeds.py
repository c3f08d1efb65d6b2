"""The user's hand: pixels that surely belong to the object, and pixels that surely do not.

Points and strokes are seeds. Whatever a model makes of them, they hold in the final alpha: above one half on what is
kept, below it on what is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import PromptError
from ..geometry import Window
from ..strokes import draw
from ..types import Prompt

if TYPE_CHECKING:
    import numpy as np

    from ..types import Strokes

    Marks = np.ndarray[Any, np.dtype[np.int8]]

KEEP, DROP = 1, -1
SMALLEST = 2.0
"""Radius in pixels of the disc that a point marks, and …"""
SHARE = 0.003
"""… as a share of the image's longer side; the larger one counts."""
MOST_STROKES = 16
"""A network is told of so many strokes of a kind; all of them hold."""


@dataclass(frozen=True, eq=False)
class Seeds:
    """What a prompt's points and strokes mark in an image.

    marks : H×W int8, KEEP, DROP, or 0 where nothing is said; None for no seeds at all.
    warnings : what a later mark overruled.
    """

    marks: Marks | None
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.marks is not None


def seeds_of(prompt: Prompt, height: int, width: int) -> Seeds:
    """The seeds of a prompt that was checked for an image of height × width.

    Strokes come first, kept ones before dropped ones, then points in their order: where two say the opposite, the
    later one counts, and a warning says so; only the very pixel of an earlier point stays its own.
    """
    import numpy as np

    if prompt.points is None and prompt.keep is None and prompt.drop is None:
        return Seeds(None)
    marks = np.zeros((height, width), np.int8)
    for strokes, mark in ((prompt.kept, KEEP), (prompt.dropped, DROP)):
        if strokes is not None:
            marks[stroke_mask(strokes, height, width)] = mark
    warnings = []
    radius = point_radius(height, width)
    points = list(zip(prompt.points or (), prompt.labels or (), strict=True))
    centres: dict[tuple[int, int], int] = {}
    for (x, y), label in points:
        column, row = min(int(x), width - 1), min(int(y), height - 1)
        mark = KEEP if label else DROP
        if marks[row, column] == -mark:
            warnings.append(f"the point ({x:g}, {y:g}) says the opposite of an earlier mark in the same place; "
                            "the later one counts")
        window, inside = _disc(column, row, radius, height, width)
        marks[window.slices()][inside] = mark
        centres[row, column] = mark
        for (old_row, old_column), old in centres.items():  # the pixel itself that an earlier point marks stays
            marks[old_row, old_column] = old
    return Seeds(marks, tuple(warnings))


def stroke_mask(strokes: Strokes, height: int, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The pixels of strokes, or of a mask that stands for them.

    Raises
    ------
    PromptError
        For a mask of another size.
    """
    if isinstance(strokes, tuple):
        return draw(strokes, height, width)
    if strokes.shape != (height, width):
        raise PromptError(f"the strokes' mask is {strokes.shape[1]} x {strokes.shape[0]} pixels, the image "
                          f"{width} x {height}; expected a mask of the image's size")
    return strokes


def point_radius(height: int, width: int) -> float:
    """Radius in pixels of the disc that a point marks."""
    return max(SMALLEST, SHARE * max(height, width))


def _disc(column: int, row: int, radius: float, height: int, width: int) -> tuple[Window, Any]:
    """The window of a disc, and its pixels within."""
    import numpy as np

    reach = int(radius)
    window = Window(max(row - reach, 0), max(column - reach, 0), min(row + reach + 1, height),
                    min(column + reach + 1, width))
    y, x = np.ogrid[window.top:window.bottom, window.left:window.right]
    return window, (y - row) ** 2 + (x - column) ** 2 <= radius * radius


def groups(marks: Marks) -> Iterator[tuple[int, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """The connected groups of seeds, kept ones first: (KEEP or DROP, H×W bool)."""
    import numpy as np

    from ..opencv import cv2

    for mark in (KEEP, DROP):
        count, pieces = cv2.connectedComponents((marks == mark).astype(np.uint8), connectivity=8)
        for index in range(1, count):
            yield mark, pieces == index


def points_on(prompt: Prompt, window: Window, most: int = 3) -> list[tuple[tuple[float, float], int]]:
    """A few points that stand for a prompt's strokes in a part of the image, for a network that takes points only:
    ((x, y), label) in the part's pixels, on each connected stroke the deepest ones."""
    import numpy as np

    from ..opencv import cv2

    found = []
    for strokes, label in ((prompt.kept, 1), (prompt.dropped, 0)):
        if strokes is None:
            continue
        shape = (window.bottom, window.right)
        covered = draw(strokes, *shape) if isinstance(strokes, tuple) else strokes
        count, pieces = cv2.connectedComponents(covered[window.slices()].astype(np.uint8), connectivity=8)
        for index in range(1, min(count, MOST_STROKES + 1)):
            rest = np.pad((pieces == index).astype(np.uint8), 1)
            apart = max(8.0, float(np.sqrt(np.count_nonzero(rest))))
            for _ in range(most):
                depth = cv2.distanceTransform(rest, cv2.DIST_L2, 3)
                row, column = divmod(int(depth.argmax()), depth.shape[1])
                if depth[row, column] <= 0:
                    break
                found.append(((column - 0.5, row - 0.5), label))
                cv2.circle(rest, (column, row), int(apart), 0, -1)
    return found


def shrunk(seeds: Seeds, window: Window, size: tuple[int, int]) -> Marks:
    """The seeds of a part of the image at another size (h, w): a pixel has the mark that covers most of it, if any."""
    import numpy as np

    from ..opencv import cv2

    if seeds.marks is None:
        return np.zeros(size, np.int8)
    part = seeds.marks[window.slices()]
    if part.shape == size:
        return part
    rows, columns = np.nonzero(part)
    marks = part[rows, columns]
    down, across = size[0] / max(part.shape[0], 1), size[1] / max(part.shape[1], 1)
    balance = np.zeros(size, np.float32)
    if down <= 1 and across <= 1:
        np.add.at(balance, ((rows * down).astype(int), (columns * across).astype(int)), marks)
        result = np.sign(balance).astype(np.int8)
        tied = np.zeros(size, bool)
        tied[(rows * down).astype(int), (columns * across).astype(int)] = True
        result[tied & (result == 0)] = DROP
        return result
    return np.asarray(cv2.resize(part, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), np.int8)


def held(alpha: np.ndarray[Any, np.dtype[np.float32]], mask: np.ndarray[Any, np.dtype[np.bool_]], seeds: Seeds) -> None:
    """Make seeds hold in a matte, in place: the last word, after everything else."""
    import numpy as np

    if seeds.marks is None:
        return
    places = np.nonzero(seeds.marks)
    keep = seeds.marks[places] == KEEP
    mask[places] = keep
    values = alpha[places]
    values[keep & (values < HALF_UP)] = 1
    values[~keep & (values > HALF_DOWN)] = 0
    alpha[places] = values


HALF_UP, HALF_DOWN = 0.55, 0.45
"""Alpha on a seed that is not clearly on its side of one half is put to 1 or 0."""
