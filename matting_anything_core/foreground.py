"""Foreground colours: what the object itself looks like in pixels that it shares with the background.

A soft pixel's colour is I = alpha F + (1 - alpha) B; with I alone, a cut-out keeps a fringe of the old background. F
and B are found as in T. Germer, T. Uelwer, S. Conrad, S. Harmeling, "Fast Multi-Level Foreground Estimation" (ICPR
2020, arXiv 2006.14970): each pixel wants to explain its colour and to resemble its neighbours, the more so where alpha
changes; solved from the coarsest picture of a pyramid to the full one, each level starting from the one before.

What differs from the paper, so that it runs as few large operations and mostly on soft pixels only:
- levels are averages of 2×2 pixels and are read back bilinearly (there: nearest pixels both ways);
- where alpha is 1, F is the picture, and where it is 0, B is: such pixels are not iterated on;
- pixels are visited as on a chessboard, first the black fields, then the white ones (there: row by row);
- the tie to the neighbours is weaker (GRADIENT_WEIGHT): on composites of known colours the error is smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .device import working
from .errors import ImageError
from .image.arrays import check_array

if TYPE_CHECKING:
    import torch

    from .types import ProgressCallback

    Array = np.ndarray[Any, np.dtype[np.float32]]

REGULARIZATION = 1e-5  # the tie to each neighbour is REGULARIZATION + GRADIENT_WEIGHT |difference of alpha|
GRADIENT_WEIGHT = 0.1
SURE = 1 / 512  # closer to 0 or 1 than this, alpha counts as 0 or 1: half a step of 8 bits
DENSE_PIXELS = 4096  # levels up to this size are iterated on everywhere, so that colours reach every corner
TILE = 256  # side of what is worked on at once: its numbers fit into the processor's cache

Window: TypeAlias = "tuple[int, int, int, int]"
"""Rows and columns of a level: y0, x0, y1, x1."""


def estimate_foreground(
    image: Array, alpha: Array, own: Array | None = None, *, progress: ProgressCallback | None = None
) -> Array:
    """Foreground colours of a picture, given its alpha matte.

    Parameters
    ----------
    image
        H×W×3, floats 0..1, straight colours.
    alpha
        H×W, floats 0..1: the share of the object in each pixel.
    own
        H×W, floats 0..1: the alpha that the picture has itself, None for opaque ones. Its ground is out of the colours
        already: where the object takes all of what is visible, they are kept. Where it is 0, they say nothing.
    progress
        Called with ("foreground", share done); what it raises ends the work.

    Returns
    -------
    np.ndarray
        float32 H×W×3 in 0..1: where the object is all that is visible exactly the picture's colours, where alpha is 0 a
        smooth continuation. Deterministic; the arguments are not changed.

    Raises
    ------
    ImageError
        For other types and shapes, and for numbers that are not finite or outside of 0..1.
    DeviceError
        When memory does not suffice.
    """
    import torch

    with working(torch.device("cpu"), "estimating the foreground colours"):
        image, alpha = _checked(image, "the picture"), _checked(alpha, "alpha")
        colours, share = _tensor(image), _tensor(alpha)
        if own is not None:
            opacity = _tensor(_checked(own, "the picture's own alpha"))
            if opacity.shape != share.shape:
                raise ImageError(f"the picture's own alpha has the shape {tuple(opacity.shape)}; "
                                 f"expected {tuple(share.shape)}, as alpha")
            colours, share = without_hidden(colours, opacity), share_of_visible(share, opacity)
        result: Array = estimate_foreground_tensor(colours, share, progress=progress).numpy()
        return result


def share_of_visible(alpha: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """How much of what is visible in each pixel is the object's: alpha / own, 0 where nothing is visible."""
    import torch

    return torch.where(own > 0, alpha / own.clamp(min=1e-6), torch.zeros_like(alpha)).clamp_(0, 1)


def without_hidden(image: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """H×W×3 with the colours under alpha 0, which may be anything, replaced by those of the visible pixels around.

    The means of visible colours on ever coarser levels (2×2 pixels each), read back bilinearly.
    """
    import torch

    hidden = own <= 0
    if not bool(hidden.any()):
        return image
    levels = [torch.cat([image * own[..., None], own[..., None]], 2)]
    while max(levels[-1].shape[:2]) > 1:
        levels.append(_halve(levels[-1]))
    filled = levels[-1][..., :3] / levels[-1][..., 3:].clamp(min=1e-12)
    for level in reversed(levels[:-1]):
        height, width = level.shape[:2]
        weight = level[..., 3:]
        wider = _enlarge(filled, (0, 0, height, width), height, width)
        filled = torch.where(weight > 0, level[..., :3] / weight.clamp(min=1e-12), wider)
    return torch.where(hidden[..., None], filled, image)


def _checked(array: Array, name: str) -> Array:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        given = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ImageError(f"{name} was given as {given}; expected an array of floats in 0..1")
    check_array(array, name)
    return np.ascontiguousarray(array, dtype=np.float32)


def _tensor(array: Array) -> torch.Tensor:
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy())  # torch warns of what is read-only


def estimate_foreground_tensor(image: torch.Tensor, alpha: torch.Tensor, *,
                               progress: ProgressCallback | None = None) -> torch.Tensor:
    """As estimate_foreground for float32 tensors H×W×3 and H×W on one device, which is also where the result is."""
    import torch

    if image.ndim != 3 or image.shape[2] != 3 or tuple(alpha.shape) != tuple(image.shape[:2]) or image.numel() == 0:
        raise ImageError(f"the picture has the shape {tuple(image.shape)} and alpha {tuple(alpha.shape)}; "
                         "expected height x width x 3 and height x width")
    with torch.no_grad():
        image, alpha = image.float().contiguous(), alpha.float().contiguous()
        pyramid = [(image, alpha)]
        while max(alpha.shape) > 1:
            image, alpha = _halve(image), _halve(alpha[..., None])[..., 0]
            pyramid.append((image, alpha))
        colours = _mean_colours(*pyramid[min(3, len(pyramid) - 1)])
        rows = _Rows(sum(part.numel() for _, part in pyramid), progress)
        for image, alpha in reversed(pyramid[1:]):
            colours = _level(image, alpha, colours, 10 if max(alpha.shape) <= 32 else 3, 6, rows)
        return _level(*pyramid[0], colours, 2, 3, rows)


class _Rows:
    """Tells how much of all levels' pixels is done."""

    def __init__(self, pixels: int, progress: ProgressCallback | None) -> None:
        self._pixels, self._done, self._progress = pixels, 0, progress

    def done(self, pixels: int) -> None:
        self._done += pixels
        if self._progress is not None:
            self._progress("foreground", self._done / self._pixels)


def composite(foreground: Array, alpha: Array, background: Array) -> Array:
    """I = alpha F + (1 - alpha) B ("Matting Anything", arXiv 2306.05399, section 3.1).

    foreground: H×W×3, alpha: H×W, background: three numbers (one colour) or a picture h×w×3; all floats in 0..1. A
    background of another size is scaled to cover H×W and cropped in the middle. Returns float32 H×W×3 in 0..1.
    Raises ImageError for other types and shapes.
    """
    foreground, alpha = _checked(foreground, "the foreground"), _checked(alpha, "alpha")
    if foreground.ndim != 3 or foreground.shape[2] != 3 or alpha.shape != foreground.shape[:2]:
        raise ImageError(f"the foreground has the shape {foreground.shape} and alpha {alpha.shape}; "
                         "expected height x width x 3 and height x width")
    ground = np.asarray(background, dtype=np.float32)
    if ground.shape == (3,):
        ground = ground[None, None]
    ground = _checked(ground, "the background")
    if ground.ndim != 3 or ground.shape[2] != 3:
        raise ImageError(f"the background has the shape {ground.shape}; expected three numbers or height x width x 3")
    if ground.shape[:2] != (1, 1):
        ground = cover(ground, *alpha.shape)
    result = foreground - ground
    result *= alpha[..., None]
    result += ground
    return np.clip(result, 0, 1, out=result)


def cover(picture: Array, height: int, width: int) -> Array:
    """Scale h×w×3 (float32) to cover height × width, smoothly, and crop it in the middle."""
    import torch

    h, w = picture.shape[:2]
    if (h, w) == (height, width):
        return picture
    scale = max(height / h, width / w)
    size = max(height, round(h * scale)), max(width, round(w * scale))
    planes = _tensor(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    planes = torch.nn.functional.interpolate(planes, size=size, mode="bilinear", antialias=True, align_corners=False)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    result: Array = planes[0, :, top:top + height, left:left + width].permute(1, 2, 0).contiguous().numpy()
    return result


def _halve(x: torch.Tensor) -> torch.Tensor:
    """H×W×C -> means of 2×2 pixels, ceil(H/2)×ceil(W/2)×C; a last odd row or column stands for two."""
    import torch

    height, width, channels = x.shape
    if x.device.type == "cpu" and channels <= 4:  # much faster than torch's
        from .opencv import cv2

        even = x.numpy()
        if height % 2 or width % 2:
            even = cv2.copyMakeBorder(even, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        half = cv2.resize(even, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(half).reshape((height + 1) // 2, (width + 1) // 2, channels)
    upper, lower = x[0::2], x[1::2]
    rows = torch.cat([upper[:len(lower)] + lower, upper[len(lower):] * 2])
    left, right = rows[:, 0::2], rows[:, 1::2]
    return torch.cat([left[:, :right.shape[1]] + right, left[:, right.shape[1]:] * 2], 1).mul_(0.25)


def _mean_colours(image: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The start: mean colours of the surely foreground and surely background pixels, 1×1×6 (F then B)."""
    import torch

    means = []
    for share in (alpha, 1 - alpha):
        weight = (share > 0.9).float() + 1e-6 * share + 1e-12
        means.append((image * weight[..., None]).sum((0, 1)) / weight.sum())
    return torch.cat(means).reshape(1, 1, 6)


def _level(image: torch.Tensor, alpha: torch.Tensor, coarse: torch.Tensor, iterations: int,
           channels: int, told: _Rows) -> torch.Tensor:
    """One level: H×W×3, H×W and the colours of the level below -> H×W×`channels` (6: F and B; 3: F alone).

    Tile by tile. Where a tile is all foreground or all background, one of the colours is the picture's, and the other
    is enlarged from the level below; only tiles with soft pixels are iterated on. They are grown by as many pixels as
    the iterations can see, so the result does not depend on them.
    """
    height, width = alpha.shape
    result = image.new_empty(height, width, channels)
    everywhere = height * width <= DENSE_PIXELS
    for y0 in range(0, height, TILE):
        for x0 in range(0, width, TILE):
            window = y0, x0, min(y0 + TILE, height), min(x0 + TILE, width)
            place = slice(*window[::2]), slice(*window[1::2])
            least, most = (float(end) for end in alpha[place].aminmax())
            if everywhere or (least < 1 - SURE and most > SURE):
                result[place] = _tile(image, alpha, coarse, window, iterations, everywhere)[..., :channels]
            else:
                known = 0 if least >= 1 - SURE else 3  # where the colours are that the picture shows
                for first in range(0, channels, 3):
                    result[place][..., first:first + 3] = image[place] if first == known else \
                        _enlarge(coarse[..., first:first + 3], window, height, width)
            told.done((window[2] - y0) * (window[3] - x0))
    return result


def _tile(image: torch.Tensor, alpha: torch.Tensor, coarse: torch.Tensor, window: Window, iterations: int,
          everywhere: bool) -> torch.Tensor:
    """The colours F and B of one tile of a level, iterated on: h×w×6."""
    import torch

    height, width = alpha.shape
    halo = 2 * iterations
    top, left = max(window[0] - halo, 0), max(window[1] - halo, 0)
    outer = top, left, min(window[2] + halo, height), min(window[3] + halo, width)
    place = slice(*outer[::2]), slice(*outer[1::2])
    pixels, a = image[place].contiguous(), alpha[place].contiguous()
    colours = _enlarge(coarse, outer, height, width)
    sure_f, sure_b = a >= 1 - SURE, a <= SURE

    def put_known() -> None:
        for known, part in ((sure_f, colours[..., :3]), (sure_b, colours[..., 3:])):
            torch.where(known[..., None], pixels, part, out=part)

    put_known()
    active = torch.ones_like(sure_f) if everywhere else (sure_f | sure_b).logical_not_()
    _iterate(pixels, a, colours, active, top + left, iterations)
    if everywhere:
        put_known()
    return colours[window[0] - top:window[2] - top, window[1] - left:window[3] - left]


def _enlarge(coarse: torch.Tensor, window: Window, height: int, width: int) -> torch.Tensor:
    """A part of `coarse` enlarged bilinearly to height × width, twice its size or one less."""
    import torch

    y0, x0, y1, x1 = window
    first = max(y0 // 2 - 1, 0), max(x0 // 2 - 1, 0)  # a pixel around what is needed, so that no border is seen
    part = coarse[first[0]:(y1 - 1) // 2 + 2, first[1]:(x1 - 1) // 2 + 2]
    h, w = part.shape[:2]
    if part.device.type == "cpu":  # thirty times as fast as torch's
        from .opencv import cv2

        wider = torch.from_numpy(cv2.resize(part.numpy(), (2 * w, 2 * h), interpolation=cv2.INTER_LINEAR))
        wider = wider.reshape(2 * h, 2 * w, -1)
    else:
        planes = torch.nn.functional.interpolate(part.permute(2, 0, 1)[None], scale_factor=2, mode="bilinear",
                                                 align_corners=False)
        wider = planes[0].permute(1, 2, 0)
    return wider[y0 - 2 * first[0]:y1 - 2 * first[0], x0 - 2 * first[1]:x1 - 2 * first[1]].contiguous()


def _iterate(image: torch.Tensor, alpha: torch.Tensor, colours: torch.Tensor, active: torch.Tensor, first: int,
             iterations: int) -> None:
    """Update `colours` (h×w×6, in place) at the active pixels, black and white fields of the chessboard in turn.

    For one pixel with its neighbours' weighted means F' and B', the minimum of
    (I - alpha F - (1 - alpha) B)² + s (F - F')² + s (B - B')², s the sum of the weights, is
    F = F' + g alpha r, B = B' + g (1 - alpha) r with r = I - alpha F' - (1 - alpha) B' and
    g = 1 / (s + alpha² + (1 - alpha)²).
    """
    import torch

    height, width = alpha.shape
    table, shares = colours.view(-1, 6), alpha.reshape(-1)
    ys, xs = active.nonzero(as_tuple=True)
    fields = []
    for field in (0, 1):
        chosen = (((ys + xs + first) & 1) == field).nonzero()[:, 0]
        y, x = ys[chosen], xs[chosen]
        place = y * width + x
        neighbours = torch.stack([place - (x > 0).long(), place + (x < width - 1).long(),
                                  place - (y > 0).long() * width, place + (y < height - 1).long() * width], 1)
        share = shares[place][:, None]
        weights = (shares[neighbours] - share).abs_().mul_(GRADIENT_WEIGHT).add_(REGULARIZATION)
        tie = weights.sum(1, keepdim=True)
        mixture = torch.cat([share, 1 - share], 1)
        gain = mixture / (tie + mixture.square().sum(1, keepdim=True))
        fields.append((place, neighbours, weights / tie, mixture, gain, image.reshape(-1, 3)[place]))
    for _ in range(iterations):
        for place, neighbours, weights, mixture, gain, pixel in fields:
            if len(place) == 0:
                continue
            new = torch.nn.functional.embedding_bag(neighbours, table, per_sample_weights=weights, mode="sum")
            rest = pixel.addcmul(mixture[:, :1], new[:, :3], value=-1).addcmul_(mixture[:, 1:], new[:, 3:], value=-1)
            new[:, :3].addcmul_(gain[:, :1], rest)
            new[:, 3:].addcmul_(gain[:, 1:], rest)
            table.index_copy_(0, place, new.clamp_(0, 1))
