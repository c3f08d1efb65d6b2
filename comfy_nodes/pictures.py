"""ComfyUI's tensors and the library's values: IMAGE [B,H,W,C] and MASK [B,H,W] in and out, each float 0..1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management as mm
import numpy as np
import torch

from matting_anything_core import Image, ImageError, PromptError, read_image

Array = np.ndarray[Any, Any]


def images_of(image: torch.Tensor) -> list[Image]:
    """The pictures of an IMAGE: 1 (gray), 3 or 4 (straight alpha) channels; values outside of 0..1 are clipped."""
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[3] not in (1, 3, 4) or image.numel() == 0:
        raise ImageError(f"the image has the shape {tuple(image.shape)}; expected [batch, height, width, channels] "
                         "with 1, 3 or 4 channels")
    return [read_image(_array(picture)) for picture in image]


def _array(tensor: torch.Tensor) -> Array:
    """float32 in 0..1, NaN as 0."""
    result: Array = torch.nan_to_num(tensor.detach().float()).clamp(0, 1).cpu().contiguous().numpy()
    return result


def masks_of(mask: torch.Tensor | None, pictures: Sequence[Image]) -> list[list[Array]] | None:
    """The objects' masks (bool H×W) for each picture: a MASK of one for all, one each, or several for one picture.

    They are scaled to the picture. What has nothing above a half is no mask: LoadImage gives zeros, 64 × 64, for
    pictures without alpha. None when no MASK is given.
    """
    if mask is None:
        return None
    planes = mask.reshape(-1, *mask.shape[-2:]) if mask.ndim >= 2 and mask.numel() else mask.new_zeros((1, 1, 1))
    count = len(pictures)
    if len(planes) not in (1, count) and count > 1:
        raise PromptError(f"there are {len(planes)} masks for {count} pictures; expected one for all, or one each")
    if count == 1:
        return [_present(planes, pictures[0])]
    each = planes if len(planes) == count else planes.expand(count, -1, -1)
    return [_present(plane[None], picture) for plane, picture in zip(each, pictures, strict=True)]


def _present(planes: torch.Tensor, picture: Image) -> list[Array]:
    found = (_array(plane) for plane in planes)
    return [at_size(plane, picture.height, picture.width) > 0.5 for plane in found if (plane > 0.5).any()]


def at_size(plane: Array, height: int, width: int) -> Array:
    """A mask scaled to height × width, bilinear; itself when it has that size."""
    if plane.shape == (height, width):
        return plane
    scaled = torch.nn.functional.interpolate(torch.from_numpy(plane)[None, None], (height, width), mode="bilinear",
                                             antialias=True, align_corners=False)
    return scaled[0, 0].numpy()


def stacked(planes: Sequence[Array]) -> torch.Tensor:
    """Planes H×W or pictures H×W×C, all of one size, as a MASK or an IMAGE where ComfyUI keeps results."""
    result = torch.empty((len(planes), *planes[0].shape), dtype=torch.float32)
    for place, plane in zip(result, planes, strict=True):
        place.copy_(torch.from_numpy(np.array(plane, dtype=np.float32)))
    kind = getattr(mm, "intermediate_dtype", lambda: torch.float32)()
    return result.to(mm.intermediate_device(), kind)
