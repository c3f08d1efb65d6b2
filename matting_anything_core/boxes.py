"""Boxes in the many forms they come in, as pixels x0, y0, x1, y1 (left, top, right, bottom).

Detectors give arrays with more columns than four, tools write shares of the image instead of pixels, people type per
cent. What can mean one thing only is read; what can mean two is refused with the readings named. Nothing heavy is
imported: arrays and tensors are asked for their numbers.

    boxes_of(detections)              an array N x 4 … 7, a detector's result -> boxes, or None for what holds no boxes
    corners(numbers)                  four to seven numbers of one box -> x0, y0, x1, y1, or a PromptError
    read_box("10%,0%,90%,100%")       as typed on a command line -> a BoxText, which knows its box on any image
    in_pixels(box, width, height)     shares 0..1 of the image, as corners, centre or size -> pixels
    concern(box, width, height)       words of warning about a box with next to nothing in it
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .errors import PromptError

Corners: TypeAlias = "tuple[float, float, float, float]"
Form: TypeAlias = Literal["corners", "centre", "size"]

MOST_COLUMNS = 7
_HOLDERS = ("xyxy", "boxes", "pred_boxes", "tensor", "pred_instances", "bboxes")
"""Where detectors' results keep their boxes: Ultralytics, supervision, detectron2, MMDetection."""
NEAR_EMPTY = 8.0
"""Square pixels (of the image) below which a box is a slip of the hand rather than an object."""
NARROW = 2.0
"""Pixels below which a side of a box is."""
SLACK = 0.5
"""How far, in shares of the image, a box given in shares may stick out of it; that part is cut off."""
EXPECTED = "expected x0, y0, x1, y1 in pixels (left, top, right, bottom)"

# What detectors put beside a box: s = score 0..1, n = whole number (class, index, track). B = the box's four columns.
_LAYOUTS: dict[int, tuple[tuple[str, str], ...]] = {
    5: (("Bs", "box, score"), ("Bn", "box, class"), ("nB", "index, box")),
    6: (("Bsn", "box, score, class"), ("nsB", "class, score, box")),
    7: (("Bnsn", "box, track, score, class"), ("nBns", "index, box, class, score")),
}


def number(value: Any, what: str) -> float:
    """A finite float. Raises PromptError that names `what` holds the value."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"{what} holds {value!r}, which is no number") from None
    if not math.isfinite(result):
        raise PromptError(f"{what} holds {result}; coordinates must be finite numbers of pixels")
    return result


def corners(values: Iterable[Any]) -> Corners:
    """The box in the numbers of one box.

    Parameters
    ----------
    values : four numbers x0, y0, x1, y1 in pixels, or a detector's row of five to seven: with a score (0..1), a class,
        an index or a track (whole numbers) beside the box.

    Returns
    -------
    tuple of float : x0, y0, x1, y1 with x0 < x1 and y0 < y1.

    Raises
    ------
    PromptError : other counts, what is no finite number, empty and reversed boxes, rows that can be read in two ways,
        and shares of the image (0..1), which are no pixels.
    """
    numbers = [number(value, "the box") for value in values]
    if len(numbers) in _LAYOUTS:
        return _row(numbers)
    if len(numbers) != 4:
        raise PromptError(f"the box has {len(numbers)} values; expected four: x0, y0, x1, y1 in pixels")
    if looks_like_shares(numbers):
        raise PromptError(f"the box ({_said(numbers)}) lies within one pixel: {_of_shares(numbers)}; {EXPECTED}, for "
                          "example with matting_anything_core.boxes.in_pixels, or per cent on the command line")
    x0, y0, x1, y1 = numbers
    if x1 <= x0 or y1 <= y0:
        raise PromptError(
            f"the box ({_said(numbers)}) is empty or its corners are reversed; "
            f"expected x0, y0, x1, y1 with x0 < x1 and y0 < y1 (left, top, right, bottom){_other_form(numbers)}"
        )
    return x0, y0, x1, y1


def boxes_of(value: Any) -> list[Corners] | None:
    """Read what detectors give as boxes.

    Parameters
    ----------
    value : an array or tensor N x 4 (boxes in pixels, signed, unsigned or floats) or N x 5 … 7 (with score, class …),
        also 1 x N x 4 … 7; a table of pandas with such columns; a mapping with `boxes`, or an object with `xyxy`,
        `boxes.xyxy`, `pred_boxes.tensor` or `pred_instances.bboxes`, that hold such an array.
        Two-dimensional arrays of bool, of other widths, or with nothing but 0 and the type's highest value are masks.

    Returns
    -------
    list of (x0, y0, x1, y1), or None when the value holds no boxes: what else it may be is for the caller to say.

    Raises
    ------
    PromptError : boxes were seen, but none (0 x 4), or some that are reversed, in shares, or of an unknown layout.
    """
    array = _array_in(value)
    if array is None or (rows := _rows(array)) is None:
        return None
    shape = " x ".join(str(side) for side in array.shape)
    name = f"the array of {shape} ({_type_of(array)})"
    if not rows:
        raise PromptError(f"{name} holds boxes, but none: the detector found nothing, so there is nothing to matte")
    found = []
    for index, row in enumerate(rows):
        try:
            found.append(corners(row))
        except PromptError as error:
            hint = "" if array is not value or _type_of(array).startswith(("float", "int")) else \
                "; if it is a mask, give it as bool"
            raise PromptError(f"{name} was read as boxes, one a row, and row {index} cannot be: "
                              f"{error}{hint}") from None
    return found


def _array_in(value: Any) -> Any | None:
    """The array that a detector's result holds; the value itself when it is one."""
    if isinstance(value, Mapping):
        return _array_in(value["boxes"]) if "boxes" in value else None
    if hasattr(value, "shape") and hasattr(value, "tolist"):
        return value
    if isinstance(value, (str, bytes, list, tuple)):
        return None
    if hasattr(value, "to_numpy") and hasattr(value, "shape"):  # a table of pandas
        return _array_in(value.to_numpy())
    for attribute in _HOLDERS:
        inner = getattr(value, attribute, None)
        if inner is not None and inner is not value:
            return _array_in(inner)
    return None


def _rows(array: Any) -> list[list[Any]] | None:
    """The rows of an array that holds boxes; None for one that does not."""
    shape = tuple(array.shape)
    if len(shape) == 3 and shape[0] == 1:  # a batch of one
        return _rows(array[0])
    if len(shape) != 2 or not 4 <= shape[1] <= MOST_COLUMNS:
        return None
    kind = _type_of(array)
    if kind == "object":  # a table with the names of classes beside the numbers
        numbers = [[item for item in row if not isinstance(item, str)] for row in array.tolist()]
        return numbers if all(4 <= len(row) <= MOST_COLUMNS for row in numbers) else None
    if kind == "bool" or not kind.startswith(("int", "uint", "float", "bfloat")):
        return None
    if shape[0] == 0:
        return []
    rows: list[list[Any]] = array.tolist()
    values = {item for row in rows for item in row}
    if shape[1] == 4 and not kind.startswith("uint"):
        return rows  # as ever: a mask four pixels wide is bool or unsigned
    # An unsigned array with two values, one of them 0, is a mask, and so are floats of 0..1 that are wider than a box.
    top = {"uint8": 255, "uint16": 65535}.get(kind, 1)
    if values <= {0, 1} or values <= {0, top} or (kind.startswith(("float", "bfloat"))
                                                  and all(0 <= item <= 1 for item in values)):
        return None
    return rows


def _type_of(array: Any) -> str:
    return str(getattr(array, "dtype", "")).removeprefix("torch.").lstrip("<>=|")


def _row(numbers: Sequence[float]) -> Corners:
    """A detector's row of more than four numbers: the one layout that fits."""
    layouts = _LAYOUTS[len(numbers)]
    fitting = [(box, words) for letters, words in layouts if (box := _fitted(numbers, letters)) is not None]
    if len({box for box, _ in fitting}) == 1:
        return fitting[0][0]
    if len(numbers) == 5 and numbers[0] == int(numbers[0]) and looks_like_shares(numbers[1:]):
        raise PromptError(f"the box ({_said(numbers)}) looks like a line of YOLO's labels (class, centre x, centre y, "
                          f"width, height in shares of the image); {EXPECTED}, for example with "
                          "matting_anything_core.boxes.in_pixels(row[1:], width, height, 'centre')")
    known = (" or " if fitting else " nor ").join(f"({words})" for _, words in (fitting or layouts))
    raise PromptError(f"the box has {len(numbers)} values ({_said(numbers)}), which "
                      f"{'may be' if fitting else 'are neither'} {known}; expected four: x0, y0, x1, y1 in pixels, "
                      "for example array[:, :4]")


def _fitted(numbers: Sequence[float], letters: str) -> Corners | None:
    """The box in a row, when every number is what the layout says and the box is one in pixels."""
    place, box = 0, None
    for letter in letters:
        if letter == "B":
            x0, y0, x1, y1 = numbers[place:place + 4]
            if not (x0 < x1 and y0 < y1) or looks_like_shares((x0, y0, x1, y1)):
                return None
            box = x0, y0, x1, y1
            place += 4
            continue
        value = numbers[place]
        if (letter == "s" and not 0 <= value <= 1) or (letter == "n" and not (value >= -1 and value == int(value))):
            return None
        place += 1
    return box


def looks_like_shares(numbers: Sequence[float]) -> bool:
    """Whether coordinates are shares of the image: all in 0..1, and not all whole. As pixels they mean nothing."""
    return all(0 <= value <= 1 for value in numbers) and any(value not in (0, 1) for value in numbers)


def share_forms(numbers: Sequence[float]) -> list[Form]:
    """The forms in which four shares 0..1 give a box inside the image: corners, centre (and size), size (left, top,
    width, height)."""
    forms: tuple[Form, ...] = ("corners", "centre", "size")
    return [form for form in forms if _inside(_as_corners(numbers, form))]


def _inside(box: Corners) -> bool:
    x0, y0, x1, y1 = box
    slack = 1e-3  # labels are rounded
    return -slack <= x0 < x1 <= 1 + slack and -slack <= y0 < y1 <= 1 + slack


def _as_corners(numbers: Sequence[float], form: Form) -> Corners:
    a, b, c, d = numbers
    if form == "corners":
        return a, b, c, d
    if form == "size":
        return a, b, a + c, b + d
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


def in_pixels(box: Iterable[Any], width: int, height: int, form: Form = "corners") -> Corners:
    """A box in shares of an image, in its pixels.

    Parameters
    ----------
    box : four numbers 0..1.
    width, height : of the image, in pixels.
    form : `corners` (x0, y0, x1, y1), `centre` (YOLO: x and y of the middle, width, height) or `size` (left, top,
        width, height).

    Raises
    ------
    PromptError : not four finite numbers, an unknown form, or an empty or reversed box.
    """
    numbers = [number(value, "the box") for value in box]
    if len(numbers) != 4:
        raise PromptError(f"the box has {len(numbers)} values; expected four shares of the image")
    if form not in ("corners", "centre", "size"):
        raise PromptError(f"form was given as {form!r}; expected 'corners', 'centre' or 'size'")
    x0, y0, x1, y1 = _as_corners(numbers, form)
    if not (x0 < x1 and y0 < y1):
        raise PromptError(f"the box ({_said(numbers)}), read as {form}, is empty or reversed")
    return x0 * width, y0 * height, x1 * width, y1 * height


@dataclass(frozen=True)
class BoxText:
    """A box as it was typed: in pixels, or in shares of an image that is not known yet.

    guessed: they were shares (0..1) without a sign of it, and can be nothing else."""

    numbers: Corners
    shares: bool = False
    guessed: bool = False

    def on(self, width: int, height: int) -> Corners:
        """Its pixels on an image of that size."""
        return in_pixels(self.numbers, width, height) if self.shares else self.numbers


def read_box(text: str) -> BoxText:
    """Read a box that somebody typed: 120,40,560,700 in pixels, or 10%,5%,90%,100%, or shares such as 0.1,0.05,0.9,1.

    Raises
    ------
    PromptError : other counts than four, no numbers, per cent for some of them only, reversed corners, and shares
        whose form is not certain (corners, or a centre with width and height).
    """
    numbers, shares = _typed(text)
    if len(numbers) != 4 or any(shares) != all(shares):
        raise PromptError(f"the box was given as {text!r}; expected x0,y0,x1,y1 (left, top, right, bottom), in pixels "
                          "or each with %, for example 120,40,560,700 or 10%,0%,90%,100%")
    if all(shares):
        x0, y0, x1, y1 = (value / 100 for value in numbers)
        if not (-SLACK <= x0 < x1 <= 1 + SLACK and -SLACK <= y0 < y1 <= 1 + SLACK) or x1 <= 0 or y1 <= 0 \
                or x0 >= 1 or y0 >= 1:
            raise PromptError(f"the box was given as {text!r}; shares go from 0% to 100%, left before right, top "
                              "before bottom")
        return BoxText((x0, y0, x1, y1), shares=True)
    if looks_like_shares(numbers):
        if share_forms(numbers) == ["corners"]:
            return BoxText((numbers[0], numbers[1], numbers[2], numbers[3]), shares=True, guessed=True)
        raise PromptError(f"the box was given as {text!r}, which lies within one pixel: {_of_shares(numbers)}; say "
                          f"{_in_per_cent(numbers)}")
    return BoxText(corners(numbers))


@dataclass(frozen=True)
class PointText:
    """A point as it was typed, x, y in pixels or shares, and its label: 1 on the object, 0 not."""

    x: float
    y: float
    label: float = 1
    shares: bool = False
    guessed: bool = False

    def on(self, width: int, height: int) -> tuple[float, float]:
        """Its pixels on an image of that size."""
        return (self.x * width, self.y * height) if self.shares else (self.x, self.y)


def read_point(text: str) -> PointText:
    """Read a point that somebody typed: 300,200 or 300,200,0 (not on the object), in pixels, per cent, or shares.

    Raises
    ------
    PromptError : other counts than two or three, no numbers, per cent for one of x and y only.
    """
    numbers, shares = _typed(text)
    if len(numbers) not in (2, 3) or shares[0] != shares[1] or any(shares[2:]):
        raise PromptError(f"the point was given as {text!r}; expected x,y or x,y,0 (0 = not on the object), in pixels "
                          "or both with %, for example 300,200 or 50%,40%")
    label = numbers[2] if len(numbers) == 3 else 1
    x, y = numbers[:2]
    if shares[0]:
        return PointText(x / 100, y / 100, label, shares=True)
    guessed = looks_like_shares((x, y))
    return PointText(x, y, label, shares=guessed, guessed=guessed)


def _typed(text: str) -> tuple[list[float], list[bool]]:
    """The numbers in a text, between commas, semicolons or blanks, and which of them have a per cent sign. None at all
    when something is no finite number."""
    parts = re.split(r"\s*[,;]\s*|\s+", text.strip().strip("()[]").strip())
    try:
        numbers = [float(part.removesuffix("%")) for part in parts]
    except ValueError:
        return [], []
    return (numbers, [part.endswith("%") for part in parts]) if all(map(math.isfinite, numbers)) else ([], [])


def concern(box: Sequence[float] | None, width: int, height: int) -> str | None:
    """A warning in words for a box with next to nothing of the image in it; None when there is nothing to say.

    Parameters
    ----------
    box : x0, y0, x1, y1 in pixels; what sticks out of the image does not count. None for no box.
    width, height : of the image, in pixels.
    """
    if box is None:
        return None
    x0, y0, x1, y1 = box
    across, down = min(x1, width) - max(x0, 0), min(y1, height) - max(y0, 0)
    narrow, low = across < min(NARROW, width), down < min(NARROW, height)
    if across <= 0 or down <= 0 or not (narrow or low or across * down < min(NEAR_EMPTY, width * height / 4)):
        return None
    return (f"the box ({_said(box)}) holds only {across:.3g} x {down:.3g} pixels of the image of {width} x {height}: "
            "there is next to nothing in it. Is it in other units, or was it a slip? Expected are pixels: left, top, "
            "right, bottom")


def _said(numbers: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in numbers)


def _of_shares(numbers: Sequence[float]) -> str:
    words = {"corners": "shares of width and height", "centre": "shares in YOLO's centre form (x and y of the middle, "
             "width, height)", "size": "shares as left, top, width, height"}
    forms = share_forms(numbers)
    return "these look like " + (" or ".join(words[form] for form in forms) if forms else "shares of width and height")


def _in_per_cent(numbers: Sequence[float]) -> str:
    forms = share_forms(numbers)
    if not forms:
        return "it in pixels or per cent: left, top, right, bottom"
    words = {"corners": "as corners", "centre": "as centre and size", "size": "as left, top and size"}
    return ", ".join(f"{','.join(f'{100 * value:.6g}%' for value in _as_corners(numbers, form))} ({words[form]})"
                     for form in forms)


def _other_form(numbers: Sequence[float]) -> str:
    """What reversed corners would be if they were a place and a size."""
    a, b, c, d = numbers
    if c <= 0 or d <= 0 or min(a, b) < 0:
        return ""
    return f"; if it is left, top, width, height, give ({_said((a, b, a + c, b + d))})"
