"""The interactive protocol: a system is corrected click by click, as a patient user would do it.

The next click goes where the error is deepest: to the maximum of the distance transform of what is missing or of what
is too much, whichever is the deeper one, and says the truth there. That is the protocol of RITM (Sofiiuk et al. 2021,
arXiv 2102.06583), FocalClick (Chen et al., CVPR 2022) and SimpleClick (Liu et al., ICCV 2023), so that NoC means the
same here. Beyond it, this file asks what users ask: did the click do what it says, and did it break anything?

Pure functions on arrays; nothing here knows of files or of models.
"""

from __future__ import annotations

import time
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..geometry import mask_bounds
from ..opencv import cv2
from ..types import Box
from .data import DataError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
ImageArray = npt.NDArray[np.uint8]

Start = Literal["box", "nothing"]
STARTS: tuple[Start, ...] = ("box", "nothing")
THRESHOLDS = (0.85, 0.9, 0.95)
"""The IoU that NoC counts clicks up to."""
MOST_CLICKS = 100
DISC_RADIUS = 2
"""A click is obeyed when this disc around it (13 pixels) is on the right side of one half."""


@dataclass(frozen=True)
class ClicksProtocol:
    """How images are corrected.

    Parameters
    ----------
    start : what the system is given before the first click: the true mask's box, or nothing.
    clicks : at most this many for each image (the cap of NoC); 1 to 100, the field's number is 20.
    ignored : the gray value of the truth (0..255) that counts for nothing; "none"; or "auto": the middle gray of a file
        that holds no other value but black and white (the 128 of GrabCut's masks).

    Raises
    ------
    DataError
        When a value is out of its range.
    """

    start: Start = "box"
    clicks: int = 20
    ignored: int | Literal["auto", "none"] = "auto"

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise DataError(f"the start is {self.start!r}; expected {' or '.join(STARTS)}")
        if not 1 <= self.clicks <= MOST_CLICKS:
            raise DataError(f"the number of clicks is {self.clicks}; expected 1 to {MOST_CLICKS}")
        if self.ignored not in ("auto", "none") and not (isinstance(self.ignored, int) and 0 <= self.ignored <= 255):
            raise DataError(f"the ignored value is {self.ignored!r}; expected auto, none or a gray value 0 to 255")


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of one object in an image of H×W pixels.

    inside : bool H×W, the object. counted : bool H×W, False where the truth says nothing. alpha : float32 H×W in 0..1
    where the truth is an alpha, None where it is a mask.
    """

    inside: BoolArray
    counted: BoolArray
    alpha: FloatArray | None = None

    @property
    def box(self) -> Box:
        """The object's bounds x0, y0, x1, y1, right and lower side exclusive."""
        return mask_bounds(self.inside)


@dataclass(frozen=True)
class Click:
    """A click on the pixel in column x and row y; label: 1, this belongs to the object, or 0, this does not."""

    x: int
    y: int
    label: int

    @property
    def point(self) -> tuple[float, float]:
        """The middle of the pixel, in the coordinates of `Prompt`."""
        return self.x + 0.5, self.y + 0.5


@dataclass(frozen=True, eq=False)
class Turn:
    """What a system has made so far: alpha, float32 H×W in 0..1 (zeros before anything was said), and whatever it needs
    to go on from there."""

    alpha: FloatArray
    memory: Any = field(default=None, repr=False)


class ClickSystem(typing.Protocol):
    """Who is corrected. `settings`: what its results depend on, JSON values; results of runs with the same settings are
    taken over. Turns are values: the same click after the same turn gives the same."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> dict[str, Any]: ...

    def start(self, image: ImageArray, box: Box | None) -> Turn:
        """Begin with an image, uint8 H×W×3, and the object's box or nothing."""
        ...

    def click(self, turn: Turn, point: tuple[float, float], label: int) -> Turn:
        """Go on from a turn: the point (x, y) in pixels belongs to the object (label 1), or does not (0)."""
        ...


@dataclass(frozen=True)
class Course:
    """How one image went. Lists with one value more than clicks begin with what was there before the first click.

    iou : of alpha > 0.5. mad : mean absolute error of alpha, times 1000; None where the truth is a mask.
    pixels, discs : after each click, how many of the clicks so far are obeyed (the pixel; the disc around it).
    newest : whether the click just made is obeyed (its disc).
    first_seconds : until there is a first alpha, encoding included; seconds : of each later click.
    Fewer clicks than asked for: nothing was wrong any more.
    """

    iou: tuple[float, ...]
    mad: tuple[float, ...] | None
    clicks: tuple[Click, ...]
    pixels: tuple[int, ...]
    discs: tuple[int, ...]
    newest: tuple[bool, ...]
    first_seconds: float
    seconds: tuple[float, ...]


def truth_of(values: FloatArray, ignored: int | Literal["auto", "none"] = "auto") -> Truth:
    """The truth in a file's values (float32 H×W in 0..1, as `read_alpha` gives them); `ignored` as in ClicksProtocol.

    Raises DataError when no counted pixel is above one half.
    """
    counted = np.ones(values.shape, np.bool_)
    levels = _levels(values)
    hard = levels is not None and all(level in (0.0, 1.0) for level in levels)
    if ignored == "auto":
        between = [] if levels is None else [level for level in levels if 0 < level < 1]
        if len(between) == 1 and 0.25 < between[0] < 0.75:
            counted, hard = np.asarray(values != np.float32(between[0])), True
    elif ignored != "none":
        counted = np.asarray(np.rint(values * 255) != ignored)
        rest = _levels(values[counted])
        hard = rest is not None and all(level in (0.0, 1.0) for level in rest)
    inside = np.asarray((values > 0.5) & counted)
    if not inside.any():
        raise DataError("the truth has nothing above one half; expected the object in white (255)")
    return Truth(inside, counted, None if hard else values)


def _levels(values: FloatArray, most: int = 8) -> list[float] | None:
    """The values that occur, None when there are more than `most`."""
    found: list[float] = []
    rest = values.ravel()
    while rest.size:
        if len(found) == most:
            return None
        found.append(float(rest[0]))
        rest = rest[rest != rest[0]]
    return found


def iou_of(alpha: FloatArray, truth: Truth) -> float:
    """Intersection over union of alpha > 0.5 with the truth, over the pixels that count."""
    found = (alpha > 0.5) & truth.counted
    return float(np.count_nonzero(found & truth.inside) / np.count_nonzero(found | truth.inside))


def mad_of(alpha: FloatArray, truth: Truth) -> float | None:
    """Mean absolute error of alpha over the pixels that count, times 1000; None where the truth is a mask."""
    if truth.alpha is None:
        return None
    return 1000 * float(np.abs(alpha - truth.alpha)[truth.counted].mean(dtype=np.float64))


def depth(region: BoolArray) -> FloatArray:
    """Distance of each pixel of a region to the nearest pixel outside of it, float32 H×W; beyond the image is
    outside."""
    padded = np.pad(region, 1).view(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1], np.float32)


def next_click(alpha: FloatArray, truth: Truth, clicks: Sequence[Click] = ()) -> Click | None:
    """The click that a patient user makes next, None when nothing is wrong that was not clicked on already.

    The deepest pixel of what is missing or of what is too much; of equally deep ones the first, row by row, and what
    is too much before what is missing (as RITM's program has it).
    """
    found = alpha > 0.5
    missing = depth(truth.inside & ~found & truth.counted)
    extra = depth(~truth.inside & found & truth.counted)
    for click in clicks:
        missing[click.y, click.x] = extra[click.y, click.x] = 0
    label = int(missing.max() > extra.max())
    deepest = missing if label else extra
    if deepest.max() == 0:
        return None
    row, column = np.unravel_index(int(deepest.argmax()), deepest.shape)
    return Click(int(column), int(row), label)


def obeyed(alpha: FloatArray, clicks: Sequence[Click]) -> list[tuple[bool, bool]]:
    """For each click, whether alpha is on the right side of one half in its pixel, and in the disc around it.

    Where the discs of two clicks contradict each other, the later one counts.
    """
    height, width = alpha.shape
    said: dict[tuple[int, int], int] = {}
    discs = []
    for click in clicks:
        rows = range(max(click.y - DISC_RADIUS, 0), min(click.y + DISC_RADIUS + 1, height))
        columns = range(max(click.x - DISC_RADIUS, 0), min(click.x + DISC_RADIUS + 1, width))
        disc = [(row, column) for row in rows for column in columns
                if (row - click.y) ** 2 + (column - click.x) ** 2 <= DISC_RADIUS ** 2]
        said.update(dict.fromkeys(disc, click.label))
        discs.append(disc)

    def right(pixel: tuple[int, int], label: int) -> bool:
        if said[pixel] != label:
            return True
        return bool(alpha[pixel] > 0.5) if label else bool(alpha[pixel] < 0.5)

    return [(right((click.y, click.x), click.label), all(right(pixel, click.label) for pixel in disc))
            for click, disc in zip(clicks, discs, strict=True)]


def correct(
    system: ClickSystem, image: ImageArray, truth: Truth, protocol: ClicksProtocol,
    watch: Callable[[int, FloatArray, Click | None], None] | None = None,
) -> Course:
    """Correct a system on one image until nothing is wrong or the clicks are used up.

    watch: called with the number of clicks made, the alpha and the click that comes next (None at the end); what it
    raises ends the work. Raises DataError when the system gives an alpha of another size.
    """
    started = time.perf_counter()
    turn = system.start(image, truth.box if protocol.start == "box" else None)
    first = time.perf_counter() - started
    iou, mad = [iou_of(_fitting(turn, truth, system), truth)], [mad_of(turn.alpha, truth)]
    clicks: list[Click] = []
    pixels, discs, newest, seconds = [], [], [], []
    while True:
        following = next_click(turn.alpha, truth, clicks) if len(clicks) < protocol.clicks else None
        if watch is not None:
            watch(len(clicks), turn.alpha, following)
        if following is None:
            break
        started = time.perf_counter()
        turn = system.click(turn, following.point, following.label)
        elapsed = time.perf_counter() - started
        if protocol.start == "nothing" and not clicks:
            first += elapsed
        else:
            seconds.append(elapsed)
        clicks.append(following)
        iou.append(iou_of(_fitting(turn, truth, system), truth))
        mad.append(mad_of(turn.alpha, truth))
        kept = obeyed(turn.alpha, clicks)
        pixels.append(sum(pixel for pixel, _ in kept))
        discs.append(sum(disc for _, disc in kept))
        newest.append(kept[-1][1])
    errors = [error for error in mad if error is not None]
    return Course(tuple(iou), tuple(errors) if errors else None, tuple(clicks), tuple(pixels), tuple(discs),
                  tuple(newest), first, tuple(seconds))


def _fitting(turn: Turn, truth: Truth, system: ClickSystem) -> FloatArray:
    if turn.alpha.shape != truth.inside.shape:
        raise DataError(f"{system.name} gave an alpha of {turn.alpha.shape}; expected {truth.inside.shape}")
    return turn.alpha


def clicks_needed(iou: Sequence[float], threshold: float, protocol: ClicksProtocol) -> tuple[int, bool]:
    """NoC of one image: the clicks after which IoU reached the threshold for the first time, and whether it did; the
    cap when it did not. From a box that may be none; from nothing at least one."""
    for made in range(1 if protocol.start == "nothing" else 0, len(iou)):
        if iou[made] >= threshold:
            return made, True
    return protocol.clicks, False
