"""The model as its callers see it: values in, values out, on a tiny network with made weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tiny import picture, tiny_model

from matting_anything_core import CancelledError, DeviceError, Matte, MattingError, Prompt, PromptError, matte
from matting_anything_core import model as model_module
from matting_anything_core.geometry import Fit
from matting_anything_core.image import read_image
from matting_anything_core.model import MattingAnything
from matting_anything_core.networks.m2m import MaskToMatte
from matting_anything_core.pipeline.embedding import Views
from matting_anything_core.pipeline.mask_refinement import refine_mask
from matting_anything_core.pipeline.masks import upsample_mask
from matting_anything_core.pipeline.prompting import DecoderPrompt

BOX = (10, 8, 70, 50)
PROMPTS = [
    Prompt(box=BOX), Prompt(points=[(30, 30)]), Prompt(points=[(30, 30), (5, 5)], labels=[1, 0]),
    Prompt(box=(0, 0, 40, 60), points=[(20, 20)], labels=[1]), Prompt(box=(20, 5, 90, 55)),
    Prompt(mask=np.pad(np.ones((20, 30), bool), ((10, 30), (20, 50)))), Prompt(points=[(60, 40)]),
]


@pytest.mark.parametrize("guidance", ["mask", "alpha"])
@pytest.mark.parametrize("sides", ["one", "two"])
def test_many_prompts_in_one_pass_equal_one_by_one(guidance: str, sides: str) -> None:
    model = tiny_model()
    embedding = model.embed(picture(60, 100))
    together = model.matte(embedding, PROMPTS, guidance=guidance, sides=sides)
    for prompt, result in zip(PROMPTS, together, strict=True):
        [alone] = model.matte(embedding, [prompt], guidance=guidance, sides=sides)
        np.testing.assert_array_equal(result.mask, alone.mask)
        np.testing.assert_allclose(result.alpha, alone.alpha, atol=1e-5)
    assert len({result.alpha.tobytes() for result in together}) == len(PROMPTS)


def test_the_window_of_a_matte_loses_nothing() -> None:
    """What the model computes inside windows equals the whole square, unfolded, merged as a whole."""
    from recipe import m2m_weights

    from matting_anything_core.networks.m2m import MaskToMatte
    from matting_anything_core.networks.sam import load_state
    from matting_anything_core.pipeline import merging as refine

    model = tiny_model()
    m2m = MaskToMatte().eval()
    load_state(m2m, m2m_weights(m2m.state_dict()), "made weights")
    image = picture(60, 100, seed=3)
    embedding = model.embed(image)
    fit = Fit(60, 100, 64)
    for guidance, postprocess in (("mask", False), ("alpha", True), ("alpha", False)):
        for sides in ("one", "two"):
            [result] = model.matte(embedding, [Prompt(box=BOX)], guidance=guidance, sides=sides,
                                   postprocess=postprocess, detail=False)
            view = model.view(embedding)
            [found] = model.segment(view, [DecoderPrompt(box=BOX)])
            with torch.no_grad():
                alphas = m2m(view.features, view.pixels, (found.logits > 0).float()[None])
            whole = [torch.nn.functional.interpolate(
                alpha[..., : fit.scaled[0], : fit.scaled[1]], (60, 100), mode="bilinear") for alpha in alphas]
            mask = torch.from_numpy(result.mask.copy())[None, None]
            expected = refine.merge(mask, *whole, guidance=guidance, sides=sides, postprocess=postprocess)
            # Where a scale is within a hair of the thresholds 1/255 and 254/255 the choice may differ.
            wrong = np.abs(result.alpha - expected[0, 0].numpy()) > 1e-4
            assert wrong.mean() < 1e-3, (guidance, sides, wrong.mean())


def test_matte_is_pure() -> None:
    image, box = picture(50, 40), np.array([3, 3, 30, 40])
    before = image.copy(), box.copy()
    first, second = (matte(image, box, model=tiny_model()) for _ in range(2))
    np.testing.assert_array_equal(first.alpha, second.alpha)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(box, before[1])
    assert first.alpha.dtype == np.float32
    assert first.alpha.shape == first.mask.shape == (50, 40)
    assert first.mask.dtype == bool
    assert first.box == (3, 3, 30, 40)


def test_a_list_gives_a_list_and_one_gives_one() -> None:
    assert isinstance(matte(picture(20, 30), (1, 1, 20, 15), model=tiny_model()), Matte)
    assert len(matte(picture(20, 30), [(1, 1, 20, 15)], model=tiny_model())) == 1


def test_threads_do_not_disturb_each_other() -> None:
    model = tiny_model()
    images = [picture(40 + i, 60, seed=i) for i in range(8)]
    alone = [model.matte(model.embed(image), [BOX])[0].alpha for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: model.matte(model.embed(image), [BOX])[0].alpha, images))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (2, 3), (300, 7)])
def test_odd_sizes(height: int, width: int) -> None:
    result = matte(picture(height, width), (0, 0, width, height), model=tiny_model())
    assert result.alpha.shape == (height, width)
    assert 0 <= result.alpha.min() <= result.alpha.max() <= 1


def test_boxes_that_stick_out_are_clipped_and_others_refused() -> None:
    model = tiny_model()
    embedding = model.embed(picture(60, 100))
    [clipped] = model.matte(embedding, [(-20, -5, 50, 200)])
    assert clipped.box == (0, 0, 50, 60)
    np.testing.assert_array_equal(clipped.alpha, model.matte(embedding, [(0, 0, 50, 60)])[0].alpha)
    for prompt, message in (((200, 5, 300, 9), "outside"), (Prompt(points=[(101, 5)]), "outside"),
                            (np.ones((60, 99), bool), "99 x 60"), ("a dog", "text")):
        with pytest.raises(MattingError, match=message):
            model.matte(embedding, [prompt])
    with pytest.raises(PromptError, match="guidance was given as 'masc'"):
        model.matte(embedding, [BOX], guidance="masc")


def test_an_embedding_of_another_model_is_refused() -> None:
    with pytest.raises(PromptError, match="embed the image again"):
        tiny_model(96).matte(tiny_model().embed(picture(20, 20)), [(0, 0, 9, 9)])


def test_what_is_transparent_stays_so() -> None:
    image = np.dstack([picture(60, 100), np.full((60, 100), 255, np.uint8)])
    opaque = matte(image, BOX, model=tiny_model())
    np.testing.assert_array_equal(opaque.alpha, matte(image[..., :3], BOX, model=tiny_model()).alpha)
    image[:30, :, 3] = 0
    half = matte(image, BOX, model=tiny_model())
    assert half.alpha[:30].max() == 0
    assert not half.mask[:30].any()
    # Colours under full transparency are arbitrary and must not matter.
    other = image.copy()
    other[:30, :, :3] = 99
    np.testing.assert_array_equal(matte(other, BOX, model=tiny_model()).alpha, half.alpha)


def test_progress_rises_and_can_cancel() -> None:
    seen: list[tuple[str, float]] = []
    matte(picture(60, 100), [BOX, (5, 5, 20, 20)], model=tiny_model(), progress=lambda *at: seen.append(at))
    assert seen[0][0] == "encode"
    shares = [share for stage, share in seen if stage == "matte"]
    assert shares == sorted(shares)
    assert shares[-1] == 1

    def cancel(stage: str, share: float) -> None:
        if stage == "matte" and share > 0:
            raise CancelledError("enough")

    with pytest.raises(CancelledError, match="enough"):
        matte(picture(60, 100), BOX, model=tiny_model(), progress=cancel)


@pytest.mark.parametrize("together", [False, True])
def test_masks_are_refined_one_by_one_so_that_a_caller_can_end_it(monkeypatch: pytest.MonkeyPatch, together) -> None:
    model = copy(tiny_model())
    model.defaults = replace(model.defaults, refine_masks=True)
    embedding = model.embed(picture(60, 100))
    boxes = [Prompt(box=(i, i, i + 40, i + 40)) for i in range(8)]
    done = []
    monkeypatch.setattr(model_module, "refine_mask", lambda *given, **how: done.append(1) or refine_mask(*given, **how))
    work = model.matte_together if together else model.matte
    work(embedding, boxes)
    assert len(done) == (1 if together else 8)

    def cancel(_stage: str, _share: float) -> None:
        if done:
            raise CancelledError("enough")

    done.clear()
    with pytest.raises(CancelledError, match="enough"):
        work(embedding, boxes, progress=cancel)
    assert len(done) == 1


def test_only_a_box_alone_asks_for_one_whole_object(monkeypatch: pytest.MonkeyPatch) -> None:
    model = copy(tiny_model())
    model.defaults = replace(model.defaults, refine_masks=True)
    embedding = model.embed(picture(60, 100))
    asked = []

    def noted(*given, whole):
        asked.append(whole)
        return refine_mask(*given, whole=whole)

    monkeypatch.setattr(model_module, "refine_mask", noted)
    points = {"points": [(20.0, 20.0)], "labels": [1]}
    mask = np.zeros((60, 100), bool)
    mask[10:50, 10:50] = True
    model.matte(embedding, [BOX, Prompt(box=BOX, **points), Prompt(**points), Prompt(mask=mask)])
    model.matte_together(embedding, [BOX, (20, 20, 60, 50)])
    assert asked == [True, False, False, False, False]


def test_an_empty_mask_gives_an_empty_matte(monkeypatch: pytest.MonkeyPatch) -> None:
    """No real prompt gives one with made weights, so the decoder's logits are lowered below zero."""
    model = tiny_model()
    embedding = model.embed(picture(60, 100))
    found = model.segment(model.view(embedding), [DecoderPrompt(box=BOX)])
    nothing = [mask._replace(logits=-mask.logits.abs() - 1) for mask in found]
    monkeypatch.setattr(model_module.MattingAnything, "segment", lambda *_: nothing)
    for guidance in ("mask", "alpha"):
        [result] = model.matte(embedding, [Prompt(box=BOX)], guidance=guidance)
        assert not result.alpha.any()
        assert not result.mask.any()
        assert result.cutout().alpha.max() == 0


def test_memory_that_runs_out_leads_to_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    embedding = model.embed(picture(60, 100))
    boxes = [Prompt(box=(i, i, i + 20, i + 20)) for i in range(20)]
    expected = model.matte(embedding, boxes)
    sizes = []
    decode = model._decode

    def scarce(view, prompts):
        sizes.append(len(prompts))
        if len(prompts) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(view, prompts)

    monkeypatch.setattr(model, "_decode", scarce)
    for one, other in zip(expected, model.matte(embedding, boxes), strict=True):
        np.testing.assert_allclose(one.alpha, other.alpha, atol=1e-5)
    assert sizes[:3] == [16, 8, 4]
    assert max(sizes[2:]) <= 5


def test_a_larger_square_for_mask_to_matte() -> None:
    result = matte(picture(60, 100), BOX, model=tiny_model(64, 128))
    assert result.alpha.shape == (60, 100)
    assert not np.array_equal(result.alpha, matte(picture(60, 100), BOX, model=tiny_model()).alpha)


def test_the_mask_is_sams_upsampled_mask() -> None:
    """Only the surroundings of what is positive are resized; the whole must be the same."""
    model = tiny_model()
    for height, width in ((60, 100), (31, 17), (200, 333)):
        embedding = model.embed(picture(height, width))
        [candidate] = model.segment(model.view(embedding), [DecoderPrompt(box=(2, 2, width - 2, height - 2))])
        fit = Fit(height, width, 64)
        square = torch.nn.functional.interpolate(candidate.logits[None], (64, 64), mode="bilinear")
        whole = torch.nn.functional.interpolate(
            square[..., : fit.scaled[0], : fit.scaled[1]], (height, width), mode="bilinear")[0, 0] > 0
        mask, box = upsample_mask(candidate.logits, fit)
        pasted = torch.zeros_like(whole)
        pasted[box.slices()] = mask
        # The same but where a logit is zero to the last bit.
        assert (pasted != whole).float().mean() < 1e-3


def test_results_keep_the_depth_of_the_picture() -> None:
    deep = picture(30, 40).astype(np.uint16) * 257
    result = matte(deep, (2, 2, 35, 28), model=tiny_model())
    cutout = result.cutout()
    assert cutout.rgb.dtype == cutout.alpha.dtype == np.uint16
    solid = result.alpha == 1
    np.testing.assert_array_equal(cutout.rgb[solid], deep[solid])
    on_black = result.composite((0, 0, 0))
    assert on_black.alpha is None
    assert on_black.rgb[result.alpha == 0].max(initial=0) == 0
    on_itself = result.composite(read_image(deep))
    assert on_itself.rgb.shape == deep.shape


numbers = st.floats(width=32) | st.integers(-20, 80) | st.just(float("nan"))
coordinates = st.tuples(numbers, numbers)
fields = st.fixed_dictionaries({}, optional={
    "box": st.tuples(numbers, numbers, numbers, numbers) | st.tuples(*[st.integers(0, 40)] * 4),
    "points": st.lists(coordinates | st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4),
    "labels": st.lists(st.integers(-1, 2), max_size=4),
    "mask": hnp.arrays(st.sampled_from([bool, np.uint8, np.float32]), hnp.array_shapes(min_dims=1, max_dims=3,
                                                                                        max_side=8)),
    "text": st.text(max_size=5),
})
something = st.integers() | st.text(max_size=4) | st.lists(numbers, max_size=5) | fields
anything = st.none() | something  # for nothing the bundled model looks for the subject, which takes a while
images = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.float32, bool, np.int64]),
    st.tuples(st.integers(0, 40), st.integers(1, 40)) | st.tuples(st.integers(1, 30), st.integers(1, 30),
                                                                   st.sampled_from([1, 2, 3, 4])),
    elements=None, fill=st.just(0),
)


def check_matte_or_error(image: object, prompt: object) -> None:
    try:
        result = matte(image, prompt, model=tiny_model())  # type: ignore[call-overload]
    except MattingError:
        return
    for one in result if isinstance(result, list) else [result]:
        assert one.alpha.shape == one.mask.shape == image.shape[:2]  # type: ignore[attr-defined]
        assert one.alpha.min() >= 0
        assert one.alpha.max() <= 1


@settings(max_examples=300)
@given(images, anything | st.lists(fields, max_size=3))
def test_random_input_ends_in_a_matte_or_a_matting_error(image: object, prompt: object) -> None:
    check_matte_or_error(image, prompt)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(images, something | st.lists(fields, max_size=3))
def test_ten_thousand_random_inputs_end_in_a_matte_or_a_matting_error(image: object, prompt: object) -> None:
    check_matte_or_error(image, prompt)


def own_model() -> MattingAnything:
    """A tiny model of one's own, whose weights may be moved."""
    shared = tiny_model()
    return MattingAnything(deepcopy(shared.sam), MaskToMatte().eval(), device="cpu", name="tiny")


def head_devices(model: MattingAnything) -> set[str]:
    network = model._head.network  # type: ignore[attr-defined]
    return {conv.weight.device.type for layers in (network.os8, network.os4, network.os1) for conv in layers.head}


def test_a_model_moves_to_another_device() -> None:
    """To the `meta` device, which every machine has: tensors there have a place and no values."""
    model, meta = own_model(), torch.device("meta")
    embedding = model.embed(picture(60, 100))
    moved = model.to(meta)
    assert moved is not model
    assert moved.sam is model.sam  # moved, not copied: the first one rests
    assert {tensor.device for tensor in moved.sam.parameters()} == {meta}
    assert (moved.device, model.device) == (meta, torch.device("cpu"))
    assert (head_devices(moved), head_devices(model)) == ({"meta"}, {"cpu"})

    there = embedding.to(meta)
    assert {view.features.device for view in there.views.all().values()} == {meta}
    assert {view.pixels.device for view in there.views.all().values()} == {meta}
    assert {view.features.device.type for view in embedding.views.all().values()} == {"cpu"}
    assert there.to(meta) is there
    # What is encoded from now on is encoded there.
    view = moved.view(replace(there, views=Views()))
    assert view.features.device == view.pixels.device == meta
    with pytest.raises(DeviceError):
        model.to("cuda:99")


def test_a_model_whose_weights_a_host_moves_goes_on() -> None:
    """A host takes the weights away and brings them back, as ComfyUI does between its models."""
    model = own_model()
    embedding = model.embed(picture(60, 100))
    [before] = model.matte(embedding, [Prompt(box=BOX)])
    values = {name: tensor.clone() for name, tensor in model.sam.state_dict().items()}
    model.sam.to("meta")
    model.sam.to_empty(device="cpu")
    model.sam.load_state_dict(values)
    [after] = model.to("cpu").matte(embedding.to("cpu"), [Prompt(box=BOX)])
    np.testing.assert_array_equal(after.alpha, before.alpha)


def test_together_is_one_matte_of_the_united_masks() -> None:
    model = tiny_model()
    embedding = model.embed(picture(60, 100))
    boxes = [Prompt(box=(4, 4, 40, 50)), Prompt(box=(50, 8, 96, 56))]
    one = model.matte_together(embedding, boxes)
    apart = model.matte(embedding, boxes)
    union = apart[0].mask | apart[1].mask
    assert not (union & ~one.mask).any()
    assert (one.mask != union).mean() < 0.05  # enlarged after they were united, so a little more
    assert one.box == (4, 4, 96, 56)
    assert one.score == min(matte.score for matte in apart)
    assert one.alpha.shape == (60, 100)
    np.testing.assert_array_equal(model.matte_together(embedding, boxes[0]).alpha, apart[0].alpha)
    with pytest.raises(CancelledError):
        model.matte_together(embedding, PROMPTS, progress=_cancel)


def _cancel(_stage: str, _share: float) -> None:
    raise CancelledError("stopped")
