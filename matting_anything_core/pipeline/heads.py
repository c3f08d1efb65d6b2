"""Alpha heads: from a mask in a view to alpha in the view's pixels.

A new one is a class with the three members of `AlphaHead`, and an entry in `HEADS`. The paper's is `mask_to_matte`;
`guided` needs no weights: alpha is the mask, filtered along the image's edges; `vitmatte` has a network of its own,
which goes with any segmenter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import WeightsError
from ..geometry import Fit, Window, resize_window, source_window
from ..networks.m2m import MaskToMatte
from ..networks.m2m_fast import FoldedMaskToMatte, Stages, fold, prepare
from ..options import Band, Guidance, Sides
from . import merging, upsampling
from .embedding import View
from .masks import MaskLogits, upsample_mask
from .trimap import UNSAID, Hand

if TYPE_CHECKING:
    import numpy as np

    Rgb = np.ndarray[Any, np.dtype[np.uint8]]

Report = Callable[[float], None]
"""Called with the share of a step that is done, 0..1; what it raises ends the work."""


@dataclass(frozen=True)
class HeadOptions:
    """The options of a matte that concern its alpha, with "auto" decided; see `MatteOptions`."""

    guidance: Guidance = "mask"
    sides: Sides = "one"
    postprocess: bool = False
    detail: bool = True
    reference: bool = False
    band: Band = "auto"
    transparent: bool = False


class BinaryMask(NamedTuple):
    """A mask in the view's pixels: bool inside a window beyond which it is false; on the CPU the window is the mask's
    bounds, empty for an empty mask."""

    inside: Tensor
    bounds: Window

    @classmethod
    def of(
        cls, mask: MaskLogits, fit: Fit, where: Window | None = None, *, tight: bool | None = None
    ) -> BinaryMask:
        """The pixels of a view that a mask's logits mark; where, tight: see `upsample_mask`."""
        return cls(*upsample_mask(mask.logits, fit, where, tight=tight))

    def within(self, window: Window) -> Tensor:
        """1×1×h×w bool inside a window."""
        result = torch.zeros((1, 1, window.height, window.width), dtype=torch.bool, device=self.inside.device)
        common = self.bounds.shared(window)
        if not common.empty:
            part = self.inside[common.relative_to(self.bounds).slices()]
            result[(..., *common.relative_to(window).slices())] = part
        return result


class Patch(NamedTuple):
    """Alpha 1×1×h×w float32 in 0..1 inside a window of the view's pixels; outside of it alpha is 0."""

    alpha: Tensor
    window: Window


class AlphaHead(Protocol):
    """Predicts alpha."""

    @property
    def input_size(self) -> int | None:
        """Side of the padded square of pixels that it looks at, a multiple of 16; None when it takes none."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> AlphaHead:
        """The same on another device, computing in another type."""

    def alpha(
        self, view: View, mask: MaskLogits, binary: BinaryMask, rgb: Rgb, options: HeadOptions, report: Report,
        where: Window | None = None, hand: Hand = UNSAID,
    ) -> Patch:
        """The alpha of one object.

        Parameters
        ----------
        view : View
            The view that the mask was found in.
        mask : MaskLogits
            The object's mask over the padded input.
        binary : BinaryMask
            The same in the view's pixels; its window is empty only where the hand has a trimap, for heads that take it.
        rgb : ndarray
            H×W×3 uint8, the view's own pixels, not scaled.
        options : HeadOptions
            How it is merged.
        report : callable
            Progress; what it raises ends the work.
        where : Window, optional
            The part of the view that matters; left out, all of it. The patch lies inside of it.
        hand : Hand, optional
            What the user said of the view's pixels, for heads that work on a trimap; it is made to hold afterwards.
        """
        ...


@dataclass(frozen=True)
class MaskToMatteHead:
    """The paper's: Mask-to-Matte's three scales (section 3.2), merged where they count (section 3.3)."""

    network: FoldedMaskToMatte
    input_size: int

    def to(self, device: torch.device | str, dtype: torch.dtype) -> MaskToMatteHead:
        """The same on another device, computing in another type."""
        return MaskToMatteHead(self.network.to(device, dtype), self.input_size)

    def alpha(
        self, view: View, mask: MaskLogits, binary: BinaryMask, rgb: Rgb, options: HeadOptions, report: Report,
        where: Window | None = None, hand: Hand = UNSAID,
    ) -> Patch:
        """See `AlphaHead.alpha`."""
        fit = view.fit.at(self.input_size)
        window = merging.reach(binary.bounds, (fit.height, fit.width), guidance=options.guidance,
                               postprocess=options.postprocess)
        window = window.shared(where)
        if window.empty:
            return Patch(torch.zeros((1, 1, 0, 0), device=view.features.device), window)
        alpha = self._merged(view, mask, binary.within(window), window, options, report)
        if options.detail:
            alpha = upsampling.sharpen(alpha, rgb, fit, window, view.rgb)
        return Patch(alpha, window)

    def _merged(
        self, view: View, mask: MaskLogits, inside: Tensor, window: Window, options: HeadOptions, report: Report,
    ) -> Tensor:
        """`merging.merge` inside a window of the view's pixels, each finer scale computed only where it counts."""
        fit = view.fit.at(self.input_size)
        size = fit.height, fit.width
        grid = self.input_size // 16
        features = view.features
        if features.shape[-1] != grid:
            features = F.interpolate(features, (grid, grid), mode="bilinear", align_corners=False)
        prepared = prepare(features.to(self.network.dtype), view.pixels)
        seed = (mask.logits > 0).float().unsqueeze(0)
        stages = self.network.stages(prepared, seed, source_window(window, size, fit.scaled))

        def at(scale: Callable[[Window], Tensor], part: Window) -> Tensor:
            """A scale's alpha in the view's pixels, inside `part` of the window."""
            absolute = part.moved(window.top, window.left)
            read = source_window(absolute, size, fit.scaled)
            return resize_window(scale(read), size, absolute, source=fit.scaled, origin=(read.top, read.left))

        whole = Window(0, 0, window.height, window.width)
        alpha = merging.start(inside, at(stages.os8, whole), guidance=options.guidance, sides=options.sides,
                              postprocess=options.postprocess, reference=options.reference)
        report(0.4)
        for finer, width, done in ((_os4, merging.OS4_WIDTH, 0.7), (_os1, merging.OS1_WIDTH, 0.95)):
            uncertain = merging.alpha_weight_map(alpha, width, options.sides)
            # Looking where that is would mean waiting for a device, which costs more than computing it everywhere.
            [part] = merging.bounds(uncertain[:, 0]) if uncertain.device.type == "cpu" else [whole]
            if part.height:
                cut = (..., *part.slices())
                alpha[cut] = at(finer(stages, uncertain[cut]), part).where(uncertain[cut], alpha[cut])
            report(done)
        return alpha if alpha.device.type == "cpu" else alpha * inside.any()  # nothing of an empty mask


def _os4(stages: Stages, _uncertain: Tensor) -> Callable[[Window], Tensor]:
    return stages.os4


def _os1(stages: Stages, uncertain: Tensor) -> Callable[[Window], Tensor]:
    """Tiles without anything uncertain are not computed."""
    return lambda window: stages.os1(window, uncertain)


@dataclass(frozen=True)
class GuidedHead:
    """The mask itself, filtered along the image's edges: for backbones whose masks are refined with its colours."""

    input_size: int | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> GuidedHead:
        """The same: it holds nothing."""
        return self

    def alpha(
        self, view: View, mask: MaskLogits, binary: BinaryMask, rgb: Rgb, options: HeadOptions, report: Report,
        where: Window | None = None, hand: Hand = UNSAID,
    ) -> Patch:
        """See `AlphaHead.alpha`."""
        fit = view.fit
        margin = upsampling.reach(fit) if options.detail else 0
        window = merging.grow(binary.bounds, margin, (fit.height, fit.width)).shared(where)
        if window.empty:
            return Patch(torch.zeros((1, 1, 0, 0), device=view.features.device), window)
        alpha = binary.within(window).float()
        report(0.3)
        return Patch(upsampling.soften(alpha, rgb, fit, window, view.rgb) if options.detail else alpha, window)


def build_head(name: str, network: nn.Module | None, input_size: int) -> AlphaHead:
    """The alpha head of that name, on the CPU.

    Parameters
    ----------
    name : a name in `HEADS`.
    network : the head's own network with its weights (Mask-to-Matte, ViTMatte); heads without one ignore it.
    input_size : side of the square that Mask-to-Matte works in.

    Raises
    ------
    WeightsError
        For a head that needs a Mask-to-Matte where there is none.
    """
    return HEADS[name](network, input_size)


def _mask_to_matte(network: nn.Module | None, input_size: int) -> AlphaHead:
    if network is None:
        raise WeightsError("the alpha head mask_to_matte was asked for without a Mask-to-Matte; name its file too "
                           "(m2m), or take the head guided, which needs none")
    return MaskToMatteHead(fold(cast(MaskToMatte, network)), input_size)


def _guided(_network: nn.Module | None, _input_size: int) -> AlphaHead:
    return GuidedHead()


def _vitmatte(network: nn.Module | None, _input_size: int) -> AlphaHead:
    from .vitmatte import vitmatte_head  # which needs what stands here

    assert network is not None
    return vitmatte_head(network)


HEADS: dict[str, Callable[[nn.Module | None, int], AlphaHead]] = {
    "mask_to_matte": _mask_to_matte, "guided": _guided, "vitmatte": _vitmatte,
}
"""How each alpha head is made, by its name."""
ON_TRIMAPS = ("vitmatte",)
"""The heads that find alpha in the unknown part of a trimap: that of the user, or one that is made of the mask, in
which the inside of an object is unknown when they are told that it is transparent."""
