"""Prompts on one picture: do they fit, where are they in a part of it, and as what does the decoder take them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..boxes import concern
from ..errors import MissingExtraError, PromptError
from ..geometry import Fit, Window, check_point, clip_box, fit_picture, mask_bounds
from ..types import Box, Prompt
from .seeds import points_on

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..image import Image
    from ..types import Strokes

MASK_LOGIT = 10.0
"""How sure a mask given as a prompt is: its logits are ±10, about what the mask decoder itself gives."""

BOX_MARGIN = 0.1
"""Share of a box's width and height by which a mask may stick out of it, …"""
ALPHA_MARGIN = 0.05
"""… and alpha, soft edges included."""


def checked(prompt: Prompt, height: int, width: int) -> Prompt:
    """The prompt as it is used on an image of height × width: its box clipped, one put around a mask or a trimap.

    Warns (module `warnings`) of a box with next to nothing in it.

    Raises
    ------
    PromptError
        For a box or point outside of the image, and for arrays of another size.
    MissingExtraError
        For words.
    """
    if prompt.text is not None:
        raise MissingExtraError(
            f"the prompt holds the words {prompt.text!r}; a model takes boxes, points and masks. Words need the extra "
            "`text` (pip install 'matting-anything-core[text]') and go through matte(image, prompt)"
        )
    for point in prompt.points or ():
        check_point(point, height, width)
    for name in ("mask", "trimap", "keep", "drop", "previous"):
        array: Any = prompt.former if name == "previous" else getattr(prompt, name)
        if hasattr(array, "shape") and array.shape != (height, width):
            raise PromptError(f"the {name} is {array.shape[1]} x {array.shape[0]} pixels, the image {width} x "
                              f"{height}; "
                              "expected an array of the image's size")
    box = prompt.box
    if box is None:
        around = prompt.mask if prompt.mask is not None else None if prompt.trimap is None else prompt.trimap > 0
        box = None if around is None else mask_bounds(around)
    if box is None:
        return prompt
    box = clip_box(box, height, width)
    doubt = concern(prompt.box and box, width, height)
    if doubt:
        warnings.warn(doubt, UserWarning, stacklevel=2)
    return replace(prompt, box=box)


def as_mask(picture: Image) -> np.ndarray[Any, Any]:
    """A picture as a rough mask H×W: a cut-out through its alpha, anything else through its brightness."""
    if picture.alpha is not None and picture.alpha.min() < picture.alpha.max():
        return picture.alpha
    brightness: np.ndarray[Any, Any] = picture.rgb8().mean(axis=2).astype("uint8")
    return brightness


def united(prompts: Sequence[Prompt]) -> Prompt:
    """What several checked prompts ask for together: the hull of their boxes, and all their points."""
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    hull = None
    if boxes:
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        hull = min(x0), min(y0), max(x1), max(y1)
    return Prompt(
        box=hull,
        points=[point for prompt in prompts for point in prompt.points or ()] or None,
        labels=[label for prompt in prompts for label in prompt.labels or ()] or None,
    )


class DecoderPrompt(NamedTuple):
    """What the mask decoder is told of one object, in the pixels of a view; at least one of its parts is there.

    mask: h×w bool or float in 0..1, a rough mask, at the view's own or at any other resolution.
    """

    box: Box | None = None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    mask: np.ndarray[Any, Any] | None = None


def decoder_prompt(prompt: Prompt, part: Window, *, with_mask: bool = False) -> DecoderPrompt:
    """What the decoder is told of a checked prompt in a part of the image, as if the part were the image.

    Points elsewhere say nothing about it and are left out; strokes become points on them. with_mask: also of a rough
    mask, and not of its bounds only.
    """
    points = [((x - part.left, y - part.top), label)
              for (x, y), label in zip(prompt.points or (), prompt.labels or (), strict=True)
              if part.left <= x <= part.right and part.top <= y <= part.bottom]
    points += points_on(prompt, part)
    box = None
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        box = clip_box((x0 - part.left, y0 - part.top, x1 - part.left, y1 - part.top), part.height, part.width)
    mask = prompt.former if prompt.former is not None else prompt.mask if with_mask else None
    mask = None if mask is None else mask[part.slices()]
    if mask is not None and not mask.any():
        mask = None
    if box is None and mask is None and not points:
        box = (0.0, 0.0, float(part.width), float(part.height))
    return DecoderPrompt(box, tuple(point for point, _ in points), tuple(label for _, label in points), mask)


def groups(prompts: Sequence[DecoderPrompt]) -> list[list[int]]:
    """Indices of prompts that have the same parts and the same number of points."""
    groups: dict[tuple[bool, int, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        key = prompt.box is not None, len(prompt.points), prompt.mask is not None
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def mask_logits(mask: np.ndarray[Any, Any], fit: Fit) -> Tensor:
    """A mask (bool, or shares 0..1) as logits 1×4h×4w over the padded input; what is padded is not the object."""
    import numpy as np
    import torch

    side = fit.square // 4
    height, width = fit.at(side).scaled
    share = fit_picture(np.round(mask.astype(np.float32) * 255).astype(np.uint8), fit.at(side))
    logits = torch.full((1, side, side), -MASK_LOGIT)
    logits[0, :height, :width] = torch.from_numpy(share.astype(np.float32)) * (2 * MASK_LOGIT / 255) - MASK_LOGIT
    return logits


def hull(prompt: Prompt) -> Box | None:
    """The box around all that a checked prompt says of the object's extent; None when it says nothing of it."""
    import numpy as np

    boxes: list[Box] = [] if prompt.box is None else [prompt.box]
    former = None if prompt.former is None else np.asarray(prompt.former > 0.5)
    if not boxes and former is not None and former.any():
        boxes.append(mask_bounds(former))
    if not boxes:
        return None
    boxes += [(x, y, x, y) for (x, y), label in zip(prompt.points or (), prompt.labels or (), strict=True) if label]
    if prompt.kept is not None:
        boxes.append(_stroke_bounds(prompt.kept))
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _stroke_bounds(strokes: Strokes) -> Box:
    if not isinstance(strokes, tuple):
        return mask_bounds(strokes)
    x = [place + side * stroke.width / 2 for stroke in strokes for place, _ in stroke.points for side in (-1, 1)]
    y = [place + side * stroke.width / 2 for stroke in strokes for _, place in stroke.points for side in (-1, 1)]
    return min(x), min(y), max(x), max(y)


def clip_to_box(logits: Tensor, prompt: DecoderPrompt, fit: Fit) -> Tensor:
    """Mask logits 1×4h×4w in the encoder's square with nothing outside of the prompt's box and a margin.

    As they are for a prompt without a box, or with a positive point outside of the margin.
    """
    if prompt.box is None:
        return logits
    left, top, right, bottom = _enlarged(prompt.box, BOX_MARGIN)
    for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
        if label and not (left <= x <= right and top <= y <= bottom):
            return logits
    scale = logits.shape[-1] / fit.square
    left, top, right, bottom = (value * scale for value in fit.box((left, top, right, bottom)))
    rows, columns = slice(max(int(top), 0), max(int(bottom) + 1, 0)), slice(max(int(left), 0), max(int(right) + 1, 0))
    clipped = logits.clamp(max=-MASK_LOGIT)
    clipped[..., rows, columns] = logits[..., rows, columns]
    return clipped


def beyond(boxes: Sequence[Box], height: int, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which pixels of an image lie outside of all boxes and their margin: H×W bool."""
    import numpy as np

    result = np.ones((height, width), np.bool_)
    for box in boxes:
        left, top, right, bottom = _enlarged(box, ALPHA_MARGIN)
        rows = slice(max(math.floor(top), 0), max(math.ceil(bottom), 0))
        result[rows, max(math.floor(left), 0):max(math.ceil(right), 0)] = False
    return result


def _enlarged(box: Box, margin: float) -> Box:
    x0, y0, x1, y1 = box
    across, down = margin * (x1 - x0), margin * (y1 - y0)
    return x0 - across, y0 - down, x1 + across, y1 + down
