"""ViT-B in a real ComfyUI, with weights made from names, where ComfyUI and other packs keep them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from recipe import m2m_weights, sam_weights

from matting_anything_core import MattingAnything, load_model
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.networks.sam import build_sam

from .graphs import BOX, PICTURE, editor, event, graph, pixels
from .server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SAM, M2M = "sam_vit_b_01ec64.pth", "mam.pth"


@pytest.fixture(scope="module")
def model(server: Server) -> Iterator[MattingAnything]:
    """The files in ComfyUI's folders under the names they are published with, and the library's model of them."""
    with torch.device("meta"):
        sam, m2m = build_sam("vit_b"), MaskToMatte()
    paths = [server.base / "models" / "sams" / SAM, server.base / "models" / "matting_anything" / M2M]
    for path, tensors in zip(paths, (sam_weights(sam.state_dict()), m2m_weights(m2m.state_dict())), strict=True):
        path.parent.mkdir(exist_ok=True)
        torch.save(tensors, path)
    yield load_model("vit_b", device="cpu", folders=[path.parent for path in paths])
    for path in paths:
        path.unlink()


def encoded(steps: list[tuple[int, int]]) -> list[int]:
    """Progress within the first half, which is the encoder's: a ViT tells it block by block."""
    return [value for value, most in steps if 0 < value < most // 2 - 1]


def test_published_files_in_comfyuis_folders(server: Server, model: MattingAnything) -> None:
    """Both files are found by the model's name, the matte is the library's, and another prompt encodes nothing anew."""
    offered = server.get("/object_info")["MattingAnythingLoadModel"]["input"]["optional"]
    assert SAM in str(offered["sam"])
    assert M2M in str(offered["mask_to_matte"])
    entry, told = server.watch(graph(editor(BOX), model="vit_b"))
    assert event(entry, "execution_error") is None
    assert len(encoded(told.progress["3"])) > 5
    first = server.pictures(entry, "4")

    other = (200, 20, 500, 400)
    entry, told = server.watch(graph(editor(other), model="vit_b"))
    assert told.progress["3"]
    assert not encoded(told.progress["3"])
    second = server.pictures(entry, "4")
    for path, expected in zip(first + second, model.matte(model.embed(PICTURE), [BOX, other]), strict=True):
        assert expected.alpha.std() > 0.05
        assert np.abs(pixels(path)[..., 3] - expected.alpha * 255).max() <= 1.01
