"""ViTMatte as an alpha head: a trimap from the mask, and the unknown band in crops at the image's own resolution.

The network's attention is over everything that it is given, so the memory and time of a whole photograph grow with the
square of its size. It was trained on crops of 512 pixels, and alpha at a pixel depends on what is around it: so only
crops along the band are computed, each as large as in training, overlapping, and faded into each other. Where the band
is so wide that a crop would see nothing that is certain (glass, whose inside is unknown), crops are larger, and beyond
that the image is taken smaller.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..device import autocast, in_chunks
from ..geometry import Fit, Window, mask_window
from ..networks.vitmatte import MEAN, MULTIPLE, SIDE, STD, VitMatte, folded
from ..transfers import uploaded
from . import upsampling
from .heads import BinaryMask, HeadOptions, Patch, Report
from .masks import MaskLogits, at_input_size
from .trimap import BACKGROUND, FOREGROUND, UNKNOWN, UNSAID, Hand, make_trimap, widths

if TYPE_CHECKING:
    import numpy as np

    from .embedding import View
    from .trimap import Trimap

    Array = np.ndarray[Any, Any]
    Rgb = np.ndarray[Any, np.dtype[np.uint8]]

OVERLAP = 64
"""Pixels at each side of a crop that are there to be looked at, where another crop takes over."""
LARGEST = 1024
"""Side of a crop at most …"""
ROOM = 2.0
"""… and how many times as large as the band is thick it is at least."""
IN_ONE = 768
"""An image of which no side is longer is one crop: cutting it would cost more than it saves."""
AT_ONCE = 4
"""Crops that a graphics card computes together; some 600 MB each in half precision."""


def _silent(_share: float) -> None:
    return None


class Crop(NamedTuple):
    """A part of the image that is computed, and the part of that whose alpha counts fully."""

    outer: Window
    inner: Window


@dataclass(frozen=True)
class VitMatteHead:
    """Alpha by ViTMatte; see the module's text."""

    network: VitMatte
    dtype: torch.dtype = torch.float32
    input_size: int | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> VitMatteHead:
        """A copy on another device (itself on its own), computing in another type; on CUDA half precision is float16,
        whose ten bits alpha needs."""
        place = torch.device(device)
        kind = torch.float16 if place.type == "cuda" and dtype != torch.float32 else dtype
        here = self.network.device
        if place.type == here.type and place.index in (None, here.index):
            return VitMatteHead(self.network, kind)
        return VitMatteHead(copy.deepcopy(self.network).to(place), kind)

    def alpha(
        self, view: View, mask: MaskLogits, binary: BinaryMask, rgb: Rgb, options: HeadOptions, report: Report,
        where: Window | None = None, hand: Hand = UNSAID,
    ) -> Patch:
        """See `AlphaHead.alpha`."""
        fit, device = view.fit, view.features.device
        whole = Window(0, 0, fit.height, fit.width)
        small = at_input_size(mask.logits, fit)[0, : fit.scaled[0], : fit.scaled[1]].float().cpu().numpy()
        scale = max(fit.height / fit.scaled[0], fit.width / fit.scaled[1])
        if hand.trimap is None:
            bounds = mask_window(binary.inside.cpu().numpy()).moved(binary.bounds.top, binary.bounds.left)
            reach = widths(int((small > 0).sum()), scale).reach + 1
            if hand.marks is not None:
                bounds = bounds.united(mask_window(hand.marks > 0))
        else:
            bounds, reach = mask_window(hand.trimap > 0), 0
        window = _grown(bounds, reach, whole).shared(where)
        if window.empty:
            return Patch(torch.zeros((1, 1, 0, 0), device=device), window)
        # What is around the window is looked at as well, so that corrections of a part see the same as all of it.
        room = _grown(window, LARGEST, whole)
        trimap = make_trimap(
            binary.within(room)[0, 0].cpu().numpy(), small, view.rgb, options.band, hand.within(*room.slices()),
            transparent=options.transparent, where=room, size=(fit.height, fit.width))
        report(0.1)
        alpha = matte_band(self, rgb[room.slices()], trimap, lambda share: report(0.1 + 0.85 * share),
                           where=window.relative_to(room), smaller=1.0 if options.detail else max(scale, 1.0))
        return Patch(uploaded(torch.from_numpy(alpha), device)[None, None], window)

    def solve(self, rgb: Rgb, trimap: Trimap, report: Report = _silent) -> Tensor:
        """The network's alpha B×1×H×W float32 of pictures B×H×W×3 and trimaps B×H×W, uint8, as they are."""
        place = self.network.device
        pixels = uploaded(torch.from_numpy(rgb), place).permute(0, 3, 1, 2).float() / 255
        by = uploaded(torch.tensor([MEAN, STD]), place).view(2, 1, 3, 1, 1)
        known = uploaded(torch.from_numpy(trimap), place).unsqueeze(1).float() / 255
        together = torch.cat([(pixels - by[0]) / by[1], known], dim=1)
        height, width = trimap.shape[-2:]
        together = F.pad(together, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        with autocast(place, self.dtype):
            return cast(Tensor, self.network(together, report))[..., :height, :width].float()


def vitmatte_head(network: nn.Module) -> VitMatteHead:
    """The head of a network with its weights, on the CPU."""
    assert isinstance(network, VitMatte)
    return VitMatteHead(folded(network))


def matte_band(
    head: VitMatteHead, rgb: Rgb, trimap: Trimap, report: Report = _silent, *,
    where: Window | None = None, smaller: float = 1.0,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Alpha of an image and its trimap, computed around what is unknown.

    Parameters
    ----------
    head : VitMatteHead
        The network, where it is.
    rgb : ndarray
        H×W×3 uint8.
    trimap : ndarray
        H×W uint8: 0 background, 255 foreground, 128 to be found.
    report : callable
        Called with the share that is done, several times a crop; what it raises ends the work.
    where : Window, optional
        The part that is wanted; left out, all of it.
    smaller : float
        How many times smaller than the image alpha is found and enlarged again, at least.

    Returns
    -------
    h×w float32 in 0..1 of the part that is wanted: 0 and 1 where the trimap is certain.
    """
    import numpy as np

    from ..opencv import cv2

    height, width = trimap.shape
    part = Window(0, 0, height, width) if where is None else where
    alpha: Array = (trimap[part.slices()] == FOREGROUND).astype(np.float32)
    unknown = np.zeros(trimap.shape, np.bool_)
    unknown[part.slices()] = trimap[part.slices()] == UNKNOWN
    if not unknown.any():
        return alpha
    thick = thickness(trimap == UNKNOWN, mask_window(unknown))
    smaller = max(smaller, ROOM * thick / LARGEST)
    if smaller > 1:
        size = max(round(width / smaller), 1), max(round(height / smaller), 1)
        less = cv2.resize(trimap, size, interpolation=cv2.INTER_AREA)
        less = np.where(less == BACKGROUND, BACKGROUND, np.where(less == FOREGROUND, FOREGROUND, UNKNOWN))
        fit = Fit(height, width, max(size))
        small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        found = _in_crops(head, small, less.astype(np.uint8), less == UNKNOWN, int(thick / smaller), report)
        large = torch.from_numpy(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)[part.slices()])
        values = upsampling.sharpen(large[None, None], rgb, fit, part)[0, 0].numpy()
    else:
        values = _in_crops(head, rgb, trimap, unknown, int(thick), report)[part.slices()]
    wanted = unknown[part.slices()]
    alpha[wanted] = values[wanted]
    return np.clip(alpha, 0, 1)


def thickness(unknown: np.ndarray[Any, np.dtype[np.bool_]], near: Window) -> float:
    """How thick what is unknown is at its thickest, in pixels; near: the window to look at."""
    import numpy as np

    from ..opencv import cv2

    padded = np.pad(unknown[near.slices()].astype(np.uint8), 1)
    return 2 * float(cv2.distanceTransform(padded, cv2.DIST_L2, 3).max())


def crops(unknown: np.ndarray[Any, np.dtype[np.bool_]], side: int) -> Iterator[Crop]:
    """Crops of one size (`side`, or as large as the image is) whose inner parts cover what is unknown.

    Row after row, each crop where the last one left off: a band that winds through the image takes few of them.
    """
    import numpy as np

    height, width = unknown.shape
    tall, broad = min(side, height), min(side, width)
    left = np.asarray(unknown.any(axis=1))
    top = 0
    while left[top:].any():
        top += int(np.argmax(left[top:]))
        rows = _placed(top, tall, height)
        strip = np.asarray(unknown[top:rows[3]].any(axis=0))
        start = 0
        while strip[start:].any():
            start += int(np.argmax(strip[start:]))
            columns = _placed(start, broad, width)
            yield Crop(Window(rows[0], columns[0], rows[1], columns[1]),
                       Window(rows[2], columns[2], rows[3], columns[3]))
            start = columns[3]
        top = rows[3]


def _placed(first: int, side: int, length: int) -> tuple[int, int, int, int]:
    """Start and stop of a crop's outer and inner part along one axis: the inner one holds `first`, near its start."""
    margin = OVERLAP if side < length else 0
    start = min(max(first - margin, 0), length - side)
    return (start, start + side, 0 if start == 0 else start + margin,
            length if start + side == length else start + side - margin)


def _in_crops(head: VitMatteHead, rgb: Rgb, trimap: Trimap, unknown: np.ndarray[Any, np.dtype[np.bool_]], thick: int,
              report: Report) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Alpha H×W, right where it is unknown, from crops that are faded into each other."""
    import numpy as np

    side = min(max(SIDE, -(-int(ROOM * thick) // 64) * 64), LARGEST)
    if max(trimap.shape) <= IN_ONE:
        side = max(side, *trimap.shape)
    parts = list(crops(unknown, side))
    total, weight = np.zeros(trimap.shape, np.float32), np.zeros(trimap.shape, np.float32)
    once = 1 if head.network.device.type == "cpu" else max(AT_ONCE * SIDE * SIDE // (side * side), 1)

    def found(start: int, stop: int) -> Array:
        chosen = [part.outer.slices() for part in parts[start:stop]]
        alpha = head.solve(np.stack([rgb[one] for one in chosen]), np.stack([trimap[one] for one in chosen]),
                           lambda share: report((start + share * (stop - start)) / len(parts)))
        return np.asarray(alpha[:, 0].cpu().numpy())

    done = 0
    for values in in_chunks(found, len(parts), once, device=head.network.device, what="crops of the image"):
        for one in values:
            fade = _fade(parts[done], trimap.shape)
            place = parts[done].outer.slices()
            total[place] += fade * one
            weight[place] += fade
            done += 1
        report(done / len(parts))
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)


def _fade(crop: Crop, size: tuple[int, ...]) -> Array:
    """How much a crop counts at each of its pixels: 1 inside, falling to nearly 0 at the edges that another one has."""
    import numpy as np

    def along(start: int, stop: int, first: int, last: int) -> Array:
        places = np.arange(start, stop, dtype=np.float32) + np.float32(0.5)
        before = np.where(first > start, (places - start) / np.float32(max(first - start, 1)), 1)
        after = np.where(stop > last, (stop - places) / np.float32(max(stop - last, 1)), 1)
        return np.minimum(np.minimum(before, after), 1).astype(np.float32)

    outer, inner = crop
    down = along(outer.top, outer.bottom, inner.top, inner.bottom)
    across = along(outer.left, outer.right, inner.left, inner.right)
    return np.asarray(down[:, None] * across[None])


def _grown(window: Window, by: int, within: Window) -> Window:
    if window.empty:
        return window
    return Window(window.top - by, window.left - by, window.bottom + by, window.right + by).shared(within)
