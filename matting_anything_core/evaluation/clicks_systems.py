"""Who is corrected click by click.

ModelClicks     a model of this library: embedded once, then matted with what was said
GrabCutClicks   cv2.grabCut (Rother et al. 2004) going on from its own result, with the clicks as seeds
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..opencv import cv2
from ..types import Box, Prompt
from .clicks import ClickSystem, ImageArray, Turn
from .data import DataError
from .protocol import PROTOCOLS
from .systems import enlarge, grabcut_labels, load_model_system, named_systems, scaled_box, shrink_to

if TYPE_CHECKING:
    from ..model import MattingAnything
    from ..pipeline.embedding import Embedding
    from ..result import Matte
    from .systems import ModelSystem

LabelArray = npt.NDArray[np.uint8]


def corrected(
    model: MattingAnything, embedding: Embedding, matte: Matte | None, prompt: Prompt,
    point: tuple[float, float], label: int,
) -> Matte:
    """The matte after one more click: the one place that says how a model is corrected.

    matte: the one before, None when nothing was said yet. prompt: all that was said so far, this click included.
    """
    if matte is not None:
        return matte.corrected(points=[point], labels=[label])
    [result] = model.matte(embedding, prompt)
    return result


class _Said(NamedTuple):
    embedding: Embedding
    box: Box | None
    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    matte: Matte | None


@dataclass(frozen=True, eq=False)
class ModelClicks:
    """A model of this library. fingerprint: tells its weights from others of the same name. mask_only: its hard mask is
    measured (plain Segment Anything), not its matte."""

    name: str
    model: MattingAnything
    fingerprint: str = ""
    mask_only: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        return {"system": "model", "model": self.name, "fingerprint": self.fingerprint, "mask_only": self.mask_only}

    def start(self, image: ImageArray, box: Box | None) -> Turn:
        embedding = self.model.embed(image)
        if box is None:
            return Turn(np.zeros(image.shape[:2], np.float32), _Said(embedding, None, (), (), None))
        [matte] = self.model.matte(embedding, Prompt(box=box))
        return self._turn(_Said(embedding, box, (), (), matte))

    def click(self, turn: Turn, point: tuple[float, float], label: int) -> Turn:
        said: _Said = turn.memory
        points, labels = (*said.points, point), (*said.labels, label)
        prompt = Prompt(box=said.box, points=points, labels=labels)
        matte = corrected(self.model, said.embedding, said.matte, prompt, point, label)
        return self._turn(_Said(said.embedding, said.box, points, labels, matte))

    def _turn(self, said: _Said) -> Turn:
        assert said.matte is not None
        return Turn(said.matte.mask.astype(np.float32) if self.mask_only else said.matte.alpha, said)

    def as_mask(self) -> ModelClicks:
        """The same model, but its hard mask is measured: plain Segment Anything."""
        return replace(self, name=f"{self.name} mask", mask_only=True)


class _Seeds(NamedTuple):
    """image: small, uint8. labels: OpenCV's GC_… of each pixel. hard: the same for what the user said, else 255."""

    image: ImageArray
    scale: float
    shape: tuple[int, int]
    labels: LabelArray
    hard: LabelArray


UNSAID = 255


@dataclass(frozen=True)
class GrabCutClicks:
    """cv2.grabCut: outside of the box is background, inside probably foreground; without a box everything is probably
    background. A click is a disc of sure foreground or background; the next cut goes on from the last one's result.
    Images with a longer side than `longest` are cut at that size. radius: of the discs, in pixels of that size.
    """

    longest: int = 800
    iterations: int = 5
    radius: int = 5
    name: str = field(default="grabcut", init=False)

    @property
    def settings(self) -> dict[str, Any]:
        return {"system": self.name, "longest": self.longest, "iterations": self.iterations, "radius": self.radius}

    def start(self, image: ImageArray, box: Box | None) -> Turn:
        small, scale = shrink_to(image, self.longest)
        shape = small.shape[:2]
        hard = np.full(shape, UNSAID, np.uint8)
        labels = np.full(shape, cv2.GC_PR_BGD, np.uint8)
        seeds = _Seeds(small, scale, (image.shape[0], image.shape[1]), labels, hard)
        if box is None:
            return Turn(np.zeros(seeds.shape, np.float32), seeds)
        x0, y0, x1, y1 = scaled_box(box, scale, shape)
        hard[:] = cv2.GC_BGD
        hard[y0:y1, x0:x1] = UNSAID
        if (hard == UNSAID).all():
            # GrabCut needs some background to learn its colours from; of a box around everything, that is the border.
            labels[1:-1, 1:-1] = cv2.GC_PR_FGD
        else:
            labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
        return self._cut(seeds)

    def click(self, turn: Turn, point: tuple[float, float], label: int) -> Turn:
        seeds: _Seeds = turn.memory
        hard = seeds.hard.copy()
        centre = (int(point[0] * seeds.scale), int(point[1] * seeds.scale))
        centre = (min(centre[0], hard.shape[1] - 1), min(centre[1], hard.shape[0] - 1))
        cv2.circle(hard, centre, self.radius, int(cv2.GC_FGD if label else cv2.GC_BGD), cv2.FILLED)
        return self._cut(seeds._replace(hard=hard))

    def _cut(self, seeds: _Seeds) -> Turn:
        labels = np.where(seeds.hard == UNSAID, seeds.labels, seeds.hard)
        try:
            cut = grabcut_labels(seeds.image, labels, self.iterations)
        except cv2.error as error:  # one of its two colour models has no pixels to learn from
            warnings.warn(f"GrabCut failed ({error.err}); only what was clicked changes", stacklevel=2)
            cut = labels
        # Hard labels of the last cut become soft again, so that a later click can take an earlier one back.
        soft = np.where(np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD)), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        found = (soft == cv2.GC_PR_FGD).astype(np.float32)
        return Turn(enlarge(found, seeds.shape, hard=True), seeds._replace(labels=soft))


def model_clicks(system: ModelSystem) -> ModelClicks:
    """A loaded model as a system to be corrected."""
    return ModelClicks(system.name, system.model, system.fingerprint)


def click_systems(model: str, device: str, against: list[str]) -> list[ClickSystem]:
    """The systems that the command line names: a model (or "none") and others to compare with (`mask`, `grabcut`).

    Raises DataError for unknown ones and when nobody is left; for the model what `load_model` raises.
    """
    unknown = [name for name in against if name not in ("mask", "grabcut")]
    if unknown:
        raise DataError(f"there is no system {unknown[0]!r} that can be clicked on; expected grabcut or mask")

    def load() -> tuple[ClickSystem, ClickSystem]:
        ours = model_clicks(load_model_system(model, device, PROTOCOLS["folder"]))
        return ours, ours.as_mask()

    return named_systems(model, against, load, lambda _name: GrabCutClicks())
