"""Words in a real ComfyUI, through a tiny Grounding DINO that is trained here to know coloured shapes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matting_anything_core import all_matches, matte, write_image
from matting_anything_core.api import Words
from matting_anything_core.grounding import load_grounding

from .graphs import event, graph, pixels, to_api
from .server import PACK, Server

pytest.importorskip("transformers")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SIDE = 256
PICTURE = "shapes.png"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, new_server: Callable[[Path], Server]) -> Path:
    """ComfyUI's folder with the trained network where other packs keep theirs, and with a picture of shapes."""
    import tiny_grounding as tiny

    base = tmp_path_factory.mktemp("comfyui")
    weights = base / "models" / "grounding-dino" / "grounding-dino-tiny"
    weights.mkdir(parents=True)
    tiny.write_trained(weights)
    picture = np.full((SIDE, SIDE, 3), 128, np.uint8)
    tiny.draw("circle", "red", (70.0, 70.0), 96.0, picture)
    tiny.draw("circle", "blue", (186.0, 70.0), 84.0, picture)
    tiny.draw("triangle", "blue", (180.0, 186.0), 92.0, picture)
    (base / "input").mkdir()
    write_image(base / "input" / PICTURE, picture)
    return base


@pytest.fixture(scope="module")
def words(base: Path) -> Words:
    folder = base / "models" / "grounding-dino" / "grounding-dino-tiny"
    return Words(grounding=load_grounding(folder, device="cpu"))


@pytest.fixture(scope="module")
def server(base: Path, new_server: Callable[[Path], Server]) -> Iterator[Server]:
    with new_server(base) as it:
        yield it


def found(server: Server, run: dict[str, Any]) -> list[np.ndarray]:
    """The cut-outs that a graph saves, as integers."""
    entry = server.run(run)
    assert event(entry, "execution_error") is None
    return [pixels(path).astype(int) for path in server.pictures(entry, "4")]


def test_words_matte_what_the_library_mattes(server: Server, base: Path, words: Words) -> None:
    expected = matte(base / "input" / PICTURE, "red circle", device="cpu", words=words)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    assert np.abs(expected.alpha - (np.hypot(columns - 70, rows - 70) < 48)).mean() < 0.05
    [cutout] = found(server, graph(picture=PICTURE, text="red circle"))
    assert np.abs(cutout[..., 3] - expected.alpha * 255).max() <= 1.01
    assert np.abs(cutout[..., :3] - expected.foreground * 255).max() <= 1.01


def test_everything_that_words_name_is_a_batch(server: Server, base: Path, words: Words) -> None:
    expected = all_matches(base / "input" / PICTURE, "blue", device="cpu", words=words)
    assert len(expected) >= 2
    cutouts = found(server, graph(picture=PICTURE, text="blue", all_matches=True, objects="one by one"))
    for cutout, one in zip(cutouts, expected, strict=True):
        assert np.abs(cutout[..., 3] - one.alpha * 255).max() <= 1.01
    [together] = found(server, graph(picture=PICTURE, text="blue", all_matches=True))
    for one in expected:
        assert together[..., 3][one.alpha > 0.9].mean() > 200


def test_what_is_not_found_is_told_and_leaves_an_empty_matte(server: Server) -> None:
    entry, told = server.watch(graph(picture=PICTURE, text="elephant"))
    assert event(entry, "execution_error") is None
    [path] = server.pictures(entry, "4")
    assert pixels(path).shape == (SIDE, SIDE, 4)
    assert not pixels(path)[..., 3].any()
    [text] = told.texts["3"]
    assert "nothing in the picture matches 'elephant'" in text
    assert "use other words" in text
    assert text in server.log()


def test_the_example_runs(server: Server, base: Path, words: Words) -> None:
    """As it is, with words the tiny network was never taught, and with words and a picture that it knows."""
    run = to_api(json.loads((PACK / "example_workflows" / "text.json").read_text()), server.get("/object_info"))
    [cutout] = found(server, run)
    assert cutout.shape == (512, 512, 4)
    run["1"]["inputs"]["image"], run["3"]["inputs"]["text"] = PICTURE, "blue triangle"
    expected = matte(base / "input" / PICTURE, "blue triangle", device="cpu", words=words)
    [cutout] = found(server, run)
    assert np.abs(cutout[..., 3] - expected.alpha * 255).max() <= 1.01
