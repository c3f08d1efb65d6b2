"""Iterative refinement: where which of Mask-to-Matte's three scales counts, and their merging.

"Matting Anything" (arXiv 2306.05399), section 3.3, in the picture's own pixels:

1. Start from the mask, with alpha_os8 in a band around its edge (`mask` guidance: pictures with several instances), or
   from alpha_os8 itself (`alpha` guidance: one subject), with the mask outside of the mask's box (`postprocess`).
2. Where the result is uncertain, take alpha_os4.
3. Where that is uncertain, take alpha_os1.

Dilation is done on the device the tensors are on. Kernels are OpenCV's ellipses, whose runs come from their formula:
for an even size they reach one pixel farther up and left than down and right. They are in the picture's pixels, so
what they do depends on its resolution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..geometry import Window

if TYPE_CHECKING:
    from torch import Tensor

    from ..options import Guidance, Sides

BAND_WIDTH = 10
"""Width that belongs to alpha_os8's band around the mask; the ellipse has half of it."""
OS4_WIDTH = 20
"""Width that belongs to where alpha_os4 counts."""
OS1_WIDTH = 10
"""Width that belongs to where alpha_os1 counts."""
LOW, HIGH = 1.0 / 255.0, 254.0 / 255.0
"""Alpha from LOW to HIGH is uncertain; what is outside is background or foreground for sure."""


def ellipse_rows(size: int) -> list[tuple[int, int, int]]:
    """OpenCV's elliptic structuring element of size × size: for every row, (row, first column, last column).

    Rows and columns are offsets from the anchor at size // 2.
    """
    radius = size // 2
    rows = []
    for row in range(-radius, size - radius):
        reach = round(math.sqrt(radius * radius - row * row)) if radius else 0
        rows.append((row, -reach, min(reach, size - 1 - radius)))
    return rows


def _any_within(x: Tensor, length: int, axis: int) -> Tensor:
    """out[i] = x[i] or … or x[i + length - 1] along an axis; `length - 1` shorter. By doubling: log2(length) steps."""
    covered = 1
    while covered < length:
        step = min(covered, length - covered)
        count = x.shape[axis] - step
        x = x.narrow(axis, 0, count) | x.narrow(axis, step, count)
        covered += step
    return x


def dilate(mask: Tensor, size: int) -> Tensor:
    """…×H×W bool -> bool: true where OpenCV's ellipse of `size` around the pixel touches the mask.

    Outside of the picture nothing is true.
    """
    from torch.nn import functional as F

    if size <= 1:
        return mask
    before, after = size // 2, size - 1 - size // 2
    height, width = mask.shape[-2:]
    padded = F.pad(mask, (before, after, before, after))
    rows = ellipse_rows(size)
    result = None
    for first, last in sorted({(first, last) for _, first, last in rows}):
        run = _any_within(padded[..., before + first :], last - first + 1, -1)[..., :width]
        # The rows with this run or a longer one lie together around the middle, and the longer ones cover it there:
        # so one pass down over all of them adds nothing wrong and joins the rows that have exactly this run.
        members = [row for row, start, stop in rows if start <= first and stop >= last]
        top = before + members[0]
        band = _any_within(run[..., top : top + height + len(members) - 1, :], len(members), -2)
        result = band if result is None else result | band
    assert result is not None
    return result


def mask_weight_map(mask: Tensor, sides: Sides = "one", width: int = BAND_WIDTH) -> Tensor:
    """w8, the band around a mask where alpha_os8 counts: N×1×H×W bool -> bool.

    sides: `one` is the band outside of the mask's edge, `two` on both sides of it.
    """
    grown = dilate(mask, width // 2)
    return grown & ~mask if sides == "one" else grown & dilate(~mask, width // 2)


def alpha_weight_map(alpha: Tensor, width: int, sides: Sides = "one") -> Tensor:
    """w4 and w1, where an alpha is uncertain and the finer scale counts: N×1×H×W float -> bool.

    sides: `one` is all that is not background, grown by half of `width`, without what is foreground for sure;
    `two` is what is neither, grown.
    """
    if sides == "one":
        return dilate(alpha >= LOW, width // 2) & (alpha <= HIGH)
    return dilate((alpha >= LOW) & (alpha <= HIGH), width // 2)


def box_weight_map(mask: Tensor, *, reference: bool = False) -> Tensor:
    """The box around each mask: N×1×H×W bool -> bool; nothing for an empty mask.

    reference: as the authors' released program, whose box leaves out the last row and column.
    """
    inside = None
    for axis, line in ((-2, mask.any(-1, keepdim=True)), (-1, mask.any(-2, keepdim=True))):
        count = line.int()
        after = count.flip(axis).cumsum(axis).flip(axis)  # how many of here and after it are true
        between = (count.cumsum(axis) > 0) & (after > (count if reference else 0))
        inside = between if inside is None else inside & between
    assert inside is not None
    return inside


def start(mask: Tensor, os8: Tensor, *, guidance: Guidance, sides: Sides, postprocess: bool, reference: bool) -> Tensor:
    """Step 1 of the refinement; arguments as those of `merge`."""
    if guidance == "mask":
        return os8.where(mask_weight_map(mask, sides), mask.to(os8.dtype))
    if postprocess:
        return os8.where(box_weight_map(mask, reference=reference), mask.to(os8.dtype))
    return os8


def merge(
    mask: Tensor,
    os8: Tensor,
    os4: Tensor,
    os1: Tensor,
    *,
    guidance: Guidance = "mask",
    sides: Sides = "one",
    postprocess: bool = False,
    reference: bool = False,
) -> Tensor:
    """Merge the three scales into one matte: all N×1×H×W in the picture's pixels, mask bool, alphas float 0..1.

    guidance: start from the `mask` or from alpha_os8 (`alpha`). sides: on `one` side of the mask's edge (and of the
    certain background) or on `two`. postprocess: with alpha guidance, take the mask outside of its box. reference: as
    the authors' released program, whose box leaves out the last row and column (only `postprocess` is concerned).
    An empty mask gives an empty matte.
    """
    alpha = start(mask, os8, guidance=guidance, sides=sides, postprocess=postprocess, reference=reference)
    alpha = os4.where(alpha_weight_map(alpha, OS4_WIDTH, sides), alpha)
    alpha = os1.where(alpha_weight_map(alpha, OS1_WIDTH, sides), alpha)
    return alpha * mask.any(-1, keepdim=True).any(-2, keepdim=True)


def reach(box: Window, size: tuple[int, int], *, guidance: Guidance, postprocess: bool) -> Window:
    """Where the matte of a mask with this box in a picture of `size` (H, W) can be other than zero.

    The box grows by what the kernels reach: the band (mask guidance), w4, w1. Alpha guidance without postprocessing
    can reach anywhere. An empty box stays empty. Within the window, `merge` of the tensors' cut-outs is the
    cut-out of `merge`.
    """
    if not box.height or not box.width:
        return Window(0, 0, 0, 0)
    if guidance == "alpha" and not postprocess:
        return Window(0, 0, size[0], size[1])
    widths = (BAND_WIDTH, OS4_WIDTH, OS1_WIDTH) if guidance == "mask" else (OS4_WIDTH, OS1_WIDTH)
    margin = sum(width // 4 for width in widths)
    return grow(box, margin, size)


def grow(box: Window, margin: int, size: tuple[int, int]) -> Window:
    """A window with a margin on every side, as far as a picture of `size` (H, W) goes."""
    return Window(
        max(box.top - margin, 0), max(box.left - margin, 0),
        min(box.bottom + margin, size[0]), min(box.right + margin, size[1]),
    )


def bounds(masks: Tensor) -> list[Window]:
    """The boxes around what is true in N×H×W bool; empty ones where nothing is. Waits for the device once."""
    import torch

    count, height, width = masks.shape
    if not masks.numel():
        return [Window(0, 0, 0, 0)] * count
    rows, columns = masks.any(2).int(), masks.any(1).int()
    edges = torch.stack([
        rows.argmax(1), columns.argmax(1), height - rows.flip(1).argmax(1), width - columns.flip(1).argmax(1),
        rows.amax(1).long(),
    ], dim=1).tolist()
    return [Window(*edge[:4]) if edge[4] else Window(0, 0, 0, 0) for edge in edges]
