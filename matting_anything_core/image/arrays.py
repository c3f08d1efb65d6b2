"""What an array of pixels may be, and the steps between its number types: floats 0..1, uint8 and uint16."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

from ..errors import ImageError, TooManyPixelsError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

WANTED = "expected height x width (gray) or height x width x 3 or 4, as uint8, uint16, bool or floats in 0..1"
OVERSHOOT = 1e-3  # resampling and rounding leave floats a little outside of 0..1; that much is clipped silently


def check_pixel_count(width: int, height: int, max_pixels: int | None, name: str) -> None:
    """Raises ImageError when a picture of this size is empty, TooManyPixelsError when it has more than `max_pixels`
    pixels (None: no limit)."""
    if width < 1 or height < 1:
        raise ImageError(f"{name} is empty: {width} x {height} pixels")
    if max_pixels is not None and width * height > max_pixels:
        raise TooManyPixelsError(
            f"{name} has {width} x {height} = {width * height / 1e6:.1f} megapixels, more than the limit of "
            f"{max_pixels / 1e6:g} megapixels; make it smaller, or raise max_pixels if you trust it"
        )


def is_tensor(value: object) -> bool:
    """True for torch tensors; torch is not imported for it (who has a tensor has imported it already)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def tensor_to_array(tensor: Any, name: str) -> Array:
    """A tensor H×W, C×H×W or H×W×C on any device -> array H×W or H×W×C (a view where it can be one).

    C×H×W is torch's habit and wins where both readings are possible: the first axis is taken for the channels when its
    length is 1, 3 or 4, and only otherwise the last one.
    """
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":  # numpy has no such type
        tensor = tensor.float()
    array: Array = tensor.cpu().numpy()
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise ImageError(f"{name} has the shape {array.shape}; expected channels x height x width "
                         "or height x width x channels with 1, 3 or 4 channels")
    return array


def check_array(array: Array, name: str, max_pixels: int | None = None) -> Array:
    """Return `array` as H×W×C with C = 1, 3 or 4 in bool, uint8, uint16 or float, native byte order (a view if it can
    be one). Raises ImageError for every other shape and type, for empty ones, and for floats outside of 0..1."""
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 4:
        raise ImageError(f"{name} has the shape {shape}, a batch; give one picture at a time, for example batch[0]")
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        hint = ""
        if array.ndim == 3 and shape[0] in (1, 3, 4):
            hint = "; it looks like channels first: give array.transpose(1, 2, 0)"
        raise ImageError(f"{name} has the shape {shape}; {WANTED}{hint}")
    check_pixel_count(array.shape[1], array.shape[0], max_pixels, name)
    kind = array.dtype.kind
    if kind == "f":
        _check_floats(array, name)
    elif array.dtype != bool and not (kind == "u" and array.dtype.itemsize <= 2):
        hint = "; use array.astype(np.uint8) if its values are 0..255" if kind in "iu" else ""
        raise ImageError(f"{name} holds {array.dtype}; {WANTED}{hint}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_floats(array: Array, name: str) -> None:
    low, high = float(array.min()), float(array.max())  # NaN anywhere makes both NaN
    if not np.isfinite(low) or not np.isfinite(high):
        raise ImageError(f"{name} holds NaN or infinite values; floats must be numbers in 0..1")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        hint = "" if low < -OVERSHOOT or high > 65535 else (
            "; divide by 255 (or give it as uint8)" if high <= 255 else "; divide by 65535 (or give it as uint16)")
        raise ImageError(f"{name} holds floats from {low:g} to {high:g}; expected 0..1{hint}")


def quantise(array: Array, bits: int) -> Array:
    """bool, uint8, uint16 or floats in 0..1 -> a new contiguous array of uint8 (`bits` = 8) or uint16 (16), rounded to
    the nearest value, so that 8 -> 16 -> 8 bits gives the same numbers back."""
    kind: np.dtype[Any] = np.dtype(np.uint8 if bits == 8 else np.uint16)
    top = 255 if bits == 8 else 65535
    if array.dtype == kind:
        return np.array(array, order="C")
    if array.dtype == bool:
        full: Array = np.ascontiguousarray(array).astype(kind) * kind.type(top)
        return full
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array, dtype=np.uint16) * np.uint16(257)
    if array.dtype == np.uint16:  # round(value / 257) in integers
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8, order="C")
    result = np.empty(array.shape, kind)
    rows = max(1, (1 << 22) // max(1, array[0].size))  # in strips: floats of the whole picture would be large
    for y in range(0, len(array), rows):
        strip = np.clip(array[y:y + rows].astype(np.float32), 0, 1)
        result[y:y + rows] = np.rint(strip * top)
    return result
