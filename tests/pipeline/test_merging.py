from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matting_anything_core.geometry import Window
from matting_anything_core.pipeline.merging import (
    alpha_weight_map,
    bounds,
    box_weight_map,
    dilate,
    ellipse_rows,
    mask_weight_map,
    merge,
    reach,
)

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def maps():
    """Inputs and outputs of the released program's weight maps, 2×1×240×333."""
    with np.load(GOLDEN / "weight_maps.npz") as stored:
        width = stored["pred"].shape[-1]
        return {
            name: torch.from_numpy(
                np.unpackbits(stored[name], axis=-1, count=width).astype(bool) if name != "pred" else stored[name]
            )
            for name in stored.files
        }


@pytest.mark.parametrize("size", range(1, 30))
def test_ellipses_are_opencvs(size):
    kernel = np.zeros((size, size), np.uint8)
    anchor = size // 2
    for row, first, last in ellipse_rows(size):
        kernel[row + anchor, first + anchor : last + anchor + 1] = 1
    np.testing.assert_array_equal(kernel, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))


@pytest.mark.parametrize("size", range(1, 30))
def test_dilation_is_opencvs(size):
    generator = torch.Generator().manual_seed(size)
    mask = torch.rand(2, 1, 41, 67, generator=generator) > 0.985
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    expected = np.stack([cv2.dilate(one.numpy().astype(np.uint8), kernel) for one in mask[:, 0]])
    np.testing.assert_array_equal(dilate(mask, size)[:, 0].numpy(), expected.astype(bool))


def test_dilation_of_pictures_smaller_than_the_kernel():
    for shape in ((1, 1, 1, 1), (1, 1, 1, 50), (1, 1, 3, 2)):
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[..., 0, 0] = True
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (10, 10))
        expected = cv2.dilate(mask[0, 0].numpy().astype(np.uint8), kernel)
        np.testing.assert_array_equal(dilate(mask, 10)[0, 0].numpy(), expected.astype(bool))


@pytest.mark.parametrize("width", [10, 20, 30])
@pytest.mark.parametrize(("sides", "name"), [("one", "_oneside"), ("two", "")])
def test_weight_maps_are_the_programs(maps, width, sides, name):
    assert torch.equal(mask_weight_map(maps["mask"], sides, width), maps[f"mask{name}_w{width}"])
    assert torch.equal(alpha_weight_map(maps["pred"], width, sides), maps[f"pred{name}_w{width}"])


def test_box_is_the_programs_by_reference_and_whole_by_default(maps):
    # The program marks what lies outside, and looks at the first mask of a batch only.
    mask = maps["mask"][:1]
    assert torch.equal(box_weight_map(mask, reference=True), ~maps["box_from_mask"][:1])
    [box] = bounds(mask[:, 0])
    whole = torch.zeros_like(mask)
    whole[(..., *box.slices())] = True
    assert torch.equal(box_weight_map(mask), whole)
    assert not box_weight_map(torch.zeros_like(mask)).any()


def scene(seed, height=60, width=80, share=0.3):
    """A random mask of one blob, and alphas of soft, empty and full parts."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, height, (2,), generator=generator).sort().values.tolist()
    columns = torch.randint(0, width, (2,), generator=generator).sort().values.tolist()
    mask = torch.zeros(1, 1, height, width, dtype=torch.bool)
    mask[..., rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True
    mask &= torch.rand(mask.shape, generator=generator) > share
    alphas = [(torch.rand(1, 1, height, width, generator=generator) * 2 - 0.5).clamp(0, 1) for _ in range(3)]
    return mask, alphas


MODES = [
    (guidance, postprocess, sides)
    for guidance, postprocess in (("mask", False), ("alpha", True), ("alpha", False))
    for sides in ("one", "two")
]


@given(seed=st.integers(0, 10_000), mode=st.sampled_from(MODES), reference=st.booleans())
def test_merging_inside_the_reach_equals_merging_all(seed, mode, reference):
    guidance, postprocess, sides = mode
    mask, alphas = scene(seed)
    options = {"guidance": guidance, "postprocess": postprocess, "sides": sides, "reference": reference}
    whole = merge(mask, *alphas, **options)
    [box] = bounds(mask[:, 0])
    window = reach(box, mask.shape[-2:], guidance=guidance, postprocess=postprocess)
    cut = (..., *window.slices())
    inside = torch.zeros_like(whole)
    inside[cut] = merge(mask[cut], *(alpha[cut] for alpha in alphas), **options)
    assert torch.equal(inside, whole)


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_is_its_members(mode):
    guidance, postprocess, sides = mode
    scenes = [scene(seed) for seed in range(4)]
    options = {"guidance": guidance, "postprocess": postprocess, "sides": sides}
    together = merge(torch.cat([mask for mask, _ in scenes]),
                     *(torch.cat([alphas[scale] for _, alphas in scenes]) for scale in range(3)), **options)
    for row, (mask, alphas) in enumerate(scenes):
        assert torch.equal(together[row : row + 1], merge(mask, *alphas, **options))


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_mask_gives_an_empty_matte(mode):
    guidance, postprocess, sides = mode
    mask, alphas = scene(1)
    matte = merge(torch.zeros_like(mask), *alphas, guidance=guidance, postprocess=postprocess, sides=sides)
    assert not matte.any()
    empty = Window(0, 0, 0, 0)
    assert reach(empty, (60, 80), guidance=guidance, postprocess=postprocess) == empty


def test_certain_scales_change_nothing_away_from_the_edge():
    mask = torch.zeros(1, 1, 90, 90, dtype=torch.bool)
    mask[..., 20:70, 20:70] = True
    full, noise = mask.float(), torch.rand(1, 1, 90, 90, generator=torch.Generator().manual_seed(2)) * 0.9
    # One side: w8 lies outside of the mask, and what is foreground for sure there stays so.
    alpha = merge(mask, full, noise, noise)
    assert (alpha[mask] == 1).all()
    assert not alpha[..., :10, :].any()
    # Two sides: nothing is uncertain, so nothing changes at all.
    assert torch.equal(merge(mask, full, noise, noise, sides="two"), full)


def test_bounds_of_masks():
    masks = torch.zeros(4, 9, 12, dtype=torch.bool)
    masks[0, 2:5, 3:12] = True
    masks[2, 8, 0] = True
    masks[3] = True
    empty = Window(0, 0, 0, 0)
    assert bounds(masks) == [Window(2, 3, 5, 12), empty, Window(8, 0, 9, 1), Window(0, 0, 9, 12)]
    assert bounds(masks[:, :0]) == [empty] * 4
