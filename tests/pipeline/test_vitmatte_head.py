"""ViTMatte as an alpha head: crops that cover the band, faded into each other, and better alpha of hair."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tiny_vitmatte as tiny
import torch
from tiny import tiny_model
from torch import Tensor, nn

from matting_anything_core import MatteOptions, PromptError, load_model
from matting_anything_core.geometry import Window
from matting_anything_core.model import MattingAnything
from matting_anything_core.networks.backbone import Defaults
from matting_anything_core.pipeline import vitmatte as head
from matting_anything_core.pipeline.vitmatte import VitMatteHead, crops, matte_band, vitmatte_head
from matting_anything_core.weights.store import open_checkpoint


class Brightness(nn.Module):
    """Alpha is the first colour, as it is: what comes out must be the image."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, pixels: Tensor, step: object) -> Tensor:
        self.seen.append(tuple(pixels.shape))
        return pixels[:, :1] * head.STD[0] + head.MEAN[0]


def ring(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A trimap of some discs, with bands of several widths."""
    rng = np.random.default_rng(seed)
    trimap = np.zeros((height, width), np.uint8)
    for _ in range(4):
        middle = int(rng.integers(0, width)), int(rng.integers(0, height))
        radius, band = int(rng.integers(8, max(min(height, width) // 3, 10))), int(rng.integers(2, 30))
        cv2.circle(trimap, middle, radius, 255, -1)
        cv2.circle(trimap, middle, radius, 128, band)
    return trimap


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [(700, 1100), (1300, 300), (200, 2000), (90, 130)])
def test_crops_are_equal_and_their_inner_parts_cover_what_is_unknown(size: tuple[int, int], seed: int) -> None:
    unknown = ring(*size, seed) == 128
    covered = np.zeros(size, bool)
    for outer, inner in crops(unknown, 512):
        assert (outer.height, outer.width) == (min(512, size[0]), min(512, size[1]))
        assert outer.shared(Window(0, 0, *size)) == outer
        assert inner.shared(outer) == inner
        for near, far, edge in ((outer.top, inner.top, 0), (outer.left, inner.left, 0), (inner.bottom, outer.bottom,
                                size[0]), (inner.right, outer.right, size[1])):
            assert far - near == head.OVERLAP or (near == far == edge)
        covered[inner.slices()] = True
    assert (covered | ~unknown).all()


def test_nothing_far_from_the_band_is_computed() -> None:
    trimap = np.zeros((2000, 2000), np.uint8)
    cv2.circle(trimap, (1000, 1000), 700, 255, -1)
    cv2.circle(trimap, (1000, 1000), 700, 128, 30)
    found = list(crops(trimap == 128, 512))
    assert len(found) * 512 * 512 < 1.2 * 2000 * 2000
    assert not list(crops(np.zeros((50, 50), bool), 512))


@pytest.mark.parametrize("size", [(600, 900), (97, 45), (31, 1200)])
def test_alpha_is_the_networks_where_it_is_unknown_and_the_trimaps_elsewhere(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    rgb = cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    trimap = ring(*size)
    network, told = Brightness(), []
    alpha = matte_band(VitMatteHead(network), rgb, trimap, told.append)  # type: ignore[arg-type]
    unknown = trimap == 128
    np.testing.assert_allclose(alpha[unknown], rgb[..., 0][unknown] / 255, atol=1e-5)
    np.testing.assert_array_equal(alpha[~unknown], trimap[~unknown] / np.float32(255))
    assert told == sorted(told)
    assert told[-1] == 1
    assert all(height % 32 == width % 32 == 0 for _, _, height, width in network.seen)


def test_a_part_of_it_is_the_same_part() -> None:
    rgb, alpha, _ = tiny.scene(3, (300, 420))
    trimap, network = tiny.trimap_of(alpha, 6), vitmatte_head(tiny.trained())
    whole = matte_band(network, rgb, trimap)
    part = matte_band(network, rgb, trimap, where=Window(60, 100, 240, 300))
    np.testing.assert_allclose(part, whole[60:240, 100:300], atol=1e-5)


def test_it_ends_when_progress_raises() -> None:
    """After a crop, and within one."""
    network, told = Brightness(), []

    def later(share: float) -> None:
        told.append(share)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matte_band(vitmatte_head(tiny.fresh()), np.zeros((160, 160, 3), np.uint8), ring(160, 160), later)
    assert told == sorted(told)
    assert 0 < told[-1] < 1

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matte_band(VitMatteHead(network), np.zeros((900, 2000, 3), np.uint8), ring(900, 2000), stop)  # type: ignore[arg-type]
    assert len(network.seen) == 1


def test_thick_bands_are_seen_with_what_is_certain_around_them() -> None:
    """A crop within glass would see nothing that is certain: it is larger, and at last the image is smaller."""
    for radius, side in ((100, 512), (180, 704), (240, 960), (800, 832)):
        size = 3 * max(radius, 400)
        trimap = np.zeros((size, size), np.uint8)
        cv2.circle(trimap, (size // 2, size // 2), radius, 128, -1)
        network = Brightness()
        alpha = matte_band(VitMatteHead(network), np.full((size, size, 3), 51, np.uint8), trimap)  # type: ignore[arg-type]
        assert {shape[2] for shape in network.seen} == {side}
        np.testing.assert_allclose(alpha[trimap == 128], 0.2, atol=0.01)


# --- real edges ----------------------------------------------------------------------------------------------------


def paired(name: str = "lite") -> MattingAnything:
    """A model with the tiny ViTMatte that has learned on generated hair."""
    checkpoint = open_checkpoint(name)
    base = MattingAnything.from_checkpoint(checkpoint, device="cpu")
    return MattingAnything(base.sam, tiny.trained(), device="cpu", name=f"{name}+tiny",
                           defaults=Defaults(**{**vars(base.defaults), "head": "vitmatte"}))


def error(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute error around what is soft."""
    soft = cv2.dilate(((truth > 0.02) & (truth < 0.98)).astype(np.uint8), np.ones((7, 7))) > 0
    return float(np.abs(alpha - truth)[soft].mean())


def box_of(alpha: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero((alpha > 0.5).any(1)), np.flatnonzero((alpha > 0.5).any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def test_hair_is_better_than_with_the_guided_head() -> None:
    """Scenes that the tiny network was not trained on, larger than its training's, each from a box."""
    plain, better = load_model("lite", device="cpu"), paired()
    errors = {"plain": [], "better": []}
    for seed in range(2):
        rgb, truth, _ = tiny.scene(seed, (400, 560), scale=1.2)
        for name, model in (("plain", plain), ("better", better)):
            [found] = model.matte(model.embed(rgb), box_of(truth))
            errors[name].append(error(found.alpha, truth))
    assert np.mean(errors["better"]) < 0.4 * np.mean(errors["plain"])
    assert all(one < other for one, other in zip(errors["better"], errors["plain"], strict=True))


def test_crops_meet_without_a_seam() -> None:
    """Alpha of crops beside that of the whole picture at once, in the band, with a network that has learned."""
    rgb, truth, _ = tiny.scene(5, (640, 800), scale=1.5)
    trimap, network = tiny.trimap_of(truth, 8), vitmatte_head(tiny.trained())
    whole = network.solve(rgb[None], trimap[None])[0, 0].numpy()
    alpha = matte_band(network, rgb, trimap)
    band, meet = trimap == 128, np.zeros(trimap.shape, np.uint8)
    for crop in crops(band, 512):
        meet[crop.outer.slices()] += 1
    assert meet.max() > 1
    assert np.abs(alpha - whole)[band].mean() < 2e-2
    assert np.abs(alpha - whole)[band & (meet > 1)].mean() < 2e-2


def test_the_hand_counts_first() -> None:
    model = paired()
    rgb, truth, _ = tiny.scene(0, (160, 160))
    trimap = tiny.trimap_of(truth, 4)
    [found] = model.matte(model.embed(rgb), {"trimap": trimap})
    assert (found.alpha[trimap == 255] == 1).all()
    assert (found.alpha[trimap == 0] == 0).all()
    expected = matte_band(vitmatte_head(tiny.trained()), rgb, trimap)
    np.testing.assert_allclose(found.alpha, expected, atol=1e-5)
    rows, columns = np.nonzero(trimap == 128)
    point = (float(columns[0]) + 0.5, float(rows[0]) + 0.5)
    for label in (0, 1):
        [marked] = model.matte(model.embed(rgb), {"trimap": trimap, "points": [point], "labels": [label]})
        assert (marked.alpha[rows[0], columns[0]] > 0.5) == bool(label)


def test_options_reach_the_head() -> None:
    model = paired()
    rgb, truth, _ = tiny.scene(0, (160, 160))
    embedding, box = model.embed(rgb), box_of(truth)
    soft = {}
    for name, options in (("auto", {}), ("narrow", {"band": "narrow"}), ("glass", {"transparent": True})):
        [found] = model.matte(embedding, box, MatteOptions(**options))
        soft[name] = found.alpha
    assert not np.array_equal(soft["auto"], soft["narrow"])
    assert not np.array_equal(soft["auto"], soft["glass"])
    with pytest.raises(PromptError, match=r"transparent=True is for models with ViTMatte.*tiny\+vitmatte_s"):
        tiny_model().matte(tiny_model().embed(rgb), box, transparent=True)
    with pytest.raises(PromptError, match="band was given as 'huge'; expected auto, narrow or wide"):
        MatteOptions(band="huge")  # type: ignore[arg-type]


def test_a_correction_changes_what_it_points_at() -> None:
    model = paired()
    rgb, truth, _ = tiny.scene(1, (200, 200))
    [first] = model.matte(model.embed(rgb), box_of(truth))
    better = first.corrected(points=[(4, 4)], labels=[1])
    assert better.alpha[4, 4] > 0.5
    far = np.s_[120:, 120:]
    np.testing.assert_allclose(better.alpha[far], first.alpha[far], atol=1e-6)


def test_a_model_is_moved_with_its_head() -> None:
    model = paired()
    assert model.to("cpu")._head.network is model._head.network  # type: ignore[attr-defined]
    other = model._head.to("meta", torch.float32)
    assert other.network.device.type == "meta"  # type: ignore[attr-defined]
    assert model._head.network.device.type == "cpu"  # type: ignore[attr-defined]
