"""How each benchmark is run, after "Matting Anything" (arXiv 2306.05399): guidance, post-processing, prompts, and the
published numbers that can be relied on.

The box is the bounds of the true matte above 127/255; the point is the box's centre; words come from the data.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..geometry import mask_window
from ..options import Guidance, Sides
from ..types import Box, Prompt
from .data import Benchmark, DataError, Picture, Sample

PromptKind = Literal["box", "point", "text"]
PROMPT_KINDS: tuple[PromptKind, ...] = ("box", "point", "text")


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is run.

    guidance, sides, postprocess: as in MattingAnything.matte.
    instances: IMQ is measured, as well as the errors of each matte.
    box_jitter: each side of a box is moved by up to this share of the box's width or height, since users' boxes are
    not perfect; seed: of that jitter, which is the same for every system and every run.
    reference: measure as the released program does (see metrics.py), boxes and 8-bit rounding included.
    trimap_kernel: width in pixels of the band of made trimaps, where the data has none.
    """

    guidance: Guidance | Literal["auto"]
    postprocess: bool
    sides: Sides | Literal["auto"] = "one"
    instances: bool = False
    prompt: PromptKind = "box"
    box_jitter: float = 0.0
    seed: int = 0
    reference: bool = False
    trimap_kernel: int = 25

    def __post_init__(self) -> None:
        if not (math.isfinite(self.box_jitter) and 0 <= self.box_jitter < 0.5):
            raise DataError(f"the box jitter is {self.box_jitter}; expected a share of the box's sides from 0 to 0.5")


# One-sided merging is what the released program does unless told otherwise; for a folder the model's own choice is
# taken, as by the `matte` command.
PROTOCOLS: dict[Benchmark, Protocol] = {
    "ppm100": Protocol(guidance="alpha", postprocess=True),
    "am2k": Protocol(guidance="alpha", postprocess=True),
    "pm10k": Protocol(guidance="alpha", postprocess=True),
    "rwp636": Protocol(guidance="alpha", postprocess=True, instances=True),
    "him2k": Protocol(guidance="mask", postprocess=False, instances=True),
    "him2k_comp": Protocol(guidance="mask", postprocess=False, instances=True),
    "refmatte_rw100": Protocol(guidance="mask", postprocess=False),
    "folder": Protocol(guidance="auto", sides="auto", postprocess=False),
}


def box_of(alpha: npt.NDArray[np.float32], *, reference: bool = False) -> Box | None:
    """The bounds of alpha > 127/255, right and lower side exclusive; None where nothing is above.

    The released program's right and lower sides are inclusive: one pixel less (`reference`).
    """
    inside = mask_window(alpha > 127 / 255)
    if inside.empty:
        return None
    less = 1 if reference else 0
    x0, y0, x1, y1 = inside.left, inside.top, inside.right - less, inside.bottom - less
    return float(x0), float(y0), float(max(x1, x0 + 1)), float(max(y1, y0 + 1))


def jitter_box(box: Box, share: float, shape: tuple[int, int], generator: np.random.Generator) -> Box:
    """Move each side by up to `share` of the box's width or height, uniformly, within the picture (height, width).

    A box stays at least a pixel wide and high.
    """
    return move_box(box, (share * (box[2] - box[0]), share * (box[3] - box[1])), shape, generator)


def move_box(
    box: Box, reach: tuple[float, float], shape: tuple[int, int], generator: np.random.Generator
) -> Box:
    """Move each side by up to reach (across, down) pixels, uniformly, within the picture (height, width).

    A box stays at least a pixel wide and high.
    """
    shift = generator.uniform(-1, 1, 4) * (*reach, *reach)
    left, top, right, bottom = (float(value) for value in np.asarray(box) + shift)
    left, top = min(max(left, 0.0), shape[1] - 1.0), min(max(top, 0.0), shape[0] - 1.0)
    right, bottom = max(min(right, float(shape[1])), left + 1), max(min(bottom, float(shape[0])), top + 1)
    return left, top, right, bottom


def prompts_for(sample: Sample, picture: Picture, protocol: Protocol) -> list[Prompt | None]:
    """One prompt for each true matte of a picture; None where the matte has nothing above 127/255 to point at.

    Raises DataError when words are asked for and the data has none for this picture.
    """
    if protocol.prompt == "text":
        if sample.texts is None:
            raise DataError(f"{sample.image} has no words; --prompt text needs texts.json (folder) or "
                            "refmatte_rw100_label.json (RefMatte-RW100)")
        return [Prompt(text=text) for text in sample.texts]
    prompts: list[Prompt | None] = []
    for index, alpha in enumerate(picture.alphas):
        box = box_of(alpha, reference=protocol.reference)
        if box is not None and protocol.box_jitter > 0:
            generator = np.random.default_rng([protocol.seed, zlib.crc32(sample.name.encode()), index])
            box = jitter_box(box, protocol.box_jitter, alpha.shape, generator)
        if box is None:
            prompts.append(None)
        elif protocol.prompt == "point":
            prompts.append(Prompt(points=[((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)]))
        else:
            prompts.append(Prompt(box=box))
    return prompts


@dataclass(frozen=True)
class Published:
    """A number from the literature. name: as in the report's columns. difference: it is a gain over plain SAM, not a
    value of its own."""

    system: str
    name: str
    value: float
    source: str
    difference: bool = False


_MAM_ABLATION = "arXiv 2306.05399v2, ablation study"
_MAM_TEXT = "arXiv 2306.05399v2"

PUBLISHED: dict[Benchmark, Sequence[Published]] = {
    "ppm100": (
        Published("MAM, gain over SAM", "MSE", 6.2, _MAM_TEXT, difference=True),
        Published("MAM, gain over SAM", "MAD", 3.9, _MAM_TEXT, difference=True),
    ),
    "am2k": (
        Published("MAM, gain over SAM", "SAD", 7.64, _MAM_TEXT, difference=True),
        Published("MAM, gain over SAM", "MSE", 4.4, _MAM_TEXT, difference=True),
        Published("MAM, gain over SAM", "MAD", 4.5, _MAM_TEXT, difference=True),
        Published("MAM, gain over SAM", "SAD band", 7.59, _MAM_TEXT, difference=True),
    ),
    "rwp636": (
        Published("MAM", "IMQ mad", 54.40, _MAM_TEXT),
        Published("MAM", "IMQ mse", 76.45, _MAM_TEXT),
    ),
    "him2k": (
        Published("MAM, box", "IMQ mad", 68.37, _MAM_ABLATION),
        Published("MAM, box", "IMQ mse", 81.56, _MAM_ABLATION),
        Published("SAM, box", "IMQ mad", 61.15, _MAM_ABLATION),
        Published("SAM, box", "IMQ mse", 74.01, _MAM_ABLATION),
    ),
}
"""Only numbers that are certain; the paper has more."""
