"""The shortest way: `matte(image, prompt)`, and `load_model` for those who keep the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, overload

from . import torch_first as torch_first
from .errors import PromptError
from .image import Image, read_image
from .kept import Kept
from .model import MattingAnything
from .types import Embedding, Prompt, prompts_of

if TYPE_CHECKING:
    import torch

    from .grounding import Grounded, Grounding
    from .result import Matte
    from .types import Box, Guidance, ImageInput, ProgressCallback, Prompt, PromptInput, Sides


def load_model(
    model: str | os.PathLike[str] = "lite",
    *,
    device: str | torch.device = "auto",
    dtype: str = "auto",
    sam: str | os.PathLike[str] | None = None,
    m2m: str | os.PathLike[str] | None = None,
    folders: Sequence[str | os.PathLike[str]] = (),
    threads: int | None = None,
) -> MattingAnything:
    """Load a model; it can be kept for any number of pictures, and shared between threads and, on the CPU, with
    processes that are forked later.

    model: lite (comes with the package), vit_b, vit_l, vit_h (fetched by `matting-anything weights fetch NAME`), or the
    path of a .safetensors file. sam, m2m: files to take the two networks of vit_* from instead of the cache folder.
    folders: where else to look for weights by name (a host's model folders), as fetched or as published.
    device: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1, mps. dtype: auto, float32, float16, bfloat16; auto is
    half precision (autocast) on CUDA and float32 elsewhere.
    threads: how many the CPU computes with, in the calling thread only; left out, as many as torch would, or fewer in
    a container with a smaller share of the cores. Results on the CPU may differ in their last bits between numbers.

    Raises WeightsError when weights are missing or damaged (nothing is downloaded), DeviceError for an absent device
    and when memory does not suffice, MissingExtraError when OpenCV cannot be loaded here.
    """
    from . import opencv as opencv  # says what to install before anything else is done
    from .device import resolve_device, working
    from .threads import check_threads
    from .weights.store import open_checkpoint

    check_threads(threads)
    with working(resolve_device(device), f"loading {model}", threads=threads):
        checkpoint = open_checkpoint(model, sam=sam, m2m=m2m, folders=folders)
        return MattingAnything.from_checkpoint(checkpoint, device=device, dtype=dtype, threads=threads)


_MODEL: Kept[MattingAnything] = Kept()
"""The model of the last call of `matte`: the one thing this library keeps by itself …"""
_DETECTOR: Kept[Grounding] = Kept()
"""… and the detector of the last call with words, kept like it."""


def _kept(model: str, device: str) -> MattingAnything:
    from .weights.store import files_behind

    return _MODEL.get((model, device), files_behind(model), lambda: load_model(model, device=device))


def _kept_grounding(name: str, device: str) -> Grounding:
    from .grounding import load_grounding
    from .grounding.load import files_of

    return _DETECTOR.get((name, device), files_of(name), lambda: load_grounding(name, device=device))


@dataclass(frozen=True)
class Words:
    """How words are looked for (section 4.1 of the paper; its values are the defaults).

    grounding: the detector's name or path, or a loaded one. box_threshold, text_threshold: 0..1, how sure a box and
    its words must be. nms: boxes that overlap more than this (IoU, 0..1) are one.
    """

    grounding: str | os.PathLike[str] | Grounding = "grounding-dino-tiny"
    box_threshold: float = 0.25
    text_threshold: float = 0.25
    nms: float = 0.8

    def find(
        self, image: Image, prompts: Sequence[Prompt], *, device: str | torch.device, all_matches: bool = False
    ) -> list[Grounded]:
        """The prompts with boxes in the place of words."""
        from .grounding import Grounding, ground

        detector = self.grounding if isinstance(self.grounding, Grounding) \
            else _kept_grounding(os.fspath(self.grounding), str(device))
        return ground(prompts, image, detector, all_matches=all_matches, box_threshold=self.box_threshold,
                      text_threshold=self.text_threshold, nms=self.nms)


@overload
def matte(
    image: ImageInput | Embedding, prompt: list[Prompt] | list[PromptInput] | list[Box], *,
    model: str | os.PathLike[str] | MattingAnything = ..., device: str | torch.device = ...,
    guidance: Guidance | Literal["auto"] = ..., sides: Sides | Literal["auto"] = ..., postprocess: bool = ...,
    detail: bool = ..., words: Words = ..., progress: ProgressCallback | None = ...,
) -> list[Matte]: ...


@overload
def matte(
    image: ImageInput | Embedding, prompt: PromptInput, *,
    model: str | os.PathLike[str] | MattingAnything = ..., device: str | torch.device = ...,
    guidance: Guidance | Literal["auto"] = ..., sides: Sides | Literal["auto"] = ..., postprocess: bool = ...,
    detail: bool = ..., words: Words = ..., progress: ProgressCallback | None = ...,
) -> Matte: ...


def matte(
    image: ImageInput | Embedding,
    prompt: PromptInput | Sequence[PromptInput],
    *,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    guidance: Guidance | Literal["auto"] = "auto",
    sides: Sides | Literal["auto"] = "auto",
    postprocess: bool = False,
    detail: bool = True,
    words: Words = Words(),
    progress: ProgressCallback | None = None,
) -> Matte | list[Matte]:
    """Cut an object out of a picture.

    image: a path, the bytes of a file, a Pillow picture, an array H×W(×1, 3, 4) of uint8, uint16 or floats 0..1, or a
    tensor; or the Embedding that `model` made of it. prompt: a box (x0, y0, x1, y1), a mask H×W, words, a dict or a
    Prompt; a list of those gives a list of mattes. Coordinates are pixels of the picture as seen (after EXIF
    orientation).
    model: a name or path for `load_model`, or a loaded model (then `device` is not used for it). The last one that was
    named is kept, until its file changes or another one is named. guidance, sides, postprocess, detail, progress: as
    for `MattingAnything.matte`.
    words: how words in prompts are looked for; the most confident match is taken (all of them: `all_matches`).

    Returns one Matte, or a list of them for a list of prompts. Same input, same output; the inputs stay untouched.
    Raises MattingError: PromptError, ImageError, WeightsError, DeviceError, and for words NothingFoundError and
    MissingExtraError.
    """
    prompts, single = prompts_of(prompt)
    mattes = _mattes(image, prompts, False, model, device, guidance, sides, postprocess, detail, words,
                     progress)
    return mattes[0] if single else mattes


def all_matches(
    image: ImageInput | Embedding,
    prompt: PromptInput,
    *,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    guidance: Guidance | Literal["auto"] = "auto",
    sides: Sides | Literal["auto"] = "auto",
    postprocess: bool = False,
    detail: bool = True,
    words: Words = Words(),
    most: int | None = None,
    progress: ProgressCallback | None = None,
) -> list[Matte]:
    """Everything the words name ("dogs", "cat. dog."): one Matte for each match, most confident first, perhaps none.

    prompt: words, or a Prompt with text; its box restricts the search. most: no more than so many mattes. Other
    arguments as for `matte`.
    """
    asked = Prompt.of(prompt)
    if asked.text is None:
        raise PromptError("all_matches needs words: a string, or Prompt(text=…); for boxes, points and masks use matte")
    return _mattes(image, [asked], True, model, device, guidance, sides, postprocess, detail, words, progress, most)


def _mattes(
    image: ImageInput | Embedding,
    prompts: Sequence[Prompt],
    everything: bool,
    model: str | os.PathLike[str] | MattingAnything,
    device: str | torch.device,
    guidance: Guidance | Literal["auto"],
    sides: Sides | Literal["auto"],
    postprocess: bool,
    detail: bool,
    words: Words,
    progress: ProgressCallback | None,
    most: int | None = None,
) -> list[Matte]:
    from . import opencv as opencv  # before the long work

    picture = image.image if isinstance(image, Embedding) else read_image(image)
    found: list[Grounded] | None = None
    if any(prompt.text is not None for prompt in prompts):
        found = words.find(picture, prompts, device=device, all_matches=everything)[:most]
        if not found:
            return []
        prompts = [item.prompt for item in found]
    network = model if isinstance(model, MattingAnything) else _kept(os.fspath(model), str(device))
    network.check(picture, prompts)  # before the long work
    mattes = network.matte(
        image if isinstance(image, Embedding) else network.embed(picture, progress=progress), prompts,
        guidance=guidance, sides=sides, postprocess=postprocess, detail=detail, progress=progress,
    )
    if found is None:
        return mattes
    return [replace(result, phrase=item.phrase, phrase_score=item.score)
            for result, item in zip(mattes, found, strict=True)]
