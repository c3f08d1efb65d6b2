"""How well a decoder is corrected: IoU after a box and after each click, clicks obeyed, and what it makes of masks.

The protocol is that of RITM: the next click is where the distance to what is right is largest, on false negatives or
false positives, whichever lies deeper. Everything is measured on the decoder's own mask in the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..geometry import mask_bounds
from ..networks.sam import Sam
from ..opencv import cv2
from ..pipeline.prompting import MASK_LOGIT
from .augment import Rng
from .clicks import Mask, depth
from .clicks_task import at_points, chosen
from .validation import Item, network_input

CLICKS = 5
"""Clicks that follow the box."""
RADIUS = 2
"""Pixels about a click that are to have its label."""


@dataclass(frozen=True)
class Subject:
    """features: 1×256×h×w; truth and ignored: bool, of the image in the input (without padding); kind: its source."""

    kind: str
    features: Tensor
    truth: Mask
    ignored: Mask
    side: int

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 around the truth, in pixels of the input."""
        return mask_bounds(self.truth)


@torch.no_grad()
def subject(sam: Sam, kind: str, rgb: np.ndarray[Any, Any], alpha: np.ndarray[Any, Any],
            ignored: Mask | None = None) -> Subject | None:
    """An image H×W×3 uint8 encoded, with its truth H×W uint8; ignored: H×W, what counts for nothing. None when there
    is no truth in it."""
    pixels, height, width = network_input(sam, rgb, sam.square)
    truth = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA) > 127
    left_out = np.zeros(truth.shape, bool)
    if ignored is not None:
        left_out = cv2.resize(ignored.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    if not (truth & ~left_out).any():
        return None
    device = sam.mask_decoder.mask_tokens.weight.device
    return Subject(kind, sam.encode(pixels.to(device)).float(), truth & ~left_out, left_out, sam.square)


def mask_of(logits: Tensor, shape: tuple[int, ...]) -> Mask:
    """Logits h×w on the decoder's grid as a mask in pixels of the input, cut to the image."""
    full = F.interpolate(logits[None, None].float(), scale_factor=4, mode="bilinear", align_corners=False)[0, 0]
    result: Mask = (full[: shape[0], : shape[1]] > 0).cpu().numpy()
    return result


def as_prompt(mask: Mask, side: int) -> Tensor:
    """A mask in pixels of the input as a mask prompt 1×1×side/4×side/4."""
    full = np.zeros((side, side), np.float32)
    full[: mask.shape[0], : mask.shape[1]] = mask
    share = cv2.resize(full, (side // 4, side // 4), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(share * (2 * MASK_LOGIT) - MASK_LOGIT)[None, None]


def iou(mask: Mask, item: Subject) -> float:
    """Intersection over union with the truth, outside of what is ignored."""
    found = mask & ~item.ignored
    return float((found & item.truth).sum() / max(1, (found | item.truth).sum()))


def deepest_error(mask: Mask, item: Subject) -> tuple[int, int, int] | None:
    """x, y, label of the next click; None where nothing is wrong."""
    missing, extra = (depth(x & ~item.ignored) for x in (item.truth & ~mask, ~item.truth & mask))
    label = int(missing.max() >= extra.max())
    field = missing if label else extra
    if field.max() <= 0:
        return None
    y, x = np.unravel_index(int(field.argmax()), field.shape)
    return int(x), int(y), label


def obeys(mask: Mask, click: tuple[int, int, int]) -> bool:
    """Whether the click's pixel and those about it have its label."""
    x, y, label = click
    part = mask[max(y - RADIUS, 0) : y + RADIUS + 1, max(x - RADIUS, 0) : x + RADIUS + 1]
    return bool((part == bool(label)).all())


@torch.no_grad()
def corrected(sam: Sam, item: Subject, *, clicks: int = CLICKS, form: Literal["logits", "mask", "none"] = "logits",
              obedient: bool = False) -> tuple[list[float], list[bool], list[bool]]:
    """From the box around the truth, then click by click: the IoU after the box and each click, whether each click was
    obeyed when it was made, and whether each still is after the last one.

    form: the mask prompt of later rounds: the logits before, or the mask before, or none. obedient: of the candidates
    the one that obeys most clicks is taken, the most confident one of several. Where nothing is left to mend the last
    IoU stays.
    """
    box = torch.tensor([item.box], device=item.features.device)
    logits = chosen(*sam.decode(item.features, boxes=box))[0]
    mask = mask_of(logits, item.truth.shape)
    ious, obeyed, made = [iou(mask, item)], [], []
    for _ in range(clicks):
        click = deepest_error(mask, item)
        if click is None:
            ious += [ious[-1]] * (clicks + 1 - len(ious))
            break
        made.append(click)
        points = torch.tensor([[(x + 0.5, y + 0.5) for x, y, _ in made]], device=box.device)
        labels = torch.tensor([[float(label) for _, _, label in made]], device=box.device)
        prompt = None
        if form != "none":
            prompt = logits[None, None].clamp(-MASK_LOGIT, MASK_LOGIT) if form == "logits" \
                else as_prompt(mask, item.side).to(box.device)
        found, scores = sam.decode(item.features, boxes=box, points=points, labels=labels, masks=prompt)
        if obedient:
            there = torch.stack([at_points(found[:, k].expand(len(made), -1, -1), points[0]) > 0 for k in range(3)])
            scores = scores + (there == (labels[0] > 0.5)).float().sum(1)
        logits = chosen(found, scores)[0]
        mask = mask_of(logits, item.truth.shape)
        ious.append(iou(mask, item))
        obeyed.append(obeys(mask, click))
    return ious, obeyed, [obeys(mask, click) for click in made]


def spoiled(rng: Rng, item: Subject, kind: str) -> Mask:
    """The true mask, or it eroded or dilated by 10 pixels, or with holes and islands."""
    if kind in ("eroded", "dilated"):
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21))
        how = cv2.erode if kind == "eroded" else cv2.dilate
        changed: Mask = how(item.truth.astype(np.uint8), kernel) > 0
        return changed if changed.any() else item.truth
    mask = item.truth.astype(np.uint8).copy()
    if kind == "holes":
        radius = max(3, int(0.08 * np.sqrt(item.truth.sum())))
        for value in (0, 0, 1, 1):
            places = np.flatnonzero(mask != value)
            if len(places):
                y, x = divmod(int(places[rng.integers(len(places))]), mask.shape[1])
                cv2.circle(mask, (x, y), radius, (value,), -1)
    return mask > 0


@torch.no_grad()
def from_mask(sam: Sam, item: Subject, mask: Mask) -> float:
    """The IoU of what a mask given as the prompt, with the box around it, comes out as."""
    box = torch.tensor([mask_bounds(mask)], device=item.features.device)
    prompt = as_prompt(mask, item.side).to(box.device)
    return iou(mask_of(chosen(*sam.decode(item.features, boxes=box, masks=prompt))[0], item.truth.shape), item)


def subjects(sam: Sam, items: Sequence[Item]) -> list[Subject]:
    """Validation pictures, encoded."""
    found = (subject(sam, item.kind, item.rgb, item.alpha) for item in items)
    return [x for x in found if x is not None]


def click_scores(sam: Sam, items: Sequence[Subject], **how: Any) -> dict[str, dict[str, float]]:
    """Means for each kind: iou, iou_1, … of the box and of each click after it, obeyed (each click when it was made)
    and kept (all of them at the end), and for masks given as prompts mask_KIND_in and mask_KIND, IoU before and after.
    how: see `corrected`."""
    sums: dict[str, dict[str, list[float]]] = {}
    for number, item in enumerate(items):
        values = sums.setdefault(item.kind, {})
        ious, obeyed, kept = corrected(sam, item, **how)
        for clicks, value in enumerate(ious):
            values.setdefault(f"iou_{clicks}" if clicks else "iou", []).append(value)
        values.setdefault("obeyed", []).extend(map(float, obeyed))
        values.setdefault("kept", []).extend(map(float, kept))
        rng = np.random.default_rng((7, number))
        for kind in ("true", "eroded", "dilated", "holes"):
            mask = spoiled(rng, item, kind)
            values.setdefault(f"mask_{kind}_in", []).append(iou(mask, item))
            values.setdefault(f"mask_{kind}", []).append(from_mask(sam, item, mask))
    return {kind: {name: float(np.mean(x)) for name, x in values.items() if x} for kind, values in sums.items()}
