"""Which crop is looked at for a box, and that what was looked at is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from recipe import m2m_weights
from tiny import picture, tiny_model

from matting_anything_core import Prompt
from matting_anything_core.geometry import Fit, Window
from matting_anything_core.model import MattingAnything
from matting_anything_core.networks.backbone import Defaults
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.pipeline import embedding as embedding_module
from matting_anything_core.pipeline.crops import crop_for
from matting_anything_core.pipeline.prompting import DecoderPrompt, clip_to_box, decoder_prompt, hull

BOX = (100, 80, 140, 130)


def cropping_model() -> MattingAnything:
    m2m = MaskToMatte().eval()
    m2m.load_state_dict(m2m_weights(m2m.state_dict()))
    return MattingAnything(tiny_model().sam, m2m, device="cpu", defaults=Defaults(crops=True), name="tiny")


class Counted:
    """Counts how often a model's encoder runs."""

    def __init__(self, model: MattingAnything, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs, encode = 0, model.sam.encode

        def counted(*given: object) -> torch.Tensor:
            self.runs += 1
            return encode(*given)

        monkeypatch.setattr(model.sam, "encode", counted)


def test_a_crop_holds_the_box_and_lies_inside() -> None:
    for box in ((10, 10, 60, 40), (950, 700, 1000, 800), (0, 790, 30, 800), (500, 1, 501, 2), (300, 0, 800, 90)):
        part = crop_for(box, 800, 1000)
        assert part is not None
        assert part.top <= box[1]
        assert part.left <= box[0]
        assert part.bottom >= box[3]
        assert part.right >= box[2]
        assert part.top >= 0
        assert part.left >= 0
        assert part.bottom <= 800
        assert part.right <= 1000
        assert 0.4 <= part.height / part.width <= 2.4


def test_there_is_context_around_the_box_but_at_the_borders() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        width, height = rng.uniform(40, 400, 2)
        x, y = rng.uniform(0, 1000 - width), rng.uniform(0, 900 - height)
        part = crop_for((x, y, x + width, y + height), 900, 1000)
        if part is None:
            continue
        assert 1.3 * width <= part.width
        assert 1.3 * height <= part.height
        assert part.left <= max(x - 0.1 * width, 0)
        assert part.right >= min(x + 1.1 * width, 1000)


def test_only_what_is_enlarged_is_cropped() -> None:
    assert crop_for((200, 200, 700, 600), 1000, 1200) is not None
    # The crop would be the whole width, or nearly so.
    assert crop_for((100, 100, 800, 700), 1000, 1200) is None
    assert crop_for((150, 300, 1050, 600), 1000, 1200) is None
    # A wide image does not get larger in the input when only its height is cut.
    assert crop_for((10, 300, 1190, 400), 1000, 1200) is None


def test_a_box_that_moves_a_little_is_mostly_seen_in_the_same_crop() -> None:
    rng, same = np.random.default_rng(0), []
    for _ in range(300):
        box = np.array([200.0, 150, 460, 520]) + np.tile(rng.uniform(-100, 100, 2), 2)
        same.append(crop_for(tuple(box), 900, 1000) == crop_for(tuple(box + rng.uniform(-2, 2, 4)), 900, 1000))
    assert np.mean(same) > 0.85


def test_the_encoder_runs_once_for_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = cropping_model(), picture(200, 260, seed=2)
    encoder = Counted(model, monkeypatch)
    embedding = model.embed(image)
    [first] = model.matte(embedding, BOX)
    assert encoder.runs == 1
    model.matte(embedding, BOX, guidance="alpha")
    first.corrected(points=[(120, 100)], labels=[0]).corrected(points=[(125, 110)])
    model.matte(embedding, [Prompt(box=BOX, points=[(110, 100)], labels=[0])])
    assert encoder.runs == 1
    model.matte(embedding, (10, 10, 250, 190))  # the whole image
    assert encoder.runs == 2


def test_an_embedding_that_is_there_already_goes_on_keeping_what_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ComfyUI's nodes do: kept on one device, used on the same."""
    model = cropping_model()
    encoder = Counted(model, monkeypatch)
    kept = model.embed(picture(200, 260, seed=2)).to("cpu")
    for _ in range(2):
        model.matte(kept.to(model.device), BOX)
    assert encoder.runs == 1
    moved = kept.to("meta")
    assert moved is not kept
    assert [view.features.device.type for view in moved.views.all().values()] == ["meta"]
    assert [view.features.device.type for view in kept.views.all().values()] == ["cpu"]


def test_threads_encode_a_crop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cropping_model()
    encoder = Counted(model, monkeypatch)
    embedding = model.embed(picture(200, 260, seed=2))
    with ThreadPoolExecutor(4) as pool:
        alphas = list(pool.map(lambda _: model.matte(embedding, BOX)[0].alpha, range(8)))
    assert encoder.runs == 1
    for alpha in alphas[1:]:
        np.testing.assert_array_equal(alpha, alphas[0])


def test_views_are_bounded_and_what_is_dropped_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cropping_model()
    embedding = model.embed(picture(200, 260, seed=2))
    [first] = model.matte(embedding, BOX)
    kept = embedding.nbytes
    assert kept > embedding.image.rgb.nbytes
    monkeypatch.setattr(embedding_module, "MOST_VIEWS", 2)
    for x in (0, 80, 160, 200):
        model.matte(embedding, (x, 20, x + 50, 60))
    assert len(embedding.views.all()) == 2
    [again] = model.matte(embedding, BOX)
    np.testing.assert_array_equal(again.alpha, first.alpha)
    monkeypatch.setattr(embedding_module, "MOST_BYTES", 1)
    model.matte(embedding, (0, 20, 50, 60))
    assert len(embedding.views.all()) == 1


def test_a_small_object_is_matted_as_in_its_crop_alone() -> None:
    model = cropping_model()
    image = picture(200, 260, seed=2)
    part = crop_for(BOX, 200, 260)
    assert part is not None
    moved = (BOX[0] - part.left, BOX[1] - part.top, BOX[2] - part.left, BOX[3] - part.top)
    alone = tiny_model().embed(image[part.slices()])
    [expected] = tiny_model().matte(alone, [moved])
    large = (10, 10, 250, 190)
    first, second, third = model.matte(model.embed(image), [large, BOX, large])
    np.testing.assert_array_equal(second.alpha[part.slices()], expected.alpha)
    assert second.alpha.sum() == pytest.approx(expected.alpha.sum())
    assert second.box == BOX
    np.testing.assert_array_equal(first.alpha, third.alpha)
    [without] = model.matte(model.embed(image), [BOX], detail=False)
    assert not np.array_equal(without.alpha, second.alpha)


def test_a_prompt_moves_into_its_crop() -> None:
    part = Window(50, 100, 150, 200)
    told = decoder_prompt(Prompt(box=(110, 60, 150, 140), points=[(120, 70), (5, 5)], labels=[1, 0]), part)
    assert told == DecoderPrompt((10, 10, 50, 90), ((20, 20),), (1,), None)


def test_the_extent_of_a_prompt() -> None:
    assert hull(Prompt(points=[(5, 5)])) is None
    assert hull(Prompt(box=(10, 10, 20, 20), points=[(30, 5), (90, 90)], labels=[1, 0])) == (10, 5, 30, 20)
    previous = np.zeros((60, 80), np.float32)
    previous[20:30, 40:50] = 1
    assert hull(Prompt(previous=previous, points=[(70, 25)])) == (40, 20, 70, 30)


def test_a_mask_ends_at_the_box_and_its_margin() -> None:
    fit = Fit(200, 400, 64)
    logits = torch.full((1, 16, 16), 3.0)
    clipped = clip_to_box(logits, DecoderPrompt(box=(100, 50, 200, 150)), fit)
    # The box and its margin are 90..210 × 40..160 of the image: columns 3.6..8.4, rows 1.6..6.4 of the logits.
    assert (clipped[0] > 0).nonzero().amin(0).tolist() == [1, 3]
    assert (clipped[0] > 0).nonzero().amax(0).tolist() == [6, 8]
    assert logits.min() == 3
    far = DecoderPrompt(box=(100, 50, 200, 150), points=((300, 100),), labels=(1,))
    assert clip_to_box(logits, far, fit) is logits
    assert clip_to_box(logits, DecoderPrompt(points=((300, 100),), labels=(1,)), fit) is logits
