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


def planes_of(mask: torch.Tensor | None, pictures: Sequence[Image], what: str, least: float = 0.5) -> list[list[Array]]:
    """The planes of a MASK for each picture, float32 H×W in 0..1, scaled to it: one for all, one each, or several for
    one picture.

    What has nothing above `least` is no mask: LoadImage gives zeros, 64 × 64, for pictures without alpha. An IMAGE is
    taken for the mean of its colours. Without a MASK there are none.
    """
    count = len(pictures)
    if mask is None or mask.ndim < 2 or not mask.numel():
        return [[] for _ in pictures]
    if mask.ndim == 4 and mask.shape[-1] in (1, 3, 4):
        mask = mask[..., :3].mean(-1)
    planes = mask.reshape(-1, *mask.shape[-2:])
    if len(planes) not in (1, count) and count > 1:
        raise PromptError(f"{what} holds {len(planes)} for {count} pictures; expected one for all, or one each")
    if count == 1:
        return [_present(planes, pictures[0], least)]
    each = planes if len(planes) == count else planes.expand(count, -1, -1)
    return [_present(plane[None], picture, least) for plane, picture in zip(each, pictures, strict=True)]


def _present(planes: torch.Tensor, picture: Image, least: float) -> list[Array]:
    found = (_array(plane) for plane in planes)
    return [at_size(plane, picture.height, picture.width) for plane in found if (plane > least).any()]


def masks_of(mask: torch.Tensor | None, pictures: Sequence[Image], what: str = "mask") -> list[list[Array]]:
    """The same as masks, bool H×W: above a half."""
    return [[plane > 0.5 for plane in planes if (plane > 0.5).any()] for planes in planes_of(mask, pictures, what)]


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


def grown(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    """A mask H×W grown by a square of `pixels` on every side: the largest value around."""
    if pixels <= 0:
        return mask
    wide = 2 * pixels + 1
    plane = mask[None, None].float()
    plane = torch.nn.functional.max_pool2d(plane, (1, wide), stride=1, padding=(0, pixels))
    return torch.nn.functional.max_pool2d(plane, (wide, 1), stride=1, padding=(pixels, 0))[0, 0]
