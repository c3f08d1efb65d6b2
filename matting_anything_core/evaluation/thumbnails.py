"""Small pictures for the report: the picture with its prompts, a matte, and what the matte cuts out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..opencv import cv2
from ..replacing import replacing
from ..types import Prompt

ImageArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

THUMBNAIL_SIDE = 360
BACKDROP = (38, 166, 154)
"""Cut-outs are shown on this colour: far from skin, hair, fur and from most photographs' backgrounds."""
_HUES = ((255, 255, 255), (255, 170, 60), (90, 180, 255), (150, 235, 110), (255, 120, 200), (240, 230, 90))


def shrink(array: npt.NDArray[Any], side: int = THUMBNAIL_SIDE) -> npt.NDArray[Any]:
    """An image or a matte with its longer side at most `side`, averaged."""
    scale = side / max(array.shape[:2])
    if scale >= 1:
        return array
    size = (max(1, round(array.shape[1] * scale)), max(1, round(array.shape[0] * scale)))
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA))


def draw_prompts(image: ImageArray, prompts: Sequence[Prompt | None]) -> ImageArray:
    """The picture, small, with boxes and points drawn into it."""
    small = np.ascontiguousarray(shrink(image)).copy()
    scale = small.shape[1] / image.shape[1]
    for index, prompt in enumerate(prompts):
        if prompt is None:
            continue
        colour = _HUES[(index + 1) % len(_HUES)]
        if prompt.box is not None:
            x0, y0, x1, y1 = (round(value * scale) for value in prompt.box)
            cv2.rectangle(small, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), (0, 0, 0), 3)
            cv2.rectangle(small, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), colour, 1)
        for x, y in prompt.points or ():
            centre = (round(x * scale), round(y * scale))
            cv2.circle(small, centre, 5, (0, 0, 0), -1)
            cv2.circle(small, centre, 4, colour, -1)
    return small


def show_mattes(image: ImageArray, mattes: Sequence[FloatArray | None]) -> ImageArray:
    """The mattes above, what they cut out below, small: H×W×3 uint8. One matte is shown in gray, several in colours."""
    small = shrink(image).astype(np.float32)
    shape = small.shape[:2]
    alphas = [np.zeros(shape, np.float32) if matte is None else shrink(matte) for matte in mattes]
    total = np.zeros((*shape, 3), np.float32)
    for index, alpha in enumerate(alphas):
        total += alpha[..., None] * np.asarray(_HUES[(index + (len(alphas) > 1)) % len(_HUES)], np.float32)
    together = np.max(alphas, axis=0)[..., None] if alphas else np.zeros((*shape, 1), np.float32)
    cut = small * together + np.asarray(BACKDROP, np.float32) * (1 - together)
    gap = np.full((4, shape[1], 3), 255, np.float32)
    result: ImageArray = np.clip(np.rint(np.concatenate([total, gap, cut])), 0, 255).astype(np.uint8)
    return result


def save_jpeg(path: Path, image: ImageArray) -> None:
    """Write an RGB picture as JPEG; the file is whole or not there."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        Image.fromarray(image).save(file, "JPEG", quality=88)
