"""What both matting nodes do: words to boxes, mattes of every picture, and what is handed on and told of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management as mm
import comfy.utils
import numpy as np
import torch
from comfy_api.latest import io

from matting_anything_core import Image, MatteOptions, MattingAnything, NothingFoundError, Prompt
from matting_anything_core import Matte as MatteResult
from matting_anything_core.grounding import BOX_THRESHOLD, TEXT_THRESHOLD, Grounded, ground
from matting_anything_core.types import ProgressCallback

from .model import MattingModel, result_key
from .objects import bounds
from .pictures import stacked
from .previews import cutout_file, matte_file, spread
from .results import Result
from .segs import segs_of

STEPS = 1000
"""Parts of a picture that the progress bar can show."""
WITHOUT_COLOURS = {"encode": (0.0, 0.5), "matte": (0.5, 1.0)}
WITH_COLOURS = {"encode": (0.0, 0.5), "matte": (0.5, 0.75), "foreground": (0.75, 1.0)}
"""Which part of a picture's time each of the library's stages is."""


@dataclass(frozen=True)
class How:
    """The settings of both nodes. together: all of a picture's objects in one matte. colours: find the object's own."""

    options: MatteOptions
    together: bool = True
    colours: bool = True


@dataclass(frozen=True)
class Finding:
    """How words are looked for."""

    everything: bool = False
    box_threshold: float = BOX_THRESHOLD
    text_threshold: float = TEXT_THRESHOLD


class Work:
    """Progress of `count` pictures in ComfyUI's bar; it stops the work when the user has asked for that."""

    def __init__(self, count: int, parts: Mapping[str, tuple[float, float]]) -> None:
        """parts: where in a picture's time each stage begins and ends."""
        self._bar = comfy.utils.ProgressBar(count * STEPS)
        self._done = 0
        self._parts = parts

    def __call__(self, stage: str, share: float) -> None:
        """The library's callback."""
        mm.throw_exception_if_processing_interrupted()
        start, stop = self._parts.get(stage, (0.0, 1.0))
        self._bar.update_absolute(self._done + int((start + share * (stop - start)) * (STEPS - 1)))

    def next_picture(self) -> None:
        """One is finished."""
        self._done += STEPS
        self._bar.update_absolute(self._done)


def ground_all(
    loaded: MattingModel, pictures: Sequence[Image], prompts: Sequence[Sequence[Prompt]], finding: Finding
) -> tuple[list[list[Grounded]], list[str]]:
    """Boxes in the place of words, for each picture; and what was not found, told."""
    if not any(prompt.text for each in prompts for prompt in each):
        return [[Grounded(prompt, None, None, 0) for prompt in each] for each in prompts], []
    found: list[list[Grounded]] = []
    missed = []
    with loaded.detector() as detector:
        for picture, each in zip(pictures, prompts, strict=True):
            mm.throw_exception_if_processing_interrupted()
            found.append([])
            for prompt in each:
                try:
                    found[-1] += ground([prompt], picture, detector, all_matches=finding.everything,
                                        box_threshold=finding.box_threshold, text_threshold=finding.text_threshold)
                except NothingFoundError as error:
                    missed.append(str(error))
    return found, missed


def mattes_of(
    loaded: MattingModel, pictures: Sequence[Image], grounded: Sequence[Sequence[Grounded]], how: How
) -> list[list[Result]]:
    """The objects' mattes for each picture; when they go together, one of them all. Nothing found is an empty list."""
    work = Work(len(pictures), WITH_COLOURS if how.colours else WITHOUT_COLOURS)
    keys = [result_key(picture, [item.prompt for item in each], how.options, how.together)
            for picture, each in zip(pictures, grounded, strict=True)]
    kept = [loaded.results(key) for key in keys]
    found: list[list[Result]] = []
    with loaded.ready() if any(one is None for one in kept) else contextlib.nullcontext() as model:
        for key, earlier, picture, each in zip(keys, kept, pictures, grounded, strict=True):
            if earlier is None:
                assert model is not None
                earlier = [Result(matte) for matte in _mattes(loaded, model, picture, each, how, work)]
            found.append(earlier)
            if how.colours:
                for index, one in enumerate(earlier):
                    one.colours(part_of(work, index, len(earlier)))
            loaded.keep_results(key, earlier)
            work.next_picture()
    return [[_phrased(one, each, index) for index, one in enumerate(results)] if len(results) == len(each) else results
            for results, each in zip(found, grounded, strict=True)]


def part_of(work: Work, index: int, count: int) -> ProgressCallback:
    """The callback for one of `count` equal parts of a stage."""
    return lambda stage, share: work(stage, (index + share) / count)


def _phrased(one: Result, grounded: Sequence[Grounded], index: int) -> Result:
    if one.matte.phrase == grounded[index].phrase:
        return one
    one.matte = replace(one.matte, phrase=grounded[index].phrase, phrase_score=grounded[index].score)
    return one


def _mattes(
    loaded: MattingModel, model: MattingAnything, picture: Image, grounded: Sequence[Grounded], how: How, work: Work
) -> list[MatteResult]:
    work("encode", 0.0)
    if not grounded:
        return []
    prompts = model.check(picture, [item.prompt for item in grounded])  # before the long work
    embedding = loaded.embed(model, picture, work)
    if how.together and len(prompts) > 1 and all(map(_is_plain, prompts)):
        mattes = [model.matte_together(embedding, prompts, how.options, progress=work)]
    else:
        mattes = model.matte(embedding, prompts, how.options, progress=work)
        if how.together and len(mattes) > 1:
            mattes = [_union(mattes)]
    loaded.keep(embedding)
    return [replace(matte, source=None) for matte in mattes]  # it would keep the model and its features


def _is_plain(prompt: Prompt) -> bool:
    """Whether a prompt says nothing of single pixels that united masks would forget."""
    return all(getattr(prompt, name) is None for name in ("keep", "drop", "trimap", "previous"))


def _union(mattes: Sequence[MatteResult]) -> MatteResult:
    """One matte of several objects: in each pixel the largest alpha."""
    return replace(mattes[0], alpha=np.maximum.reduce([matte.alpha for matte in mattes]),
                   mask=np.logical_or.reduce([matte.mask for matte in mattes]),
                   score=min(matte.score for matte in mattes),
                   warnings=tuple(dict.fromkeys(text for matte in mattes for text in matte.warnings)))


def outputs(
    pictures: Sequence[Image], results: Sequence[Sequence[Result]], grounded: Sequence[Sequence[Grounded]],
    colours: bool = True,
) -> tuple[Any, ...]:
    """What the nodes hand on: mask, cut-out, foreground, hard mask, boxes, SEGS.

    A picture without objects has one matte that is empty, so that nothing is ever of length 0. Without colours (nobody
    takes them) there is neither a cut-out nor a foreground.
    """
    shown: list[Result] = []
    for picture, found in zip(pictures, results, strict=True):
        shown += found or [Result(_nothing(picture))]
    alphas = stacked([one.matte.alpha for one in shown])
    own = cutout = None
    if colours:
        own = stacked([one.colours(_interrupted) for one in shown])
        cutout = torch.cat([own, alphas[..., None]], dim=-1)
    mattes = [[one.matte for one in found] for found in results]
    boxes = [_boxes(found, each) for found, each in zip(mattes, grounded, strict=True)]
    return (alphas, cutout, own, stacked([one.matte.mask for one in shown]), boxes, segs_of(pictures[0], mattes[0]))


def _interrupted(_stage: str, _share: float) -> None:
    mm.throw_exception_if_processing_interrupted()


def previews(pictures: Sequence[Image], results: Sequence[Sequence[Result]]) -> dict[str, Any]:
    """What the node and the editor show after a run: cut-outs, and the matte of all of a picture's objects."""
    whole = [(picture, np.maximum.reduce([one.matte.alpha for one in found]) if found else _nothing(picture).alpha)
             for picture, found in zip(pictures, results, strict=True)]
    return {"images": [cutout_file(*one) for _, one in spread(whole)],
            "matting_anything_matte": [matte_file(alpha, index) for index, (_, alpha) in spread(whole)]}


def _nothing(picture: Image) -> MatteResult:
    size = picture.height, picture.width
    return MatteResult(alpha=np.zeros(size, np.float32), mask=np.zeros(size, bool), score=0.0, image=picture,
                       prompt=Prompt(box=(0, 0, picture.width, picture.height)))


def _boxes(mattes: Sequence[MatteResult], grounded: Sequence[Grounded]) -> list[dict[str, Any]]:
    """BOUNDING_BOXes as ComfyUI's own nodes write them: those that were used; for points alone, where the matte is."""
    boxes = []
    for index, (prompt, phrase, score, _source) in enumerate(grounded):
        own = mattes[index] if len(mattes) == len(grounded) else None
        around = prompt.mask if prompt.trimap is None else prompt.trimap > 0
        corners = bounds(around) if prompt.box is None and around is not None else prompt.box
        if corners is None and own is not None and (own.alpha > 0).any():
            corners = bounds(own.alpha > 0)
        if corners is not None:
            x0, y0, x1, y1 = (round(float(value)) for value in corners)
            box = {"x": x0, "y": y0, "width": max(x1 - x0, 1), "height": max(y1 - y0, 1)}
            boxes.append(box if phrase is None else {**box, "label": phrase, "score": score})
    return boxes


def tell(node: type[io.ComfyNode], notes: Sequence[str]) -> dict[str, Any]:
    """Warnings in ComfyUI's log and on the node; what is returned tells the pack's own part of the page of them, which
    takes them from the node again when there are none."""
    notes = list(dict.fromkeys(notes))
    text = " · ".join(notes[:3]) + (f" (and {len(notes) - 3} more like this)" if len(notes) > 3 else "")
    if text:
        name = node.define_schema().display_name  # not GET_SCHEMA: it writes to the class, locked while a node runs
        logging.warning("%s: %s", name, text)
        from server import PromptServer

        if node.hidden is not None and node.hidden.unique_id is not None:
            PromptServer.instance.send_progress_text(text, node.hidden.unique_id)
    return {"matting_anything_warning": [text] if text else []}

def finished(
    node: type[io.ComfyNode], pictures: Sequence[Image], results: Sequence[Sequence[Result]], notes: Sequence[str], *,
    refuse: bool = False,
) -> dict[str, Any]:
    """What is shown of a run: its mattes, and what there is to say of it.

    Raises
    ------
    NothingFoundError
        For a picture without anything, when that is to be refused.
    """
    empty = [index for index, found in enumerate(results) if not any((one.matte.alpha > 0).any() for one in found)]
    said = [*notes, *(text for found in results for one in found for text in one.matte.warnings)]
    if any(getattr(one.matte, "unsure", False) for found in results for one in found):
        said.append("it is doubtful that this is the subject; mark it with a box, points, strokes or words")
    if empty:
        which = "" if len(results) == 1 else f" in picture {', '.join(str(index + 1) for index in empty[:10])}"
        if refuse:
            raise NothingFoundError("mark the object with a box, points, strokes, a mask or words: nothing is marked "
                                    f"or found{which}{''.join(f'; {note}' for note in notes[:3])}")
        if not notes:
            said.append(f"nothing is marked or found{which}, so the matte is empty there; mark the object with a box, "
                        "points, strokes, a mask or words")
    return {**previews(pictures, results), **tell(node, said)}
