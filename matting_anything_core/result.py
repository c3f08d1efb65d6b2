"""What comes out: the Matte, with its cut-out, its composites and clean foreground colours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import PIL.Image

    from .image import Image, ImageInput
    from .image.encode import Format
    from .image.layers import Layer, LayeredFormat
    from .model import MattingAnything
    from .options import MatteOptions
    from .pipeline.embedding import Embedding
    from .strokes import Stroke
    from .types import Box, ProgressCallback, Prompt

Background: TypeAlias = "ImageInput | Sequence[float]"
"""A colour or a picture, see `Matte.composite`."""


@dataclass(frozen=True, eq=False)
class Source:
    """What made a matte, for going on from it: the model, the image's embedding and the options."""

    model: MattingAnything
    embedding: Embedding
    options: MatteOptions


SURE = 0.6
"""A subject whose score is at least this was found surely."""


@dataclass(frozen=True, eq=False)
class Matte:
    """The alpha matte of one object in one picture of H×W pixels.

    alpha: float32 H×W in 0..1, the share of the object in each pixel; the picture's own size.
    mask: bool H×W, the segmentation the matte grew from (SAM's mask).
    score: the network's own estimate of the mask's IoU with the object, about 0..1.
    prompt: what was asked, its box clipped to the picture. phrase, phrase_score: the words that matched and how surely
    (0..1), for prompts with text; None for others.
    image: the picture. warnings: what the user should know of it. subject_score: how sure the place of the subject is,
    0..1, where nothing said what to matte; None for all other prompts. source: what made it, for `corrected`.
    """

    alpha: np.ndarray[Any, np.dtype[np.float32]] = field(repr=False)
    mask: np.ndarray[Any, np.dtype[np.bool_]] = field(repr=False)
    score: float
    prompt: Prompt
    image: Image = field(repr=False)
    phrase: str | None = None
    phrase_score: float | None = None
    warnings: tuple[str, ...] = ()
    subject_score: float | None = None
    source: Source | None = field(default=None, repr=False)

    @property
    def box(self) -> Box | None:
        """The box that was used, in pixels: given, or found for words or around a mask; None for points alone."""
        return self.prompt.box

    @property
    def unsure(self) -> bool:
        """Whether it is doubtful that this is the subject of the image, for prompts that did not say what is."""
        return self.subject_score is not None and self.subject_score < SURE

    def corrected(
        self,
        *,
        points: Sequence[tuple[float, float]] | None = None,
        labels: Sequence[int] | None = None,
        keep: Sequence[Stroke] | np.ndarray[Any, Any] | None = None,
        drop: Sequence[Stroke] | np.ndarray[Any, Any] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Matte:
        """This matte with corrections by hand; it stays as it is but for what they point at.

        A chain of corrections is a chain of values: undo is taking the older one.

        Parameters
        ----------
        points, labels, keep, drop
            As for `Prompt`: what is said here is added to what was said before.
        progress : callable, optional
            As for `MattingAnything.matte`.

        Raises
        ------
        PromptError
            When there is nothing to correct, or this matte was not made by a model of this process: then give it to
            `matte` as `Prompt(previous=…)`.

        Examples
        --------
        >>> better = result.corrected(points=[(300, 200)], labels=[0])   # that is not part of it
        """
        from .errors import PromptError
        from .types import continued

        if self.source is None:
            raise PromptError("this matte does not know its model; give it to matte as Prompt(previous=…, points=…)")
        asked = continued(self, points=points, labels=labels, keep=keep, drop=drop)
        [better] = self.source.model.matte(self.source.embedding, [asked], self.source.options, progress=progress)
        return replace(better, phrase=self.phrase, phrase_score=self.phrase_score)

    @cached_property
    def foreground(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The object's own colours: float32 H×W×3 in 0..1, the background's share in soft pixels removed.

        They are in the picture's colour space (`image.profile`). Where alpha is 1 they are the picture's; where it is 0
        they continue smoothly, so that no fringe shows when the picture is scaled or blurred later. A picture that is
        transparent itself keeps its colours. Made when first asked for and kept.
        """
        from .foreground import estimate_foreground
        from .image.memory import memory_for

        with memory_for(f"clean colours of {self.image.width} x {self.image.height} pixels", 3 * self.alpha.nbytes):
            return estimate_foreground(self.image.own_float(), self.alpha, self.image.alpha_float())

    def cutout(self) -> Image:
        """The object on transparent ground: straight (not premultiplied) alpha with clean colours.

        8 bits a channel, or 16 when the picture had them; in the picture's colour space, with its metadata.
        """
        return self._written(self.foreground, self.alpha)

    def opaque(self) -> Image:
        """The object's own colours without alpha: `foreground` as a picture."""
        return self._written(self.foreground, None)

    def composite(self, background: Background) -> Image:
        """The object on another background: I = alpha F + (1 - alpha) B (section 3.1).

        Parameters
        ----------
        background
            A colour: a name ('white'), '#rrggbb', three whole numbers 0..255 or three floats 0..1 (sRGB: red, green,
            blue). Or a picture, anything `read_image` takes, which is scaled to cover the object's picture and cropped
            in the middle when it has another size. 'transparent' gives the cut-out. A text that names a colour is one;
            give a file of that name as a pathlib.Path.

        Returns
        -------
        Image
            In the picture's colour space, with its metadata; with alpha when the background has some.

        Raises
        ------
        ImageError
            When the background is neither a colour nor a picture.
        """
        import numpy as np

        from .errors import ImageError
        from .foreground import composite, cover
        from .image import Image, read_image
        from .image.colour import colour_of, is_colour
        from .image.memory import memory_for

        if isinstance(background, str) and background.strip().lower() == "transparent":
            return self.cutout()
        if is_colour(background):
            quantised = np.rint(colour_of(background) * 65535).astype(np.uint16)
            ground = Image(np.ascontiguousarray(np.broadcast_to(quantised, (1, 1, 3))))
        elif isinstance(background, str) and "://" not in background and not os.path.exists(background):
            raise ImageError(f"the background {background!r} is neither a colour nor a file; expected a name such as "
                             "'white', '#rrggbb', or the path of a picture")
        else:
            ground = read_image(background)  # type: ignore[arg-type]
        own = self
        colours = ground.in_space_of(self.image)
        if colours is None:  # a profile that leads only from its space: both meet in sRGB
            own = Matte(self.alpha, self.mask, self.score, self.prompt, self.image.to_srgb())
            colours = ground.rgb_float()
        with memory_for(f"a composite of {self.image.width} x {self.image.height} pixels", 6 * self.alpha.nbytes):
            opacity = ground.alpha_float()
            if opacity is None or opacity.min() == 1:
                return own._written(composite(own.foreground, self.alpha, colours), None)
            share = opacity[..., None]
            behind = cover(np.concatenate([colours * share, share], 2), *self.alpha.shape)
            behind *= 1 - self.alpha[..., None]
            alpha = self.alpha + behind[..., 3]
            mixed = own.foreground * self.alpha[..., None] + behind[..., :3]
            return own._written(np.clip(mixed / np.maximum(alpha, 1e-6)[..., None], 0, 1), np.clip(alpha, 0, 1))

    def _written(self, colours: np.ndarray[Any, Any], alpha: np.ndarray[Any, Any] | None) -> Image:
        """Floats as a picture of the same bits, space and metadata as the one that was matted."""
        from .image import Image

        dtype, top = self.image.rgb.dtype, 255 if self.image.bits == 8 else 65535
        return Image(
            rgb=(colours * top + 0.5).astype(dtype),
            alpha=None if alpha is None else (alpha * float(top) + 0.5).astype(dtype),
            profile=self.image.profile, metadata=self.image.metadata,
        )

    def to_pil(self) -> PIL.Image.Image:
        """The cut-out as a Pillow picture (RGBA, 8 bits)."""
        return self.cutout().to_pil()

    def layers(self) -> list[Layer]:
        """What a file of layers holds, the lowest first: the picture, hidden; and over it the object's own colours with
        alpha as their mask."""
        from .image.layers import Layer

        cut = self.cutout()
        return [Layer("picture", self.image.pixels(), visible=False), Layer("object", cut.rgb, cut.alpha)]

    def encode(self, form: Format = "png", *, bits: int | None = None, quality: int | None = None) -> bytes:
        """The cut-out as the bytes of a picture file; see `encode_image`. As `psd` and `ora` it has `layers()`."""
        from .image.encode import layered

        if layered(form):
            return self.encode_layers(form, bits=bits)
        return self.cutout().encode(form, bits=bits, quality=quality)

    def encode_layers(
        self, form: LayeredFormat, *, bits: int | None = None, png_level: int | None = None, strip: bool = False,
    ) -> bytes:
        """The bytes of a file with the matte's `layers()`.

        Parameters
        ----------
        form
            `psd` (extra `layers`) or `ora`.
        bits, png_level
            As for `encode_image`.
        strip
            Without the picture's resolution, EXIF and XMP.
        """
        from .image.layers import encode_layers
        from .image.memory import memory_for

        image = self.image.stripped() if strip else self.image
        with memory_for(f"layers of {image.width} x {image.height} pixels", 6 * image.rgb.nbytes):
            return encode_layers(self.layers(), form, bits=bits or image.bits, png_level=png_level,
                                 profile=image.profile, metadata=image.metadata)

    def save(
        self, target: str | os.PathLike[str] | IO[bytes], *, bits: int | None = None, quality: int | None = None,
        form: Format | None = None,
    ) -> None:
        """Write the cut-out to a path or a file object; see `write_image`. Files of layers (.psd, extra `layers`; .ora)
        hold it with its mask over the picture. For others write `composite(…)`, `opaque()` or, with write_image,
        `alpha`."""
        from .image.write import write_encoded

        write_encoded(target, lambda form: self.encode(form, bits=bits, quality=quality), form=form, bits=bits,
                      alpha=True)

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the cut-out on a checkerboard, at most 800 pixels on a side."""
        import numpy as np

        from .foreground import cover, estimate_foreground
        from .image import encode_image

        height, width = self.alpha.shape
        shrink = min(1.0, 800 / max(height, width))
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        small = self.image.to_srgb()
        own = small.alpha_float()
        weight = np.ones_like(self.alpha) if own is None else own
        planes = np.concatenate([small.own_float() * weight[..., None], np.stack([weight, self.alpha], 2)], 2)
        planes = np.clip(cover(planes, *size), 0, 1)
        weight, alpha = planes[..., 3], planes[..., 4]
        colours = np.clip(planes[..., :3] / np.maximum(weight, 1e-6)[..., None], 0, 1)
        colours = estimate_foreground(colours, alpha, None if own is None else weight)
        rows, columns = (np.arange(side) // 8 for side in size)
        ground = np.where((rows[:, None] + columns) % 2 == 0, 1.0, 0.85)[..., None]
        shown = colours * alpha[..., None] + ground * (1 - alpha[..., None])
        return encode_image(np.clip(shown, 0, 1).astype(np.float32))
