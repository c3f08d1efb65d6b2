"""A backbone and an alpha head of somebody else's: one entry each, and everything knows them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import picture
from torch import Tensor, nn

from matting_anything_core import WeightsError, load_model, read_image, write_image
from matting_anything_core.cli import main
from matting_anything_core.geometry import Window
from matting_anything_core.networks import backbones
from matting_anything_core.networks.backbone import Backbone, Defaults
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.sam import build_sam
from matting_anything_core.pipeline import heads
from matting_anything_core.pipeline.heads import Patch
from matting_anything_core.weights.convert import write_model


class ToyEncoder(nn.Module):
    """One convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.toy = nn.Conv2d(3, 256, 16, stride=16)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.toy(pixels)


TOY = Backbone("toy", lambda _size: ToyEncoder(), lambda shapes: "image_encoder.toy.weight" in shapes, input_size=64,
               mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0), any_size=True, decoder_width=32,
               defaults=Defaults(head="toy"))


@dataclass(frozen=True)
class ToyHead:
    """Half of the mask's bounds is the object, by one half."""

    input_size: int | None = None

    def to(self, device: Any, dtype: Any) -> ToyHead:
        return self

    def alpha(self, view: Any, mask: Any, binary: Any, rgb: Any, options: Any, report: Any,
              where: Window | None = None, hand: Any = None) -> Patch:
        report(0.5)
        return Patch(torch.full((1, 1, binary.bounds.height, binary.bounds.width), 0.5), binary.bounds)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the toy's weights, both registered."""
    monkeypatch.setitem(backbones.BACKBONES, "toy", TOY)
    monkeypatch.setitem(heads.HEADS, "toy", lambda _m2m, _size: ToyHead())
    torch.manual_seed(0)
    sam, m2m = build_sam("toy"), MaskToMatte()
    path = tmp_path / "toy.safetensors"
    write_model(path, sam=sam.state_dict(), m2m=m2m.state_dict(), dtype=torch.float32,
                metadata={"architecture": "toy", "square": "64", "matte_square": "64"})
    return path


def test_a_toy_mattes_in_python_and_on_the_command_line(toy: Path, tmp_path: Path) -> None:
    model = load_model(toy, device="cpu")
    assert (model.name, model.square) == ("toy", 64)
    image = picture(60, 100)
    [found] = model.matte(model.embed(image), (10, 8, 70, 50))
    assert set(np.unique(found.alpha)) <= {0.0, 0.5}
    assert found.mask.any() == (found.alpha > 0).any()
    [corrected] = model.matte(model.embed(image), {"box": (10, 8, 70, 50), "points": [(30, 30)], "labels": [1]})
    assert corrected.alpha[30, 30] > 0.5
    write_image(tmp_path / "in.png", image)
    assert main(["matte", str(tmp_path / "in.png"), "--box", "10,8,70,50", "--model", str(toy), "--output", "alpha",
                 "-o", str(tmp_path / "out.png")]) == 0
    np.testing.assert_allclose(read_image(tmp_path / "out.png").rgb[..., 0] / 255, found.alpha, atol=1 / 255)


def test_a_file_may_name_its_head(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backbones.BACKBONES, "toy", replace(TOY, defaults=Defaults(head="guided")))
    assert load_model(toy, device="cpu").defaults.head == "guided"


def test_what_is_not_registered_is_refused_with_what_is(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(backbones.BACKBONES, "toy")
    with pytest.raises(WeightsError, match="known are lite, vit_b"):
        load_model(toy, device="cpu")
    with pytest.raises(WeightsError, match="expected one of lite, vit_b"):
        build_sam("toy")
