"""Matte and Matte Refine: prompts in; alpha, cut-out, foreground, mask and boxes out, for every picture of a batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management as mm
import comfy.utils
import numpy as np
import torch
from comfy_api.latest import io

from matting_anything_core import Image, MattingAnything, NothingFoundError, Prompt, PromptError
from matting_anything_core import Matte as MatteResult
from matting_anything_core.grounding import BOX_THRESHOLD, TEXT_THRESHOLD, Grounded, ground

from .model import MattingModel
from .pictures import images_of, masks_of, stacked
from .prompts import Given, Marked, bounds, prompts_of, read_boxes, read_editor, read_points
from .schema import BoundingBox, Boxes, MattingModelType, schema, setting

STEPS = 1000
"""Parts of a picture that the progress bar can show."""
MERGED, SEPARATE = "merged", "one by one"
OUTPUTS = [
    io.Mask.Output("MASK", display_name="mask", tooltip="The matte: 1 is the object, 0 the background"),
    io.Image.Output("CUTOUT", display_name="cutout", tooltip="RGBA with straight alpha and clean colours"),
    io.Image.Output("FOREGROUND", display_name="foreground",
                    tooltip="RGB: the object's own colours, without the background in soft edges"),
    io.Mask.Output("HARD_MASK", display_name="hard_mask", tooltip="The segmentation that the matte grew from"),
    BoundingBox.Output("BOXES", display_name="boxes", tooltip="For each picture a list of the objects' boxes"),
]


@dataclass(frozen=True)
class How:
    """The settings of both nodes; see MattingAnything.matte."""

    guidance: str = "auto"
    sides: str = "auto"
    together: bool = True
    """All of a picture's objects in one matte."""


@dataclass(frozen=True)
class Finding:
    """How words are looked for."""

    everything: bool = False
    box_threshold: float = BOX_THRESHOLD
    text_threshold: float = TEXT_THRESHOLD


class Work:
    """Progress of `count` pictures in ComfyUI's bar; it stops the work when the user has asked for that."""

    def __init__(self, count: int) -> None:
        self._bar = comfy.utils.ProgressBar(count * STEPS)
        self._done = 0

    def __call__(self, stage: str, share: float) -> None:
        """The library's callback: encoding is the first half of a picture, matting the second."""
        mm.throw_exception_if_processing_interrupted()
        within = share / 2 if stage == "encode" else 0.5 + share / 2
        self._bar.update_absolute(self._done + int(within * (STEPS - 1)))

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
) -> list[list[MatteResult]]:
    """The objects' mattes for each picture; when they go together, one of them all, or none."""
    work = Work(len(pictures))
    mattes = []
    with loaded.ready() as model:
        for picture, each in zip(pictures, grounded, strict=True):
            mattes.append(_mattes(loaded, model, picture, each, how, work))
            work.next_picture()
    return mattes


def _mattes(
    loaded: MattingModel, model: MattingAnything, picture: Image, grounded: Sequence[Grounded], how: How, work: Work
) -> list[MatteResult]:
    work("encode", 0.0)
    if not grounded:
        return []
    prompts = model.check(picture, [item.prompt for item in grounded])  # before the long work
    embedding = loaded.embed(model, picture, work)
    if how.together and len(prompts) > 1:
        return [model.matte_together(embedding, prompts, guidance=how.guidance, sides=how.sides, progress=work)]
    mattes = model.matte(embedding, prompts, guidance=how.guidance, sides=how.sides, progress=work)
    return [replace(matte, phrase=item.phrase, phrase_score=item.score)
            for matte, item in zip(mattes, grounded, strict=True)]


def outputs(
    pictures: Sequence[Image], mattes: Sequence[Sequence[MatteResult]], grounded: Sequence[Sequence[Grounded]]
) -> tuple[Any, ...]:
    """What the nodes hand on: mask, cut-out, foreground, hard mask, boxes.

    A picture without objects has one matte that is empty, so that nothing is ever of length 0.
    """
    shown: list[MatteResult] = []
    for picture, found in zip(pictures, mattes, strict=True):
        shown += found or [_nothing(picture)]
    foregrounds = []
    for matte in shown:
        mm.throw_exception_if_processing_interrupted()
        foregrounds.append(matte.foreground)
    alphas = stacked([matte.alpha for matte in shown])
    colours = stacked(foregrounds)
    boxes = [_boxes(found, each) for found, each in zip(mattes, grounded, strict=True)]
    return (alphas, torch.cat([colours, alphas[..., None]], dim=-1), colours, stacked([matte.mask for matte in shown]),
            boxes)


def _nothing(picture: Image) -> MatteResult:
    size = picture.height, picture.width
    return MatteResult(alpha=np.zeros(size, np.float32), mask=np.zeros(size, bool), score=0.0, image=picture,
                       prompt=Prompt(box=(0, 0, picture.width, picture.height)))


def _boxes(mattes: Sequence[MatteResult], grounded: Sequence[Grounded]) -> list[dict[str, Any]]:
    """BOUNDING_BOXes as ComfyUI's own nodes write them: those that were used; for points alone, where the matte is."""
    boxes = []
    for index, (prompt, phrase, score, _source) in enumerate(grounded):
        own = mattes[index] if len(mattes) == len(grounded) else None
        corners = bounds(prompt.mask) if prompt.box is None and prompt.mask is not None else prompt.box
        if corners is None and own is not None and (own.alpha > 0).any():
            corners = bounds(own.alpha > 0)
        if corners is not None:
            x0, y0, x1, y1 = (round(float(value)) for value in corners)
            box = {"x": x0, "y": y0, "width": max(x1 - x0, 1), "height": max(y1 - y0, 1)}
            boxes.append(box if phrase is None else {**box, "label": phrase, "score": score})
    return boxes


def tell(node: type[io.ComfyNode], text: str) -> None:
    """A warning in ComfyUI's log and on the node."""
    name = node.define_schema().display_name  # not GET_SCHEMA: it writes to the class, locked while a node runs
    logging.warning("%s: %s", name, text)
    from server import PromptServer

    if node.hidden is not None and node.hidden.unique_id is not None:
        PromptServer.instance.send_progress_text(text, node.hidden.unique_id)


def _modes() -> list[Any]:
    return [
        setting(io.Combo, "guidance", options=["auto", "mask", "alpha"], default="auto", optional=True,
                tooltip="What the matte grows from: mask (several things in the picture) or alpha (one clear subject)"),
        setting(io.Combo, "sides", options=["auto", "one", "two"], default="auto", optional=True,
                tooltip="Let the matte change only the outside of the mask's edge (one), or its inside as well (two)"),
    ]


class Matte(io.ComfyNode):
    """Any mixture of prompts in, soft mattes out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingMatte",
            display_name="Matte (box / points / mask / text)",
            description="Cuts objects out with a soft alpha matte. Say which ones by any mixture of the Prompt Editor, "
                        "boxes, points, a mask and words.",
            search_aliases=["matting", "alpha matte", "remove background", "segment", "cutout", "hair mask"],
            inputs=[
                MattingModelType.Input("model"),
                io.Image.Input("image"),
                io.String.Input("text", default="", optional=True, tooltip=(
                    "Words that name the object, such as: the dog on the left. Several things: a dog. a red ball. "
                    "Needs Grounding DINO: matting-anything weights fetch grounding-dino-tiny")),
                io.Combo.Input("objects", options=[MERGED, SEPARATE], default=MERGED, optional=True,
                               tooltip="All objects in one matte (quick), or a batch with one matte for each object"),
                io.Combo.Input("mask_use", options=["box", "shape"], default="box", optional=True, tooltip=(
                    "What a mask says: where the object is (its bounds are the box), or also what shape it has")),
                io.Boolean.Input("all_matches", default=False, optional=True,
                                 tooltip="Everything that the words name, instead of the most confident match"),
                *_modes(),
                setting(io.Float, "box_threshold", default=BOX_THRESHOLD, min=0.0, max=1.0, step=0.01, optional=True,
                        tooltip="How sure a match of the words must be"),
                setting(io.Float, "text_threshold", default=TEXT_THRESHOLD, min=0.0, max=1.0, step=0.01, optional=True,
                        tooltip="How well a match must fit its own words"),
                io.String.Input("prompt", optional=True, force_input=True, tooltip="From the Prompt Editor"),
                io.MultiType.Input("boxes", types=list(Boxes), optional=True,
                                   tooltip="One object for each box: BOUNDING_BOX, BBOX, BBOXES or SEGS"),
                io.Mask.Input("mask", optional=True,
                              tooltip="A selection or a rough mask (1 = object). An empty one, as LoadImage gives for "
                                      "pictures without alpha, is no mask"),
                io.String.Input("positive_coords", optional=True, force_input=True,
                                tooltip='Points on the object: [{"x": 3, "y": 4}, …]'),
                io.String.Input("negative_coords", optional=True, force_input=True,
                                tooltip='Points not on the object: [{"x": 3, "y": 4}, …]'),
            ],
            outputs=OUTPUTS,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model: MattingModel, image: torch.Tensor, text: str = "", objects: str = MERGED, mask_use: str = "box",
        all_matches: bool = False, guidance: str = "auto", sides: str = "auto", box_threshold: float = BOX_THRESHOLD,
        text_threshold: float = TEXT_THRESHOLD, prompt: str | None = None, boxes: Any = None,
        mask: torch.Tensor | None = None, positive_coords: str | None = None, negative_coords: str | None = None,
    ) -> io.NodeOutput:
        pictures = images_of(image)
        if not text.strip() and all(item is None for item in (prompt, boxes, mask, positive_coords, negative_coords)):
            raise PromptError("nothing says what to matte; connect the Prompt Editor, boxes, points or a mask, or "
                              "write what it is into text")
        given = _given(pictures, text, prompt, boxes, mask, positive_coords, negative_coords)
        prompts = [prompts_of(one, "shape" if mask_use == "shape" else "box") for one in given]
        grounded, missed = ground_all(model, pictures, prompts, Finding(all_matches, box_threshold, text_threshold))
        mattes = mattes_of(model, pictures, grounded, How(guidance, sides, objects == MERGED))
        _warn(cls, mattes, missed)
        return io.NodeOutput(*outputs(pictures, mattes, grounded))


def _given(
    pictures: Sequence[Image], text: str, prompt: str | None, boxes: Any, mask: torch.Tensor | None,
    positive: str | None, negative: str | None,
) -> list[Given]:
    count = len(pictures)
    sizes = [(picture.width, picture.height) for picture in pictures]
    boxed = read_boxes(boxes, sizes) or [()] * count
    on = read_points(positive, count, "positive_coords")
    off = read_points(negative, count, "negative_coords")
    masks = masks_of(mask, pictures) or [[]] * count
    return [
        Given(marked=(*read_editor(prompt, *sizes[index]), *(Marked(box=box) for box in boxed[index])),
              on=on[index], off=off[index], masks=tuple(masks[index]), text=text.strip())
        for index in range(count)
    ]


def _warn(node: type[io.ComfyNode], mattes: Sequence[Sequence[MatteResult]], missed: Sequence[str]) -> None:
    empty = [index for index, found in enumerate(mattes) if not any((one.alpha > 0).any() for one in found)]
    if missed:
        tell(node, missed[0] if len(missed) == 1 else f"{missed[0]} (and {len(missed) - 1} more like this)")
    elif empty:
        which = "" if len(mattes) == 1 else f" in picture {', '.join(str(index + 1) for index in empty[:10])}"
        tell(node, f"nothing is marked or found{which}, so the matte is empty there; mark the object with a box, "
                   "points, a mask or words")


class MatteRefine(io.ComfyNode):
    """A rough mask in, a soft matte out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingRefine",
            display_name="Matte Refine",
            description="Makes a soft matte of a rough mask, from any segmentation, or painted by hand.",
            search_aliases=["refine mask", "mask to matte", "soft mask", "edge refine", "matting"],
            inputs=[
                MattingModelType.Input("model"),
                io.Image.Input("image"),
                io.Mask.Input("mask", tooltip="The rough mask (1 = object); one for all pictures, or one each"),
                io.Int.Input("reach", default=0, min=0, max=4096, optional=True, tooltip=(
                    "How far, in pixels, the matte's edge may be from the mask's; 0 lets the model decide")),
                *_modes(),
            ],
            outputs=OUTPUTS,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model: MattingModel, image: torch.Tensor, mask: torch.Tensor, reach: int = 0, guidance: str = "auto",
        sides: str = "auto",
    ) -> io.NodeOutput:
        pictures = images_of(image)
        masks = masks_of(mask, pictures) or []
        grounded = [[Grounded(Prompt(mask=one), None, None, 0) for one in each] for each in masks]
        mattes = mattes_of(model, pictures, grounded, How(guidance, sides, together=True))
        if reach:
            mattes = [[_near(matte, each, reach) for matte in found]
                      for found, each in zip(mattes, masks, strict=True)]
        _warn(cls, mattes, [])
        return io.NodeOutput(*outputs(pictures, mattes, grounded))


def _near(matte: MatteResult, masks: Sequence[Any], reach: int) -> MatteResult:
    """The matte held to the masks it was made of: 1 deep inside of them, 0 far outside."""
    rough = torch.from_numpy(np.logical_or.reduce(masks).astype(np.float32))
    outer, inner = grown(rough, reach).numpy(), 1 - grown(1 - rough, reach).numpy()
    return replace(matte, alpha=np.clip(matte.alpha, inner, outer), mask=(matte.mask | (inner > 0)) & (outer > 0))


def grown(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    """A mask H×W grown by a square of `pixels` on every side: the largest value around."""
    if pixels <= 0:
        return mask
    wide = 2 * pixels + 1
    plane = mask[None, None].float()
    plane = torch.nn.functional.max_pool2d(plane, (1, wide), stride=1, padding=(0, pixels))
    return torch.nn.functional.max_pool2d(plane, (wide, 1), stride=1, padding=(pixels, 0))[0, 0]
