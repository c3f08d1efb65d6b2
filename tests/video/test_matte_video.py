"""matte_video: one mark, several, corrections, objects that go and come back, resuming, and what is refused."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from clips import box_of, frame, iou, moving
from tiny import tiny_model

from matting_anything_core import Correction, Prompt, PromptError, load_model, matte_video, write_image
from matting_anything_core.errors import CancelledError, ImageError
from matting_anything_core.video.store import packed, unpacked
from matting_anything_core.video.tracker import FOUND_AGAIN, LOST, NEW_SCENE, begin, follow


@pytest.fixture(scope="module")
def lite():
    return load_model("lite", device="cpu", threads=1)


@pytest.fixture(scope="module")
def tiny():
    """For what does not depend on how well the object is followed."""
    return tiny_model(64)


@pytest.fixture(autouse=True)
def _no_doubts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def test_one_mark_is_followed_through_the_clip(lite):
    frames, alphas = moving(7)
    mattes = list(matte_video(frames, {0: box_of(alphas[0])}, model=lite))
    assert len(mattes) == 7
    assert min(iou(matte.alpha, alpha) for matte, alpha in zip(mattes, alphas, strict=True)) > 0.9
    assert not any(matte.warnings for matte in mattes)
    assert all(np.array_equal(matte.image.rgb, image) for matte, image in zip(mattes, frames, strict=True))


def test_a_mark_in_the_middle_goes_both_ways_and_order_is_kept(lite):
    frames, alphas = moving(4)
    mattes = list(matte_video(np.stack(frames), {2: box_of(alphas[2])}, model=lite))
    assert min(iou(matte.alpha, alpha) for matte, alpha in zip(mattes, alphas, strict=True)) > 0.9


def test_all_kinds_of_frames_give_the_same(tiny, tmp_path):
    frames, alphas = moving(5)
    for index, image in enumerate(frames):
        write_image(tmp_path / f"f{index + 8}.png", image)  # f8, f9, f10: numbers, not letters
    prompts = {2: box_of(alphas[2])}
    first = [matte.alpha for matte in matte_video(frames, prompts, model=tiny)]
    for other in (np.stack(frames), torch.from_numpy(np.stack(frames)).float() / 255, iter(frames), str(tmp_path)):
        found = [matte.alpha for matte in matte_video(other, prompts, model=tiny)]
        assert all(np.array_equal(a, b) for a, b in zip(first, found, strict=True))


def test_a_later_correction_is_carried_both_ways(lite):
    frames, alphas = moving(6)
    # The hand says that the right half of the disc is no part of it, in frame 4.
    drop = np.zeros(alphas[4].shape, bool)
    drop[:, 36 + 3 * 4 + 2:] = True
    plain = list(matte_video(frames, {0: box_of(alphas[0])}, model=lite))
    corrected = list(matte_video(frames, {0: box_of(alphas[0]), 4: Correction(drop=drop)}, model=lite))
    assert (corrected[4].alpha[drop] < 0.5).all()
    lost = [float((a.alpha - b.alpha).clip(0).sum()) / float(a.alpha.sum())
            for a, b in zip(plain, corrected, strict=True)]
    assert lost[3] > 0.1, lost  # backward …
    assert lost[5] > 0.1, lost  # … and forward,
    assert lost[1] < 0.05, lost  # but not as far as the first mark


def test_an_object_that_leaves_is_lost_said_and_found_again(lite):
    places = [(40, 48), (44, 48), (48, 48), None, None, (84, 50), (88, 50)]
    both = [frame(place) for place in places]
    mattes = list(matte_video([image for image, _ in both], {0: box_of(both[0][1])}, model=lite))
    assert [bool(matte.alpha.any()) for matte in mattes] == [place is not None for place in places]
    assert LOST in mattes[3].warnings
    assert FOUND_AGAIN in mattes[5].warnings
    assert iou(mattes[6].alpha, both[6][1]) > 0.85


def test_a_new_scene_is_said_and_empty(lite):
    frames, alphas = moving(2)
    other = [np.ascontiguousarray(255 - frame(None, seed=9)[0]) for _ in range(2)]
    mattes = list(matte_video([*frames, *other], {0: box_of(alphas[0])}, model=lite))
    assert NEW_SCENE in mattes[2].warnings
    assert not mattes[2].alpha.any()
    assert not mattes[3].alpha.any()


def test_several_objects_give_a_list_a_frame(lite):
    first = [frame((30, 30), radius=14)[0] for _ in range(2)]
    both, boxes = [], [(14, 14, 46, 46), (84, 54, 116, 86)]
    for image in first:
        other, alpha = frame((100, 70), radius=14)
        both.append(np.where(alpha[..., None] > 0.5, other, image))
    found = list(matte_video(both, [{0: boxes[0]}, {0: boxes[1]}], model=lite))
    assert [len(mattes) for mattes in found] == [2, 2]
    assert found[1][0].alpha[30, 30] > 0.5 > found[1][0].alpha[70, 100]
    assert found[1][1].alpha[70, 100] > 0.5 > found[1][1].alpha[30, 30]


def test_a_track_is_a_value_that_can_be_kept(tiny):
    frames, alphas = moving(4)
    track, _ = begin(tiny, frames[0], Prompt(box=box_of(alphas[0])))
    track, _ = follow(tiny, track, frames[1])
    index, again = unpacked(packed(track, 1))
    assert index == 1
    for image in frames[2:]:
        (track, one), (again, other) = follow(tiny, track, image), follow(tiny, again, image)
        assert np.array_equal(one.alpha, other.alpha)
    data = packed(track)
    for damaged in (b"", data[:-5], b"x" + data[1:], b"no track at all"):
        with pytest.raises(ImageError, match="track"):
            unpacked(damaged)


@pytest.mark.parametrize("marks", [[0], [2, 5]])
def test_what_was_stopped_goes_on_with_the_same_result(tiny, tmp_path, monkeypatch, marks):
    monkeypatch.setattr("matting_anything_core.video.passes.EVERY", 2)
    frames, alphas = moving(9)
    prompts = {index: box_of(alphas[index]) for index in marks}
    whole = [matte.alpha for matte in matte_video(frames, prompts, model=tiny)]
    done = []

    def stop(stage: str, _share: float) -> None:
        done.append(stage)
        if len(done) == 6:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        list(matte_video(frames, prompts, model=tiny, folder=tmp_path / "kept", progress=stop))
    steps: list[str] = []
    again = [matte.alpha for matte in matte_video(frames, prompts, model=tiny, folder=tmp_path / "kept",
                                                  progress=lambda stage, _: steps.append(stage))]
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    assert len(steps) < len(done) + 6  # and less was done than from the beginning


def test_what_another_prompt_has_left_is_not_taken(tiny, tmp_path):
    frames, alphas = moving(2)
    list(matte_video(frames, {0: box_of(alphas[0])}, model=tiny, folder=tmp_path / "kept"))
    other = list(matte_video(frames, {0: (0, 0, 20, 20)}, model=tiny, folder=tmp_path / "kept", steady=0))
    assert np.array_equal(other[1].alpha, list(matte_video(frames, {0: (0, 0, 20, 20)}, model=tiny, steady=0))[1].alpha)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ImageError, match="other files"):
        list(matte_video(frames, {0: (0, 0, 20, 20)}, model=tiny, folder=tmp_path / "mine"))
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_memory_does_not_grow_with_the_clip(tiny):
    """An endless iterator is taken only a few frames ahead, and nothing of it is kept."""
    taken = 0

    def endless():
        nonlocal taken
        for index in itertools.count():
            taken += 1
            yield frame((36 + index % 5, 48))[0]

    mattes = matte_video(endless(), {0: (18, 30, 54, 66)}, model=tiny)
    for _ in range(3):
        next(mattes)
    assert taken <= 5
    mattes.close()


def test_progress_ends_at_one_and_cancelling_ends_it(tiny):
    frames, alphas = moving(3)
    said: list[tuple[str, float]] = []
    list(matte_video(frames, {0: box_of(alphas[0])}, model=tiny, progress=lambda *told: said.append(told)))
    assert said[-1] == ("done", 1.0)
    assert [share for _, share in said] == sorted(share for _, share in said)


@pytest.mark.parametrize(("prompts", "told"), [
    ({}, "no frame is marked"),
    ({-1: (0, 0, 9, 9)}, "whole numbers from 0"),
    ({0.5: (0, 0, 9, 9)}, "whole numbers from 0"),
    ({0: Correction(points=[(3, 3)], labels=[0])}, "first one that is marked"),
    ({9: (0, 0, 9, 9)}, "has 2 frames"),
    ({0: {"boxx": 3}}, "unknown fields"),
    ({0: (0, 0, 9, 9), 1: {"labels": [0]}}, "labels were given without points"),
])
def test_marks_that_cannot_be_are_refused_at_once(tiny, prompts, told):
    with pytest.raises(PromptError, match=told):
        matte_video(moving(2)[0], prompts, model=tiny)


def test_a_mark_behind_the_end_of_an_iterator_is_told(tiny):
    with pytest.raises(PromptError, match="frame 5 is marked"):
        list(matte_video(iter(moving(2)[0]), {5: (0, 0, 9, 9)}, model=tiny))


@pytest.mark.parametrize("frames", [[], 5, np.zeros((4, 4, 3), np.uint8), b"abc", "no such file.mp4"])
def test_frames_that_cannot_be_are_refused(tiny, frames):
    with pytest.raises(ImageError):
        matte_video(frames, {0: (0, 0, 9, 9)}, model=tiny)
