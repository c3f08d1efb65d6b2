"""Samples: a function of seed and index, and true to what compositing means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matting_anything_core import Prompt, load_model, read_image
from matting_anything_core.assets import DEMO_BOX, demo_picture
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.sam import build_sam
from matting_anything_core.training import generator
from matting_anything_core.training.library import open_library
from matting_anything_core.training.lite_data import PromptedScenes, SceneSettings
from matting_anything_core.training.matte_data import SceneMattes, window_step
from matting_anything_core.training.matte_task import MatteTask
from matting_anything_core.training.paper_data import PaperMattes
from matting_anything_core.training.prompting import box_of, jittered_box, points_on
from matting_anything_core.training.recipe import Source, Stage
from matting_anything_core.training.scene import build
from matting_anything_core.training.trimap import BACKGROUND, FOREGROUND, UNKNOWN, random_trimap
from matting_anything_core.training.validation import Item, predict

from .made_up import make_layout


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    layouts = ("cutouts", "picture_mask", "backgrounds")
    for layout in layouts:
        make_layout(root / layout, layout)
    return open_library(tuple(Source(layout, layout) for layout in layouts), root)


@pytest.mark.parametrize("seed", range(12))
def test_generated_foregrounds(seed):
    def photo(rng):
        return rng.random((40, 50, 3), dtype=np.float32)

    first = generator.foreground(np.random.default_rng(seed), photo, 96)
    assert first.shape == (96, 96, 4)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert 0 <= first.min() <= first.max() <= 1
    assert 0.01 < first[..., 3].mean() < 0.9
    np.testing.assert_array_equal(first, generator.foreground(np.random.default_rng(seed), photo, 96))


def test_some_generated_edges_are_soft():
    soft = []
    for seed in range(12):
        alpha = generator.foreground(np.random.default_rng(seed), lambda rng: rng.random((9, 9, 3)), 96)[..., 3]
        soft.append(((alpha > 0.05) & (alpha < 0.95)).sum() / max(1, (alpha > 0.05).sum()))
    assert max(soft) > 0.3
    assert min(soft) > 0


@pytest.mark.parametrize("seed", range(8))
def test_scenes_share_every_pixel_among_their_objects(library, seed):
    scene = build(np.random.default_rng(seed), library, 96)
    assert max(scene.rgb.shape[:2]) == 96
    assert 0 <= scene.rgb.min() <= scene.rgb.max() <= 1
    assert len(scene.alphas) == len(scene.soft)
    total = sum(scene.alphas, np.zeros(scene.rgb.shape[:2], np.float32))
    assert total.max() <= 1 + 1e-4  # what is in front is taken off what is behind


def test_samples_depend_on_seed_and_index_alone(library):
    first = PromptedScenes(library, SceneSettings(1, 64), 100)
    again = PromptedScenes(library, SceneSettings(1, 64), 100)
    other = PromptedScenes(library, SceneSettings(2, 64), 100)
    a, b, c = first[7], (again[3], again[7])[1], other[7]
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["rgb"], c["rgb"])
    assert a["rgb"].shape == (3, 64, 64)
    assert a["targets"].shape == (3, 16, 16)
    assert a["boxes"].shape == (3, 4)


def test_boxes_and_points_belong_to_the_object():
    alpha = np.zeros((80, 100), np.float32)
    alpha[20:50, 30:90] = 1
    assert box_of(alpha).tolist() == [30, 20, 90, 50]
    exact = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        box = jittered_box(rng, alpha, 0.08)
        exact += box.tolist() == [30, 20, 90, 50]
        assert np.abs(box - [30, 20, 90, 50]).max() <= 0.08 * 60 + 1e-4
        points, labels = points_on(rng, alpha, box)
        assert labels[0] == 1
        for (x, y), label in zip(points, labels, strict=True):
            if label >= 0:
                assert bool(alpha[int(y), int(x)]) == bool(label)
    assert 10 < exact < 40


def test_trimaps_hold_what_is_sure():
    alpha = np.clip(np.linspace(-1, 2, 200, dtype=np.float32), 0, 1)[None].repeat(100, 0)
    trimap = random_trimap(np.random.default_rng(0), alpha)
    assert set(np.unique(trimap)) == {BACKGROUND, UNKNOWN, FOREGROUND}
    assert (trimap[(alpha > 1 / 255) & (alpha < 254 / 255)] == UNKNOWN).all()
    assert (alpha[trimap == FOREGROUND] >= 254 / 255).all()
    assert (alpha[trimap == BACKGROUND] <= 1 / 255).all()


def test_windows_of_mattes_fit_their_picture(library):
    stage = Stage("matte", 1, 1, 64, matte_square=128, crop=64, crops=2, photographs=0.5)
    sample = SceneMattes(library, stage, 5, 10)[2]
    assert sample["rgb"].shape == (3, 64, 64)
    assert sample["crops"].shape == (2, 3, 64, 64)
    assert sample["alpha"].shape == sample["weight"].shape == (2, 64, 64)
    assert (sample["origin"] % 16 == 0).all()
    for crop, alpha, (height, width) in zip(sample["crops"], sample["alpha"], sample["inside"].tolist(), strict=True):
        assert not crop[:, height:].any()
        assert not crop[:, :, width:].any()
        assert not alpha[height:].any()


def test_hard_edges_teach_nothing(library):
    stage = Stage("matte", 1, 1, 128, photographs=1.0, most_objects=1)
    data = SceneMattes(library, stage, 1, 10)
    for index in range(4):
        sample = data[index]
        edge = (sample["alpha"][0] > 20) & (sample["alpha"][0] < 235)
        if not sample["weight"].all():
            assert not sample["weight"][0][edge].any()
            return
    pytest.fail("no sample of a photograph with a hard mask came up")


def test_validation_looks_at_the_masks_that_the_model_uses():
    """The same picture, box and weights: `predict` with `snap`, and the library."""
    model = load_model("lite", device="cpu")
    rgb = read_image(demo_picture()).rgb
    x0, y0, x1, y1 = (int(v) for v in DEMO_BOX)
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    alpha[y0:y1, x0:x1] = 255  # its bounds are the box
    wanted = model.matte(model.embed(rgb), Prompt(box=DEMO_BOX))[0].mask
    found = {snap: predict(model.sam, None, Item("demo", rgb, alpha, True), 0, snap=snap)[0] for snap in (False, True)}
    apart = {snap: (mask ^ wanted).sum() / wanted.sum() for snap, mask in found.items()}
    assert apart[True] < 0.01
    assert apart[True] < apart[False]


def test_the_matte_is_taught_on_snapped_masks(library):
    stage = Stage("matte", 1, 2, 64, photographs=0.0, most_objects=1, snap=True)
    task = MatteTask(build_sam("lite", 64), MaskToMatte(), stage, 1)
    data = SceneMattes(library, stage, 5, 10)
    batch = {name: torch.stack([data[0][name], data[1][name]]) for name in data[0]}
    with torch.no_grad():
        _, low = task._frozen(batch)
    assert low.shape == (2, 1, 64, 64)
    for logits, (height, width) in zip(low, batch["size"].tolist(), strict=True):
        assert (logits[:, height:] < 0).all() or (logits > 0).all()
        assert (logits[:, :, width:] < 0).all() or (logits > 0).all()


def test_the_papers_samples(tmp_path):
    for layout in ("adobe", "refmatte", "coco"):
        make_layout(tmp_path / layout, layout)
    library = open_library(tuple(Source(x, x) for x in ("adobe", "refmatte", "coco")), tmp_path)
    data = PaperMattes(library, Stage("matte", 1, 1, 128, samples="paper"), 3, 10)
    for index in range(6):
        sample = data[index]
        assert sample["rgb"].shape == (3, 128, 128)
        assert sample["inside"].tolist() == [[128, 128]]
        assert (sample["alpha"] > 127).sum() >= 16
        assert sample["unknown"].any()
        x0, y0, x1, y1 = sample["box"].tolist()
        assert 0 <= x0 < x1 <= 128
        assert 0 <= y0 < y1 <= 128


@pytest.mark.parametrize(("square", "side"), [(64, 128), (512, 768), (128, 128), (96, 128)])
def test_windows_begin_at_whole_tokens_and_mask_pixels(square, side):
    step = window_step(side, square)
    assert step % 16 == 0
    assert step * (square // 4) % side == 0
