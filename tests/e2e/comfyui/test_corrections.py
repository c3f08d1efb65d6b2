"""Going on by hand in a real ComfyUI: trimaps, strokes, earlier mattes, and what is computed for whom."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import PIL.Image
import pytest

from matting_anything_core import Matte, Prompt, matte

from .graphs import BOX, PICTURE, editor, event, graph, pixels
from .server import Server


@pytest.fixture(scope="module")
def before() -> Matte:
    return matte(PICTURE, BOX, device="cpu")


def mask_file(server: Server, name: str, values: np.ndarray) -> dict[str, Any]:
    """A node that loads a mask whose values are levels 0..255."""
    PIL.Image.fromarray(values.astype(np.uint8)).convert("RGB").save(server.base / "input" / name)
    return {"class_type": "LoadImageMask", "inputs": {"image": name, "channel": "red"}}


def alpha_of(server: Server, run: dict[str, Any]) -> np.ndarray:
    entry = server.run(run)
    assert event(entry, "execution_error") is None, event(entry, "execution_error")
    [path] = server.pictures(entry, "6")
    return pixels(path)[..., 0] / 255


def test_a_trimap_of_any_pack_holds(server: Server, before: Matte) -> None:
    levels = np.where(before.alpha > 0.95, 255, np.where(before.alpha < 0.05, 0, 128))
    run = graph(trimap=["7", 0])
    run["7"] = mask_file(server, "trimap.png", levels)
    alpha = alpha_of(server, run)
    assert (alpha[levels == 255] == 1).all()
    assert (alpha[levels == 0] == 0).all()
    expected = matte(PICTURE, Prompt(trimap=levels.astype(np.uint8)), device="cpu").alpha
    assert np.abs(alpha - expected).max() < 0.01
    run["3"]["inputs"]["trimap"] = ["8", 0]  # the same as a picture
    run["8"] = {"class_type": "LoadImage", "inputs": {"image": "trimap.png"}}
    np.testing.assert_array_equal(alpha_of(server, run), alpha)


def test_strokes_hold_and_clicks_chain(server: Server, before: Matte) -> None:
    """Editor, Matte, editor, Matte: the second one changes what its strokes point at and nothing else."""
    drop = np.zeros((512, 512), np.uint8)
    drop[440:470, 60:120] = 255
    run = graph(editor(BOX))
    run.pop("4")  # what ComfyUI has cached is not in the answers of other tests
    strokes = {"version": 2, "width": 512, "height": 512, "objects": [
        {"points": [[220, 130, 1]], "strokes": [{"points": [[70, 300], [90, 340]], "width": 10, "label": 0}]}]}
    run["7"] = {"class_type": "MattingAnythingPromptEditor", "inputs": {"image": ["1", 0],
                                                                      "prompt": json.dumps(strokes)}}
    run["8"] = {"class_type": "MattingAnythingMatte", "inputs": {
        "model": ["2", 0], "image": ["1", 0], "prompt": ["7", 1], "previous": ["3", 0], "drop": ["9", 0]}}
    run["9"] = mask_file(server, "drop.png", drop)
    run["5"]["inputs"]["mask"] = ["8", 0]
    alpha = alpha_of(server, run)
    assert (alpha[drop > 0] < 0.5).all()
    assert (alpha[305:335, 76:80] < 0.5).all()
    assert alpha[130, 220] > 0.5
    assert np.abs(alpha - before.alpha)[:250, 150:].mean() < 0.01
    run["8"]["inputs"] = {"model": ["2", 0], "image": ["1", 0], "previous": ["3", 0]}
    assert np.abs(alpha_of(server, run) - before.alpha).max() < 0.01  # nothing is corrected


def test_the_editors_strokes_go_out_as_masks(server: Server) -> None:
    prompt = json.dumps({"version": 2, "width": 512, "height": 512, "objects": [{"strokes": [
        {"points": [[100, 100], [200, 100]], "width": 20, "label": 1}]}]})
    run = {"1": {"class_type": "LoadImage", "inputs": {"image": PICTURE.name}},
           "7": {"class_type": "MattingAnythingPromptEditor", "inputs": {"image": ["1", 0], "prompt": prompt}},
           "5": {"class_type": "MaskToImage", "inputs": {"mask": ["7", 5]}},
           "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "keep"}}}
    keep = alpha_of(server, run)
    assert keep[95:105, 105:195].all()
    assert not keep[130:].any()


def test_colours_are_found_only_for_who_takes_them(server: Server) -> None:
    """Seen by the time that they take; a wire that comes later is served, and the matte itself is not made again."""
    run = graph(editor((30, 4, 404, 512)))
    cutout = run.pop("4")
    entry, told = server.watch(run)
    assert event(entry, "execution_error") is None
    steps = [value for value, _ in told.progress["3"]]
    entry, told = server.watch({**run, "4": cutout})
    [path] = server.pictures(entry, "4")
    assert pixels(path).shape == (512, 512, 4)
    later = [value for value, _ in told.progress["3"]]
    assert any(0 < value < 500 for value in steps) or len(steps) > 2
    assert all(value >= 749 for value in later), "the matte was made again"


def test_a_run_is_shown_on_the_node_and_warnings_end_with_their_cause(server: Server) -> None:
    entry, told = server.watch(graph(boxes={"__value__": [[5, 5, 5, 9]]}))
    assert "5, 5, 5, 9" in told.texts["3"][0]
    assert told.texts["3"] == entry["outputs"]["3"]["matting_anything_warning"]
    entry, told = server.watch(graph(boxes={"__value__": [[60, 20, 400, 480]]}, box_format="xywh"))
    shown = entry["outputs"]["3"]
    assert shown["matting_anything_warning"] == []
    assert "3" not in told.texts
    for name in ("images", "matting_anything_matte"):
        [file] = shown[name]
        assert (server.base / "temp" / file["filename"]).is_file()


def test_nothing_can_be_an_error(server: Server) -> None:
    error = event(server.run(graph(mask=["1", 1], on_nothing="error")), "execution_error")
    assert error is not None
    assert error["exception_message"].startswith("mark the object")


def test_mattes_as_segs(server: Server) -> None:
    run = graph(editor((7, 4, 404, 512)))
    run["7"] = {"class_type": "MattingAnythingMatte", "inputs": {
        "model": ["2", 0], "image": ["1", 0], "boxes": ["3", 5]}}
    run["5"]["inputs"]["mask"] = ["7", 0]
    assert 0.2 < alpha_of(server, run).mean() < 0.9


def test_weights_that_are_not_there_are_told_with_the_remedy_first(server: Server) -> None:
    error = event(server.run(graph(editor(BOX), model="vit_b")), "execution_error")
    assert error is not None
    assert error["exception_message"].startswith("run the node Get Weights with vit_b")
    info = server.get("/object_info")["MattingAnythingLoadModel"]["input"]["required"]["model"][1]
    assert info["matting_anything_missing"][:3] == ["vit_b", "vit_l", "vit_h"]
    assert info["options"][0] == "lite"
    assert set(info["matting_anything_missing"]) == set(info["options"]) - {"lite"}
    get = {"1": {"class_type": "MattingAnythingGetWeights", "inputs": {"weights": "vit_l"}}}
    error = event(server.run(get), "execution_error")
    assert error is not None
    assert "has no published checksum" in error["exception_message"]
