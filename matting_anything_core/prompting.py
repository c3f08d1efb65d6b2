"""Prompts on one picture: do they fit, where are they in a part of it, and as what does the decoder take them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .boxes import concern
from .errors import MissingExtraError, PromptError
from .geometry import Fit, Window, check_point, clip_box, fit_picture, mask_bounds
from .types import Prompt

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .image import Image

MASK_LOGIT = 10.0
"""How sure a mask given as a prompt is: its logits are ±10, about what the mask decoder itself gives."""

BOX_MARGIN = 0.1
"""Share of a box's width and height by which an object may stick out of it."""


def checked(prompt: Prompt, height: int, width: int) -> Prompt:
    """The prompt as it is used on a picture of height × width: its box clipped, one put around a mask without one.

    Raises PromptError for a box or point outside of the picture and a mask of another size, MissingExtraError for
    words. Warns (module `warnings`) of a box with next to nothing in it.
    """
    if prompt.text is not None:
        raise MissingExtraError(
            f"the prompt holds the words {prompt.text!r}; a model takes boxes, points and masks. Words need the extra "
            "`text` (pip install 'matting-anything-core[text]') and go through matte(image, prompt)"
        )
    for point in prompt.points or ():
        check_point(point, height, width)
    box = prompt.box
    if prompt.mask is not None:
        if prompt.mask.shape != (height, width):
            raise PromptError(f"the mask is {prompt.mask.shape[1]} x {prompt.mask.shape[0]} pixels, the picture "
                              f"{width} x {height}; expected a mask of the picture's size")
        box = mask_bounds(prompt.mask) if box is None else box
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


def groups(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Indices of prompts that have the same parts and the same number of points."""
    groups: dict[tuple[bool, int, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        key = prompt.box is not None, len(prompt.points or ()), prompt.mask is not None
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def mask_logits(mask: np.ndarray[Any, Any], fit: Fit) -> Tensor:
    """A mask H×W as logits 1×4h×4w in the encoder's square; what is padded is not the object."""
    import numpy as np
    import torch

    side = fit.square // 4
    small = fit.at(side)
    height, width = small.scaled
    share = fit_picture(mask.astype(np.uint8) * 255, small)
    logits = torch.full((1, side, side), -MASK_LOGIT)
    logits[0, :height, :width] = torch.from_numpy(share.astype(np.float32)) * (2 * MASK_LOGIT / 255) - MASK_LOGIT
    return logits


def within(prompt: Prompt, part: Window) -> Prompt | None:
    """The prompt in a part of the picture, as if that were the picture; None when part of the object is elsewhere.

    The prompt has a box (see `checked`). Negative points elsewhere say nothing about the part and are left out.
    """
    assert prompt.box is not None
    x, y = part.left, part.top
    points = []
    for point, label in zip(prompt.points or (), prompt.labels or (), strict=True):
        if part.left <= point[0] <= part.right and part.top <= point[1] <= part.bottom:
            points.append(((point[0] - x, point[1] - y), label))
        elif label:
            return None
    x0, y0, x1, y1 = prompt.box
    return Prompt(
        box=(x0 - x, y0 - y, x1 - x, y1 - y),
        points=[point for point, _ in points] or None,
        labels=[label for _, label in points] or None,
        mask=None if prompt.mask is None else prompt.mask[part.slices()],
    )


def ended_at_box(logits: Tensor, prompt: Prompt, fit: Fit) -> Tensor:
    """Mask logits 1×4h×4w in the encoder's square with nothing outside of the prompt's box and a margin.

    As they are for a prompt without a box, or with a positive point outside of the margin.
    """
    if prompt.box is None:
        return logits
    x0, y0, x1, y1 = prompt.box
    across, down = BOX_MARGIN * (x1 - x0), BOX_MARGIN * (y1 - y0)
    left, top, right, bottom = x0 - across, y0 - down, x1 + across, y1 + down
    for (x, y), label in zip(prompt.points or (), prompt.labels or (), strict=True):
        if label and not (left <= x <= right and top <= y <= bottom):
            return logits
    scale = logits.shape[-1] / fit.square
    left, top, right, bottom = (value * scale for value in fit.box((left, top, right, bottom)))
    rows, columns = slice(max(int(top), 0), max(int(bottom) + 1, 0)), slice(max(int(left), 0), max(int(right) + 1, 0))
    ended = logits.clamp(max=-MASK_LOGIT)
    ended[..., rows, columns] = logits[..., rows, columns]
    return ended
