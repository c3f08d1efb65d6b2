"""Pictures of which less is wanted: no more than so many pixels on the longer side, and the prompts that go with them.

A JPEG is decoded smaller from the beginning, which is where the time of a large one goes; the rest is averaged. It is
for results that are smaller as well, such as the pictures of a shop's pages: a result of the full size needs the full
picture.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import PromptError
from .image import Image, read_image
from .image.formats import format_at
from .image.read import decode, read_file, upright_size
from .opencv import cv2
from .times import Times
from .types import Prompt

if TYPE_CHECKING:
    import numpy as np

    from .image import ImageInput
    from .types import PromptInput


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as it is matted, and the size that prompts are about.

    Parameters
    ----------
    image
        Scaled when it was too large.
    width, height
        Of the picture in the file, upright.
    """

    image: Image
    width: int
    height: int

    @property
    def scaled(self) -> bool:
        """Whether the image is smaller than the picture."""
        return (self.image.width, self.image.height) != (self.width, self.height)


def read_picture(source: ImageInput, max_pixels: int | None, max_side: int | None, times: Times, *,
                 name: str = "the picture given as bytes") -> Picture:
    """Read an image, scaled so that its longer side has no more than `max_side` pixels. name: of bytes, for errors.

    Raises ImageError as `read_image` does.
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        with times.of("read"):
            source, name = read_file(path, max_pixels), repr(path)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        source = bytes(source)
    with times.of("decode"):
        if not isinstance(source, bytes):
            image = read_image(source, max_pixels=max_pixels)
            width, height = image.width, image.height
        else:
            form = format_at(source[:512])
            jpeg = max_side is not None and form is not None and form.pillow == "JPEG"
            image = decode(source, name, max_pixels, max_side if jpeg else None)
            width, height = upright_size(source, name, max_pixels) if jpeg else (image.width, image.height)
        return Picture(_within(image, width, height, max_side), width, height)


def _within(image: Image, width: int, height: int, max_side: int | None) -> Image:
    """An image of at most so many pixels on the longer side, of the shape that the whole picture has."""
    if max_side is None or max(width, height) <= max_side:
        return image
    share = max_side / max(width, height)
    size = max(1, round(width * share)), max(1, round(height * share))
    if image.alpha is None:
        return Image(_averaged(image.rgb, size), None, image.profile, image.metadata)
    # Colours count as much as they are seen; where nothing is seen they are averaged as they are.
    import numpy as np

    top = float(np.iinfo(image.rgb.dtype).max)
    weight = image.alpha.astype(np.float32)[..., None] / top
    alpha = _averaged(image.alpha, size)
    seen, plain = _averaged(image.rgb * weight, size), _averaged(image.rgb, size)
    small = _averaged(weight[..., 0], size)[..., None]
    colours = np.where(small > 1 / top, seen / np.maximum(small, 1 / top), plain)
    rgb = np.clip(np.rint(colours), 0, top).astype(image.rgb.dtype)
    return Image(rgb, alpha, image.profile, image.metadata)


def _averaged(pixels: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    small: np.ndarray[Any, Any] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small


def scaled_prompt(asked: PromptInput, picture: Picture) -> PromptInput:
    """A prompt in pixels of the picture -> the same in pixels of its image.

    Raises PromptError for strokes and earlier mattes, which belong to pixels.
    """
    if not picture.scaled:
        return asked
    prompt = Prompt.of(asked)
    if prompt.keep is not None or prompt.drop is not None or prompt.previous is not None:
        raise PromptError("strokes and an earlier matte belong to the pixels of an image and were given with max_side, "
                          "which scales it; expected a box, points, a mask, a trimap or words")
    width, height = picture.image.width / picture.width, picture.image.height / picture.height
    box = None if prompt.box is None else (
        prompt.box[0] * width, prompt.box[1] * height, prompt.box[2] * width, prompt.box[3] * height)
    points = None if prompt.points is None else [(x * width, y * height) for x, y in prompt.points]
    return Prompt(box=box, points=points, labels=prompt.labels, mask=_sampled(prompt.mask, picture), text=prompt.text,
                  trimap=_sampled(prompt.trimap, picture))


def _sampled(array: Any, picture: Picture) -> Any:
    """A mask or trimap of the picture's size -> of the image's. Others are left for the model to refuse."""
    if array is None or array.shape != (picture.height, picture.width):
        return array
    import numpy as np

    size = picture.image.width, picture.image.height
    return cv2.resize(array.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(array.dtype)
