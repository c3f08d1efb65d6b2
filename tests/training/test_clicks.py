"""Corrective clicks: where they fall, what the stage that learns from them keeps and changes, and how it is scored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from matting_anything_core.cli import main
from matting_anything_core.errors import MattingError
from matting_anything_core.networks.decoder import decode_masks
from matting_anything_core.networks.sam import build_sam
from matting_anything_core.training.checkpoint import load_if_there
from matting_anything_core.training.clicks import CLEAR, STRIDE, bounds_of, next_click, rough_mask, some_region
from matting_anything_core.training.clicks_data import ClickViews, open_cache, view_settings
from matting_anything_core.training.clicks_score import (
    Subject,
    as_prompt,
    click_scores,
    corrected,
    deepest_error,
    iou,
    mask_of,
    obeys,
    spoiled,
    subject,
)
from matting_anything_core.training.clicks_task import at_points
from matting_anything_core.training.lean_decoder import lean_decode_masks
from matting_anything_core.training.library import open_library
from matting_anything_core.training.recipe import read_recipe
from matting_anything_core.training.run import export, fill_cache, find_recipe, run
from matting_anything_core.training.views import OBJECTS, around, view

from .made_up import write_recipe

SIDE = 64


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def disc(x: float, y: float, radius: float, size: int = 32) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] + 0.5
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The shipped stage at sizes that take seconds, on made-up pictures."""
    folder = tmp_path_factory.mktemp("clicks")
    made = read_recipe(write_recipe(folder, layouts=("cutouts", "picture_mask", "backgrounds")))
    shipped = find_recipe("lite_clicks").stages[-1]
    stage = replace(shipped, square=SIDE, batch=2, steps=3, views=4, feature_cache="kept", precision="float32")
    return replace(made, architecture="lite", stages=(stage,), metadata={})


# Where clicks fall.


@pytest.mark.parametrize("seed", range(40))
def test_a_click_mends_an_error_with_its_own_label(seed):
    """Whatever is drawn: on a false negative with 1 or a false positive with 0, never on padding or an unclear cell."""
    rng = np.random.default_rng(seed)
    share = disc(12, 12, 8).astype(np.float32)
    share[12, 16:19] = 0.5
    found = disc(16, 14, 7)
    found[28:, :] = True  # false positives in the padding
    click = next_click(rng, found, share, (26, 32))
    row, column = int(click.y // STRIDE), int(click.x // STRIDE)
    assert row < 26
    assert abs(share[row, column] - click.label) <= CLEAR
    assert bool(found[row, column]) != bool(click.label)


def test_the_largest_error_comes_first_and_near_its_middle():
    share = disc(16, 16, 13).astype(np.float32)
    found = disc(16, 16, 13) & ~disc(13, 14, 6) | disc(2, 30, 2)  # a large hole, a small island
    clicks = [next_click(np.random.default_rng(i), found, share, (32, 32)) for i in range(200)]
    mending = [click for click in clicks if click.label]
    assert len(mending) > 140
    away = [np.hypot(click.x / STRIDE - 13, click.y / STRIDE - 14) for click in mending]
    assert np.mean(away) < 3
    assert len({(click.x, click.y) for click in clicks}) > 150  # no two hands are alike
    assert any(not click.label for click in clicks)


@pytest.mark.parametrize("share", [
    disc(16, 16, 8).astype(np.float32), np.ones((32, 32), np.float32), np.zeros((32, 32), np.float32),
    np.full((32, 32), 0.5, np.float32)], ids=["disc", "all", "nothing", "soft"])
def test_where_nothing_is_wrong_a_click_confirms(share):
    for seed in range(20):
        click = next_click(np.random.default_rng(seed), share > 0.5, share, (20, 32))
        row, column = int(click.y // STRIDE), int(click.x // STRIDE)
        assert row < 20
        assert abs(share[row, column] - click.label) <= 0.5


def test_rough_masks_are_those_that_people_give():
    share = disc(30, 30, 18, 64).astype(np.float32)
    values = []
    for seed in range(80):
        rough = rough_mask(np.random.default_rng(seed), share)
        assert rough.shape == share.shape
        assert 0 <= rough.min() <= rough.max() <= 1
        found = rough > 0.5
        values.append((found & (share > 0.5)).sum() / (found | (share > 0.5)).sum())
    assert min(values) > 0.5
    assert sum(value == 1 for value in values) > 10
    assert sum(value < 0.93 for value in values) > 25
    tiny = disc(3, 3, 1, 64).astype(np.float32)
    assert all((rough_mask(np.random.default_rng(i), tiny) > 0).any() for i in range(40))


def test_bounds_are_in_pixels_of_the_input():
    share = np.zeros((32, 32), np.float32)
    share[4:10, 7:9] = 1
    assert bounds_of(share).tolist() == [28, 16, 36, 40]
    assert bounds_of(np.zeros((32, 32), np.float32)).tolist() == [0, 0, 128, 128]


def test_some_region_is_neither_always_all_nor_nothing():
    shares = [some_region(np.random.default_rng(i), (32, 32)).mean() for i in range(30)]
    assert 0.2 < np.mean(shares) < 0.8
    assert np.std(shares) > 0.1


def test_maps_are_read_at_points():
    maps = torch.zeros(2, 16, 16)
    maps[0, 7, 2], maps[1, 0, 8] = 5, -3
    points = torch.tensor([[10.0, 30.0], [34.0, 2.0]])
    assert at_points(maps, points).tolist() == pytest.approx([5, -3])
    assert at_points(maps, points.flip(0)).tolist() == pytest.approx([0, 0])


# The decoder that trains faster.


@pytest.mark.parametrize("prompt", ["box", "points", "all"])
def test_the_lean_decoder_has_the_same_numbers_and_gradients(prompt):
    torch.manual_seed(2)
    sam = build_sam("lite", SIDE)
    features = torch.randn(2, 256, 4, 4)
    boxes = torch.tensor([[5.0, 6, 40, 50], [0, 0, 64, 64], [20, 30, 25, 60]])
    points, labels = torch.rand(3, 2, 2) * 64, torch.tensor([[1.0, 0], [1, 1], [1, -1]])
    masks = torch.randn(3, 1, 16, 16) * 10
    given = {"box": (None, boxes, None), "points": ((points, labels), None, None),
             "all": ((points, labels), boxes, masks)}[prompt]
    results = []
    for decoder in (decode_masks, lean_decode_masks):
        sam.zero_grad()
        sparse, dense = sam.prompt_encoder(*given)
        logits, scores = decoder(sam.mask_decoder, features, sam.prompt_encoder.get_dense_pe(), sparse, dense,
                                 torch.tensor([0, 1, 1]))
        ((logits * logits.detach().sin()).mean() + scores.sum()).backward()
        grads = {name: p.grad.clone() for name, p in sam.named_parameters() if p.grad is not None}
        results.append((logits.detach(), scores.detach(), grads))
    (logits, scores, grads), (lean_logits, lean_scores, lean_grads) = results
    torch.testing.assert_close(lean_logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(lean_scores, scores, rtol=1e-4, atol=1e-5)
    for name, grad in grads.items():
        if not name.endswith("token_to_image.k_proj.bias"):  # shifts all scores of a query: no gradient but noise
            torch.testing.assert_close(lean_grads[name], grad, rtol=2e-3, atol=1e-4 * float(grad.abs().max()) + 1e-8)


# Views and their kept features.


@pytest.fixture(scope="module")
def library(recipe):
    return open_library(recipe.sources, recipe.root)


@pytest.mark.parametrize("index", range(6))
def test_views_hold_objects_and_are_functions_of_their_index(recipe, library, index):
    settings = view_settings(recipe, recipe.stages[0])
    one, other = view(library, settings, index), view(library, settings, index)
    assert torch.equal(one.rgb, other.rgb)
    assert torch.equal(one.targets, other.targets)
    height, width = one.size
    assert max(height, width) == SIDE
    assert not one.rgb[:, height:].any()
    assert not one.rgb[:, :, width:].any()
    assert 1 <= len(one.targets) <= OBJECTS
    assert all((target > 127).any() for target in one.targets)


def test_a_closer_view_holds_the_object_about_one_and_a_half_times():
    sizes = []
    for seed in range(200):
        top, left, bottom, right = around(np.random.default_rng(seed), (400, 300, 500, 420), 1000, 1200)
        assert 0 <= top < bottom <= 1000
        assert 0 <= left < right <= 1200
        assert top < 340  # hardly any of it is cut off
        assert bottom > 380
        assert left < 430
        assert right > 470
        sizes.append((bottom - top) / 120)
    assert 1.4 < np.mean(sizes) < 1.6


def test_features_are_kept_and_read_again(recipe, library, tmp_path):
    stage = replace(recipe.stages[0], feature_cache=str(tmp_path / "kept"))
    cache = open_cache(recipe, stage)
    assert cache is not None
    settings = view_settings(recipe, stage)
    shown, features = view(library, settings, 2), torch.randn(256, 4, 4, dtype=torch.float16)
    assert 2 not in cache
    cache.write(2, features, shown)
    again = open_cache(recipe, replace(stage, views=9))  # more of them: what is there stays
    assert again is not None
    assert 2 in again
    assert 3 not in again
    assert len(again) == 1
    found, size, targets = again.read(2)
    assert torch.equal(found, features)
    assert size == shown.size
    assert torch.equal(targets, shown.targets)
    cache.claim({"encoder": "a", "side": 64})
    again.claim({"encoder": "a", "side": 64})
    with pytest.raises(MattingError, match="made with another encoder; name another feature_cache"):
        again.claim({"encoder": "b", "side": 64})


def test_every_view_is_seen_once_before_any_is_seen_again(recipe, library):
    data = ClickViews(library, view_settings(recipe, recipe.stages[0]), 7, None, 10**6)
    turns = [[data.number(i) for i in range(7 * turn, 7 * turn + 7)] for turn in range(4)]
    assert all(sorted(turn) == list(range(7)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert ClickViews(library, view_settings(recipe, recipe.stages[0]), 0, None, 10**6).number(12345) == 12345


# The stage.


def test_the_encoder_stays_and_the_decoder_learns(recipe, tmp_path):
    small = replace(recipe, stages=(replace(recipe.stages[0], feature_cache=str(tmp_path / "kept")),))
    run(small, tmp_path / "none", device="cpu", steps=1)
    before = load_if_there(tmp_path / "none" / "checkpoint.pt")
    assert before is not None
    after = run(small, tmp_path / "none", device="cpu")
    for name, x in after.items():
        same = torch.equal(x, before["model"][name])
        if not name.startswith(("sam.mask_decoder.", "sam.prompt_encoder.")):
            assert same, name
        elif learns(name):
            assert not same, name
    assert not any(name.startswith("teacher.") for name in after)
    path = export(small, tmp_path / "none", tmp_path / "out.safetensors")
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        assert all(name.startswith(("sam.", "m2m.")) for name in file.keys())  # noqa: SIM118
        card = json.loads(file.metadata()["data_card"])
    assert card["stages"][0]["kind"] == "clicks"
    assert {"iou", "iou_1", "iou_5", "obeyed", "mask_true"} <= set(card["scores"]["whole"])


def learns(name: str) -> bool:
    """Whether three steps must change it, whatever they hold. The positional matrix is a constant, the single mask's
    network is not used, and three steps need not hold every kind of prompt."""
    return name.startswith("sam.mask_decoder.") and "mlps.0." not in name and not name.endswith("k_proj.bias")


def test_kept_features_resuming_and_filling_ahead_change_nothing(recipe, tmp_path):
    """One run straight through with nothing kept; one that was stopped, with features made ahead: the same losses."""
    plain = replace(recipe, stages=(replace(recipe.stages[0], feature_cache=""),))
    kept = replace(recipe, stages=(replace(recipe.stages[0], feature_cache=str(tmp_path / "kept")),))
    straight = run(replace(plain, validation=()), tmp_path / "straight", device="cpu")
    assert fill_cache(kept, part=(1, 2), device="cpu") == 2
    assert fill_cache(kept, part=(1, 2), device="cpu") == 0
    run(replace(kept, validation=()), tmp_path / "stopped", device="cpu", steps=2)
    went_on = run(replace(kept, validation=()), tmp_path / "stopped", device="cpu")
    losses = [[line.split(",")[2] for line in (tmp_path / name / "losses.csv").read_text().splitlines()[1:]]
              for name in ("straight", "stopped")]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(np.array(losses[0], float), np.array(losses[1], float), rtol=1e-4)
    for name, x in straight.items():
        if x.is_floating_point():
            torch.testing.assert_close(went_on[name], x, rtol=1e-2, atol=1e-4)


def test_filling_ahead_by_the_command_says_what_is_wrong(tmp_path, capsys):
    path = write_recipe(tmp_path, layouts=("cutouts",))
    assert main(["train", str(path), "--fill-cache", "1/1"]) != 0
    assert "no features to make ahead" in capsys.readouterr().err
    assert main(["train", str(path), "--fill-cache", "3/2"]) != 0
    assert "expected K/N with 1 <= K <= N" in capsys.readouterr().err


# The scores.


def made_subject() -> Subject:
    truth = np.zeros((64, 48), bool)
    truth[10:50, 8:40] = True
    return Subject("k", torch.zeros(1, 256, 4, 4), truth, np.zeros_like(truth), SIDE)


def test_the_next_scored_click_is_the_deepest_error():
    item = made_subject()
    mask = item.truth.copy()
    mask[20:29, 20:29] = False  # a hole
    mask[56:59, 3:6] = True  # an island that is smaller
    assert deepest_error(mask, item) == (24, 24, 1)
    mask[20:29, 20:29] = True
    assert deepest_error(mask, item) == (4, 57, 0)
    ignored = np.zeros_like(item.truth)
    ignored[50:] = True
    assert deepest_error(mask, replace(item, ignored=ignored)) is None
    assert deepest_error(item.truth, item) is None
    assert iou(item.truth, item) == 1
    assert iou(~item.truth, item) == 0
    assert obeys(item.truth, (24, 24, 1))
    assert not obeys(item.truth, (24, 24, 0))
    assert not obeys(item.truth, (8, 24, 1))  # at the edge: not all about it


def test_masks_go_to_the_prompt_and_back():
    item = made_subject()
    prompt = as_prompt(item.truth, SIDE)
    assert prompt.shape == (1, 1, SIDE // 4, SIDE // 4)
    assert (prompt.min(), prompt.max()) == (-10, 10)
    assert iou(mask_of(prompt[0, 0], item.truth.shape), item) > 0.95


def test_spoiled_masks_are_worse_than_the_truth():
    item = made_subject()
    rng = np.random.default_rng(0)
    assert iou(spoiled(rng, item, "true"), item) == 1
    assert spoiled(rng, item, "dilated").sum() > item.truth.sum() > spoiled(rng, item, "eroded").sum() > 0
    holes = spoiled(rng, item, "holes")
    assert 0.6 < iou(holes, item) < 1


def test_a_dialogue_is_scored(recipe):
    torch.manual_seed(4)
    sam = build_sam("lite", SIDE)
    picture = np.random.default_rng(1).integers(0, 255, (90, 60, 3), np.uint8)
    alpha = np.zeros((90, 60), np.uint8)
    cv2.circle(alpha, (30, 40), 20, 255, -1)
    item = subject(sam, "made up", picture, alpha)
    assert item is not None
    assert item.truth.shape == (64, 43)
    assert subject(sam, "empty", picture, np.zeros_like(alpha)) is None
    for form in ("logits", "mask", "none"):
        ious, obeyed, kept = corrected(sam, item, clicks=2, form=form, obedient=form == "mask")
        assert len(ious) == 3
        assert len(obeyed) == len(kept) <= 2
    values = click_scores(sam, [item])["made up"]
    assert values["mask_true_in"] == 1
    assert 0 <= values["iou"] <= 1


def test_the_shipped_recipe_says_where_its_features_are(monkeypatch, tmp_path):
    monkeypatch.setenv("LITE_FEATURES", str(tmp_path / "features"))
    shipped = find_recipe("lite_clicks")
    cache = open_cache(shipped, replace(shipped.stages[0], views=2, square=64))
    assert cache is not None
    assert {path.name for path in Path(cache.folder).iterdir()} == {"features.f16", "targets.u8", "heads.i16"}
    assert open_cache(shipped, replace(shipped.stages[0], feature_cache="")) is None


def test_a_second_stage_of_clicks_keeps_the_first_ones_teacher(recipe, tmp_path):
    stage = replace(recipe.stages[0], feature_cache="", steps=2)
    two = replace(recipe, stages=(stage, replace(stage, prompt_factor=2.0)), validation=())
    run(two, tmp_path / "out", device="cpu", steps=1)
    first = load_if_there(tmp_path / "out" / "checkpoint.pt")
    run(two, tmp_path / "out", device="cpu")
    last = load_if_there(tmp_path / "out" / "checkpoint.pt")
    assert first is not None
    assert last is not None
    assert (first["run"]["stage"], last["run"]["stage"], last["run"]["step"]) == (0, 1, 2)
    teacher = [name for name in first["model"] if name.startswith("teacher.1.")]
    assert len(teacher) > 50
    assert all(torch.equal(first["model"][name], last["model"][name]) for name in teacher)
    own = "mask_decoder.iou_token.weight"
    assert not torch.equal(last["model"]["teacher.1.iou_token.weight"], last["model"][f"sam.{own}"])
