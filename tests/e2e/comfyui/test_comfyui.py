"""The nodes in a real ComfyUI: every example workflow, and that what comes out is what the library makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from matting_anything_core import Prompt, load_model, matte
from matting_anything_core.types import FIELDS

from .graphs import BOX, PICTURE, editor, event, graph, pixels, to_api
from .server import PACK, Server

WORKFLOWS = sorted(PACK.glob("example_workflows/*.json"))


def test_all_nodes_are_there(server: Server) -> None:
    known = server.get("/object_info")
    assert "IMPORT FAILED" not in server.log()
    for name in ("LoadModel", "GetWeights", "Matte", "PromptEditor", "Refine", "Apply", "Trimap"):
        assert f"MattingAnything{name}" in known
    for path in WORKFLOWS:
        for node in json.loads(path.read_text())["nodes"]:
            assert not known.get(node["type"], {}).get("deprecated"), node["type"]


def test_help_and_its_pictures_are_where_the_page_asks_for_them(server: Server) -> None:
    """Pictures are resolved from /extensions/PACK/docs/, not from the page's own folder."""
    docs = f"http://127.0.0.1:{server.port}/extensions/matting_anything/docs/"
    for folder in sorted((PACK / "web" / "docs").iterdir()):
        for language in ("en", "zh"):
            with urllib.request.urlopen(f"{docs}{folder.name}/{language}.md", timeout=60) as answer:
                pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", answer.read().decode())
            for picture in pictures:
                with urllib.request.urlopen(docs + picture, timeout=60) as answer:
                    assert answer.read(4) == b"RIFF"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_example_runs(server: Server, path: Path) -> None:
    run = to_api(json.loads(path.read_text()), server.get("/object_info"))
    entry = server.run(run)
    error = event(entry, "execution_error")
    if path.stem == "Cut out by words":  # its weights are not there, and nothing is downloaded unasked
        assert error is not None
        assert "matting-anything weights fetch grounding-dino-tiny" in error["exception_message"]
        return
    assert error is None, error
    for name, node in run.items():
        if node["class_type"] == "SaveImage":
            for picture in server.pictures(entry, name):
                found = pixels(picture)
                assert 0.05 < (found[..., -1] / 255).mean() < 0.9
                assert found.std() > 10


def test_alpha_and_colours_are_the_librarys(server: Server) -> None:
    entry = server.run(graph(editor(BOX)))
    expected = matte(PICTURE, BOX, model=load_model("lite", device="cpu"))
    [path] = server.pictures(entry, "4")
    found = pixels(path).astype(int)
    assert np.abs(found[..., 3] - expected.alpha * 255).max() <= 1.01
    assert np.abs(found[..., :3] - expected.foreground * 255).max() <= 1.01
    [path] = server.pictures(entry, "6")
    assert np.abs(pixels(path)[..., 0].astype(int) - found[..., 3]).max() == 0


def test_mask_and_foreground_joined_by_comfyui_are_the_cutout(server: Server) -> None:
    run = graph(editor((12, 4, 404, 512)))  # not yet run: what ComfyUI has cached is not in its answer
    run |= {"7": {"class_type": "InvertMask", "inputs": {"mask": ["3", 0]}},
            "8": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["3", 2], "alpha": ["7", 0]}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "joined"}}}
    entry = server.run(run)
    [cutout], [joined] = server.pictures(entry, "4"), server.pictures(entry, "9")
    assert np.abs(pixels(cutout).astype(int) - pixels(joined)).max() <= 1


def test_objects_one_by_one_are_a_batch(server: Server) -> None:
    entry = server.run(graph(editor(BOX, (20, 20, 300, 300)), objects="one by one"))
    assert len(server.pictures(entry, "4")) == 2
    entry = server.run(graph(editor(BOX, (20, 20, 300, 300))))
    assert len(server.pictures(entry, "4")) == 1


def test_a_mask_of_zeros_is_no_mask(server: Server) -> None:
    """LoadImage gives it for a picture without alpha."""
    entry = server.run(graph(mask=["1", 1]))
    [path] = server.pictures(entry, "6")
    assert pixels(path).shape == (512, 512, 3)
    assert not pixels(path).any()
    assert "nothing is marked or found" in server.log()
    box = editor((14, 4, 404, 512))
    with_box, box = server.run(graph(box, mask=["1", 1])), server.run(graph(box))
    np.testing.assert_array_equal(pixels(server.pictures(with_box, "4")[0]), pixels(server.pictures(box, "4")[0]))


@pytest.mark.parametrize(("prompt", "says"), [
    (editor((600, 600, 700, 700)), "outside"), ('{"version": 9}', "version 9")])
def test_errors_say_what_is_wrong(server: Server, prompt: str | None, says: str) -> None:
    error = event(server.run(graph(prompt)), "execution_error")
    assert error is not None
    assert says in error["exception_message"]


@pytest.mark.parametrize("prompt", [None, "", editor()])
def test_who_says_nothing_means_the_one_clear_subject(server: Server, prompt: str | None) -> None:
    entry = server.run({**graph(prompt), "7": {"class_type": "SaveImage", "inputs": {
        "images": ["3", 1], "filename_prefix": f"subject{len(prompt or '')}"}}})
    error = event(entry, "execution_error")
    if "subject" not in FIELDS:
        assert error is not None
        assert "nothing says what to matte" in error["exception_message"]
        return
    assert error is None
    [path] = server.pictures(entry, "7")
    expected = matte(PICTURE, Prompt(subject=True), device="cpu")
    assert np.abs(pixels(path)[..., 3] - expected.alpha * 255).max() <= 1.01


def test_the_editor_refuses_other_text_before_anything_runs(server: Server) -> None:
    run = graph()
    run["3"]["inputs"] |= {"prompt": ["7", 1]}
    run["7"] = {"class_type": "MattingAnythingPromptEditor", "inputs": {"image": ["1", 0], "prompt": "{"}}
    with pytest.raises(ValueError, match="no JSON"):
        server.start(run)


def test_an_interrupt_is_obeyed_within_a_picture(server: Server) -> None:
    boxes = [(4 + shift, 4, 404 + shift, 512) for shift in range(100)]
    name = server.start(graph(editor(*boxes), objects="one by one"))
    while not server.get("/queue")["queue_running"]:
        time.sleep(0.05)
    time.sleep(2)
    server.post("/interrupt", {})
    entry = server.wait(name)
    assert event(entry, "execution_interrupted") is not None
    assert "4" not in entry["outputs"]


def test_only_the_prompt_is_new_in_a_second_run(server: Server) -> None:
    server.run(graph(editor(BOX)))
    entry = server.run(graph(editor((10, 10, 400, 500))))
    cached = event(entry, "execution_cached")
    assert cached is not None
    assert {"1", "2"} <= set(cached["nodes"])  # the model object, with its embeddings, is the same


def test_installing_moves_neither_torch_nor_numpy_nor_opencv(server: Server, tmp_path: Path) -> None:
    import tomllib

    project = tomllib.loads((PACK.parent / "pyproject.toml").read_text())["project"]
    report = tmp_path / "report.json"
    subprocess.run([os.environ.get("COMFYUI_PYTHON", sys.executable), "-m", "pip", "install", "--dry-run", "--quiet",
                    "--report", str(report), *project["dependencies"]], check=True)
    moved = {item["metadata"]["name"].lower() for item in json.loads(report.read_text())["install"]}
    assert not {name for name in moved if name in ("torch", "torchvision", "numpy") or name.startswith("opencv")}
