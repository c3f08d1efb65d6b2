"""Models and pictures for the benchmarks on a card; nothing is downloaded.

The ViTs have made-up weights, noise of the scales of tests/recipe.py, so that no path is idle; `lite` has its own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Pillow

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import recipe

from matting_anything_core.image import Image, read_image
from matting_anything_core.model import MattingAnything
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.sam import Sam, build_sam, load_state
from matting_anything_core.weights import open_checkpoint

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
LITE = Path(__file__).parents[1] / "matting_anything_core" / "weights" / "lite.safetensors"
"""The bundled model by its file: looking for a name would need the package platformdirs."""
TINY = "vit_tiny_test"


@dataclass(frozen=True)
class Networks:
    """What both paths compute with; the weights are there once."""

    name: str
    sam: Sam
    m2m: MaskToMatte
    model: MattingAnything
    """In float32; `model.to(device, dtype)` gives the other types of it."""


def build(name: str, device: torch.device, *, golden: bool = False) -> Networks:
    """A model by its architecture's name, on the device.

    golden: with the very weights that the numbers in tests/golden were made with; else with ones drawn on the device,
    since drawing those of a ViT-H takes a CPU a quarter of a minute.
    """
    if name == "lite":
        checkpoint = open_checkpoint(LITE)
        model = MattingAnything.from_checkpoint(checkpoint, device=device, dtype="float32")
        m2m = MaskToMatte().eval()
        load_state(m2m, checkpoint.m2m, "lite")
        return Networks(name, model.sam, m2m.to(device), model)
    with torch.device("meta"):
        sam, m2m = build_sam(name, 64 if name == TINY else None), MaskToMatte().eval()
    if golden:
        load_state(sam, recipe.sam_weights(sam.state_dict()), "the recipe")
    else:
        _fill(sam, device)
    load_state(m2m, recipe.m2m_weights(m2m.state_dict()), "the recipe")
    model = MattingAnything(sam, m2m, device=device, dtype="float32", name=name)
    return Networks(name, model.sam, m2m.to(device).eval().requires_grad_(False), model)


def _fill(sam: Sam, device: torch.device) -> None:
    """Noise of the recipe's scales, drawn on the device."""
    generator = torch.Generator(device).manual_seed(0)
    made = {}
    for name, value in sam.state_dict().items():
        offset, factor = recipe._sam_scale(name, tuple(value.shape))
        noise = torch.randn(value.shape, generator=generator, device=device)
        made[name] = noise.mul_(float(factor)).add_(float(offset))
    load_state(sam, made, "noise")


@dataclass(frozen=True)
class Scene:
    """A picture and a box x0, y0, x1, y1 in its pixels."""

    image: Image
    box: tuple[float, float, float, float]


def scenes(count: int, width: int, height: int) -> list[Scene]:
    """Pictures of one size that differ: the goldens' cat, enlarged, turned and mirrored."""
    cat = Pillow.open(GOLDEN / "chelsea.webp").convert("RGB").resize((width, height), Pillow.Resampling.BICUBIC)
    found = []
    for index in range(count):
        pixels = np.asarray(cat)
        pixels = pixels[:, ::-1] if index % 2 else pixels
        pixels = np.roll(pixels, index * height // 16, axis=0)
        share = 0.12 + 0.01 * index
        box = (share * width, share * height, (1 - share) * width, (1 - share) * height)
        found.append(Scene(read_image(np.ascontiguousarray(pixels)), box))
    return found
