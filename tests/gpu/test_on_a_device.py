"""What only a GPU can show; `pytest -m gpu tests/gpu`. MATTING_ANYTHING_GPU_TESTS_ON=cpu runs their code on the CPU,
which shows no more than that the tests themselves work."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from training.made_up import write_recipe

from matting_anything_core.device import autocast, in_chunks
from matting_anything_core.errors import DeviceError
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.options import MatteOptions
from matting_anything_core.pipeline.masks import MaskLogits
from matting_anything_core.training.loop import Team, train
from matting_anything_core.training.recipe import read_recipe
from matting_anything_core.training.run import open_library
from matting_anything_core.types import Prompt, Stroke

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

_FOUND = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else ""
DEVICE = torch.device(os.environ.get("MATTING_ANYTHING_GPU_TESTS_ON") or _FOUND or "cpu")
CUDA = DEVICE.type == "cuda"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(
    not (_FOUND or "MATTING_ANYTHING_GPU_TESTS_ON" in os.environ), reason="no CUDA or MPS device")]
only_cuda = pytest.mark.skipif(not CUDA, reason="of CUDA alone")

HALVES = [torch.bfloat16] if DEVICE.type == "cpu" else [torch.float16] + [torch.bfloat16] * CUDA
BOX = (30, 20, 200, 150)


@pytest.fixture(autouse=True)
def _float32_is_float32(monkeypatch):
    """cuDNN's convolutions are in TF32 unless a program says otherwise, with errors of 1e-3."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def models():
    """On the CPU and on the device; they share no tensors."""
    here = tiny.tiny_model.__wrapped__()
    return here, tiny.tiny_model.__wrapped__().to(DEVICE, "float32")


def prompts():
    mask = np.zeros((160, 240), bool)
    mask[40:120, 60:200] = True
    trimap = np.where(mask, np.uint8(255), np.uint8(0))
    trimap[30:60, 50:210] = 128
    stroke = Stroke(points=((70, 50), (110, 90)), width=9)
    return {
        "box": Prompt(box=BOX), "points": Prompt(points=[(100, 100), (10, 10)], labels=[1, 0]),
        "box and point": Prompt(box=BOX, points=[(100, 100)], labels=[1]), "mask": Prompt(mask=mask),
        "strokes": Prompt(box=BOX, keep=[stroke], drop=[replace(stroke, points=((20, 30), (40, 35)))]),
        "trimap": Prompt(trimap=trimap),
        "previous": Prompt(previous=mask.astype(np.float32), points=[(90, 90)], labels=[0]),
    }


def alike(got, expected, share=0.01):
    """But for a few pixels: where a logit is nearly 0, rounding decides whether it is inside of the mask."""
    off = np.abs(got - expected)
    assert np.isfinite(got).all()
    assert (off > 1e-3).mean() <= share, f"{(off > 1e-3).mean():.3f} of the pixels are off, by up to {off.max():.3f}"


@pytest.mark.parametrize("kind", list(prompts()))
def test_a_matte_is_the_cpus(models, kind):
    here, there = models
    picture, prompt = tiny.picture(160, 240), prompts()[kind]
    [expected], [got] = (model.matte(model.embed(picture), prompt) for model in (here, there))
    alike(got.alpha, expected.alpha)
    assert (got.mask != expected.mask).mean() <= 0.01
    assert got.score == pytest.approx(expected.score, abs=1e-3)


def test_several_at_once_and_united(models):
    here, there = models
    picture, asked = tiny.picture(160, 240), list(prompts().values())[:3]
    for expected, got in zip(*(model.matte(model.embed(picture), asked) for model in models), strict=True):
        alike(got.alpha, expected.alpha)
    together = [model.matte_together(model.embed(picture), asked[::2]) for model in (here, there)]
    alike(together[1].alpha, together[0].alpha)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_is_near(models, dtype):
    _, there = models
    half = there.to(DEVICE, dtype)
    embedding = there.embed(tiny.picture(160, 240))
    view = there.view(embedding)
    [mask] = there.segment(view, [there._ask(embedding, Prompt(box=BOX), there.decided(MatteOptions())).told])
    options = there.decided(MatteOptions(guidance="mask", detail=False))
    given = embedding, view, MaskLogits(mask.logits, 1.0), options
    exact, near = (model.predict_alpha(*given) for model in (there, half))
    assert near.window == exact.window
    assert float((near.alpha - exact.alpha).abs().mean()) < (5e-3 if dtype == torch.float16 else 3e-2)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_prompts_are_placed_in_float32(models, dtype):
    """bfloat16 has eight bits: a corner of a box would lie up to a pixel of 1024 off."""
    _, there = models
    box = torch.tensor([[13.3, 21.7, 50.1, 43.9]], device=DEVICE)
    features = torch.zeros((1, 256, 4, 4), device=DEVICE)
    seen = []
    hook = there.sam.mask_decoder.transformer.register_forward_hook(lambda _m, given, _out: seen.append(given[2]))
    try:
        with torch.no_grad():
            there.sam.decode(features, boxes=box)
            with autocast(DEVICE, dtype):
                there.sam.decode(features, boxes=box)
    finally:
        hook.remove()
    torch.testing.assert_close(seen[1].float(), seen[0].float(), atol=1e-5, rtol=0)


def test_memory_that_runs_out_ends_in_words_and_work_goes_on(models):
    def greedy(start, stop):
        return torch.empty(1 << 46, device=DEVICE)

    with pytest.raises(DeviceError, match="does not suffice"):
        list(in_chunks(greedy, 4, 4, device=DEVICE))
    _, there = models
    assert there.matte(there.embed(tiny.picture(50, 60)), (5, 5, 50, 40))[0].alpha.shape == (50, 60)


def test_weights_leave_the_device_and_come_back(models):
    """As a host does that needs the memory for something else meanwhile."""
    model = tiny.tiny_model.__wrapped__().to(DEVICE, "float32")
    embedding = model.embed(tiny.picture(160, 240))
    [before] = model.matte(embedding, BOX)
    away = model.to("cpu")
    assert {p.device.type for p in away.sam.parameters()} == {"cpu"}
    [on_the_cpu] = away.matte(embedding.to("cpu"), BOX)
    back = away.to(DEVICE, "float32")
    [after] = back.matte(embedding, BOX)
    alike(on_the_cpu.alpha, before.alpha)
    np.testing.assert_allclose(after.alpha, before.alpha, atol=1e-5, rtol=0)


def test_threads_share_a_model(models):
    _, there = models
    pictures = [tiny.picture(120, 160, seed) for seed in range(6)]
    expected = [there.matte(there.embed(picture), (10, 10, 120, 100))[0].alpha for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        got = list(pool.map(lambda picture: there.matte(there.embed(picture), (10, 10, 120, 100))[0].alpha, pictures))
    for one, other in zip(got, expected, strict=True):
        alike(one, other, share=0.002)


def test_the_host_waits_for_a_few_numbers_and_the_result(models):
    from gpu_waits import waits_of

    from matting_anything_core.image import read_image

    found = {one["step"]: one for one in waits_of(models[1], read_image(tiny.picture(160, 240)), BOX)}
    assert found["embed"]["waits"] == 0, found["embed"]["places"]
    assert found["second prompt"]["waits"] <= 3, found["second prompt"]["places"]


@only_cuda
def test_a_forked_process_is_told_what_to_do(models):
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(1) as pool, pytest.raises(DeviceError, match="spawn"):
        pool.apply(_use_cuda)


def _use_cuda():
    from matting_anything_core.device import working

    with working(torch.device("cuda"), "trying"):
        torch.ones(1, device="cuda")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"] + ["float16"] * CUDA)
def test_training_goes_on_where_it_stopped(tmp_path, precision):
    recipe = read_recipe(write_recipe(tmp_path, steps=4, layouts=("cutouts", "bg20k")))
    recipe = replace(recipe, validation=(), workers=0, stages=tuple(
        replace(stage, precision=precision) for stage in recipe.stages))
    library = open_library(recipe.sources, recipe.root)
    from matting_anything_core.training.loop import Limits

    team = Team(0, 1, DEVICE)
    train(recipe, tmp_path / "run", library, [], team, Limits(step=2))
    weights = train(recipe, tmp_path / "run", library, [], team)
    rows = (tmp_path / "run/losses.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1] for row in rows] == ["1", "2", "3", "4"]
    assert all(np.isfinite(float(row.split(",")[2])) for row in rows)
    assert all(torch.isfinite(x).all() for x in weights.values() if x.is_floating_point())


def test_many_processes_is_right_for_one(tmp_path):
    """nccl, norms synchronized and gradients reduced: a group of one learns as no group does."""
    import torch.distributed as dist

    torch.manual_seed(0)
    alone = MaskToMatte().to(DEVICE).train()
    grouped = MaskToMatte().to(DEVICE).train()
    grouped.load_state_dict(alone.state_dict())
    given = [torch.randn(shape, device=DEVICE) for shape in ((2, 256, 4, 4), (2, 3, 64, 64), (2, 1, 16, 16))]
    dist.init_process_group("nccl" if CUDA else "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(
            nn.SyncBatchNorm.convert_sync_batchnorm(grouped) if CUDA else grouped)
        for model in (alone, wrapped):
            model(*given).os1.mean().backward()
    finally:
        dist.destroy_process_group()
    for one, other in zip(alone.parameters(), grouped.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_the_released_programs_numbers():
    from gpu_goldens import differences
    from gpu_models import build

    networks = build("vit_b", DEVICE, golden=True)
    found = differences(networks, torch.float32)
    assert not [one for one in found if not one.kept]
    for dtype in HALVES:
        alphas = [one.mean for one in differences(networks, dtype) if one.stage == "alpha"]
        assert np.mean(alphas) < (5e-3 if dtype == torch.float16 else 3e-2)
