"""Sharpening of mattes from pictures larger than the square, and the closer look at small objects."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest
import torch
from tiny import picture, tiny_model
from torch.nn import functional as F

from matting_anything_core import Prompt
from matting_anything_core.geometry import Fit, Window
from matting_anything_core.model import MattingAnything
from matting_anything_core.networks.backbone import Defaults
from matting_anything_core.pipeline.merging import bounds, grow
from matting_anything_core.pipeline.prompting import within
from matting_anything_core.pipeline.upsampling import closer, finish, sharpen, spread


def strands(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A composite of a body with fine soft strands on another colour: rgb uint8 and its alpha."""
    generator = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    alpha = ((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2).astype(np.float32)
    for angle in generator.uniform(0, 2 * np.pi, 60):
        away = np.abs((x - width / 2) * np.sin(angle) - (y - height / 2) * np.cos(angle))
        along = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle)
        alpha = np.maximum(alpha, np.clip(1.5 - away, 0, 1) * ((along > 0) & (along < height / 2.3))).astype(np.float32)
    foreground, background = np.array([150, 90, 40]), np.array([90, 130, 200])
    shade = (1 + 0.1 * np.sin(x / 37) + 0.1 * np.sin(y / 23))[..., None]
    rgb = shade * (alpha[..., None] * foreground + (1 - alpha[..., None]) * background)
    return np.clip(rgb + generator.normal(0, 1.5, rgb.shape), 0, 255).astype(np.uint8), alpha


@pytest.mark.parametrize("square", [128, 256])
def test_sharpening_halves_the_error_of_enlarging(square: int) -> None:
    rgb, alpha = strands(480, 512)
    fit = Fit(480, 512, square)
    small = F.interpolate(torch.from_numpy(alpha)[None, None], fit.scaled, mode="area")
    blurred = F.interpolate(small, (480, 512), mode="bilinear")
    sharp = sharpen(blurred, rgb, fit, Window(0, 0, 480, 512))[0, 0].numpy()
    before, after = np.abs(blurred[0, 0].numpy() - alpha).mean(), np.abs(sharp - alpha).mean()
    assert after < 0.5 * before
    assert 0 <= sharp.min() <= sharp.max() <= 1


def test_a_window_is_sharpened_as_the_whole() -> None:
    rgb, alpha = strands(480, 512)
    fit = Fit(480, 512, 128)
    blurred = F.interpolate(F.interpolate(torch.from_numpy(alpha)[None, None], fit.scaled, mode="area"), (480, 512),
                            mode="bilinear")
    whole = sharpen(blurred, rgb, fit, Window(0, 0, 480, 512))
    window = Window(16, 24, 464, 500)
    outside = blurred.clone()
    outside[(..., *window.slices())] = 0
    assert outside.max() == 0  # the object lies inside the window, as `refine.reach` grants
    part = sharpen(blurred[(..., *window.slices())].clone(), rgb, fit, window)
    torch.testing.assert_close(part, whole[(..., *window.slices())], atol=0.02, rtol=0)
    assert (part - whole[(..., *window.slices())]).abs().mean() < 1e-4


@pytest.mark.parametrize("size", [(240, 256), (480, 512), (960, 1024)])
def test_finishing_brings_a_coarse_mask_and_a_blurred_matte_nearer(size: tuple[int, int]) -> None:
    """Both as the small model gives them: an outline that is a pixel of the square off, and a band that is too wide."""
    height, width = size
    scale = max(max(size) / 512, 1)
    y, x = np.mgrid[:height, :width].astype(np.float32)

    def disc(shift: float, soft: float) -> torch.Tensor:
        away = np.hypot(x - width / 2 - shift * scale, y - height / 2)
        alpha = np.clip((height / 4 - away) / (soft * scale) + 0.5, 0, 1)
        return torch.from_numpy(alpha.astype(np.float32))[None, None]

    true, mask, matte = disc(0, 3), disc(1, 1e-3), disc(1, 12)
    share = true[0, 0, ..., None].numpy()
    noise = np.random.default_rng(1).normal(0, 4, (height, width, 3))
    rgb = share * np.array([150, 90, 40]) + (1 - share) * np.array([90, 130, 200]) + noise
    done = finish(matte, mask, 0.25, np.clip(rgb, 0, 255).astype(np.uint8), Fit(*size, 512), Window(0, 0, *size))
    error = {name: float((x - true).abs().mean()) for name, x in (("mask", mask), ("matte", matte), ("done", done))}
    assert error["done"] < 0.96 * min(error["mask"], error["matte"])
    assert 0 <= done.min() <= done.max() <= 1


def test_what_is_finished_in_a_window_is_all_there_is() -> None:
    rgb, alpha = strands(960, 1024)
    fit = Fit(960, 1024, 256)
    mask = (torch.from_numpy(alpha)[None, None] > 0.5).float()
    whole = finish(mask, mask, 0.25, rgb, fit, Window(0, 0, 960, 1024))
    [box] = bounds(mask[0] > 0)
    window = grow(box, spread(fit), (960, 1024))
    part = finish(mask[(..., *window.slices())], mask[(..., *window.slices())], 0.25, rgb, fit, window)
    pasted = torch.zeros_like(whole)
    pasted[(..., *window.slices())] = part
    assert (pasted - whole).abs().max() < 0.02
    assert (pasted - whole).abs().mean() < 1e-4


def test_a_model_whose_matting_is_trusted_in_part_finishes_it() -> None:
    trusted = tiny_model()
    image = picture(60, 100)
    prompt = Prompt(box=(10, 8, 70, 50))
    alphas = {}
    for share in (1.0, 0.25, 0.0):
        model = copy(trusted)
        model.defaults = Defaults(share=share)
        embedding = model.embed(image)
        [result] = model.matte(embedding, prompt)
        alphas[share] = result.alpha
        for plain in ({"detail": False}, {"reference": True}):
            [other] = model.matte(embedding, prompt, **plain)
            np.testing.assert_array_equal(other.alpha, trusted.matte(embedding, prompt, **plain)[0].alpha)
    assert not np.array_equal(alphas[1.0], alphas[0.25])
    mask = trusted.matte(trusted.embed(image), prompt)[0].mask
    assert np.abs(alphas[0.0] - mask).mean() < np.abs(alphas[0.25] - mask).mean()


@pytest.mark.parametrize(("said", "share"), [(None, 1.0), ("0.25", 0.25), ("nan", 1.0), ("-1", 1.0), ("much", 1.0)])
def test_a_files_share_is_a_number_from_0_to_1(said: str | None, share: float) -> None:
    assert Defaults.of("lite", {} if said is None else {"share": said}).share == share


def test_flat_parts_and_small_pictures_stay_as_they_are() -> None:
    rgb, alpha = strands(480, 512)
    given = torch.from_numpy(alpha)[None, None]
    assert sharpen(given, rgb, Fit(480, 512, 512), Window(0, 0, 480, 512)) is given
    fit = Fit(480, 512, 128)
    for value in (0.0, 1.0):
        flat = torch.full((1, 1, 480, 512), value)
        torch.testing.assert_close(sharpen(flat, rgb, fit, Window(0, 0, 480, 512)), flat)


def test_closer_holds_the_box_and_lies_inside() -> None:
    for box in ((10, 10, 60, 40), (950, 700, 1000, 800), (0, 790, 30, 800), (500, 1, 501, 2), (300, 0, 800, 90)):
        part = closer(box, 800, 1000)
        assert part is not None
        assert part.top <= box[1]
        assert part.left <= box[0]
        assert part.bottom >= box[3]
        assert part.right >= box[2]
        assert part.top >= 0
        assert part.left >= 0
        assert part.bottom <= 800
        assert part.right <= 1000
        assert 0.48 <= part.height / part.width <= 2.1


def test_closer_when_it_enlarges() -> None:
    assert closer((200, 200, 800, 700), 1000, 1200) == Window(75, 50, 825, 950)
    # The part would be the whole width, or nearly so.
    assert closer((100, 100, 800, 700), 1000, 1200) is None
    assert closer((250, 300, 950, 600), 1000, 1200) is None
    # A picture that is wide does not get larger in the square when only its height is cut.
    assert closer((10, 300, 1190, 400), 1000, 1200) is None


def test_a_prompt_moves_into_its_part() -> None:
    part = Window(50, 100, 150, 200)
    moved = within(Prompt(box=(110, 60, 150, 140), points=[(120, 70), (5, 5)], labels=[1, 0]), part)
    assert moved is not None
    assert moved.box == (10, 10, 50, 90)
    assert moved.points == ((20, 20),)
    assert within(Prompt(box=(110, 60, 150, 140), points=[(5, 5)]), part) is None


def test_a_mask_ends_at_the_box_and_its_margin() -> None:
    fit = Fit(200, 400, 64)
    logits = torch.full((1, 16, 16), 3.0)
    ended = clip_to_box(logits, Prompt(box=(100, 50, 200, 150)), fit)
    # The box and its margin are 90..210 × 40..160 of the picture: columns 3.6..8.4, rows 1.6..6.4 of the logits.
    assert (ended[0] > 0).nonzero().amin(0).tolist() == [1, 3]
    assert (ended[0] > 0).nonzero().amax(0).tolist() == [6, 8]
    assert logits.min() == 3
    far = Prompt(box=(100, 50, 200, 150), points=[(300, 100)])
    assert clip_to_box(logits, far, fit) is logits
    assert clip_to_box(logits, Prompt(points=[(300, 100)]), fit) is logits


def test_a_small_object_is_matted_as_in_its_part_alone() -> None:
    plain = tiny_model()
    model = MattingAnything(plain._sam, _m2m(), device="cpu", defaults=Defaults(closer=True), name="tiny")
    image = picture(200, 260, seed=2)
    box = (100, 80, 140, 130)
    part = closer(box, 200, 260)
    assert part is not None
    alone = model.embed(image[part.slices()])
    [expected] = model.matte(alone, [(box[0] - part.left, box[1] - part.top, box[2] - part.left, box[3] - part.top)])
    large = (10, 10, 250, 190)
    first, second, third = model.matte(model.embed(image), [large, box, large])
    np.testing.assert_array_equal(second.alpha[part.slices()], expected.alpha)
    assert second.alpha.sum() == pytest.approx(expected.alpha.sum())
    assert second.box == box
    np.testing.assert_array_equal(first.alpha, third.alpha)
    [without] = model.matte(model.embed(image), [box], detail=False)
    assert not np.array_equal(without.alpha, second.alpha)


def _m2m():
    from recipe import m2m_weights

    from matting_anything_core.networks.m2m import MaskToMatte

    m2m = MaskToMatte().eval()
    m2m.load_state_dict(m2m_weights(m2m.state_dict()))
    return m2m


