"""Matting Anything: a picture and a prompt in, the alpha matte of any object out.

    from matting_anything_core import matte

    result = matte("photo.jpg", (120, 40, 560, 700))      # a box; or a mask, words, Prompt(points=[(300, 200)])
    result.alpha                                          # float32 H×W in 0..1
    result.cutout().save("dog.png")                       # straight alpha, clean colours

Segment Anything (frozen) makes features of the picture and, from the prompt, a mask; the Mask-to-Matte network turns
features, picture and mask into alpha at an eighth, a quarter and the whole of the resolution; merging takes the finer
ones where they matter ("Matting Anything", arXiv 2306.05399). For many prompts on one picture, or many pictures, keep
the model and the embedding:

    model = load_model("vit_b", device="cuda")            # lite (bundled) | vit_b | mobile_sam | … | a file
    embedding = model.embed(image)                        # once a picture
    mattes = model.matte(embedding, [Prompt(box=…), Prompt(points=[(x, y), …], labels=[1, 0])])

What is wrong is corrected by hand: `result.corrected(points=[(300, 200)], labels=[0])`.

Data runs one way: types → image, geometry → networks → weights → pipeline → model → api. Nothing is
downloaded unless asked for, and torch is imported when it is first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    CancelledError,
    DeviceError,
    ImageError,
    MattingError,
    MissingExtraError,
    NothingFoundError,
    PromptError,
    WeightsError,
)
from .options import MatteOptions
from .pipeline.embedding import Embedding
from .strokes import Stroke
from .threads import guard_forks
from .types import Prompt

if TYPE_CHECKING:
    from .api import Words, all_matches, load_model, matte
    from .image import Image, read_image, write_image
    from .model import MattingAnything
    from .result import Matte
    from .video import Correction, matte_video

__version__ = "0.2.0"

__all__ = [
    "CancelledError", "Correction", "DeviceError", "Embedding", "Image", "ImageError", "Matte", "MatteOptions",
    "MattingAnything", "MattingError", "MissingExtraError", "NothingFoundError", "Prompt", "PromptError", "Stroke",
    "WeightsError", "Words", "all_matches",
    "load_model", "matte", "matte_video", "read_image", "write_image",
]

_LAZY = {
    "Image": "image", "Matte": "result", "MattingAnything": "model", "Words": "api", "all_matches": "api",
    "load_model": "api", "matte": "api", "Correction": "video", "matte_video": "video",
    "read_image": "image", "write_image": "image",
}


def __getattr__(name: str) -> Any:
    """Import what is heavy (torch, Pillow) when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from .startup import loading

    with loading("torch"):
        value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


guard_forks()
