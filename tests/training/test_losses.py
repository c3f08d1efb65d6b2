"""Losses, weight maps and learning rate against the released program's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from matting_anything_core.networks.m2m import Alphas
from matting_anything_core.training.losses import (
    REFERENCE_FACTORS,
    l1_loss,
    laplacian_loss,
    matte_losses,
)
from matting_anything_core.training.recipe import Stage
from matting_anything_core.training.schedule import rate_at
from matting_anything_core.training.weight_maps import draw_widths, maps_for, uncertain

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "losses.npz") as file:
        return {name: torch.from_numpy(file[name].astype(np.float32)) for name in file if name != "widths"} | {
            "widths": [int(v) for v in file["widths"]]}


@pytest.fixture(scope="module")
def values():
    return json.loads((GOLDEN / "losses.json").read_text())


@pytest.mark.parametrize(("case", "os1", "os4"), [
    ("warmup", None, None), ("mid_mask", "wmask", "wmask"), ("mid_or_late_trimap", "wtrimap", "wtrimap"),
    ("late_pred", "wpred1", "wpred4"),
])
def test_losses_equal_the_released_programs(arrays, values, case, os1, os4):
    alphas = Alphas(arrays["os8"], arrays["os4"], arrays["os1"])
    weights = tuple(None if name is None else arrays[name] for name in (os1, os4, None))
    losses = matte_losses(alphas, arrays["target"], weights, REFERENCE_FACTORS)
    for name in losses._fields[1:]:
        assert float(getattr(losses, name)) == pytest.approx(values[f"{case}/{name}_unscaled"], abs=1e-5)
    assert float(losses.total) == pytest.approx(values[f"{case}/total"], abs=1e-5)


def test_gradient_equals_the_released_programs(arrays):
    os1 = arrays["os1"].clone().requires_grad_()
    weight = arrays["wtrimap"]
    loss = l1_loss(os1, arrays["target"], weight) + laplacian_loss(os1, arrays["target"], weight)
    (gradient,) = torch.autograd.grad(loss, os1)
    torch.testing.assert_close(gradient[:, :, ::8, ::8], arrays["grad_os1_trimap"], atol=1e-8, rtol=1e-5)


def test_uncertain_regions_equal_the_released_programs(arrays):
    widths = arrays["widths"]
    assert torch.equal(uncertain(arrays["os8"], widths[:2]), arrays["wpred4"])
    assert torch.equal(uncertain(arrays["os4"], widths[2:]), arrays["wpred1"])


def test_an_empty_weight_gives_no_loss(arrays):
    nothing = torch.zeros_like(arrays["target"])
    assert float(laplacian_loss(arrays["os1"], arrays["target"], nothing)) == 0
    assert float(l1_loss(arrays["os1"], arrays["target"], nothing)) == 0


def test_the_learning_rate_equals_the_released_programs(arrays):
    stage = Stage("matte", 20000, 10, 1024, warmup=4000, floor=0.0, rate=1e-3)
    rates = [stage.rate * rate_at(stage, step) for step in range(0, 20000, 100)]
    np.testing.assert_allclose(rates, arrays["lr_by_step_every100"][:200].double().numpy(), rtol=1e-5, atol=1e-10)


def test_the_paper_teaches_os4_in_the_mask_and_os1_where_os4_is_uncertain(arrays):
    alphas = Alphas(arrays["os8"], arrays["os4"], arrays["os1"])
    mask, trimap = arrays["wmask"], arrays["wtrimap"]
    before = maps_for("paper", 3999, 4000, alphas, mask, trimap, np.random.default_rng(0))
    assert before == (None, None, None)
    os1, os4, os8 = maps_for("paper", 4000, 4000, alphas, mask, trimap, np.random.default_rng(0))
    assert os8 is None
    assert torch.equal(os4, mask)
    assert torch.equal(os1, uncertain(alphas.os4, draw_widths(np.random.default_rng(0), 2, 15)))


def test_the_reference_schedule_has_its_three_phases(arrays):
    alphas = Alphas(arrays["os8"], arrays["os4"], arrays["os1"])
    mask, trimap = arrays["wmask"], arrays["wtrimap"]

    def seen(step):
        found = set()
        for seed in range(20):
            os1, os4, _ = maps_for("reference", step, 4000, alphas, mask, trimap, np.random.default_rng(seed))
            found.add("ones" if os4 is None else "mask" if torch.equal(os4, mask) and torch.equal(os1, mask)
                      else "trimap" if torch.equal(os4, trimap) and torch.equal(os1, trimap) else "predicted")
        return found

    assert seen(0) == {"ones"}
    assert seen(4000) == seen(11999) == {"mask", "trimap"}
    assert seen(12000) == {"trimap", "predicted"}
