"""What comes out: the Matte, with its cut-out, its composites and clean foreground colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .image import Image, ImageInput
    from .types import Box, Prompt


@dataclass(frozen=True, eq=False)
class Matte:
    """The alpha matte of one object in one picture of H×W pixels.

    alpha: float32 H×W in 0..1, the share of the object in each pixel; the picture's own size.
    mask: bool H×W, the segmentation the matte grew from (SAM's mask).
    score: the network's own estimate of the mask's IoU with the object, about 0..1.
    prompt: what was asked, its box clipped to the picture. phrase, phrase_score: the words that matched and how surely
    (0..1), for prompts with text; None for others.
    image: the picture.
    """

    alpha: np.ndarray[Any, np.dtype[np.float32]] = field(repr=False)
    mask: np.ndarray[Any, np.dtype[np.bool_]] = field(repr=False)
    score: float
    prompt: Prompt
    image: Image = field(repr=False)
    phrase: str | None = None
    phrase_score: float | None = None

    @property
    def box(self) -> Box | None:
        """The box that was used, in pixels: given, or found for words or around a mask; None for points alone."""
        return self.prompt.box

    @cached_property
    def foreground(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The object's own colours: float32 H×W×3 in 0..1, the background's share in soft pixels removed.

        Where alpha is 1 they are the picture's; where it is 0 they continue smoothly, so that no fringe shows when
        the picture is scaled or blurred later. Made when first asked for and kept.
        """
        from .foreground import estimate_foreground

        return estimate_foreground(self.image.rgb_float(), self.alpha)

    def cutout(self) -> Image:
        """The object on transparent ground: straight (not premultiplied) alpha with clean colours.

        8 bits a channel, or 16 when the picture had them.
        """
        from .image import Image

        dtype, top = self.image.rgb.dtype, 255 if self.image.rgb.dtype.itemsize == 1 else 65535
        return Image(
            rgb=(self.foreground * top + 0.5).astype(dtype), alpha=(self.alpha * float(top) + 0.5).astype(dtype)
        )

    def composite(self, background: ImageInput | tuple[int, int, int]) -> Image:
        """The object on another background: I = alpha F + (1 - alpha) B (section 3.1).

        background: a colour (red, green, blue, 0..255), or a picture, which is scaled to cover the object's picture
        and cropped in the middle when it has another size.
        """
        from .foreground import composite
        from .image import Image, read_image

        dtype, top = self.image.rgb.dtype, 255 if self.image.rgb.dtype.itemsize == 1 else 65535
        if isinstance(background, (tuple, list)):
            import numpy as np

            from .errors import ImageError

            colour = np.asarray(background, dtype=np.float64)
            if colour.shape != (3,) or not ((colour >= 0) & (colour <= 255)).all():
                raise ImageError(f"the background colour is {background!r}; expected three numbers 0..255")
            ground = (colour / 255).astype(np.float32)
        else:
            ground = read_image(background).rgb_float()
        return Image(rgb=(composite(self.foreground, self.alpha, ground) * top + 0.5).astype(dtype))
