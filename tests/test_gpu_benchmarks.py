"""benchmarks/gpu*.py on the CPU: the waits of a pretended card, dry runs, and packed pictures."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from training.made_up import make_layout

from matting_anything_core.errors import MattingError
from matting_anything_core.training.library import open_library
from matting_anything_core.training.recipe import read_recipe
from matting_anything_core.types import Prompt

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import gpu
import gpu_pack
import gpu_train
import gpu_vary
from gpu_waits import PretendedCard, waits_of

BOX = (30, 20, 200, 150)


# --- a pretended card ------------------------------------------------------------------------------------------------


def test_the_pretended_card_notes_what_a_real_one_would_make_the_host_wait_for():
    with PretendedCard() as card:
        x = torch.arange(6.0).to(card.device, non_blocking=True)
        y = torch.where(x > 2, x * 2, x).add_(1)
        assert y.device == card.device
        assert not card.waits, "uploads that are not waited for, and work on the card"
        for kind, work in {
            "upload": lambda: torch.ones(3).to(card.device), "fetch": lambda: y.cpu(), "read": lambda: bool(y[0] > 0),
            "count": lambda: y[x > 2],
        }.items():
            work()
            assert [wait.kind for wait in card.taken().waits] == [kind]
        assert y.tolist() == [1, 2, 3, 7, 9, 11]
        assert torch.tensor([1.0], device=card.device).device == card.device
    assert torch.ones(2).sum().item() == 2, "nothing stays behind"


@pytest.mark.parametrize(("prompt", "most"), [
    (Prompt(box=BOX), 3), (Prompt(points=[(100, 100), (10, 10)], labels=[1, 0]), 5),
    (Prompt(box=BOX, points=[(100, 100)], labels=[1]), 5),
])
def test_the_host_waits_for_the_device_a_few_times_a_prompt(prompt, most):
    """Whatever adds a wait shows up here, on a machine without a card."""
    picture = tiny.picture(160, 240)
    model = tiny.tiny_model.__wrapped__()
    [expected] = model.matte(model.embed(picture), prompt)
    with PretendedCard() as card:
        there = model.to(card.device)
        card.taken()
        embedding = there.embed(picture)
        notes = card.taken()
        assert not notes.waits, notes.by_place()
        assert notes.launches > 50
        [matte] = there.matte(embedding, prompt)
        notes = card.taken()
    assert len(notes.waits) <= most, notes.by_place()
    assert {wait.kind for wait in notes.waits} <= {"fetch"}, notes.by_place()
    off = np.abs(matte.alpha - expected.alpha)
    assert (off > 1e-3).mean() < 0.01, "the same numbers, but for pixels at logits of nearly 0"


def test_a_wait_is_told_with_its_place():
    from matting_anything_core.image import read_image

    found = waits_of(tiny.tiny_model.__wrapped__(), read_image(tiny.picture(60, 80)), (5, 5, 60, 50))
    assert [one["step"] for one in found] == ["embed", "first prompt", "second prompt"]
    assert any("_decode" in place for place in found[1]["places"])


# --- dry runs --------------------------------------------------------------------------------------------------------


def test_a_dry_run_ends_with_figures_as_json_and_tables(tmp_path, capsys):
    out = tmp_path / "figures"
    assert gpu.main(["--dry-run", "--parts", "stages,waits,profile,variants", "--models", "vit_tiny_test", "--images",
                     "1,2", "--types", "float32", "--size", "96x64", "--out", str(out)]) == 0
    found = json.loads((out / "figures.json").read_text())
    assert found["machine"]["torch"] == torch.__version__
    assert [(row["way"], row["images"]) for row in found["stages"]] == [
        ("ours", 1), ("plain", 1), ("ours", 2), ("plain", 2)]
    for row in found["stages"]:
        assert set(row["first"]) == {"prepare", "encode", "decode", "alpha", "result"}
        assert set(row["second"]) == {"decode", "alpha", "result"}
        assert all(value > 0 for value in row["first"].values())
    assert found["stages"][1]["off"][0] < 1e-3, "both ways end with the same alpha"
    assert {one["what"].split(", ")[1] for one in found["asked"]} == {"first prompt", "second prompt"}
    assert {one["step"] for one in found["waits"]} == {"embed", "first prompt", "second prompt"}
    exact = [one["off"] for one in found["variants"]["attention"] if one["dtype"] == "float32"]
    assert len(exact) == 6
    assert max(exact) < 1e-4, "every way of attention has the same numbers"
    assert not found["failed_parts"]
    text = (out / "figures.md").read_text()
    assert "A dry run on a CPU" in text
    assert "| vit_tiny_test | 2 | plain | float32 |" in text
    assert "first prompt" in (out / "profile.txt").read_text()


def test_what_no_time_is_left_for_is_told(tmp_path):
    assert gpu.main(["--dry-run", "--parts", "stages,waits", "--minutes", "0", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["left_out_for_time"] == ["stages", "waits"]


def test_a_part_that_fails_does_not_end_the_others(tmp_path, capsys):
    assert gpu.main(["--dry-run", "--parts", "stages,waits", "--models", "no_such_model", "--out", str(tmp_path)]) == 1
    assert set(json.loads((tmp_path / "figures.json").read_text())["failed_parts"]) == {"stages", "waits"}
    with pytest.raises(SystemExit):
        gpu.main(["--parts", "everything"])
    assert "expected some of goldens" in capsys.readouterr().err


# --- packed pictures -------------------------------------------------------------------------------------------------

RECIPE = """
name = "packing"
architecture = "vit_tiny_test"
data = "{data}"
[[source]]
layout = "cutouts"
path = "cutouts"
weight = 0.5
licence = "CC0"
origin = "made up"
[[source]]
layout = "picture_mask"
path = "picture_mask"
hold_out = [3, 1]
[[source]]
layout = "bg20k"
path = "bg20k"
[[validation]]
name = "held"
layout = "picture_mask"
path = "picture_mask"
hold_out = [3, 1]
keep = "held"
[[stage]]
kind = "matte"
square = 64
batch = 1
steps = 1
"""


@pytest.fixture
def recipe(tmp_path):
    for layout in ("cutouts", "picture_mask", "bg20k"):
        make_layout(tmp_path / "data" / layout, layout, 6)
    path = tmp_path / "packing.toml"
    path.write_text(RECIPE.format(data=tmp_path / "data"))
    return read_recipe(path)


def test_packed_pictures_come_back_smaller_with_their_sources(recipe, tmp_path):
    paths = gpu_pack.pack(recipe, tmp_path / "packed", side=64)
    assert [path.name for path in paths] == ["packed-0.zip"]
    train, validation = gpu_pack.unpacked(paths, tmp_path / "out")
    assert [(source.layout, source.hard, source.weight) for source in train] == [
        ("cutouts", False, 0.5), ("picture_alpha", True, 1.0), ("backgrounds", False, 1.0)]
    assert (train[0].licence, train[0].origin) == ("CC0", "made up")
    library = open_library(train, tmp_path / "out")
    assert (len(library.cutouts[0]), len(library.photos), len(library.backgrounds)) == (6, 4, 6)
    held = open_library(validation, tmp_path / "out")
    assert len(held.photos) == 2, "what a recipe holds out for validation is not trained on"
    photo = library.read(library.photos.records[0])
    assert max(photo.rgb.shape) == 64
    assert set(np.unique(photo.alpha)) == {0, 255}
    cut = library.read(library.cutouts[0].records[0])
    original = open_library(recipe.sources, recipe.root).read(
        open_library(recipe.sources, recipe.root).cutouts[0].records[0])
    assert abs(float(cut.alpha.mean()) - float(original.alpha.mean())) < 1
    assert abs(float(cut.rgb.mean()) - float(original.rgb.mean())) < 4


def test_what_does_not_fit_goes_into_the_next_shard_and_then_stays_out(recipe, tmp_path):
    whole = gpu_pack.pack(recipe, tmp_path / "whole", side=64)[0].stat().st_size
    paths = gpu_pack.pack(recipe, tmp_path / "packed", side=64, megabytes=0.2 + whole / 3e6)
    assert len(paths) == 2
    assert all(path.stat().st_size < (0.2 + whole / 3e6) * 1e6 for path in paths)
    train, _ = gpu_pack.unpacked(paths, tmp_path / "out")
    library = open_library(train, tmp_path / "out")
    counts = [len(library.cutouts[0]), len(library.photos), len(library.backgrounds)]
    assert all(counts)
    assert sum(counts) < 16
    with pytest.raises(MattingError, match="holds nothing"):
        gpu_pack.pack(recipe, tmp_path / "none", megabytes=0.1)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.floats(0, 1))
def test_every_beginning_holds_the_same_share_of_every_source(counts, share):
    order = list(gpu_pack.evenly(counts))
    assert sorted(order) == [(s, i) for s, count in enumerate(counts) for i in range(count)]
    begun = order[:int(share * len(order))]
    for source, count in enumerate(counts):
        taken = sum(one == source for one, _ in begun)
        assert abs(taken - count * len(begun) / max(1, len(order))) <= len(counts)


def hostile(kind: str, path: Path) -> Path:
    table = {"format": gpu_pack.FORMAT, "sources": [
        {"kind": "train", "layout": "backgrounds", "path": "train/00", "hard": False, "name": "", "weight": 1.0,
         "licence": "", "origin": ""}]}
    name = "train/00/a.webp"
    if kind == "another format":
        table["format"] = "other"
    elif kind == "a source elsewhere":
        table["sources"][0]["path"] = "../../etc"
    elif kind == "no table":
        table = ["nothing"]
    elif kind == "a file elsewhere":
        name = "train/../../a.webp"
    elif kind == "an absolute file":
        name = "/train/00/a.webp"
    elif kind == "a file of another kind":
        name = "train/00/a.py"
    if kind == "no zip":
        path.write_bytes(b"no zip")
        return path
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(gpu_pack.CONTENTS, json.dumps(table))
        file.writestr(name, b"x")
    return path


@pytest.mark.parametrize("kind", ["another format", "a source elsewhere", "no table", "a file elsewhere",
                                  "an absolute file", "a file of another kind", "no zip"])
def test_a_pack_that_is_none_is_refused_and_nothing_is_written(kind, tmp_path):
    path = hostile(kind, tmp_path / "bad.zip")
    with pytest.raises(MattingError, match="no pack of pictures"):
        gpu_pack.unpacked([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pack_that_grows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_pack, "MOST_BYTES", 100)
    with pytest.raises(MattingError, match="unpack to more than"):
        gpu_pack.unpacked([hostile("good", tmp_path / "large.zip")], tmp_path / "out")


def test_training_without_a_card_says_what_to_do(recipe, tmp_path, capsys):
    [path] = gpu_pack.pack(recipe, tmp_path / "packed", side=64)
    if not torch.cuda.is_available():
        assert gpu_train.main([str(path), "--out", str(tmp_path / "run")]) == 1
        assert "--dry-run" in capsys.readouterr().err
    assert gpu_train.main([str(tmp_path / "none.zip"), "--dry-run", "--out", str(tmp_path / "run")]) == 1
    assert "gpu_pack.py" in capsys.readouterr().err


def test_copies_of_a_scene_stay_right_when_they_are_mirrored():
    side, size = 64, torch.tensor([[64, 40], [48, 64], [64, 43]])
    generator = torch.Generator().manual_seed(0)
    targets = torch.zeros((3, 3, 16, 16), dtype=torch.uint8)
    targets[:, :, 3:9, 2:5] = 255
    batch = {
        "rgb": torch.randint(40, 216, (3, 3, side, side), dtype=torch.uint8, generator=generator), "size": size,
        "boxes": torch.tensor([8.0, 12, 20, 36]).repeat(3, 3, 1), "labels": torch.ones((3, 3, 3)),
        "points": torch.tensor([9.5, 14.5]).repeat(3, 3, 3, 1), "targets": targets,
    }
    many = gpu_vary.varied(batch, 5, copies=12, seed=1)
    assert all(torch.equal(many[name][:3], x) for name, x in batch.items()), "the first ones are as they were"
    assert {name: len(x) for name, x in many.items()} == dict.fromkeys(batch, 36)
    again, other = (gpu_vary.varied(batch, step, copies=12, seed=1) for step in (5, 6))
    assert all(torch.equal(again[name], x) for name, x in many.items())
    assert not torch.equal(other["rgb"], many["rgb"])
    mirrored = many["boxes"][:, 0, 0] != 8
    assert 5 < int(mirrored.sum()) < 24
    assert not mirrored[2::3].any(), "43 pixels are no whole number of the targets' cells"
    for index in torch.nonzero(mirrored)[:, 0].tolist():
        width = int(size[index % 3, 1])
        columns = torch.nonzero(many["targets"][index, 0].any(0))[:, 0]
        box = many["boxes"][index, 0].tolist()
        assert box == [4 * int(columns[0]), 12, 4 * (int(columns[-1]) + 1), 36]
        assert many["points"][index, 0, 0].tolist() == [width - 9.5, 14.5]
        ours, theirs = (x.float().mean(0) for x in (many["rgb"][index], batch["rgb"][index % 3]))
        like, unlike = (float(torch.corrcoef(torch.stack([ours[:, :width].flatten(), other.flatten()]))[0, 1])
                        for other in (theirs[:, :width].flip(1), theirs[:, :width]))
        assert like > 0.8 > unlike


@pytest.mark.slow
def test_the_dry_run_of_training_ends_with_a_model_that_mattes(recipe, tmp_path):
    [path] = gpu_pack.pack(recipe, tmp_path / "packed", side=96)
    out = tmp_path / "run"
    assert gpu_train.main([str(path), "--dry-run", "--workers", "0", "--validate", "2", "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert [(stage["square"], stage["steps_planned"]) for stage in report["stages"]] == [(96, 3), (128, 3)]
    assert report["read_back"]["square"] == 128
    assert report["read_back"]["sources"] == 3
    assert set(report["scores_before"]) == set(report["scores_after"]) == {"held"}
    assert report["data"]["seconds_a_step"] > 0
    assert not (out / "data").exists()
    assert gpu_train.main([str(path), "--dry-run", "--out", str(out)]) == 1, "a run that is there is not trained over"
