"""docs/lite/data/render.py: colours without fringes, names, going on where a run was ended, and one real picture."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "docs" / "lite" / "data"
sys.path.insert(0, str(SCRIPTS))

pytest.importorskip("scipy")
import render  # noqa: E402
from rendering import colours, strands  # noqa: E402


def strand_of_one_colour(samples: int) -> tuple[Any, Any, Any]:
    """Light and coverage as a renderer gives them: a soft disc of one colour, of which each pixel's rays hit some."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:96, :128]
    alpha = np.clip((30 - np.hypot(rows - 48, columns - 64)) / 24, 0, 1).astype(np.float32)
    coverage = (rng.binomial(samples, alpha) / samples).astype(np.float32)
    return coverage[..., None] * np.array([0.5, 0.2, 0.05], np.float32), coverage, alpha


def test_the_colour_of_an_edge_is_the_subjects_own() -> None:
    light, coverage, alpha = strand_of_one_colour(8)
    straight = colours.straight(light, coverage, 8)
    assert (coverage[alpha > 0] == 0).any()  # so that continuing has something to do
    assert np.abs(straight - [0.5, 0.2, 0.05])[alpha > 0].max() < 0.01
    assert np.abs(straight - [0.5, 0.2, 0.05]).max() < 0.03  # beyond the edge, too


def test_laid_over_green_and_magenta_no_fringe_is_seen() -> None:
    light, coverage, alpha = strand_of_one_colour(16)
    rgba = render.finished(light, coverage, alpha, 16, 0.2, clear=False)
    inside = rgba[rgba[..., 3] == 255].mean(0)[:3]
    for ground in ((0, 255, 0), (255, 0, 255)):
        share = rgba[..., 3:] / 255
        expected = inside * share + np.array(ground) * (1 - share)
        assert np.abs(colours.over(rgba, ground) - expected).max() < 4


def test_continued_keeps_what_is_known_and_fills_the_rest_from_nearby() -> None:
    weight = np.zeros((50, 70), np.float32)
    weight[:, :20] = weight[:, 50:] = 1
    rgb = np.zeros((50, 70, 3), np.float32)
    rgb[:, :20], rgb[:, 50:] = (1, 0, 0), (0, 0, 1)
    filled = colours.continued(rgb, weight)
    assert np.abs(filled - rgb)[weight > 0].max() < 0.02
    assert filled[25, 22, 0] > 0.8
    assert filled[25, 47, 2] > 0.8
    assert np.allclose(colours.continued(rgb * 0, weight * 0), 0)


def test_exposure_is_for_the_subject_and_spares_bright_things() -> None:
    alpha = np.zeros((20, 20), np.float32)
    alpha[:10] = 1
    dark = np.full((20, 20, 3), 0.01, np.float32)
    assert colours.exposure(dark, alpha, 0.2) == pytest.approx(20)
    lamp = dark.copy()
    lamp[:3] = 1.0
    assert colours.exposure(lamp, alpha, 0.5) == pytest.approx(1.1)
    assert colours.exposure(dark, alpha * 0, 0.2) == 1
    ramp = np.linspace(0, 20, 200, dtype=np.float32)[None, :, None].repeat(3, 2)
    shown = colours.developed(ramp, 1.0)
    assert (np.diff(shown[0, :, 0]) >= 0).all()
    assert shown.max() <= 1


def test_glints_on_glass_make_alpha_grow_until_white_is_enough() -> None:
    rgb = np.full((4, 4, 3), 10.0, np.float32)
    alpha = np.full((4, 4), 0.05, np.float32)
    assert colours.with_glints(rgb, alpha, 1.0) == pytest.approx(0.5)
    assert colours.with_glints(rgb / 100, alpha, 1.0) == pytest.approx(0.05)


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        colours.cropped(np.zeros((8, 8, 4), np.uint8))


def test_a_number_is_always_the_same_picture_and_no_two_are_alike() -> None:
    plans = [render.planned(number) for number in range(400)]
    assert plans[7] == render.planned(7)
    assert len({plan.name for plan in plans}) == 400
    assert plans[7].name == f"00007_{plans[7].kind}.webp"
    assert {plan.kind for plan in plans} == set(render.SHARES)
    assert all("several" not in plan.kinds for plan in plans)
    with pytest.raises(ValueError, match="-1"):
        render.planned(-1)


def test_only_what_is_lacking_is_made(tmp_path: Path) -> None:
    (tmp_path / render.planned(1).name).touch()
    (tmp_path / "failed.txt").write_text("3 animal exit status 1\n")
    assert render.lacking(tmp_path, range(5)) == [0, 2, 4]


def test_a_run_goes_on_after_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in for Blender's process, which dies at number 2 and would again.
    fake = tmp_path / "fake.py"
    fake.write_text(
        f"import sys, pathlib; sys.path.insert(0, {str(SCRIPTS)!r}); import render\n"
        "for number in map(int, sys.argv[sys.argv.index('--only') + 1:]):\n"
        "    if number == 2: sys.exit(11)\n"
        "    (pathlib.Path(sys.argv[1]) / render.planned(number).name).touch()\n")
    monkeypatch.setattr(render, "__file__", str(fake))
    out = tmp_path / "out"
    out.mkdir()
    options = argparse.Namespace(threads=1, samples=1, edges=1, scale=1.0)
    assert render.in_batches(out, list(range(15)), options) == 1
    assert render.lacking(out, range(15)) == []
    assert len(render.pictures(out)) == 14
    assert (out / "failed.txt").read_text().startswith("2 ")


def test_what_is_saved_keeps_colours_under_alpha_0_and_leaves_nothing_unfinished(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 40, 4), dtype=np.uint8)
    picture[:16, :, 3] = 0
    render.save(picture, tmp_path / "00000_animal.webp", lossless=True)
    assert (np.asarray(Image.open(tmp_path / "00000_animal.webp")) == picture).all()
    read = cv2.imread(str(tmp_path / "00000_animal.webp"), cv2.IMREAD_UNCHANGED)  # as training reads it
    assert (read[..., [2, 1, 0, 3]] == picture).all()
    with pytest.raises(ValueError, match="could not convert"):
        render.save(picture, tmp_path / "00001_animal.webp", quality="bad")
    assert [path.name for path in tmp_path.iterdir()] == ["00000_animal.webp"]


def test_packed_pictures_are_small_have_no_fringe_and_fit(tmp_path: Path) -> None:
    source, out = tmp_path / "all", tmp_path / "pack"
    source.mkdir()
    rows, columns = np.mgrid[:700, :600]
    alpha = np.clip((280 - np.hypot(rows - 350, columns - 300)) / 60, 0, 1)
    picture = np.dstack([np.full((700, 600), 200), np.full((700, 600), 90), np.full((700, 600), 30), alpha * 255])
    picture[alpha == 0, :3] = 255  # as bad as can be: must not leak in
    for number in range(4):
        render.save(picture.astype(np.uint8), source / render.planned(number).name, lossless=True)
    assert render.pack(source, out, 4) == 4
    small = np.asarray(Image.open(next(out.iterdir()))).astype(int)
    assert max(small.shape) == 512
    assert np.abs(small[..., :3] - (200, 90, 30))[small[..., 3] > 100].max() < 16
    one = next(out.iterdir()).stat().st_size
    assert render.pack(source, tmp_path / "less", 4, most=int(2.5 * one)) == 2


def test_the_recipes_source_reads_them_once_it_is_no_comment(tmp_path: Path) -> None:
    from matting_anything_core.training.layouts import list_records
    from matting_anything_core.training.recipe import read_recipe
    from matting_anything_core.training.run import RECIPES

    text = (RECIPES / "lite.toml").read_text(encoding="utf-8")
    start = text.index('# [[source]]\n# name = "Rendered"')
    end = text.index("\n\n", start)
    (tmp_path / "lite.toml").write_text(text[:start] + text[start:end].replace("# ", "") + text[end:], encoding="utf-8")
    source = next(each for each in read_recipe(tmp_path / "lite.toml").sources if each.name == "Rendered")
    folder = tmp_path / "train" / "cutouts" / "rendered"
    folder.mkdir(parents=True)
    picture = np.full((8, 8, 4), 90, np.uint8)
    render.save(picture, folder / render.planned(0).name, lossless=True)
    (folder / ".unfinished-1-00001_solid").touch()
    (folder / "failed.txt").touch()
    records = list_records(source, tmp_path)
    assert [(record.rgb.name, record.rgba) for record in records] == [(render.planned(0).name, True)]


def test_strands_start_at_their_roots_and_keep_out_of_balls() -> None:
    rng = np.random.default_rng(0)
    roots = strands.unit(rng.normal(size=(200, 3)))
    grown = strands.grown(rng, roots * 1.01, roots, np.full(200, 1.5), 16, pull=strands.DOWN * 3,
                          balls=[((0, 0, 0), 1.0)])
    assert np.allclose(grown[:, 0], roots * 1.01)
    assert np.linalg.norm(grown, axis=2).min() > 0.999
    assert (grown[:, -1, 2] < grown[:, 0, 2]).mean() > 0.9  # they fall
    many, lock = strands.multiplied(rng, grown, roots.repeat(5, 0) * 1.01, strands.Style(clump=0.8, curl=0.05))
    assert many.shape == (1000, 16, 3)
    assert np.allclose(many[:, 0], roots.repeat(5, 0) * 1.01, atol=1e-6)
    assert lock.max() < 200


def test_the_script_says_how_to_get_blender(tmp_path: Path) -> None:
    if importlib.util.find_spec("bpy"):
        pytest.skip("Blender is here")
    done = subprocess.run([sys.executable, SCRIPTS / "render.py", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'bpy" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None,
                    reason="Blender's module is not installed: pip install 'bpy>=4.5,<4.6' with Python 3.11")
def test_blender_renders_soft_hair_the_same_twice(tmp_path: Path) -> None:
    number = next(number for number in range(100) if render.planned(number).kind == "animal")
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        done = subprocess.run([sys.executable, SCRIPTS / "render.py", folder, "--only", str(number), "--scale", "0.15",
                               "--samples", "4", "--edges", "16"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        made.append(np.asarray(Image.open(folder / render.planned(number).name)))
    assert (made[0] == made[1]).all()
    soft = (made[0][..., 3] > 12) & (made[0][..., 3] < 243)
    assert 0.05 < soft.mean() < 0.8
    assert made[0][..., 3].max() == 255
