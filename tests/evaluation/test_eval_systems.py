from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from matting_anything_core.errors import PromptError
from matting_anything_core.evaluation.data import DataError, Picture, Sample
from matting_anything_core.evaluation.metrics import measure
from matting_anything_core.evaluation.protocol import Protocol, box_of, jitter_box, prompts_for
from matting_anything_core.evaluation.systems import (
    FolderSystem,
    GrabCut,
    GrabCutClosedForm,
    grabcut_mask,
    make_system,
)
from matting_anything_core.types import Prompt


def scene(height=72, width=96, seed=0):
    """A soft-edged orange disc on blue ground with some noise, its alpha and its box."""
    rows, columns = np.mgrid[:height, :width]
    alpha = np.clip((18 - np.hypot(rows - 40, columns - 50)) / 4 + 0.5, 0, 1).astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    weight = alpha[..., None]
    image = weight * np.array([235, 140, 30]) + (1 - weight) * np.array([30, 60, 160]) + noise
    return np.clip(image, 0, 255).astype(np.uint8), alpha, (28.0, 18.0, 72.0, 62.0)


def sample(tmp_path, name="a", instances=("x",)):
    return Sample(name, tmp_path / f"{name}.jpg", tuple(tmp_path / f"{stem}.png" for stem in instances))


# Prompts


def test_the_box_bounds_what_is_above_half():
    alpha = np.zeros((10, 12), np.float32)
    alpha[2:5, 3:9] = 1
    alpha[7, 11] = 127 / 255  # not above
    assert box_of(alpha) == (3, 2, 9, 5)
    assert box_of(alpha, reference=True) == (3, 2, 8, 4)
    assert box_of(np.zeros((4, 4), np.float32)) is None
    dot = np.zeros((4, 4), np.float32)
    dot[2, 1] = 1
    assert box_of(dot) == (1, 2, 2, 3)
    assert box_of(dot, reference=True) == (1, 2, 2, 3)


def test_jittered_boxes_stay_boxes_inside_the_picture():
    generator = np.random.default_rng(0)
    for _ in range(500):
        x0, y0, x1, y1 = jitter_box((0.0, 5.0, 100.0, 60.0), 0.2, (64, 100), generator)
        assert 0 <= x0 < x1 <= 100
        assert 0 <= y0 < y1 <= 64
        assert x0 <= 20
        assert x1 >= 80
        assert -6 <= y0 <= 16.1
    tiny = jitter_box((3.0, 3.0, 4.0, 4.0), 0.49, (8, 8), generator)
    assert tiny[2] - tiny[0] >= 1


def test_prompts_follow_the_protocol(tmp_path):
    image, alpha, _ = scene()
    empty = np.zeros_like(alpha)
    picture = Picture(image, (alpha, empty))
    two = sample(tmp_path, instances=("x", "y"))
    box, nothing = prompts_for(two, picture, Protocol("mask", False))
    assert nothing is None
    assert box.box == box_of(alpha)
    point, _ = prompts_for(two, picture, Protocol("mask", False, prompt="point"))
    x0, y0, x1, y1 = box.box
    assert point.points == (((x0 + x1) / 2, (y0 + y1) / 2),)
    jittered = [prompts_for(two, picture, Protocol("mask", False, box_jitter=0.05, seed=seed))[0].box
                for seed in (0, 0, 1)]
    assert jittered[0] == jittered[1] != jittered[2]
    assert jittered[0] != box.box
    assert np.abs(np.subtract(jittered[0], box.box)).max() <= 0.05 * max(x1 - x0, y1 - y0)
    with pytest.raises(DataError, match="no words"):
        prompts_for(two, picture, Protocol("mask", False, prompt="text"))
    worded = Sample("a", two.image, two.alphas, texts=("a disc", "nothing"))
    assert [prompt.text for prompt in prompts_for(worded, picture, Protocol("mask", False, prompt="text"))] \
        == ["a disc", "nothing"]


@pytest.mark.parametrize("share", [-0.1, 0.5, float("nan")])
def test_a_jitter_that_means_nothing_is_refused(share):
    with pytest.raises(DataError, match="jitter"):
        Protocol("mask", False, box_jitter=share)


# GrabCut


def test_grabcut_finds_a_plain_object_and_closed_form_its_soft_edge(tmp_path):
    image, alpha, box = scene()
    before = image.copy()
    (hard,) = GrabCut().predict(sample(tmp_path), image, [Prompt(box=box)])
    (soft,) = GrabCutClosedForm().predict(sample(tmp_path), image, [Prompt(box=box)])
    assert set(np.unique(hard)) == {0.0, 1.0}
    assert measure(hard, alpha).mad < 25
    assert measure(soft, alpha).mad < 0.6 * measure(hard, alpha).mad
    assert soft.dtype == np.float32
    assert 0 <= soft.min() <= soft.max() <= 1
    np.testing.assert_array_equal(image, before)


def test_grabcut_is_the_same_every_time_and_works_on_several_boxes(tmp_path):
    image, _, box = scene()
    prompts = [Prompt(box=box), None, Prompt(box=(0, 0, 20, 20))]
    first = GrabCut().predict(sample(tmp_path), image, prompts)
    cv2.setRNGSeed(12345)
    again = GrabCut().predict(sample(tmp_path), image, prompts)
    assert first[1] is None
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[2], again[2])


def test_large_pictures_are_cut_small_and_enlarged(tmp_path):
    image, alpha, box = scene(144, 192)
    (mask,) = GrabCut(longest=96).predict(sample(tmp_path), image, [Prompt(box=box)])
    assert mask.shape == (144, 192)
    assert measure(mask, alpha).mad < 25
    (soft,) = GrabCutClosedForm(longest=96).predict(sample(tmp_path), image, [Prompt(box=box)])
    assert soft.shape == (144, 192)


@pytest.mark.filterwarnings("ignore:GrabCut failed")
def test_grabcut_survives_odd_boxes_and_pictures(tmp_path):
    image, _, _ = scene()
    height, width = image.shape[:2]
    assert grabcut_mask(image, (0, 0, width, height)).shape == (height, width)  # no background is left outside
    flat = np.full((20, 20, 3), 90, np.uint8)
    for system in (GrabCut(), GrabCutClosedForm()):
        for box in [(0, 0, 20, 20), (5, 5, 6, 6), (-30, -30, 90, 90), (18.6, 18.6, 30, 30)]:
            (matte,) = system.predict(sample(tmp_path), flat, [Prompt(box=box)])
            assert matte.shape == (20, 20)
            assert np.isfinite(matte).all()
    tiny = np.zeros((1, 1, 3), np.uint8)
    (matte,) = GrabCut().predict(sample(tmp_path), tiny, [Prompt(box=(0, 0, 1, 1))])
    assert matte.shape == (1, 1)


def test_grabcut_needs_a_box(tmp_path):
    image, _, _ = scene()
    with pytest.raises(PromptError, match="--prompt box"):
        GrabCut().predict(sample(tmp_path), image, [Prompt(points=[(3, 3)])])


# Mattes made elsewhere


def save(path, value, shape=(72, 96)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)


def test_folder_reads_single_mattes_and_instances(tmp_path):
    image, _, _ = scene()
    folder = tmp_path / "theirs"
    save(folder / "a.png", 255)
    save(folder / "b" / "y.png", 51)
    save(folder / "b" / "other.png", 102)
    system = FolderSystem(folder)
    assert system.name == "folder:theirs"
    (matte,) = system.predict(sample(tmp_path), image, [Prompt(box=(0, 0, 5, 5))])
    assert (matte == 1).all()
    first, second, further = system.predict(sample(tmp_path, "b", ("x", "y")), image, [None, None])
    assert first is None
    assert second[0, 0] == pytest.approx(0.2)
    assert further[0, 0] == pytest.approx(0.4)
    assert system.predict(sample(tmp_path, "c"), image, [None]) == [None]


def test_folder_refuses_what_does_not_fit(tmp_path):
    image, _, _ = scene()
    save(tmp_path / "theirs" / "a.png", 255, shape=(10, 10))
    with pytest.raises(DataError, match=r"a\.png is 10x10 pixels, but its picture is 96x72"):
        FolderSystem(tmp_path / "theirs").predict(sample(tmp_path), image, [None])
    with pytest.raises(DataError, match="no folder"):
        FolderSystem(tmp_path / "nowhere")


def test_systems_by_name(tmp_path):
    assert make_system("grabcut").name == "grabcut"
    assert make_system("grabcut-closed-form").name == "grabcut-closed-form"
    assert make_system(f"folder:{tmp_path}").name == f"folder:{tmp_path.name}"
    for name in ("folder:", "photoshop", ""):
        with pytest.raises(DataError, match="there is no system"):
            make_system(name)
