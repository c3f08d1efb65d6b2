"""The shortest way: `matte(image, prompt)`, and `load_model` for those who keep the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, overload

from .image import read_image
from .model import MattingAnything
from .types import prompts_of

if TYPE_CHECKING:
    import torch

    from .result import Matte
    from .types import Box, Guidance, ImageInput, ProgressCallback, Prompt, PromptInput, Sides


def load_model(
    model: str | os.PathLike[str] = "lite",
    *,
    device: str | torch.device = "auto",
    dtype: str = "auto",
    sam: str | os.PathLike[str] | None = None,
    m2m: str | os.PathLike[str] | None = None,
) -> MattingAnything:
    """Load a model; it can be kept for any number of pictures and shared between threads.

    model: lite (comes with the package), vit_b, vit_l, vit_h (fetched by `matting-anything weights fetch NAME`), or the
    path of a .safetensors file. sam, m2m: files to take the two networks of vit_* from instead of the cache folder.
    device: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1, mps. dtype: auto, float32, float16, bfloat16; auto is
    half precision (autocast) on CUDA and float32 elsewhere.

    Raises WeightsError when weights are missing or damaged (nothing is downloaded), DeviceError for an absent device.
    """
    from .weights.store import open_checkpoint

    return MattingAnything.from_checkpoint(open_checkpoint(model, sam=sam, m2m=m2m), device=device, dtype=dtype)


@lru_cache(maxsize=1)
def _kept(model: str, device: str) -> MattingAnything:
    """The model of the last call of `matte`: the one thing this library keeps by itself."""
    return load_model(model, device=device)


@overload
def matte(
    image: ImageInput, prompt: list[Prompt] | list[PromptInput] | list[Box], *,
    model: str | os.PathLike[str] | MattingAnything = ...,
    device: str | torch.device = ..., guidance: Guidance | Literal["auto"] = ..., sides: Sides | Literal["auto"] = ...,
    postprocess: bool = ..., detail: bool = ..., progress: ProgressCallback | None = ...,
) -> list[Matte]: ...


@overload
def matte(
    image: ImageInput, prompt: PromptInput, *, model: str | os.PathLike[str] | MattingAnything = ...,
    device: str | torch.device = ..., guidance: Guidance | Literal["auto"] = ..., sides: Sides | Literal["auto"] = ...,
    postprocess: bool = ..., detail: bool = ..., progress: ProgressCallback | None = ...,
) -> Matte: ...


def matte(
    image: ImageInput,
    prompt: PromptInput | Sequence[PromptInput],
    *,
    model: str | os.PathLike[str] | MattingAnything = "lite",
    device: str | torch.device = "auto",
    guidance: Guidance | Literal["auto"] = "auto",
    sides: Sides | Literal["auto"] = "auto",
    postprocess: bool = False,
    detail: bool = True,
    progress: ProgressCallback | None = None,
) -> Matte | list[Matte]:
    """Cut an object out of a picture.

    image: a path, the bytes of a file, a Pillow picture, an array H×W(×1, 3, 4) of uint8, uint16 or floats 0..1, or a
    tensor. prompt: a box (x0, y0, x1, y1), a mask H×W, words, a dict or a Prompt; a list of those gives a list of
    mattes. Coordinates are pixels of the picture as seen (after EXIF orientation).
    model: a name or path for `load_model`, which keeps the last one, or a loaded model (then `device` is not used).
    guidance, sides, postprocess, detail, progress: as for `MattingAnything.matte`.

    Returns one Matte, or a list of them for a list of prompts. Same input, same output; the inputs stay untouched.
    Raises MattingError (PromptError, ImageError, WeightsError, DeviceError …).
    """
    prompts, single = prompts_of(prompt)
    picture = read_image(image)
    network = model if isinstance(model, MattingAnything) else _kept(os.fspath(model), str(device))
    network.check(picture, prompts)
    mattes = network.matte(
        network.embed(picture, progress=progress), prompts, guidance=guidance, sides=sides, postprocess=postprocess,
        detail=detail, progress=progress,
    )
    return mattes[0] if single else mattes
