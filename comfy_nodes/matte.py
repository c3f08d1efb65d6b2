"""Matte and Matte Refine: prompts in; alpha, cut-out, foreground, mask and boxes out, for every picture of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from comfy_api.latest import io

from matting_anything_core import Image, MatteOptions, Prompt, PromptError
from matting_anything_core import Matte as MatteResult
from matting_anything_core.grounding import BOX_THRESHOLD, TEXT_THRESHOLD, Grounded
from matting_anything_core.types import FIELDS

from . import wiring
from .model import MattingModel
from .objects import Given, prompts_of
from .pictures import Array, grown, images_of, masks_of, planes_of
from .prompts import BOX_FORMATS, read_boxes, read_editor, read_points
from .results import Result
from .schema import FIRST_OPTIONS, BoundingBox, Boxes, MattingModelType, Trimaps, options, schema, setting
from .work import Finding, How, finished, ground_all, mattes_of, outputs

MERGED, SEPARATE = "merged", "one by one"
OUTPUTS = [
    io.Mask.Output("MASK", display_name="mask", tooltip="The matte: 1 is the object, 0 the background"),
    io.Image.Output("CUTOUT", display_name="cutout", tooltip="RGBA with straight alpha and clean colours"),
    io.Image.Output("FOREGROUND", display_name="foreground",
                    tooltip="RGB: the object's own colours, without the background in soft edges"),
    io.Mask.Output("HARD_MASK", display_name="hard_mask", tooltip="The segmentation that the matte grew from"),
    BoundingBox.Output("BOXES", display_name="boxes", tooltip="For each picture a list of the objects' boxes"),
    io.SEGS.Output("SEGS", display_name="segs", tooltip="The first picture's objects, for the Impact pack"),
]
COLOURED = (1, 2)
"""The outputs that need the object's own colours, which take their time and are found only for who takes them."""
ON_NOTHING = ("empty matte", "error")
FAINT = 0.02
"""What is nowhere above this is neither a trimap nor an earlier matte."""


class Matte(io.ComfyNode):
    """Any mixture of prompts in, soft mattes out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingMatte",
            display_name="Matte (box / points / mask / text)",
            description="Cuts objects out with a soft alpha matte. Say which ones by any mixture of the Prompt Editor, "
                        "boxes, points, strokes, masks, a trimap and words.",
            search_aliases=["matting", "alpha matte", "remove background", "background removal", "rembg", "segment",
                            "cutout", "cut out", "hair mask", "foreground", "green screen", "trimap", "vitmatte"],
            inputs=[
                MattingModelType.Input("model"),
                io.Image.Input("image"),
                io.String.Input("text", default="", optional=True, tooltip=(
                    "Words that name the object, such as: the dog on the left. Several things: a dog. a red ball. "
                    "Needs Grounding DINO, see Get Weights")),
                io.Combo.Input("objects", options=[MERGED, SEPARATE], default=MERGED, optional=True,
                               tooltip="All objects in one matte (quick), or a batch with one matte for each object"),
                io.Combo.Input("mask_use", options=["box", "shape"], default="box", optional=True, tooltip=(
                    "What a mask says: where the object is (its bounds are the box), or also what shape it has")),
                io.Boolean.Input("all_matches", default=False, optional=True,
                                 tooltip="Everything that the words name, instead of the most confident match"),
                *options(*FIRST_OPTIONS),
                setting(io.Float, "box_threshold", default=BOX_THRESHOLD, min=0.0, max=1.0, step=0.01, optional=True,
                        tooltip="How sure a match of the words must be"),
                setting(io.Float, "text_threshold", default=TEXT_THRESHOLD, min=0.0, max=1.0, step=0.01, optional=True,
                        tooltip="How well a match must fit its own words"),
                setting(io.Combo, "box_format", options=list(BOX_FORMATS), default="auto", optional=True, tooltip=(
                    "What four numbers of a box are: xyxy (corners) or xywh (with width and height). auto: what the "
                    "node that they come from says, else corners, unless they cannot be")),
                setting(io.Combo, "on_nothing", options=list(ON_NOTHING), default=ON_NOTHING[0], optional=True,
                        tooltip="What to do when a picture has nothing that is marked or found"),
                *options(),
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
                io.Mask.Input("keep", optional=True, tooltip="Strokes over the object: they hold, pixel by pixel"),
                io.Mask.Input("drop", optional=True, tooltip="Strokes over what is not the object, likewise"),
                io.MultiType.Input("trimap", types=list(Trimaps), optional=True, tooltip=(
                    "1 = surely the object, 0 = surely not, in between = to be solved; from any pack")),
                io.Mask.Input("previous", optional=True, tooltip=(
                    "The matte to go on from: points and strokes change what they point at, the rest stays")),
            ],
            outputs=OUTPUTS,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            has_intermediate_output=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_given: Any) -> bool:
        """Run again when somebody begins to take what was not computed."""
        return wiring.fingerprint(cls.hidden.unique_id, COLOURED)

    @classmethod
    def execute(
        cls, model: MattingModel, image: torch.Tensor, text: str = "", objects: str = MERGED, mask_use: str = "box",
        all_matches: bool = False, box_threshold: float = BOX_THRESHOLD, text_threshold: float = TEXT_THRESHOLD,
        box_format: str = "auto", on_nothing: str = ON_NOTHING[0], prompt: str | None = None, boxes: Any = None,
        mask: torch.Tensor | None = None, positive_coords: str | None = None, negative_coords: str | None = None,
        keep: torch.Tensor | None = None, drop: torch.Tensor | None = None, trimap: torch.Tensor | None = None,
        previous: torch.Tensor | None = None, **options: Any,
    ) -> io.NodeOutput:
        how = How(MatteOptions.of(None, options), objects == MERGED,  # type: ignore[arg-type]
                  wiring.taken(cls.hidden.prompt, cls.hidden.unique_id, COLOURED))
        pictures = images_of(image)
        connected = (boxes, mask, positive_coords, negative_coords, keep, drop, trimap, previous)
        unsaid = not text.strip() and all(item is None for item in connected) and \
            not read_editor(prompt, pictures[0].width, pictures[0].height)
        if box_format == "auto":
            box_format = _said_format(wiring.source_of(cls.hidden.prompt, cls.hidden.unique_id, "boxes"))
        given, notes = _given(
            pictures, Texts(text, prompt, positive_coords, negative_coords), boxes, box_format,
            Planes(mask, keep, drop, trimap, previous))
        prompts = [prompts_of(one, "shape" if mask_use == "shape" else "box") for one in given]
        if unsaid:
            prompts = [[_subject()] for _ in pictures]
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", UserWarning)
            grounded, missed = ground_all(model, pictures, prompts, Finding(all_matches, box_threshold, text_threshold))
            results = mattes_of(model, pictures, grounded, how)
        said = [str(one.message) for one in heard if issubclass(one.category, UserWarning)]
        shown = finished(cls, pictures, results, [*missed, *notes, *said], refuse=on_nothing == "error")
        return io.NodeOutput(*outputs(pictures, results, grounded, how.colours), ui=shown)


def _subject() -> Prompt:
    """The prompt of who says nothing: the one clear subject."""
    if "subject" not in FIELDS:
        raise PromptError("connect the Prompt Editor, boxes, points or a mask, or write into text what it is: nothing "
                          "says what to matte")
    return Prompt(subject=True)


class Texts(NamedTuple):
    """What comes as text."""

    words: str
    prompt: str | None
    positive: str | None
    negative: str | None


class Planes(NamedTuple):
    """What comes as masks."""

    mask: torch.Tensor | None
    keep: torch.Tensor | None
    drop: torch.Tensor | None
    trimap: torch.Tensor | None
    previous: torch.Tensor | None


def _said_format(source: Mapping[str, Any]) -> str:
    """What the node that boxes come from says of their format: KJNodes' editor has a widget for it."""
    said = source.get("inputs", {}).get("bbox_format") if isinstance(source.get("inputs"), Mapping) else None
    return str(said) if said in BOX_FORMATS else "auto"


def _given(
    pictures: Sequence[Image], texts: Texts, boxes: Any, box_format: str, planes: Planes
) -> tuple[list[Given], list[str]]:
    """What is known of each picture's objects, and what came to nothing."""
    sizes = [(picture.width, picture.height) for picture in pictures]
    boxed = read_boxes(boxes, sizes, box_format)
    marked = [()] * len(pictures) if boxed is None else boxed.objects
    on = read_points(texts.positive, sizes, "positive_coords")
    off = read_points(texts.negative, sizes, "negative_coords")
    masks = masks_of(planes.mask, pictures)
    keep, drop = masks_of(planes.keep, pictures, "keep"), masks_of(planes.drop, pictures, "drop")
    trimaps = planes_of(planes.trimap, pictures, "trimap", FAINT)
    previous = planes_of(planes.previous, pictures, "previous", FAINT)
    given = [
        Given(size=sizes[index], marked=(*read_editor(texts.prompt, *sizes[index]), *marked[index]),
              on=on[index], off=off[index], masks=tuple(masks[index]), trimaps=tuple(trimaps[index]),
              previous=tuple(previous[index]), keep=_together(keep[index]), drop=_together(drop[index]),
              text=texts.words.strip())
        for index in range(len(pictures))
    ]
    return given, [boxed.note] if boxed is not None and boxed.note else []


def _together(masks: Sequence[Array]) -> Array | None:
    result: Array | None = np.logical_or.reduce(masks) if len(masks) else None
    return result


class MatteRefine(io.ComfyNode):
    """A rough mask in, a soft matte out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingRefine",
            display_name="Matte Refine",
            description="Makes a soft matte of a rough mask, from any segmentation, or painted by hand.",
            search_aliases=["refine mask", "mask to matte", "soft mask", "edge refine", "matting", "vitmatte",
                            "feather", "hair"],
            inputs=[
                MattingModelType.Input("model"),
                io.Image.Input("image"),
                io.Mask.Input("mask", tooltip="The rough mask (1 = object); one for all pictures, or one each"),
                io.Int.Input("reach", default=0, min=0, max=4096, optional=True, tooltip=(
                    "How far, in pixels, the matte's edge may be from the mask's; 0 lets the model decide")),
                *options(*FIRST_OPTIONS),
                *options(),
            ],
            outputs=OUTPUTS,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            has_intermediate_output=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_given: Any) -> bool:
        """Run again when somebody begins to take what was not computed."""
        return wiring.fingerprint(cls.hidden.unique_id, COLOURED)

    @classmethod
    def execute(
        cls, model: MattingModel, image: torch.Tensor, mask: torch.Tensor, reach: int = 0, **options: Any
    ) -> io.NodeOutput:
        pictures = images_of(image)
        masks = masks_of(mask, pictures)
        colours = wiring.taken(cls.hidden.prompt, cls.hidden.unique_id, COLOURED)
        grounded = [[Grounded(Prompt(mask=one), None, None, 0) for one in each] for each in masks]
        how = How(MatteOptions.of(None, options), colours=colours and not reach)  # type: ignore[arg-type]
        results = mattes_of(model, pictures, grounded, how)
        if reach:
            results = [[Result(_near(one.matte, each, reach)) for one in found]
                       for found, each in zip(results, masks, strict=True)]
        return io.NodeOutput(*outputs(pictures, results, grounded, colours), ui=finished(cls, pictures, results, []))


def _near(matte: MatteResult, masks: Sequence[Array], reach: int) -> MatteResult:
    """The matte held to the masks it was made of: 1 deep inside of them, 0 far outside."""
    rough = torch.from_numpy(np.logical_or.reduce(masks).astype(np.float32))
    outer, inner = grown(rough, reach).numpy(), 1 - grown(1 - rough, reach).numpy()
    return replace(matte, alpha=np.clip(matte.alpha, inner, outer), mask=(matte.mask | (inner > 0)) & (outer > 0))
