"""The shortest way: `matte(image, prompt)`, and `load_model` for those who keep the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

from . import torch_first as torch_first
from .errors import PromptError
from .image import Image, read_image
from .kept import Kept
from .model import MattingAnything
from .options import MatteOptions, OptionKeywords
from .pipeline.embedding import Embedding
from .types import Prompt, prompts_of

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from .grounding import Grounded, Grounding
    from .image import ImageInput
    from .result import Matte
    from .types import ProgressCallback, PromptInput


def load_model(
    model: str | os.PathLike[str] = "lite",
    *,
    device: str | torch.device = "auto",
    dtype: str = "auto",
    sam: str | os.PathLike[str] | None = None,
    m2m: str | os.PathLike[str] | None = None,
    head: str | os.PathLike[str] | None = None,
    folders: Sequence[str | os.PathLike[str]] = (),
    threads: int | None = None,
    mapped: bool = False,
) -> MattingAnything:
    """Load a model; it can be kept for any number of pictures, and shared between threads and, on the CPU, with
    processes that are forked later.

    model: lite (comes with the package), vit_b, mobile_sam, hq_light, sam2.1_s … (docs/models.md; fetched by
    `matting-anything weights fetch NAME`), or the path of a .safetensors, .pth or .pt file. An alpha head that goes
    with any segmenter may stand behind a "+" ("vit_b+vitmatte_s", "lite+/path/of/vitmatte.safetensors"), or be named
    apart by head. sam, m2m: files to take its two networks from instead of the cache folder.
    folders: where else to look for weights by name (a host's model folders), as fetched or as published.
    device: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1, mps. dtype: auto, float32, float16, bfloat16; auto is
    half precision (autocast) on CUDA and float32 elsewhere.
    threads: how many the CPU computes with, in the calling thread only; left out, as many as torch would, or fewer in
    a container with a smaller share of the cores. Results on the CPU may differ in their last bits between numbers.
    mapped: map the files of weights whatever their size, so that processes share them (see weights/files.py).

    Raises WeightsError when weights are missing or damaged (nothing is downloaded), DeviceError for an absent device
    and when memory does not suffice, MissingExtraError when OpenCV cannot be loaded here.
    """
    from . import opencv as opencv  # says what to install before anything else is done
    from .device import resolve_device, working
    from .threads import check_threads
    from .weights.store import open_checkpoint

    check_threads(threads)
    with working(resolve_device(device), f"loading {model}", threads=threads):
        checkpoint = open_checkpoint(model, sam=sam, m2m=m2m, head=head, folders=folders, mapped=mapped)
        return MattingAnything.from_checkpoint(checkpoint, device=device, dtype=dtype, threads=threads)


_MODEL: Kept[MattingAnything] = Kept()
"""What this library keeps by itself: the model of the last call of `matte` …"""
_DETECTOR: Kept[Grounding] = Kept()
"""… the detector of the last call with words, kept like it, and the bundled model once another one has
needed it to find a subject (model.py)."""


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


@overload  # a str is a sequence of str as well, and one prompt
def matte(  # type: ignore[overload-overlap]
    image: ImageInput | Embedding, prompt: PromptInput | None = ...,
    options: MatteOptions | None = ..., *, model: str | os.PathLike[str] | MattingAnything = ...,
    device: str | torch.device = ..., words: Words = ..., progress: ProgressCallback | None = ...,
    **keywords: Unpack[OptionKeywords],
) -> Matte: ...


@overload
def matte(
    image: ImageInput | Embedding, prompt: Sequence[PromptInput],
    options: MatteOptions | None = ..., *, model: str | os.PathLike[str] | MattingAnything = ...,
    device: str | torch.device = ..., words: Words = ..., progress: ProgressCallback | None = ...,
    **keywords: Unpack[OptionKeywords],
) -> list[Matte]: ...


def matte(
    image: ImageInput | Embedding,
    prompt: PromptInput | Sequence[PromptInput] | None = None,
    options: MatteOptions | None = None,
    *,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    words: Words = Words(),
    progress: ProgressCallback | None = None,
    **keywords: Unpack[OptionKeywords],
) -> Matte | list[Matte]:
    """Cut an object out of an image.

    Same input, same output; the inputs stay untouched.

    Parameters
    ----------
    image
        A path, the bytes of a file, a Pillow image, an array H×W(×1, 3, 4) of uint8, uint16 or floats 0..1, or a
        tensor; or the Embedding that `model` made of it.
    prompt : optional
        A box (x0, y0, x1, y1), a mask H×W, words, a dict or a Prompt; a list of those gives a list of mattes. Left out:
        the one clear subject of the image; `Matte.unsure` says when there may be none, and an empty matte that none
        was found.
        Coordinates are pixels of the image as seen (after EXIF orientation).
    options : MatteOptions, optional
        How the matte is made; its fields may be given as keywords as well (`guidance="alpha"`).
    model
        A name or path for `load_model`, or a loaded model. The last one that was named is kept, until its file changes
        or another one is named.
    device
        As for `load_model`; not used for a loaded model.
    words : Words
        How words in prompts are looked for; the most confident match is taken (all of them: `all_matches`).
    progress : callable, optional
        Called with the name of the stage and the share done, 0..1; what it raises ends the work.

    Returns
    -------
    Matte or list of Matte
        A list for a list of prompts.

    Raises
    ------
    MattingError
        PromptError, ImageError, WeightsError, DeviceError, and for words NothingFoundError and MissingExtraError.

    Examples
    --------
    >>> result = matte("photo.jpg")                          # its one clear subject
    >>> result = matte("photo.jpg", (120, 40, 560, 700))     # what is in this box
    >>> better = result.corrected(points=[(300, 200)], labels=[0])
    >>> better.cutout().save("dog.png")
    """
    prompts, single = prompts_of(prompt)
    how = MatteOptions.of(options, keywords)
    mattes = _mattes(image, prompts, how, model=model, device=device, words=words, progress=progress)
    return mattes[0] if single else mattes


def all_matches(
    image: ImageInput | Embedding,
    prompt: PromptInput,
    options: MatteOptions | None = None,
    *,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    words: Words = Words(),
    most: int | None = None,
    progress: ProgressCallback | None = None,
    **keywords: Unpack[OptionKeywords],
) -> list[Matte]:
    """Everything the words name ("dogs", "cat. dog."): one Matte for each match, most confident first, perhaps none.

    Parameters
    ----------
    prompt
        Words, or a Prompt with text; its box restricts the search.
    most : int, optional
        No more than so many mattes.
    image, options, model, device, words, progress
        As for `matte`, and so are the errors.
    """
    asked = Prompt.of(prompt)
    if asked.text is None:
        raise PromptError("all_matches needs words: a string, or Prompt(text=…); for boxes, points and masks use matte")
    return _mattes(image, [asked], MatteOptions.of(options, keywords), model=model, device=device, words=words,
                   progress=progress, everything=True, most=most)


def _mattes(
    image: ImageInput | Embedding,
    prompts: Sequence[Prompt],
    options: MatteOptions,
    *,
    model: str | os.PathLike[str] | MattingAnything,
    device: str | torch.device,
    words: Words,
    progress: ProgressCallback | None,
    everything: bool = False,
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
    embedding = image if isinstance(image, Embedding) else network.embed(picture, progress=progress)
    mattes = network.matte(embedding, prompts, options, progress=progress)
    if found is None:
        return mattes
    return [replace(result, phrase=item.phrase, phrase_score=item.score)
            for result, item in zip(mattes, found, strict=True)]
