"""Between the picture's pixels and the network's square: fit, coordinates along, and bilinear windows back.

A picture is scaled so that its longer side is the square's side, then zero-padded right and below (SAM's way), or
stretched over the square (SAM 2's). All of it is pure and depends on sizes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import PromptError
from .transfers import uploaded
from .types import Box

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Window(NamedTuple):
    """Whole pixels: rows top..bottom and columns left..right, the last ones excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return max(self.bottom - self.top, 0)

    @property
    def width(self) -> int:
        """Columns."""
        return max(self.right - self.left, 0)

    def slices(self) -> tuple[slice, slice]:
        """Rows and columns for indexing the last two axes."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def moved(self, down: int, right: int) -> Window:
        """The same, so many rows farther down and columns farther right."""
        return Window(self.top + down, self.left + right, self.bottom + down, self.right + right)

    def relative_to(self, outer: Window) -> Window:
        """The same, counted from the first row and column of another window."""
        return self.moved(-outer.top, -outer.left)

    @property
    def empty(self) -> bool:
        """Whether there is no pixel in it."""
        return not self.height or not self.width

    def shared(self, other: Window | None) -> Window:
        """What lies in both; all of it when there is no other."""
        if other is None:
            return self
        return Window(max(self.top, other.top), max(self.left, other.left), min(self.bottom, other.bottom),
                      min(self.right, other.right))

    def united(self, other: Window) -> Window:
        """The smallest window that holds both; an empty one holds nothing."""
        if self.empty or other.empty:
            return other if self.empty else self
        return Window(min(self.top, other.top), min(self.left, other.left), max(self.bottom, other.bottom),
                      max(self.right, other.right))


@dataclass(frozen=True)
class Fit:
    """How a picture of height × width pixels lies in a square of `square` pixels.

    stretched: it fills the square, whatever its shape.
    """

    height: int
    width: int
    square: int
    stretched: bool = False

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the picture inside the square; never below one pixel."""
        if self.stretched:
            return self.square, self.square
        scale = self.square / max(self.height, self.width)
        return max(int(self.height * scale + 0.5), 1), max(int(self.width * scale + 0.5), 1)

    def at(self, square: int) -> Fit:
        """The same picture in another square."""
        return replace(self, square=square)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point of the picture, in the square's pixels."""
        height, width = self.scaled
        return x * width / self.width, y * height / self.height

    def box(self, box: Box) -> Box:
        """A box of the picture, in the square's pixels."""
        return (*self.point(box[0], box[1]), *self.point(box[2], box[3]))


def clip_box(box: Box, height: int, width: int) -> Box:
    """Cut off what sticks out of a picture of height × width.

    Raises PromptError when nothing is left.
    """
    x0, y0, x1, y1 = box
    clipped = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise PromptError(
            f"the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) lies outside the picture, which is {width} x {height} pixels"
        )
    return clipped


def check_point(point: tuple[float, float], height: int, width: int) -> None:
    """Raise PromptError for a point outside a picture of height × width."""
    x, y = point
    if not (0 <= x <= width and 0 <= y <= height):
        raise PromptError(f"the point ({x:g}, {y:g}) lies outside the picture, which is {width} x {height} pixels")


def mask_window(mask: np.ndarray[Any, Any], margin: int = 0) -> Window:
    """The window around what is true in a mask, and a margin.

    Parameters
    ----------
    mask : H×W, of any type: what is not zero counts.
    margin : pixels on every side, as far as the mask goes.

    Returns
    -------
    An empty window (0, 0, 0, 0) where nothing is true.
    """
    import numpy as np

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return Window(0, 0, 0, 0)
    return Window(max(int(rows[0]) - margin, 0), max(int(columns[0]) - margin, 0),
                  min(int(rows[-1]) + 1 + margin, mask.shape[0]), min(int(columns[-1]) + 1 + margin, mask.shape[1]))


def mask_bounds(mask: np.ndarray[Any, Any]) -> Box:
    """The box around what is true in a mask H×W that is not empty: whole pixels, right and bottom edges excluded."""
    window = mask_window(mask)
    return float(window.left), float(window.top), float(window.right), float(window.bottom)


def fit_picture(rgb: np.ndarray[Any, Any], fit: Fit) -> np.ndarray[Any, Any]:
    """H×W×3 uint8 -> h×w×3 uint8 of `fit.scaled`, bilinear with antialiasing (as Pillow does, and so SAM)."""
    import numpy as np
    from PIL import Image

    height, width = fit.scaled
    if rgb.shape[:2] == (height, width):
        return rgb
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def to_square(
    rgb: np.ndarray[Any, Any],
    fit: Fit,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: Any = None,
) -> Tensor:
    """H×W×3 uint8 -> 1×3×S×S float32: scaled, (RGB - mean) / std on the 0..255 scale, zero-padded after that."""
    import torch

    scaled = uploaded(torch.from_numpy(fit_picture(rgb, fit).copy()), device)
    height, width = fit.scaled
    square = torch.zeros((1, 3, fit.square, fit.square), device=device)
    picture = square[0, :, :height, :width]
    picture.copy_(scaled.permute(2, 0, 1))
    by = uploaded(torch.tensor([mean, std]), device).view(2, 3, 1, 1)
    picture.sub_(by[0]).div_(by[1])
    return square


def _taps(start: int, stop: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """For output pixels start..stop of a bilinear resize inputs -> outputs, on the CPU: lower and upper source, upper's
    weight."""
    import numpy as np
    import torch

    # In float64, where positions of large pictures stay exact; weights are float32. numpy, whose calls cost less.
    position = (np.arange(start, stop, dtype=np.float64) + 0.5) * (inputs / outputs) - 0.5
    np.clip(position, 0, inputs - 1, out=position)
    lower = np.floor(position)
    weight = (position - lower).astype(np.float32)
    index = lower.astype(np.int64)
    return torch.from_numpy(index), torch.from_numpy(np.minimum(index + 1, inputs - 1)), torch.from_numpy(weight)


def _lower_tap(place: int, inputs: int, outputs: int) -> int:
    """The lower source of one output pixel, as `_taps` has it."""
    return int(min(max((place + 0.5) * (inputs / outputs) - 0.5, 0.0), inputs - 1.0))


def source_window(window: Window, size: tuple[int, int], source: tuple[int, int]) -> Window:
    """What of a picture of `source` (h, w) is read for `window` of it resized bilinearly to `size` (H, W)."""
    if window.empty:
        return Window(0, 0, 0, 0)
    (top, left), (bottom, right) = (
        tuple(_lower_tap(place, inputs, outputs) for place, inputs, outputs in zip(corner, source, size, strict=True))
        for corner in ((window.top, window.left), (window.bottom - 1, window.right - 1)))
    return Window(top, left, min(bottom + 2, source[0]), min(right + 2, source[1]))


def resize_window(
    x: Tensor,
    size: tuple[int, int],
    window: Window,
    *,
    source: tuple[int, int] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> Tensor:
    """The rows and columns `window` of x (…×h×w) resized bilinearly to `size` (H, W), without making the rest.

    Equal to F.interpolate(mode="bilinear", align_corners=False, antialias=False) followed by the crop. x may be a part
    of a picture of `source` (h, w), with its first row and column at `origin`, that holds `source_window`.
    """
    height, width = x.shape[-2:] if source is None else source
    top, bottom, down = _taps(window.top, window.bottom, height, size[0])
    left, right, across = _taps(window.left, window.right, width, size[1])
    first, last = (int(top[0]), int(bottom[-1]) + 1) if len(top) else (0, 0)
    rows = x[..., first - origin[0] : last - origin[0], :] if len(top) else x[..., :0, :]
    # Columns first: the intermediate has the source's rows, which are fewer when enlarging.
    left, right, top, bottom = _together((left - origin[1], right - origin[1], top - first, bottom - first), x.device)
    across, down = _together((across, down), x.device)
    wide = rows[..., left].lerp(rows[..., right], across.to(x.dtype))
    return wide[..., top, :].lerp(wide[..., bottom, :], down.to(x.dtype).unsqueeze(-1))


def _together(parts: Sequence[Tensor], device: Any) -> Sequence[Tensor]:
    """Small tensors on a device, uploaded as one."""
    import torch

    if device.type == "cpu":
        return parts
    return torch.split(uploaded(torch.cat(list(parts)), device), [len(part) for part in parts])
