"""Small pictures for the browser, as temporary files of ComfyUI's: the picture itself, the matte, the cut-out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import folder_paths
import numpy as np
import torch

from matting_anything_core import Image, write_image

Array = np.ndarray[Any, Any]
T = TypeVar("T")

PICTURE_SIDE = 2048
"""Longest side in pixels of the copy of a picture that the editor shows …"""
MATTE_SIDE = 1024
"""… of a matte over it, and of a cut-out on its node."""
MOST = 64
"""Of a longer batch as many are shown, evenly spread."""
BEHIND = 0.5
"""What shows through where a picture is transparent: mid-gray."""
TILE = 12
"""Pixels of a field of the chessboard under a cut-out."""


def spread(items: Sequence[T]) -> list[tuple[int, T]]:
    """At most MOST of a sequence's items with their places, the first and the last among them."""
    if len(items) <= MOST:
        return list(enumerate(items))
    places = np.linspace(0, len(items) - 1, MOST).round().astype(int).tolist()
    return [(place, items[place]) for place in places]


def picture_file(picture: Image, index: int = 0) -> dict[str, Any]:
    """A picture for the editor: which file, how large the picture itself is, and its place in the batch."""
    pixels = torch.from_numpy(picture.rgb_float())
    alpha = picture.alpha_float()
    if alpha is not None:
        pixels = torch.lerp(torch.full_like(pixels, BEHIND), pixels, torch.from_numpy(alpha)[..., None])
    size = {"width": picture.width, "height": picture.height, "index": index}
    return {**_written(shrunk(pixels, PICTURE_SIDE), "jpg"), **size}


def matte_file(alpha: Array, index: int = 0) -> dict[str, Any]:
    """A matte for the editor, 8-bit gray; the same words about it."""
    size = {"width": alpha.shape[1], "height": alpha.shape[0], "index": index}
    return {**_written(shrunk(torch.from_numpy(alpha.copy())[..., None], MATTE_SIDE), "png"), **size}


def cutout_file(picture: Image, alpha: Array) -> dict[str, Any]:
    """What a matte cuts out, on a chessboard, small; with the picture's own colours, which is quick."""
    planes = np.dstack([picture.rgb_float(), alpha])
    small = shrunk(torch.from_numpy(planes), MATTE_SIDE)
    colours, share = small[..., :3], small[..., 3:]
    rows, columns = (torch.arange(side) // TILE for side in small.shape[:2])
    fields = torch.where((rows[:, None] + columns) % 2 == 0, 0.42, 0.3)[..., None].expand_as(colours)
    return _written(torch.lerp(fields, colours, share), "jpg")


def shrunk(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """H×W×C scaled to a longest side of at most `side`."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = [max(round(height * scale), 1), max(round(width * scale), 1)]
    planes = torch.nn.functional.interpolate(pixels.permute(2, 0, 1)[None], size, mode="bilinear", antialias=True,
                                             align_corners=False)
    return planes[0].permute(1, 2, 0)


def _written(pixels: torch.Tensor, form: str) -> dict[str, str]:
    """Pixels H×W×3 or H×W×1 in 0..1 as a temporary file, whose name tells what is in it."""
    values = (pixels.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()
    values = np.ascontiguousarray(values[..., 0] if values.shape[2] == 1 else values)
    digest = hashlib.blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=12).hexdigest()
    name, folder = f"matting_anything_{digest}.{form}", folder_paths.get_temp_directory()
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        write_image(path, values, quality=92 if form == "jpg" else None)
    return {"filename": name, "subfolder": "", "type": "temp"}
