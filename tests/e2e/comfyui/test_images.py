"""Pictures of every kind in a real ComfyUI: transparent and gray ones, other sizes, several at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from matting_anything_core import Matte, Prompt, matte

from .graphs import BOX, PICTURE, editor, event, graph, pixels
from .server import Server


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return np.asarray(PIL.Image.open(PICTURE).convert("RGB"))


@pytest.fixture(scope="module")
def transparent(server: Server, astronaut: np.ndarray) -> str:
    """The astronaut's picture, see-through on the right, soft in between."""
    alpha = np.broadcast_to(np.linspace(3, -1, 512).clip(0, 1) * 255, (512, 512))
    PIL.Image.fromarray(np.dstack([astronaut, alpha.round().astype(np.uint8)])).save(server.base / "input" / "rgba.png")
    return "rgba.png"


def same(path: Path, expected: Matte) -> None:
    """A saved cut-out is the library's."""
    cutout = pixels(path).astype(int)
    assert cutout.shape[:2] == expected.alpha.shape
    assert np.abs(cutout[..., 3] - expected.alpha * 255).max() <= 1.01
    assert np.abs(cutout[..., :3] - expected.foreground * 255).max() <= 1.01


def cutouts(server: Server, run: dict[str, Any]) -> list[Path]:
    entry = server.run(run)
    assert event(entry, "execution_error") is None
    return server.pictures(entry, "4")


def test_colours_and_transparency_apart_as_loadimage_gives_them(server: Server, transparent: str) -> None:
    """LoadImage's mask is 1 where the picture is transparent; turned round it is a rough mask, and it holds."""
    run = graph(picture=transparent, mask=["7", 0])
    run["7"] = {"class_type": "InvertMask", "inputs": {"mask": ["1", 1]}}
    rgba = pixels(server.base / "input" / transparent)
    rows, columns = (rgba[..., 3] > 127.5).any(1).nonzero()[0], (rgba[..., 3] > 127.5).any(0).nonzero()[0]
    box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    [path] = cutouts(server, run)
    same(path, matte(rgba[..., :3], box, device="cpu"))


def test_a_transparent_picture_mattes_as_in_the_library(server: Server, transparent: str) -> None:
    """[B,H,W,4] from ComfyUI's own JoinImageWithAlpha."""
    run = graph(editor(BOX), picture=transparent)
    run["3"]["inputs"]["image"] = ["7", 0]
    run["7"] = {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["1", 0], "alpha": ["1", 1]}}
    [path] = cutouts(server, run)
    same(path, expected := matte(server.base / "input" / transparent, BOX, device="cpu"))
    assert not expected.alpha[:, 400:].any()


def test_one_channel_mattes_as_in_the_library(server: Server, astronaut: np.ndarray) -> None:
    """[B,H,W,1], as other packs make it."""
    run = graph(editor(BOX))
    run["3"]["inputs"]["image"] = ["7", 0]
    run["7"] = {"class_type": "TestGrayImage", "inputs": {"image": ["1", 0]}}
    [path] = cutouts(server, run)
    same(path, matte((astronaut / np.float32(255)).mean(-1, keepdims=True), BOX, device="cpu"))


def test_a_gray_file_mattes_as_in_the_library(server: Server, astronaut: np.ndarray) -> None:
    """LoadImage makes three channels of it, a level darker where it is bright."""
    gray = PIL.Image.fromarray(astronaut).convert("L")
    gray.save(server.base / "input" / "gray.png")
    [path] = cutouts(server, graph(editor(BOX), picture="gray.png"))
    expected, cutout = matte(gray, BOX, device="cpu"), pixels(path).astype(int)
    assert np.abs(cutout[..., 3] - expected.alpha * 255).mean() < 1
    solid = expected.alpha == 1
    assert solid.mean() > 0.1
    assert np.abs(cutout[solid][:, :3] - np.asarray(gray)[solid][:, None].astype(int)).mean() < 1


def test_pictures_of_other_sizes_one_after_another(server: Server, astronaut: np.ndarray) -> None:
    boxes = {(96, 200): (60, 10, 150, 90), (700, 333): (20, 20, 300, 690), (33, 31): (2, 2, 30, 30)}
    for (height, width), box in boxes.items():
        picture = PIL.Image.fromarray(astronaut).resize((width, height))
        picture.save(server.base / "input" / f"{width}.png")
        prompt = json.dumps({"version": 1, "width": width, "height": height, "objects": [{"box": box}]})
        [path] = cutouts(server, graph(prompt, picture=f"{width}.png"))
        same(path, matte(picture, box, device="cpu"))


def test_one_prompt_for_a_whole_batch(server: Server, astronaut: np.ndarray) -> None:
    """Box and points of the editor hold for every picture of the batch."""
    mirrored = astronaut[:, ::-1]
    PIL.Image.fromarray(mirrored).save(server.base / "input" / "mirrored.png")
    box, points = (20, 4, 492, 512), [[200, 200, 1], [20, 20, 0]]
    prompt = json.dumps({"version": 1, "width": 512, "height": 512, "objects": [{"box": box, "points": points}]})
    run = graph(prompt)
    run["3"]["inputs"]["image"] = ["8", 0]
    run["7"] = {"class_type": "LoadImage", "inputs": {"image": "mirrored.png"}}
    run["8"] = {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["7", 0]}}
    asked = Prompt(box=box, points=[point[:2] for point in points], labels=[point[2] for point in points])
    paths = cutouts(server, run)
    for path, picture in zip(paths, (astronaut, mirrored), strict=True):
        same(path, matte(picture, asked, device="cpu"))
