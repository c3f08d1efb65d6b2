"""The subject of an image: what is cut out when nothing says what to."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from tiny import picture, tiny_model

from matting_anything_core import Prompt, PromptError, load_model, matte
from matting_anything_core.errors import CancelledError
from matting_anything_core.pipeline.subject import (
    GRID,
    SubjectNetwork,
    box_of,
    expected_iou,
    find_subject,
    is_whole,
    knows,
)
from matting_anything_core.result import SURE


def product(height: int, width: int, ground: tuple[int, int, int], left: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A drawn bottle before a backdrop, with noise: the image and where the bottle is."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.array(ground, np.float32) * (0.85 + 0.3 * (y / height))[..., None]
    truth = np.zeros((height, width), np.uint8)
    middle, side = int(left * width), min(height, width)
    cv2.ellipse(truth, (middle, int(0.55 * height)), (side // 5, side // 4), 0, 0, 360, 1, -1)
    cv2.rectangle(truth, (middle - side // 14, int(0.15 * height)), (middle + side // 14, int(0.4 * height)), 1, -1)
    shade = 1 - 0.4 * np.abs(x - middle)[..., None] / (width / 2)
    image = np.where(truth[..., None] > 0, np.array((170, 60, 50)) * shade, image)
    image += np.random.default_rng(1).normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), truth > 0


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


@pytest.fixture(scope="module")
def lite():
    return load_model("lite", device="cpu")


@pytest.mark.parametrize("ground", [(235, 235, 235), (200, 190, 170), (60, 45, 30)])
@pytest.mark.parametrize("left", [0.5, 0.3])
def test_a_drawn_product_is_cut_out_and_its_backdrop_is_not(lite, ground, left) -> None:
    image, truth = product(420, 560, ground, left)
    found = matte(image, model=lite)
    assert iou(found.alpha > 0.5, truth) > 0.9
    assert found.subject_score is not None
    assert found.box is not None
    everything = matte(image, (0, 0, 560, 420), model=lite)  # a box around everything says as little
    assert np.array_equal(everything.alpha, found.alpha)
    assert everything.subject_score == found.subject_score
    assert matte(image, found.box, model=lite).subject_score is None


def test_an_image_of_nothing_is_told(lite) -> None:
    image = np.full((300, 400, 3), 180, np.uint8)
    found = matte(image, model=lite)
    assert found.unsure
    assert not found.alpha.any()
    assert matte(image, Prompt(subject=True, points=[(200, 150)]), model=lite).alpha[150, 200] > 0.5
    assert any("a box or a point says what to matte" in warning for warning in found.warnings)


def test_the_subject_is_corrected_by_points(lite) -> None:
    image, _ = product(420, 560, (235, 235, 235))
    first = matte(image, model=lite)
    again = matte(image, Prompt(subject=True, points=[(40, 40)], labels=[0]), model=lite)
    assert again.box == first.box
    assert again.alpha[40, 40] < 0.5
    better = first.corrected(points=[(280, 230)])
    assert better.alpha[230, 280] > 0.5
    assert better.subject_score is None


def test_other_models_find_it_with_the_bundled_one(lite) -> None:
    image, _ = product(210, 280, (235, 235, 235))
    other = tiny_model()
    assert knows(lite.sam.image_encoder)
    assert not knows(other.sam.image_encoder)
    found = other.find_subject(other.embed(image))
    assert found == lite.find_subject(lite.embed(image))
    assert other.matte(other.embed(image))[0].box == found.box
    # A box around everything is what it is to a model that takes boxes at their word.
    assert other.matte(other.embed(image), (0, 0, 280, 210))[0].subject_score is None


def test_the_encoder_sees_the_whole_image_once(lite, monkeypatch) -> None:
    image, _ = product(420, 560, (235, 235, 235))
    embedding, seen = lite.embed(image), []
    encode = lite.sam.encode
    monkeypatch.setattr(lite.sam, "encode", lambda *args: seen.append(1) or encode(*args))
    lite.matte(embedding)
    first = len(seen)
    lite.matte(embedding)
    assert first <= 2
    assert len(seen) == first


def test_finding_it_tells_its_progress_and_can_be_ended(lite) -> None:
    image, _ = product(420, 560, (235, 235, 235))
    for model in (lite, tiny_model()):
        embedding, seen = model.embed(image), []
        model.matte(embedding, progress=lambda *at, seen=seen: seen.append(at))
        encoded = [share for stage, share in seen if stage == "encode"]
        assert len(encoded) > 3
        assert encoded == sorted(encoded)
        assert 0 < encoded[2] < 1

        def cancel(stage: str, share: float) -> None:
            if stage == "encode" and share > 0:
                raise CancelledError("enough")

        with pytest.raises(CancelledError, match="enough"):
            model.matte(model.embed(image), progress=cancel)


@pytest.mark.parametrize("wrong", [
    {"subject": True, "box": (0, 0, 5, 5)}, {"subject": True, "text": "dog"}, {"subject": "yes"}, {"subject": False},
    {"subject": np.array([1, 2])}, {"subject": 1}, {"subject": None},
    {"subject": True, "previous": np.ones((4, 4))}, {"subject": True, "mask": np.ones((4, 4))}])
def test_what_the_subject_does_not_go_with(wrong) -> None:
    with pytest.raises(PromptError):
        Prompt(**wrong)


def test_numpys_true_is_true() -> None:
    assert Prompt(subject=np.bool_(True)).subject is True  # type: ignore[arg-type]


def test_the_box_is_around_the_likely_cells() -> None:
    likely = np.full((36, 48), 0.02, np.float32)
    likely[10:20, 12:24] = 0.9
    likely[30:32, 40:42] = 0.9  # small beside it
    box = box_of(likely, 360, 480)
    assert box == pytest.approx((120, 100, 240, 200), abs=8)
    assert expected_iou(likely) == pytest.approx((124 * 0.9) / (124 + (36 * 48 - 124) * 0.02), rel=1e-3)
    likely[25:35, 30:46] = 0.8  # two that belong together
    assert box_of(likely, 360, 480) == pytest.approx((120, 100, 460, 350), abs=8)
    faint = likely * 0.4
    assert box_of(faint, 360, 480) is not None
    assert expected_iou(faint) < SURE
    assert box_of(np.full((36, 48), 0.05, np.float32), 360, 480) is None
    assert expected_iou(np.full((36, 48), 0.05, np.float32)) == 0


def test_what_is_padded_does_not_count() -> None:
    """Features of the padding change nothing."""
    network = SubjectNetwork().eval()
    features = torch.randn(1, 256, 24, 24, generator=torch.Generator().manual_seed(0))
    other = features.clone()
    other[:, :, 12:] = 5
    sizes = torch.tensor([[GRID // 2, GRID]])
    with torch.inference_mode():
        one, two = network(features, sizes), network(other, sizes)
    assert torch.equal(one[:, : GRID // 2 - 2], two[:, : GRID // 2 - 2])


def test_the_map_has_the_images_shape(lite) -> None:
    view = lite.view(lite.embed(picture(90, 180)))
    found = find_subject(view.features, view.fit)
    assert 0 <= found.score <= 1


@pytest.mark.parametrize(("box", "whole"), [
    ((0, 0, 80, 60), True), ((1, 0.5, 79.5, 59.5), True), ((8, 0, 80, 60), False), ((0, 4, 80, 60), False)])
def test_a_box_around_everything(box, whole) -> None:
    assert is_whole(box, 80, 60) == whole
