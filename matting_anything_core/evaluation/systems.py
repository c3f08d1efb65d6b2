"""Who is measured. A system gets a picture and prompts, and gives a matte for each prompt.

ModelSystem              the model, through the library's public face; its hard mask alone, if asked for
GrabCut                  cv2.grabCut from the box (Rother et al. 2004): a hard mask, as in every image editor
GrabCutClosedForm        the same, then closed-form matting (Levin et al. 2008, pymatting) in a band around its edge
FolderSystem             mattes made elsewhere, read from a folder
"""

from __future__ import annotations

import hashlib
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import MissingExtraError, NothingFoundError, PromptError
from ..folders import path_given
from ..geometry import mask_window
from ..opencv import cv2, seeded
from ..options import Guidance, Sides
from ..types import Box, Prompt
from .data import PICTURE_SUFFIXES, DataError, Sample, read_alpha

if TYPE_CHECKING:
    from torch import Tensor

    from ..model import MattingAnything
    from ..result import Matte
    from .protocol import Protocol

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]
Mattes = list["FloatArray | None"]
"""One matte (float32 H×W in 0..1) for each prompt, None where the system has none; any further ones are instances
that were not asked for, which IMQ counts."""

T = TypeVar("T")


class System(typing.Protocol):
    """What the runner needs of a system. `settings`: whatever its results depend on, JSON values; results of runs with
    the same settings are taken over."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> dict[str, Any]: ...

    def predict(self, sample: Sample, image: ImageArray, prompts: Sequence[Prompt | None]) -> Mattes: ...


@dataclass(frozen=True, eq=False)
class ModelSystem:
    """A model of this library. guidance, sides, postprocess: as in MattingAnything.matte. fingerprint: tells its
    weights from others of the same name. mask_only: its hard mask is measured (plain Segment Anything), not its matte.
    reference: matte as the released program does.
    """

    name: str
    model: MattingAnything
    guidance: Guidance | Literal["auto"] = "auto"
    sides: Sides | Literal["auto"] = "auto"
    postprocess: bool = False
    fingerprint: str = ""
    mask_only: bool = False
    reference: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"system": "model", "model": self.name, "fingerprint": self.fingerprint}
        if self.mask_only:
            return {**settings, "mask_only": True}
        return {**settings, "guidance": self.guidance, "sides": self.sides, "postprocess": self.postprocess,
                "reference": self.reference}

    def predict(self, sample: Sample, image: ImageArray, prompts: Sequence[Prompt | None]) -> Mattes:
        asked = [prompt for prompt in prompts if prompt is not None]
        if not asked:
            return [None] * len(prompts)
        if any(prompt.text is not None for prompt in asked):
            return [None if prompt is None else self._alpha_of_words(image, prompt) for prompt in prompts]
        mattes = iter(self.model.matte(
            self.model.embed(image), asked, guidance=self.guidance, sides=self.sides, postprocess=self.postprocess,
            reference=self.reference,
        ))
        return [None if prompt is None else self._alpha(next(mattes)) for prompt in prompts]

    def _alpha(self, matte: Matte) -> FloatArray:
        return matte.mask.astype(np.float32) if self.mask_only else matte.alpha

    def _alpha_of_words(self, image: ImageArray, prompt: Prompt) -> FloatArray | None:
        """Words may match nothing, which is a miss of this one instance and no error of the run."""
        from ..api import matte

        try:
            return self._alpha(matte(image, prompt, model=self.model, guidance=self.guidance, sides=self.sides,
                                     postprocess=self.postprocess))
        except NothingFoundError:
            return None

    def as_mask(self) -> ModelSystem:
        """The same model, but its hard mask is measured: plain Segment Anything."""
        return replace(self, name=f"{self.name} mask", mask_only=True)


@dataclass(frozen=True)
class GrabCut:
    """cv2.grabCut from the box. Pictures with a longer side than `longest` are cut at that size (GrabCut's time grows
    faster than the picture), and the mask is enlarged again."""

    longest: int = 800
    iterations: int = 5
    name: str = field(default="grabcut", init=False)

    @property
    def settings(self) -> dict[str, Any]:
        return {"system": self.name, "longest": self.longest, "iterations": self.iterations}

    def predict(self, sample: Sample, image: ImageArray, prompts: Sequence[Prompt | None]) -> Mattes:
        small, scale = shrink_to(image, self.longest)
        mattes: Mattes = []
        for prompt in prompts:
            if prompt is None:
                mattes.append(None)
                continue
            mask = grabcut_mask(small, scaled_box(_box_of(prompt), scale, small.shape[:2]), self.iterations)
            mattes.append(enlarge(mask.astype(np.float32), image.shape[:2], hard=True))
        return mattes


@dataclass(frozen=True)
class GrabCutClosedForm:
    """GrabCut, then closed-form matting where its mask is uncertain: a band along its edge, as wide as `band` times
    the square root of the mask's area to either side. Needs the extra `evaluate`."""

    longest: int = 800
    iterations: int = 5
    band: float = 0.03
    name: str = field(default="grabcut-closed-form", init=False)

    def __post_init__(self) -> None:
        try:
            import pymatting  # noqa: F401
        except ImportError:
            raise MissingExtraError("grabcut-closed-form needs pymatting; install it with "
                                    "pip install 'matting-anything-core[evaluate]'") from None

    @property
    def settings(self) -> dict[str, Any]:
        return {"system": self.name, "longest": self.longest, "iterations": self.iterations, "band": self.band}

    def predict(self, sample: Sample, image: ImageArray, prompts: Sequence[Prompt | None]) -> Mattes:
        small, scale = shrink_to(image, self.longest)
        mattes: Mattes = []
        for prompt in prompts:
            if prompt is None:
                mattes.append(None)
                continue
            mask = grabcut_mask(small, scaled_box(_box_of(prompt), scale, small.shape[:2]), self.iterations)
            alpha = closed_form_alpha(small, mask, self.band)
            mattes.append(enlarge(alpha, image.shape[:2], hard=False))
        return mattes


@dataclass(frozen=True)
class FolderSystem:
    """Mattes made elsewhere: FOLDER/NAME.png, or FOLDER/NAME/INSTANCE.png with the names of the true instances (other
    names are instances nobody asked for)."""

    folder: Path
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", path_given(self.folder, "the folder of predicted mattes"))
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is no folder; folder:DIR wants a folder of predicted mattes")

    @property
    def name(self) -> str:
        return self.label or f"folder:{self.folder.name}"

    @property
    def settings(self) -> dict[str, Any]:
        return {"system": "folder", "folder": str(self.folder.resolve())}

    def predict(self, sample: Sample, image: ImageArray, prompts: Sequence[Prompt | None]) -> Mattes:
        files = _files_by_stem(self.folder / sample.name)
        single = _files_by_stem(self.folder).get(sample.name) if len(sample.alphas) == 1 and not files else None
        wanted = [path.stem for path in sample.alphas]
        chosen = [single] if single is not None else [files.pop(stem, None) for stem in wanted]
        return [None if path is None else self._read(path, image) for path in (*chosen, *files.values())]

    def _read(self, path: Path, image: ImageArray) -> FloatArray:
        alpha = read_alpha(path)
        if alpha.shape != image.shape[:2]:
            raise DataError(f"{path} is {alpha.shape[1]}x{alpha.shape[0]} pixels, but its picture is "
                            f"{image.shape[1]}x{image.shape[0]}")
        return alpha


def _files_by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURE_SUFFIXES}


def named_systems(
    model: str, against: Sequence[str], load: Callable[[], tuple[T, T]], make: Callable[[str], T]
) -> list[T]:
    """The systems that a command line names: a model, its mask if that is asked for, and the others in the order given.

    Parameters
    ----------
    model : its name, or "none".
    against : names of the others; "mask" is the model's own hard mask.
    load : gives the model, and the same one that answers with its hard mask.
    make : gives another system by its name.

    Raises
    ------
    DataError
        For a mask without a model, and when nobody is left. It is said before anything is loaded.
    """
    if model == "none" and "mask" in against:
        raise DataError("--against mask is the model's own mask; it needs a --model")
    if model == "none" and not against:
        raise DataError("nobody is to be measured: --model none needs at least one --against")
    loaded = None if model == "none" else load()
    systems: list[T] = []
    if loaded is not None:
        systems += loaded if "mask" in against else loaded[:1]
    return systems + [make(name) for name in against if name != "mask"]


def make_system(name: str) -> System:
    """A system to compare with, by the name that --against takes. Raises DataError for unknown ones."""
    kind, _, rest = name.partition(":")
    if name == "grabcut":
        return GrabCut()
    if name == "grabcut-closed-form":
        return GrabCutClosedForm()
    if kind == "folder" and rest:
        return FolderSystem(Path(rest))
    raise DataError(f"there is no system {name!r}; expected grabcut, grabcut-closed-form or folder:DIR")


def load_model_system(model: str, device: str, protocol: Protocol) -> ModelSystem:
    """Load a model to be measured, by the names of `load_model`. Raises what that raises."""
    from ..model import MattingAnything
    from ..weights import open_checkpoint

    checkpoint = open_checkpoint(model)
    name = Path(model).stem if model.endswith((".safetensors", ".pth", ".pt")) else model
    return ModelSystem(
        name=name, model=MattingAnything.from_checkpoint(checkpoint, device=device), guidance=protocol.guidance,
        sides=protocol.sides, postprocess=protocol.postprocess, reference=protocol.reference,
        fingerprint=_fingerprint({**checkpoint.sam, **checkpoint.m2m}),
    )


def _fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that change when a weight does: training goes on under the same name."""
    import torch

    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# GrabCut and closed-form matting


def shrink_to(image: ImageArray, longest: int) -> tuple[ImageArray, float]:
    """The picture with its longer side at most `longest`, averaged, and by what its sides were multiplied."""
    scale = min(1.0, longest / max(image.shape[:2]))
    if scale == 1.0:
        return image, scale
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), scale


def enlarge(alpha: FloatArray, shape: tuple[int, ...], *, hard: bool) -> FloatArray:
    """A matte at the size `shape`; cut at one half when it is a mask (`hard`)."""
    if alpha.shape == shape:
        return alpha
    large = cv2.resize(alpha, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return (large > 0.5).astype(np.float32) if hard else np.clip(large, 0, 1).astype(np.float32)


def _box_of(prompt: Prompt) -> Box:
    if prompt.box is None:
        raise PromptError("GrabCut starts from a box; measure it with --prompt box")
    return prompt.box


def scaled_box(box: Box, scale: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A box in whole pixels of the shrunk picture, at least one wide and high."""
    x0, y0, x1, y1 = (round(value * scale) for value in box)
    x0, y0 = min(max(x0, 0), shape[1] - 1), min(max(y0, 0), shape[0] - 1)
    return x0, y0, min(max(x1, x0 + 1), shape[1]), min(max(y1, y0 + 1), shape[0])


def grabcut_mask(image: ImageArray, box: tuple[int, int, int, int], iterations: int = 5) -> npt.NDArray[np.bool_]:
    """cv2.grabCut's foreground, H×W bool: outside of the box is background, inside of it probably foreground."""
    x0, y0, x1, y1 = box
    mask = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    mask[y0:y1, x0:x1] = cv2.GC_PR_FGD
    if (mask == cv2.GC_PR_FGD).all():
        # GrabCut needs some background to learn its colours from; of a box around everything, that is the border.
        mask[[0, -1], :] = mask[:, [0, -1]] = cv2.GC_BGD
    if not (mask == cv2.GC_PR_FGD).any():
        return np.zeros(image.shape[:2], np.bool_)
    try:
        cut = grabcut_labels(image, mask, iterations)
    except cv2.error as error:  # a picture of one colour leaves one of its colour models empty
        warnings.warn(f"GrabCut failed ({error.err}); its matte is empty", stacklevel=2)
        return np.zeros(image.shape[:2], np.bool_)
    return np.asarray((cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD))


def grabcut_labels(image: ImageArray, labels: npt.NDArray[np.uint8], iterations: int) -> npt.NDArray[np.uint8]:
    """cv2.grabCut's labels (GC_BGD, GC_FGD, GC_PR_BGD, GC_PR_FGD), H×W uint8, grown from such ones; the input is left
    as it is. Raises cv2.error when there is nothing to learn foreground or background from."""
    cut, bgr = labels.copy(), np.ascontiguousarray(image[..., ::-1])
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    # The rectangle is not looked at in this mode. Its k-means draws random numbers.
    seeded(lambda: cv2.grabCut(bgr, cut, (0, 0, 1, 1), background, foreground, iterations, cv2.GC_INIT_WITH_MASK))
    return cut


def closed_form_alpha(image: ImageArray, mask: npt.NDArray[np.bool_], band: float) -> FloatArray:
    """Closed-form matting in a band along the mask's edge, H×W float32; the mask itself where that is impossible."""
    import pymatting

    alpha = mask.astype(np.float32)
    if not mask.any() or mask.all():
        return alpha
    reach = max(2, round(band * float(np.sqrt(np.count_nonzero(mask)))))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    trimap = np.full(mask.shape, 0.5)
    trimap[cv2.dilate(mask.view(np.uint8), element) == 0] = 0
    trimap[cv2.erode(mask.view(np.uint8), element) == 1] = 1
    # The equations far from the band say nothing about it: solve on its bounds and a margin.
    crop = mask_window(trimap > 0, margin=8).slices()
    inner = trimap[crop]
    if not ((inner == 0).any() and (inner == 1).any()):
        return alpha
    try:
        solved = pymatting.estimate_alpha_cf(image[crop] / 255.0, inner)
    except ValueError as error:  # the solver did not converge
        warnings.warn(f"closed-form matting failed ({error}); the mask is taken", stacklevel=2)
        return alpha
    alpha[crop] = np.clip(solved, 0, 1)
    return alpha
