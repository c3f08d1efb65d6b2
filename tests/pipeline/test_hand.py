"""The hand: whatever points, strokes and trimaps say holds in the final alpha, and the rest stays as it was."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import picture, tiny_model

from matting_anything_core import MattingAnything, Prompt, PromptError, Stroke, load_model, matte, read_image
from matting_anything_core.assets import demo_picture
from matting_anything_core.pipeline import closed_form
from matting_anything_core.pipeline.closed_form import solve_trimap
from matting_anything_core.pipeline.correction import corrected
from matting_anything_core.pipeline.rough_mask import with_rough_mask
from matting_anything_core.pipeline.seeds import DROP, KEEP, point_radius, seeds_of
from matting_anything_core.strokes import draw


def disc(alpha: np.ndarray, x: float, y: float, radius: float = 2) -> np.ndarray:
    rows, columns = np.ogrid[: alpha.shape[0], : alpha.shape[1]]
    return alpha[(rows - int(y)) ** 2 + (columns - int(x)) ** 2 <= radius**2]


def scene(side: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy red disc with an arm of another red, on noisy blue: image, disc, arm."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    body = (y - side / 2) ** 2 + (x - side * 0.4) ** 2 < (side * 0.2) ** 2
    arm = (abs(y - side / 2) < side * 0.05) & (x > side * 0.4) & (x < side * 0.9) & ~body
    colours = np.where(body[..., None], (200.0, 60.0, 50.0), np.where(arm[..., None], (230.0, 150.0, 40.0),
                                                                         (40.0, 70.0, 160.0)))
    return np.clip(colours + rng.normal(0, 6, colours.shape), 0, 255).astype(np.uint8), body, arm


@pytest.fixture(scope="module")
def lite() -> MattingAnything:
    return load_model("lite", device="cpu")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return read_image(demo_picture()).rgb8()


def test_a_click_takes_in_the_region_it_points_at_and_no_more() -> None:
    rgb, body, arm = scene()
    values = np.where(body, np.float32(6), np.float32(-6))
    marks = np.zeros(body.shape, np.int8)
    marks[118:123, 178:183] = KEEP
    found = corrected(values, marks, rgb) > 0
    assert found[arm].mean() > 0.8
    assert found[body].all()
    assert found[~body & ~arm].mean() < 0.01


def test_a_click_takes_out_the_region_it_points_at_and_no_more() -> None:
    rgb, body, arm = scene()
    values = np.where(body | arm, np.float32(6), np.float32(-6))
    marks = np.zeros(body.shape, np.int8)
    marks[118:123, 178:183] = DROP
    found = corrected(values, marks, rgb) > 0
    assert found[arm].mean() < 0.2
    assert found[body].mean() > 0.98


def test_what_other_seeds_say_stays() -> None:
    rgb, body, _ = scene()
    values = np.where(body, np.float32(6), np.float32(-6))
    marks = np.zeros(body.shape, np.int8)
    marks[118:123, 178:183] = KEEP
    marks[118:123, 200:205] = DROP
    found = corrected(values, marks, rgb) > 0
    assert found[118:123, 178:183].all()
    assert not found[118:123, 200:205].any()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 59), st.integers(0, 1)), min_size=1, max_size=6),
       st.booleans(), st.integers(0, 5))
def test_every_point_holds_for_every_kind_of_prompt(points: list[tuple[int, int, int]], chain: bool, seed: int) -> None:
    """With networks of made weights, which know nothing."""
    model = tiny_model()
    embedding = model.embed(picture(60, 100, seed=seed))
    places, labels = [(x + 0.5, y + 0.5) for x, y, _ in points], [label for *_, label in points]
    if chain:
        [found] = model.matte(embedding, (10, 8, 70, 50))
        for place, label in zip(places, labels, strict=True):
            found = found.corrected(points=[place], labels=[label])
    else:
        [found] = model.matte(embedding, Prompt(box=(10, 8, 70, 50), points=places, labels=labels))
    last = dict(zip(places, labels, strict=True))
    for (x, y), label in last.items():
        assert (found.alpha[int(y), int(x)] > 0.5) == bool(label)
        assert found.mask[int(y), int(x)] == bool(label)


def test_a_point_marks_a_small_disc_and_opposite_ones_share() -> None:
    for side in (60, 4000):
        seeds = seeds_of(Prompt(box=(0, 0, 9, 9), points=[(30, 30)], labels=[0]), side, side)
        assert seeds.marks is not None
        assert abs(np.count_nonzero(seeds.marks == DROP) - np.pi * point_radius(side, side) ** 2) < 30
    seeds = seeds_of(Prompt(points=[(30, 30), (32, 30)], labels=[1, 0]), 60, 60)
    assert seeds.marks[30, 30] == KEEP
    assert seeds.marks[30, 32] == DROP
    assert not seeds.warnings or "opposite" in seeds.warnings[0]
    same = seeds_of(Prompt(box=(0, 0, 50, 50), points=[(30, 30), (30, 30)], labels=[1, 0]), 60, 60)
    assert same.marks[30, 30] == DROP
    assert "the later one counts" in same.warnings[0]


def test_strokes_hold_pixel_by_pixel(lite: MattingAnything, photo: np.ndarray) -> None:
    keep, drop = Stroke([(150, 300), (200, 320)], 12), Stroke([(300, 30), (330, 60)], 8)
    for prompt in (Prompt(box=(120, 20, 420, 512), keep=[keep], drop=[drop]),
                   Prompt(box=(120, 20, 420, 512), keep=draw([keep], *photo.shape[:2]),
                          drop=draw([drop], *photo.shape[:2]))):
        found = matte(photo, prompt, model=lite)
        assert found.alpha[draw([keep], *photo.shape[:2])].min() > 0.5
        assert found.alpha[draw([drop], *photo.shape[:2])].max() < 0.5


def test_strokes_alone_are_a_prompt() -> None:
    found = matte(picture(60, 100), Prompt(keep=[Stroke([(20, 20), (50, 40)], 5)]), model=tiny_model())
    assert found.alpha[draw([Stroke([(20, 20), (50, 40)], 5)], 60, 100)].min() > 0.5
    with pytest.raises(PromptError, match="dropped"):
        Prompt(drop=[Stroke([(20, 20)], 5)])


def test_a_chain_leaves_the_rest_as_it_was(lite: MattingAnything, photo: np.ndarray) -> None:
    first = matte(photo, (120, 20, 420, 512), model=lite)
    x, y = 300.5, 50.5
    second = first.corrected(points=[(x, y)], labels=[int(first.alpha[50, 300] < 0.5)])
    assert (second.alpha[50, 300] > 0.5) != (first.alpha[50, 300] > 0.5)
    changed = second.alpha != first.alpha
    assert changed.mean() < 0.25
    assert changed[50, 300]
    third = second.corrected(points=[(x, y)], labels=[second.prompt.labels[-1]])
    np.testing.assert_array_equal(third.alpha, second.alpha)
    # A chain is a chain of values: the older one is untouched, and as a prompt it gives the same.
    again = matte(photo, Prompt(box=(120, 20, 420, 512), previous=first, points=second.prompt.points,
                                labels=second.prompt.labels), model=lite)
    np.testing.assert_array_equal(again.alpha, second.alpha)


def test_new_strokes_overrule_what_was_said_before(lite: MattingAnything, photo: np.ndarray) -> None:
    first = matte(photo, (120, 20, 420, 512), model=lite).corrected(points=[(300, 50)], labels=[0])
    assert first.alpha[50, 300] < 0.5
    second = first.corrected(keep=[Stroke([(300, 50), (305, 55)], 6)])
    assert second.alpha[50, 300] > 0.5
    third = second.corrected(drop=[Stroke([(300, 50)], 3)])
    assert third.alpha[50, 300] < 0.5


def test_previous_needs_a_correction_and_the_size() -> None:
    with pytest.raises(PromptError, match="nothing to correct"):
        Prompt(previous=np.ones((60, 100), np.float32))
    with pytest.raises(PromptError, match="100 x 59"):
        matte(picture(60, 100), Prompt(previous=np.ones((59, 100), np.float32), points=[(5, 5)], labels=[0]),
              model=tiny_model())


def test_the_true_mask_as_a_prompt_stays(lite: MattingAnything, photo: np.ndarray) -> None:
    own = matte(photo, (120, 20, 420, 512), model=lite).mask
    again = matte(photo, Prompt(mask=own), model=lite).mask
    assert (own & again).sum() / (own | again).sum() > 0.97


def test_a_rough_mask_comes_out_better() -> None:
    _, body, _ = scene()
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17))
    holed = body.copy()
    holed[100:108, 90:98] = False
    holed[20:28, 200:208] = True
    decoded = np.where(body, np.float32(4), np.float32(-4))

    def iou(one: np.ndarray) -> float:
        return float((one & body).sum() / (one | body).sum())

    for rough in (cv2.erode(body.astype(np.uint8), kernel) > 0, cv2.dilate(body.astype(np.uint8), kernel) > 0, holed):
        assert iou(with_rough_mask(rough, decoded) > 0) > iou(rough)


def test_a_trimap_holds_and_is_solved_between(lite: MattingAnything) -> None:
    y, x = np.mgrid[:160, :200].astype(np.float32)
    alpha = np.clip((60 - np.hypot(x - 100, y - 80)) / 20 + 0.5, 0, 1)
    rgb = (alpha[..., None] * (220, 60, 40) + (1 - alpha[..., None]) * (30, 80, 170)).astype(np.uint8)
    trimap = np.where(alpha == 0, 0, np.where(alpha == 1, 255, 128)).astype(np.uint8)
    trimap = np.where(cv2.dilate((trimap == 128).astype(np.uint8), np.ones((9, 9))) > 0, 128, trimap).astype(np.uint8)
    solved = solve_trimap(rgb, trimap)
    assert np.abs(solved - alpha)[trimap == 128].mean() < 0.02
    for form in (trimap, trimap / 255.0):
        found = matte(rgb, Prompt(trimap=form), model=lite).alpha
        np.testing.assert_array_equal(found[trimap == 0], 0)
        np.testing.assert_array_equal(found[trimap == 255], 1)
        np.testing.assert_allclose(found, solved, atol=1e-6)
    network = matte(rgb, Prompt(trimap=trimap), model=tiny_model()).alpha
    np.testing.assert_array_equal(network[trimap == 0], 0)
    np.testing.assert_array_equal(network[trimap == 255], 1)
    with pytest.raises(PromptError, match="expected 0"):
        Prompt(trimap=np.full((5, 5), -3))


def test_a_large_trimap_is_solved_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[:160, :200].astype(np.float32)
    alpha = np.clip((60 - np.hypot(x - 100, y - 80)) / 20 + 0.5, 0, 1)
    rgb = (alpha[..., None] * (220, 60, 40) + (1 - alpha[..., None]) * (30, 80, 170)).astype(np.uint8)
    trimap = np.where(alpha == 0, 0, np.where(alpha == 1, 255, 128)).astype(np.uint8)
    monkeypatch.setattr(closed_form, "MOST", 4000)
    solved = solve_trimap(rgb, trimap)
    assert np.abs(solved - alpha)[trimap == 128].mean() < 0.05
    np.testing.assert_array_equal(solved[trimap == 255], 1)
    assert np.isfinite(solve_trimap(rgb[40:70, 60:100], trimap[40:70, 60:100])).all()  # a small one as well


@pytest.mark.parametrize(("strokes", "message"), [
    ([Stroke([(1, 1)])] and "a line", "expected strokes"), ([{"points": [], "width": 3}], "no points"),
    ([{"points": [(1, 2)], "width": 0}], "at least 1"), ([{"point": [(1, 2)]}], "expected points and width"),
    ([{"points": [(1, float("nan"))]}], "not finite"), (7, "expected strokes"),
])
def test_strokes_that_cannot_be_are_refused(strokes: object, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt(box=(0, 0, 5, 5), keep=strokes)  # type: ignore[arg-type]


def test_strokes_are_drawn_where_they_are() -> None:
    line = draw([Stroke([(5.5, 3.5), (15.5, 3.5)])], 10, 20)
    assert line.sum() == 11
    assert line[3, 5:16].all()
    wide = draw([Stroke([(10, 5)], 7)], 11, 21)
    assert abs(wide.sum() - np.pi * 3.5**2) < 8
    assert not draw([Stroke([(-50, -50), (-20, -20)], 5)], 10, 20).any()
