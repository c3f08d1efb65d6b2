"""Which networks a file's tensors belong to: told from their names and shapes, whatever layout they were saved in.

Besides Segment Anything and Mask-to-Matte these are the networks of alpha heads that go with any segmenter
(networks/head_networks.py); such a file holds nothing else.

Layouts in circulation: SAM alone and Mask-to-Matte alone, flat; either under `module.` (saved from a data-parallel
wrapper); the authors' joint file, `module.m2m.*` beside `module.seg_model.*`; this library's one-file models, `m2m.*`
beside `sam.*`. Prefixes are cut only where every name has them: `conv1.module.weight_bar` holds "module" legitimately.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import WeightsError
from .files import RawFile
from .metadata import check_metadata, pixels

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..networks.head_network import HeadNetwork


_HARMLESS = ("pixel_mean", "pixel_std")
"""Constants that some exports of SAM store along; here they belong to the architecture."""


@dataclass(frozen=True, eq=False)
class Parts:
    """A file's tensors by network, under the published names. A part that is not in the file is empty."""

    raw: RawFile
    architecture: str | None
    """Of SAM, or the one that Mask-to-Matte says it was trained for; None when neither is known."""
    square: int | None
    """Side of SAM's input in pixels, None without SAM."""
    sam: dict[str, Tensor]
    m2m: dict[str, Tensor]
    head: dict[str, Tensor] = field(default_factory=dict)
    """Of an alpha head's own network, under the names that it has here."""
    head_network: HeadNetwork | None = None
    """Which one that is."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the alpha head's tensors."""
        return {name: tuple(tensor.shape) for name, tensor in self.head.items()}


def recognise(raw: RawFile) -> Parts:
    """Sort the tensors of a file into SAM's and Mask-to-Matte's, or an alpha head's, and check that they are those of
    the networks.

    Raises WeightsError, naming the file, when it is neither, when tensors are missing, unexpected or of another
    shape or kind, when they hold NaN or infinite values, and when the metadata says what cannot be.
    """
    from ..networks.backbones import backbone_of

    check_metadata(raw.path, raw.metadata)
    if (own := _head(raw)) is not None:
        return own
    sam, m2m = _split(raw)
    claimed = raw.metadata.get("architecture")
    architecture = claimed or None
    square = None
    if sam:
        found = _architecture(raw, sam)
        if claimed and claimed != found:
            raise WeightsError(f"{raw.path} says it holds {claimed}, but its tensors are those of {found}: "
                               "its header was changed, or the wrong tensors were written")
        backbone = backbone_of(found)
        renamed = backbone.renamed or str
        sam = {renamed(name): tensor for name, tensor in sam.items() if not name.startswith(backbone.unused)}
        architecture, square = found, _square(raw, found, sam)
        _check(raw, f"SAM ({found})", _sam(raw, found, square), sam)
    if m2m:
        _check(raw, "Mask-to-Matte", _m2m(), m2m)
    check_finite(raw, sam)
    check_finite(raw, m2m)
    return Parts(raw, architecture, square, sam, m2m)


def check_finite(raw: RawFile, tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError when a tensor holds NaN or infinite values, which would make every alpha NaN."""
    import torch

    for name, tensor in tensors.items():
        # A sum is finite only when all values are, and takes a tenth of the time; a sum that is too large proves
        # nothing, so what is not finite is looked at value by value.
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.sum(dtype=torch.float32))) \
                and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{raw.path} holds NaN or infinite values in {name}: the file is damaged or its "
                               "training failed; get it again")


def _unwrapped(raw: RawFile) -> dict[str, Tensor]:
    tensors = raw.tensors
    while tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name[len("module."):]: tensor for name, tensor in tensors.items()}
    return tensors


def _head(raw: RawFile) -> Parts | None:
    """The parts of a file that holds an alpha head's network, None for another file."""
    from ..networks.head_networks import recognised_head

    tensors = _unwrapped(raw)
    network = recognised_head({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if network is None:
        return None
    renamed = {network.rename(name): tensor for name, tensor in tensors.items()}
    if len(renamed) < len(tensors):
        raise WeightsError(f"{raw.path} holds a tensor of {network.title} twice, under two names; use the file that "
                           "was published, or get it again")
    parts = Parts(raw, None, None, {}, {}, renamed, network)
    _check(raw, network.title, head_module(parts), renamed)
    claimed, found = raw.metadata.get("architecture"), network.label(parts.shapes)
    if claimed and claimed != found:
        raise WeightsError(f"{raw.path} says it holds {claimed}, but its tensors are those of {found}: "
                           "its header was changed, or the wrong tensors were written")
    check_finite(raw, renamed)
    return parts


def head_module(parts: Parts) -> nn.Module:
    """The network of an alpha head's file, on the meta device. Raises WeightsError when its sizes cannot be."""
    import torch

    assert parts.head_network is not None
    try:
        with torch.device("meta"):
            return parts.head_network.build(parts.shapes)
    except ValueError as error:
        raise WeightsError(f"{parts.raw.path} does not hold {parts.head_network.title} as published: {error}; use the "
                           "file that belongs to it, or get it again") from None


def _split(raw: RawFile) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    tensors = _unwrapped(raw)
    sam: dict[str, Tensor] = {}
    m2m: dict[str, Tensor] = {}
    if any(name.startswith(("sam.", "seg_model.", "m2m.")) for name in tensors):
        for name, tensor in tensors.items():
            prefix, _, rest = name.partition(".")
            part = {"sam": sam, "seg_model": sam, "m2m": m2m}.get(prefix)
            if part is None or rest in part:
                raise WeightsError(f"{raw.path} holds {name[:80]}, which belongs to neither sam.* nor m2m.*")
            part[rest] = tensor
    elif any(name.startswith(("image_encoder.", "mask_decoder.")) for name in tensors):
        sam = dict(tensors)
    elif any(name.startswith("refine_OS") for name in tensors):
        m2m = dict(tensors)
    else:
        some = ", ".join(name[:60] for name in list(tensors)[:3])
        raise WeightsError(f"{raw.path} holds the weights of another network ({len(tensors)} tensors, such as {some}); "
                           "expected those of Segment Anything, Mask-to-Matte or both, or those of ViTMatte")
    for name in _HARMLESS:
        sam.pop(name, None)
    return sam, m2m


def _architecture(raw: RawFile, sam: Mapping[str, Tensor]) -> str:
    from ..networks.backbones import BACKBONES, recognised

    found = recognised({name: tuple(tensor.shape) for name, tensor in sam.items()})
    if found is None:
        patches = sam.get("image_encoder.patch_embed.proj.weight")
        width = patches.shape[0] if patches is not None and patches.ndim == 4 else 0
        blocks = {name.split(".")[2] for name in sam if name.startswith("image_encoder.blocks.")}
        seen = f"an image encoder of width {width} with {len(blocks)} blocks" if width else "an unknown image encoder"
        raise WeightsError(f"{raw.path} holds {seen}; known are {', '.join(BACKBONES)}")
    return found.name


def _square(raw: RawFile, architecture: str, sam: Mapping[str, Tensor]) -> int:
    from ..networks.backbones import backbone_of

    claimed = pixels(raw.path, raw.metadata, "square")

    backbone = backbone_of(architecture)
    if backbone.any_size:
        return claimed or backbone.input_size
    positions = sam.get("image_encoder.pos_embed")
    if positions is None or positions.ndim != 4 or not 0 < positions.shape[1] <= 1024:
        raise WeightsError(f"{raw.path} lacks SAM's position embedding (or it has another shape); get it again")
    square = positions.shape[1] * 16
    if claimed not in (None, square):
        raise WeightsError(f"{raw.path} says square = {claimed}, but its position embedding is for {square} pixels")
    return square


def _sam(raw: RawFile, architecture: str, square: int) -> nn.Module:
    import torch

    from ..networks.sam import build_sam

    try:
        with torch.device("meta"):
            return build_sam(architecture, square)
    except WeightsError as error:
        raise WeightsError(f"{raw.path}: {error}") from None


def _m2m() -> nn.Module:
    import torch

    from ..networks.m2m import MaskToMatte

    with torch.device("meta"):
        return MaskToMatte()


def _check(raw: RawFile, what: str, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and kinds (numbers with or without a fraction) with the network's own."""
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors]
    foreign = [name for name in tensors if name not in wanted]
    other = [
        f"{name} of shape {tuple(tensors[name].shape)} and type {tensors[name].dtype} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and (tensors[name].shape != value.shape
                                or tensors[name].is_floating_point() != value.is_floating_point())
    ]
    for problem, names in (("lacks", missing), ("has besides", foreign), ("has", other)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(f"{raw.path} does not hold {what} as published: it {problem} {names[0][:160]}{more}; "
                               "use the file that belongs to it, or get it again")
