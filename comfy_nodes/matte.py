"""Matte and Matte Refine: prompts in; alpha, cut-out, foreground, mask and boxes out, for every picture of a batch."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import comfy.model_management as mm
import comfy.utils
import numpy as np
import torch
from comfy_api.latest import io

from matting_anything_core import Image, MatteOptions, MattingAnything, NothingFoundError, Prompt, PromptError
from matting_anything_core import Matte as MatteResult
from matting_anything_core.grounding import BOX_THRESHOLD, TEXT_THRESHOLD, Grounded, ground
from matting_anything_core.types import ProgressCallback

from . import wiring
from .model import MattingModel, result_key
from .objects import Given, bounds, prompts_of
from .pictures import Array, images_of, masks_of, planes_of, stacked
from .previews import cutout_file, matte_file, spread
from .prompts import BOX_FORMATS, read_boxes, read_editor, read_points
from .results import Result
from .schema import FIRST_OPTIONS, BoundingBox, Boxes, MattingModelType, Trimaps, options, schema, setting
from .segs import segs_of

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
    io.SEGS.Output("SEGS", display_name="segs", tooltip="The first picture's objects, for the Impact pack"),
]
COLOURED = (1, 2)
"""The outputs that need the object's own colours, which take their time and are found only for who takes them."""
ON_NOTHING = ("empty matte", "error")
FAINT = 0.02
"""What is nowhere above this is neither a trimap nor an earlier matte."""


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

    def __init__(self, count: int, *, colours: bool = False) -> None:
        self._bar = comfy.utils.ProgressBar(count * STEPS)
        self._done = 0
        matted = 0.75 if colours else 1.0
        self._parts = {"encode": (0.0, 0.5), "matte": (0.5, matted), "foreground": (matted, 1.0)}

    def __call__(self, stage: str, share: float) -> None:
        """The library's callback: encoding is the first half of a picture, matting and colours the second."""
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
    work = Work(len(pictures), colours=how.colours)
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
                    one.colours(_part_of(work, index, len(earlier)))
            loaded.keep_results(key, earlier)
            work.next_picture()
    return [[_phrased(one, each, index) for index, one in enumerate(results)] if len(results) == len(each) else results
            for results, each in zip(found, grounded, strict=True)]


def _part_of(work: Work, index: int, count: int) -> ProgressCallback:
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


class Matte(io.ComfyNode):
    """Any mixture of prompts in, soft mattes out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingMatte",
            display_name="Matte (box / points / mask / text)",
            description="Cuts objects out with a soft alpha matte. Say which ones by any mixture of the Prompt Editor, "
                        "boxes, points, a mask and words.",
            search_aliases=["matting", "alpha matte", "remove background", "background removal", "rembg", "segment",
                            "cutout", "cut out", "hair mask", "foreground", "green screen", "trimap", "vitmatte"],
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
        connected = (prompt, boxes, mask, positive_coords, negative_coords, keep, drop, trimap, previous)
        if not text.strip() and all(item is None for item in connected):
            raise PromptError("nothing says what to matte; connect the Prompt Editor, boxes, points or a mask, or "
                              "write what it is into text")
        if box_format == "auto":
            box_format = _said_format(wiring.source_of(cls.hidden.prompt, cls.hidden.unique_id, "boxes"))
        given, notes = _given(
            pictures, Texts(text, prompt, positive_coords, negative_coords), boxes, box_format,
            Planes(mask, keep, drop, trimap, previous))
        prompts = [prompts_of(one, "shape" if mask_use == "shape" else "box") for one in given]
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", UserWarning)
            grounded, missed = ground_all(model, pictures, prompts, Finding(all_matches, box_threshold, text_threshold))
            results = mattes_of(model, pictures, grounded, how)
        said = [str(one.message) for one in heard if issubclass(one.category, UserWarning)]
        shown = finished(cls, pictures, results, [*missed, *notes, *said], refuse=on_nothing == "error")
        return io.NodeOutput(*outputs(pictures, results, grounded, how.colours), ui=shown)


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
    if empty:
        which = "" if len(results) == 1 else f" in picture {', '.join(str(index + 1) for index in empty[:10])}"
        if refuse:
            raise NothingFoundError("mark the object with a box, points, strokes, a mask or words: nothing is marked "
                                    f"or found{which}{''.join(f'; {note}' for note in notes[:3])}")
        if not notes:
            said.append(f"nothing is marked or found{which}, so the matte is empty there; mark the object with a box, "
                        "points, strokes, a mask or words")
    return {**previews(pictures, results), **tell(node, said)}


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


def grown(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    """A mask H×W grown by a square of `pixels` on every side: the largest value around."""
    if pixels <= 0:
        return mask
    wide = 2 * pixels + 1
    plane = mask[None, None].float()
    plane = torch.nn.functional.max_pool2d(plane, (1, wide), stride=1, padding=(0, pixels))
    return torch.nn.functional.max_pool2d(plane, (wide, 1), stride=1, padding=(pixels, 0))[0, 0]
