"""Trimaps from masks: wide in hair, narrow along hard edges, and the user's word first."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_vitmatte as tiny

from matting_anything_core.pipeline.trimap import Hand, make_trimap


def logits_of(inside: np.ndarray) -> np.ndarray:
    return np.where(inside, 8.0, -8.0).astype(np.float32)


def band(trimap: np.ndarray, inside: np.ndarray) -> float:
    """Mean width of what is unknown, in pixels: its area by the length of the mask's edge."""
    edge = np.count_nonzero(inside[1:] != inside[:-1]) + np.count_nonzero(inside[:, 1:] != inside[:, :-1])
    return np.count_nonzero(trimap == 128) / edge


@pytest.mark.parametrize("seed", range(4))
def test_the_band_is_wide_in_hair_and_narrow_along_hard_edges(seed: int) -> None:
    rgb, alpha, body = tiny.scene(seed, (256, 256))
    hairy = make_trimap(body, logits_of(body), rgb, "auto")
    strands = (alpha > 0.3) & ~body
    assert (hairy[strands] == 128).mean() > 0.9  # nothing of the hair is background
    flat, sharp, block = tiny.scene(seed, (256, 256), hair=False)
    hard = make_trimap(block, logits_of(block), flat, "auto")
    assert band(hairy, body) > 2.5 * band(hard, block)
    assert (hard[np.abs(sharp - 0.5) < 0.45] == 128).all()


def test_narrow_and_wide_are_what_they_say() -> None:
    rgb, _, body = tiny.scene(0, (256, 256))
    widths = {name: band(make_trimap(body, logits_of(body), rgb, name), body) for name in ("narrow", "auto", "wide")}
    assert widths["narrow"] < widths["auto"] < widths["wide"]


def test_what_the_decoder_is_unsure_of_is_unknown() -> None:
    rgb, _, block = tiny.scene(1, (256, 256), hair=False)
    logits = logits_of(block)
    top = int(np.nonzero(block)[0].mean())
    left = int(np.flatnonzero(block[top]).min())
    place = (slice(top - 4, top + 4), slice(left - 4, left + 12))
    before = make_trimap(block, logits, rgb, "auto")
    logits[place] = np.sign(logits[place]) * 0.5
    after = make_trimap(block, logits, rgb, "auto")
    assert (before[place] != 128).any()
    assert (after[place] == 128).all()


def test_a_larger_image_has_a_wider_band() -> None:
    rgb, _, block = tiny.scene(2, (128, 128), hair=False)
    small = make_trimap(block, logits_of(block), rgb, "narrow")
    large = block.repeat(4, 0).repeat(4, 1)
    assert band(make_trimap(large, logits_of(block), rgb, "narrow"), large) == pytest.approx(4 * band(small, block),
                                                                                           rel=0.2)


def test_the_users_word_comes_first() -> None:
    rgb, _, body = tiny.scene(0, (128, 128))
    marks = np.zeros(body.shape, np.int8)
    marks[:6, :6], marks[60:66, 60:66] = 1, -1
    made = make_trimap(body, logits_of(body), rgb, "wide", Hand(None, marks))
    assert (made[:6, :6] == 255).all()
    assert (made[60:66, 60:66] == 0).all()
    own = np.full(body.shape, 128, np.uint8)
    own[:, :20] = 255
    given = make_trimap(body, logits_of(body), rgb, "auto", Hand(own, None))
    np.testing.assert_array_equal(given, own)
    both = make_trimap(body, logits_of(body), rgb, "auto", Hand(own, marks))
    assert (both[60:66, 60:66] == 0).all()
    assert (both[10, :20] == 255).all()
    assert (own[60:66, 60:66] == 128).all()  # what was given stays as it was


def test_the_inside_of_a_transparent_object_is_unknown() -> None:
    rgb, _, body = tiny.scene(0, (128, 128))
    made = make_trimap(body, logits_of(body), rgb, "auto", transparent=True)
    assert (made[body] == 128).all()
    assert set(np.unique(made)) == {0, 128}


@pytest.mark.parametrize("full", [True, False])
def test_a_mask_without_an_edge_has_no_band(full: bool) -> None:
    body = np.full((40, 50), full)
    made = make_trimap(body, logits_of(body), np.zeros((40, 50, 3), np.uint8), "auto")
    assert (made == (255 if full else 0)).all()
