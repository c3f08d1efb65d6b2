"""What the library must know of a backbone, an image encoder under SAM's prompt encoder and mask decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from ..options import Guidance, Sides

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .sam import Sam

Shapes = Mapping[str, tuple[int, ...]]
"""Names and shapes of a file's tensors."""
Step: TypeAlias = Callable[[float], None]
"""Called with the share of the encoder that is done, 0..1; what it raises ends the work."""


@runtime_checkable
class SteppedEncoder(Protocol):
    """An encoder that says how far it is, and can be stopped on the way."""

    def encode(self, pixels: Tensor, step: Step | None = None) -> tuple[Tensor, Tensor]:
        """Features B×256×S/16×S/16, and those of an early layer, B×S/16×S/16×C."""
        ...


@dataclass(frozen=True)
class Defaults:
    """What a model does where its caller leaves the choice to it.

    Parameters
    ----------
    guidance, sides : what "auto" means for them, see `MatteOptions`.
    crops : bool
        The encoder is so quick that an object that does not fill the image is looked at in a crop (pipeline/crops.py).
    clip_to_box : bool
        Masks end where the box does, with a margin: what the decoder finds elsewhere is more often wrong than a box
        that is too small.
    refine_masks : bool
        Masks are refined with the image's colours (pipeline/mask_refinement.py).
    points_correct : bool
        Points and strokes beside a box or a mask correct what these alone give, instead of being told to the decoder
        along with them, which with a small decoder changes more than they point at.
    blend_candidates : bool
        Of the decoder's three candidate masks for a box the mean is taken, each weighted by its predicted IoU, instead
        of the best alone.
    head : str
        The alpha head, by its name in pipeline/heads.py.
    """

    guidance: Guidance = "mask"
    sides: Sides = "one"
    crops: bool = False
    clip_to_box: bool = False
    refine_masks: bool = False
    points_correct: bool = False
    blend_candidates: bool = False
    head: str = "mask_to_matte"


@dataclass(frozen=True)
class Backbone:
    """An image encoder under SAM's prompt encoder and mask decoder.

    Parameters
    ----------
    name : str
        What callers, files and commands call it.
    build : callable
        Input size in pixels -> the encoder with fresh weights: B×3×S×S -> B×256×S/16×S/16. It may run under
        `torch.device("meta")`.
    recognises : callable
        Whether the names and shapes of a file's tensors (of SAM, without prefixes) are this one's.
    input_size : int
        Side in pixels of the square that it takes by default, a multiple of `multiple`.
    any_size : bool
        Whether a file may ask for another input size in its metadata; else its position embedding tells.
    mean, std : tuple of float
        Subtracted from RGB in 0..255, then divided by.
    decoder_width : int
        Width of the mask decoder's MLPs.
    defaults : Defaults
        What it does where the caller leaves the choice.
    working_bytes : int
        Memory that it needs beside its weights, on the safe side.
    alone : Defaults, optional
        What it does without a Mask-to-Matte; None where it needs one.
    features_of : str, optional
        The backbone whose features it has, so that a Mask-to-Matte of that one may be taken.
    imitates : bool
        It only imitates these features: nobody has seen yet how well that Mask-to-Matte does with them.
    assemble : callable, optional
        This entry and the input size -> the whole network, where it is not SAM's prompt encoder and mask decoder.
    unused : tuple of str
        How the names of tensors begin that published files hold and that nothing here needs.
    renamed : callable, optional
        A tensor's name in published files -> its name in the network, where they differ.
    """

    name: str
    build: Callable[[int], nn.Module] = field(repr=False)
    recognises: Callable[[Shapes], bool] = field(repr=False)
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    multiple: int = 16
    any_size: bool = False
    decoder_width: int = 2048
    defaults: Defaults = Defaults()
    working_bytes: int = 2 << 30
    alone: Defaults | None = None
    features_of: str | None = None
    imitates: bool = False
    assemble: Callable[[Backbone, int], Sam] | None = field(default=None, repr=False)
    unused: tuple[str, ...] = ()
    renamed: Callable[[str], str] | None = field(default=None, repr=False)


def has_hq(shapes: Shapes) -> bool:
    """Whether a file's tensors are those of HQ-SAM ("Segment Anything in High Quality", 2023): SAM's and some more."""
    return "mask_decoder.hf_token.weight" in shapes
