"""A gate on what comes out: `lite` from boxes, against objects that were outlined by hand.

The floors stand in outlines.py, a few hundredths below what the model reached when they were set. They are no benchmark
(docs/evaluation.md has those); they notice when a part of the pipeline stops helping. All parts are tried: without the
crop, the colours or the refinement the gate must fall.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from outlines import DRAWN, IGNORED, OBJECT, PICTURES, Drawn, judged

from matting_anything_core import Image, MattingAnything, Prompt, assets, load_model, read_image
from matting_anything_core.pipeline.color_model import Colors

MEAN_IOU, MEAN_ERROR = 0.94, 0.065


class Measured(NamedTuple):
    iou: float
    error: float


def read(name: str) -> Image:
    here = PICTURES / name
    return read_image(here if here.exists() else Path(assets.__file__).parent / name)


@pytest.fixture(scope="module")
def model() -> MattingAnything:
    return load_model("lite", device="cpu")


def measure(model: MattingAnything, drawn: Drawn) -> Measured:
    image = read(drawn.picture)
    [matte] = model.matte(model.embed(image), Prompt(box=drawn.box))
    truth = judged(drawn, image.height, image.width)
    counts, inside, found = truth != IGNORED, truth == OBJECT, matte.alpha >= 0.5
    shared, either = np.count_nonzero(inside & found & counts), np.count_nonzero((inside | found) & counts)
    return Measured(shared / either, float(np.abs(matte.alpha - inside)[counts].sum() / np.count_nonzero(inside)))


@pytest.fixture(scope="module")
def measured(model: MattingAnything) -> dict[str, Measured]:
    return {name: measure(model, drawn) for name, drawn in DRAWN.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_masks_and_alphas_hold_their_floors(measured: dict[str, Measured], name: str) -> None:
    assert measured[name].iou >= DRAWN[name].iou
    assert measured[name].error <= DRAWN[name].error


def test_the_means_hold_their_floors(measured: dict[str, Measured]) -> None:
    assert np.mean([one.iou for one in measured.values()]) >= MEAN_IOU
    assert np.mean([one.error for one in measured.values()]) <= MEAN_ERROR


@pytest.fixture(params=["crops", "refine_masks", "colours"])
def crippled(request: pytest.FixtureRequest, model: MattingAnything, monkeypatch: pytest.MonkeyPatch) -> str:
    """The model without one of its parts."""
    if request.param == "colours":
        monkeypatch.setattr(Colors, "log_ratio", lambda _self, inside, _outside: np.zeros_like(inside))
    else:
        monkeypatch.setattr(model, "defaults", replace(model.defaults, **{request.param: False}))
    return request.param


def test_the_gate_falls_without_any_part(model: MattingAnything, crippled: str) -> None:
    assert any(measure(model, DRAWN[name]).iou < DRAWN[name].iou - 0.05 for name in ("tower", "nose")), crippled
