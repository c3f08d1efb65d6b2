"""What is known of the objects on one picture, and the library's prompts that it makes.

Which mark belongs to which object:

- Every marked object (the editor's, each box, each of SEGS) is one; so is each mask, each trimap and each previous
  matte. A single mask or trimap and a single marked object describe the same one.
- A previous matte takes the objects that are points and strokes without a box: they correct it. An object with a box is
  a further one, unless it also has points or strokes and is the only one.
- Further points and strokes go to the object whose box holds them, else to the previous matte, else they are an object
  of their own; a single object takes all of them. What is to be dropped is dropped from every object.
- A mask's bounds are its object's box; with mask_use "shape", or beside a box, the model also gets its shape.
- Words restrict themselves to each object's box; without objects, or beside a previous matte alone, they are looked for
  in the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from matting_anything_core import Prompt, Stroke
from matting_anything_core.geometry import mask_bounds as bounds
from matting_anything_core.strokes import draw

Point = tuple[float, float]
Box = tuple[float, float, float, float]
Array = np.ndarray[Any, Any]
MaskUse = Literal["box", "shape"]
FULL = 0.97
"""Share of a box from which on a segment's mask is the box again, as detectors without masks write it."""


@dataclass(frozen=True)
class Area:
    """Pixels marked by hand: a line of a width in pixels, or with a width of 0 what a line encloses."""

    points: tuple[Point, ...]
    width: float = 0.0


@dataclass(frozen=True, eq=False)
class Shape:
    """A segment's mask on the picture that it was found in, H×W bool, and width and height of the one at hand."""

    mask: Array
    size: tuple[int, int]

    @classmethod
    def of(cls, segment: Any, found_in: tuple[int, int], size: tuple[int, int]) -> Shape | None:
        """The mask of a segment of the Impact pack; None for one without, and for one that is its box again.

        found_in, size: width and height of the picture that it was found in, and of the one at hand.
        """
        mask, region = getattr(segment, "cropped_mask", None), getattr(segment, "crop_region", None)
        if mask is None or region is None or len(region) != 4:
            return None
        plane = np.asarray(mask.detach().float().cpu() if hasattr(mask, "detach") else mask, dtype=np.float32)
        plane = plane.reshape(-1, *plane.shape[-2:])[0] if plane.ndim >= 2 and plane.size else np.zeros((0, 0))
        inside = np.nan_to_num(plane) > 0.5
        x0, y0 = int(region[0]), int(region[1])
        bx0, by0, bx1, by1 = (round(float(value)) for value in segment.bbox)
        box = inside[max(by0 - y0, 0):max(by1 - y0, 0), max(bx0 - x0, 0):max(bx1 - x0, 0)]
        if not box.size or not inside.any() or box.mean() >= FULL:
            return None
        whole = np.zeros((found_in[1], found_in[0]), bool)
        down, across = whole[max(y0, 0):, max(x0, 0):].shape
        part = inside[max(-y0, 0):, max(-x0, 0):][:down, :across]
        whole[max(y0, 0):max(y0, 0) + part.shape[0], max(x0, 0):max(x0, 0) + part.shape[1]] = part
        return cls(whole, size)

    def drawn(self) -> Array | None:
        """The mask on the picture at hand, H×W bool; None when nothing of it is left."""
        width, height = self.size
        plane = torch.from_numpy(self.mask.astype(np.float32))[None, None]
        if plane.shape[-2:] != (height, width):
            plane = torch.nn.functional.interpolate(plane, (height, width), mode="bilinear", align_corners=False)
        result: Array = plane[0, 0].numpy() > 0.5
        return result if result.any() else None


@dataclass(frozen=True)
class Marked:
    """One object: a box, points on it and beside it, strokes to keep and to drop, a shape; in pixels of the picture."""

    box: Box | None = None
    on: tuple[Point, ...] = ()
    off: tuple[Point, ...] = ()
    keep: tuple[Area, ...] = ()
    drop: tuple[Area, ...] = ()
    shape: Shape | None = field(default=None, compare=False)

    @property
    def corrects(self) -> bool:
        """Whether it says something of single pixels."""
        return bool(self.on or self.off or self.keep or self.drop)


@dataclass(frozen=True, eq=False)
class Given:
    """What is known of one picture's objects: those that are marked one by one, and what belongs to any of them.

    size: the picture's width and height. masks: bool H×W each. trimaps, previous: float H×W in 0..1 each. keep, drop:
    strokes, bool H×W.
    """

    size: tuple[int, int]
    marked: tuple[Marked, ...] = ()
    on: tuple[Point, ...] = ()
    off: tuple[Point, ...] = ()
    masks: tuple[Array, ...] = ()
    trimaps: tuple[Array, ...] = ()
    previous: tuple[Array, ...] = ()
    keep: Array | None = None
    drop: Array | None = None
    text: str = ""


@dataclass(frozen=True, eq=False)
class _Object:
    """What belongs to one object. place: the box in which further marks are its own."""

    marked: Marked = Marked()
    mask: Array | None = None
    trimap: Array | None = None
    previous: Array | None = None
    keep: Array | None = None
    drop: Array | None = None
    place: Box | None = None


def prompts_of(given: Given, mask_use: MaskUse = "box") -> list[Prompt]:
    """The library's prompts for one picture, one for each object; their order: marked, masks, trimaps, previous, more.

    A previous matte that nothing corrects comes with its bounds as the box, which leaves it as it is.
    """
    objects = _spread(_objects(given, mask_use == "shape"), given)
    prompts = [_prompt(one, given) for one in objects]
    if given.text and all(one.previous is not None for one in objects):
        prompts.append(Prompt(text=given.text))
    return prompts


def _objects(given: Given, shaped: bool) -> list[_Object]:
    """The objects that are marked, masked or left from before."""
    marked = list(given.marked)
    corrections: list[Marked] = []
    if given.previous:
        alone = len(marked) == 1 and len(given.previous) == 1
        corrections = [one for one in marked if one.corrects and (one.box is None or alone)]
        marked = [one for one in marked if one not in corrections]
    objects = [_Object(one, mask=None if one.shape is None else one.shape.drawn(), place=one.box) for one in marked]
    if len(objects) == 1 and len(given.masks) == 1 and objects[0].mask is None:
        [only], [mask] = objects, given.masks
        if only.marked.box is None:
            only = replace(only, marked=replace(only.marked, box=bounds(mask)), mask=mask if shaped else None)
        else:
            only = replace(only, mask=mask)
        objects = [replace(only, place=only.marked.box)]
    else:
        objects += [_Object(Marked(box=bounds(mask)), mask if shaped else None, place=bounds(mask))
                    for mask in given.masks]
    if len(objects) == 1 and len(given.trimaps) == 1:
        objects = [replace(objects[0], trimap=given.trimaps[0])]
    else:
        objects += [_Object(trimap=trimap, place=bounds(trimap > 0)) for trimap in given.trimaps]
    former = [_Object(previous=alpha, place=bounds(alpha > 0)) for alpha in given.previous]
    for one in corrections:
        where = [*one.on, *one.off, *(area.points[0] for area in (*one.keep, *one.drop))][0]
        index = next((i for i, each in enumerate(former) if _holds(each.place, where)), 0)
        former[index] = replace(former[index], marked=_joined(former[index].marked, one))
    return objects + former


def _joined(first: Marked, second: Marked) -> Marked:
    return Marked(second.box if first.box is None else first.box, (*first.on, *second.on), (*first.off, *second.off),
                  (*first.keep, *second.keep), (*first.drop, *second.drop))


def _spread(objects: list[_Object], given: Given) -> list[_Object]:
    """Further points and strokes, each with its object."""
    on, off, keep, drop = list(given.on), list(given.off), given.keep, given.drop
    if not on and not off and keep is None and drop is None:
        return objects
    if len(objects) <= 1:
        [only] = objects or [_Object()]
        return [replace(only, marked=_with(only.marked, on, off), keep=keep, drop=drop)]
    left_on, left_keep = list(on), keep
    spread = []
    for one in objects:
        own = [point for point in left_on if _holds(one.place, point)]
        left_on = [point for point in left_on if point not in own]
        own_keep, left_keep = _parted(left_keep, one.place)
        away = [point for point in off if one.place is None or _holds(one.place, point)]
        spread.append(replace(one, marked=_with(one.marked, own, away), keep=own_keep, drop=drop))
    if not left_on and left_keep is None:
        return spread
    earlier = next((i for i, one in enumerate(spread) if one.previous is not None), None)
    if earlier is None:
        return [*spread, _Object(_with(Marked(), left_on, off), keep=left_keep, drop=drop)]
    one = spread[earlier]
    kept = left_keep if one.keep is None else one.keep if left_keep is None else one.keep | left_keep
    spread[earlier] = replace(one, marked=_with(one.marked, left_on, []), keep=kept)
    return spread


def _with(marked: Marked, on: Iterable[Point], off: Iterable[Point]) -> Marked:
    return replace(marked, on=(*marked.on, *on), off=(*marked.off, *off))


def _parted(strokes: Array | None, box: Box | None) -> tuple[Array | None, Array | None]:
    """Strokes inside a box, and the rest of them; None for no pixels."""
    if strokes is None or box is None:
        return None, strokes
    inside = np.zeros_like(strokes)
    x0, y0, x1, y1 = (round(value) for value in box)
    cut = slice(max(y0, 0), max(y1, 0)), slice(max(x0, 0), max(x1, 0))
    inside[cut] = strokes[cut]
    rest = strokes & ~inside
    return (inside if inside.any() else None), (rest if rest.any() else None)


def _prompt(one: _Object, given: Given) -> Prompt:
    marked = one.marked
    points = [*marked.on, *marked.off]
    keep, drop = _strokes(marked.keep, one.keep, given.size), _strokes(marked.drop, one.drop, given.size)
    box = marked.box
    if one.previous is not None and not points and keep is None and drop is None and box is None:
        box = bounds(one.previous > 0)
    return Prompt(box=box, points=points or None, labels=[1] * len(marked.on) + [0] * len(marked.off) or None,
                  mask=one.mask, trimap=one.trimap, previous=one.previous, keep=keep, drop=drop,
                  text=given.text or None if one.previous is None else None)


def _strokes(areas: Sequence[Area], mask: Array | None, size: tuple[int, int]) -> Array | None:
    """Areas and a mask of strokes as one mask H×W; None for no pixels."""
    drawn = area_mask(areas, size)
    both = mask if drawn is None else drawn if mask is None else drawn | mask
    return both if both is not None and both.any() else None


def area_mask(areas: Sequence[Area], size: tuple[int, int]) -> Array | None:
    """The pixels of areas on a picture of width × height, H×W bool; None for no areas."""
    if not areas:
        return None
    width, height = size
    result = np.zeros((height, width), bool)
    lines = [area for area in areas if area.width > 0 or len(area.points) < 3]
    if lines:
        result |= draw([Stroke(area.points, max(area.width, 1.0)) for area in lines], height, width)
    for area in areas:
        if area not in lines:
            result |= _enclosed(area.points, height, width)
    return result


def _enclosed(points: Sequence[Point], height: int, width: int) -> Array:
    """The pixels whose centres a closed line goes around an odd number of times."""
    result = np.zeros((height, width), bool)
    x, y = np.array(points, np.float64).T
    ends = np.roll(x, -1), np.roll(y, -1)
    for row in range(max(int(y.min()), 0), min(int(y.max()) + 1, height)):
        middle = row + 0.5
        crossing = (y <= middle) != (ends[1] <= middle)
        places = np.sort(x[crossing] + (middle - y[crossing]) / (ends[1] - y)[crossing] * (ends[0] - x)[crossing])
        for start, stop in zip(places[::2], places[1::2], strict=True):
            result[row, max(int(np.ceil(start - 0.5)), 0):max(int(np.ceil(stop - 0.5)), 0)] = True
    return result


def _holds(box: Box | None, point: Point) -> bool:
    return box is not None and box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]
