from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_anything_core import MissingExtraError
from matting_anything_core.evaluation import metrics

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "metrics.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def values():
    return json.loads((GOLDEN / "metrics_values.json").read_text())


def instances(golden, kind, picture):
    return [golden[name] for name in sorted(golden) if name.startswith(f"imq_{kind}_{picture}")]


# The released program's numbers


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("region", ["whole", "band"])
def test_reference_errors_equal_the_released_program(golden, values, index, region):
    wanted = values[f"evaluate/{index}/{region}"]
    band = None if region == "whole" else golden["trimap"][index] == 128
    errors = metrics.measure(golden["pred"][index], golden["target"][index], band, reference=True)
    assert errors.pixels == round(wanted["sad_area"] * 1000)
    assert errors.sad == pytest.approx(wanted["sad"], rel=TOLERANCE)
    assert errors.mse == pytest.approx(wanted["mse"] * 1000, rel=TOLERANCE)
    assert errors.mad == pytest.approx(wanted["mad"] * 1000, rel=TOLERANCE)
    assert errors.grad == pytest.approx(wanted["grad"], rel=TOLERANCE)
    assert errors.conn == pytest.approx(wanted["conn"], rel=TOLERANCE)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("region", ["none", "trimap"])
def test_errors_by_definition_equal_the_program_that_has_conn_right(golden, values, index, region):
    wanted = {name: numbers[index] for name, numbers in values[f"BatchMetric/{region}"].items()}
    band = None if region == "none" else golden["trimap"][index] == 128
    errors = metrics.measure(golden["pred"][index], golden["target"][index], band)
    # That program divides by one pixel more than there are, Grad and Conn as well.
    area = errors.pixels + 1
    assert errors.sad == pytest.approx(wanted["sad"], rel=TOLERANCE)
    assert errors.sad * 1000 / area == pytest.approx(wanted["mad"], rel=TOLERANCE)
    assert errors.mse / 1000 * errors.pixels / area == pytest.approx(wanted["mse"], rel=TOLERANCE)
    assert errors.grad * 1000 / area == pytest.approx(wanted["grad"], rel=TOLERANCE)
    assert errors.conn * 1000 / area == pytest.approx(wanted["conn"], rel=TOLERANCE)


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_reference_imq_equals_the_released_program(golden, values, threshold):
    pictures = [
        metrics.match_instances(instances(golden, "pr", name), instances(golden, "gt", name), reference=True)
        for name in "abc"
    ]
    quality = metrics.instance_quality(pictures, threshold=threshold, reference=True)
    for kind, name in (("mad", "MAD"), ("mse", "MSE"), ("grad", "Grad"), ("conn", "Conn"), ("iou", "IoU")):
        wanted = values["IMQ"][str(threshold)][name]
        assert quality[kind].imq == pytest.approx(wanted["IMQ"], rel=TOLERANCE)
        assert quality[kind].mq == pytest.approx(wanted["MQ"], rel=TOLERANCE)
        assert quality[kind].rq == pytest.approx(wanted["RQ"], rel=TOLERANCE)


def test_reference_matching_equals_the_released_program(golden, values):
    predictions, truths = instances(golden, "pr", "a"), instances(golden, "gt", "a")
    np.testing.assert_allclose(metrics.instance_iou(predictions, truths), values["IMQ_match_a"], rtol=TOLERANCE)
    matches = metrics.match_instances(predictions, truths, reference=True)
    found = [similarity for iou, similarity in matches.pairs if iou >= 0.5]
    sums = [sum(similarity[kind] for similarity in found) for kind in ("mad", "mse", "grad", "conn")]
    np.testing.assert_allclose(sums, values["IMQ_similarity_a_pairs"], rtol=TOLERANCE)


def test_the_gradient_kernel_is_the_released_one(golden):
    smooth, derivative = metrics._gaussian_derivative_kernels(1.4)
    np.testing.assert_allclose(np.outer(smooth, derivative), golden["hx"], atol=1e-7)


# Brute force on small arrays


def mattes(seed, shape=(13, 17), kind="soft"):
    generator = np.random.default_rng(seed)
    if kind == "bytes":
        return tuple(generator.integers(0, 256, shape, dtype=np.uint8) for _ in range(2))
    smooth = [cv2.GaussianBlur(generator.random(shape, np.float32), (5, 5), 1.5) for _ in range(2)]
    smooth = [np.clip((field - 0.3) * 2.5, 0, 1) for field in smooth]
    if kind == "levels":  # many pixels exactly on a threshold
        smooth = [np.round(field, 1) for field in smooth]
    return tuple(smooth)


def components(mask):
    """4-connected components, largest first, of equal ones that which comes first."""
    left, found = {tuple(place) for place in np.argwhere(mask)}, []
    for start in sorted(left):
        if start not in left:
            continue
        part, front = set(), [start]
        while front:
            place = front.pop()
            if place in left:
                left.discard(place)
                part.add(place)
                y, x = place
                front += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        found.append(part)
    return sorted(found, key=len, reverse=True)


def brute_conn(prediction, truth):
    """Rhemann et al.: the level up to which a pixel belongs to Ω, pixel by pixel."""
    alpha, target = metrics.as_alpha(prediction), metrics.as_alpha(truth)
    sources = []
    for step in range(1, 11):
        parts = components((alpha >= step * 0.1) & (target >= step * 0.1))
        sources.append(parts[0] if parts else set())
    total = 0.0
    for place in np.ndindex(alpha.shape):
        level = next((step for step, source in enumerate(sources) if place not in source), 10) / 10
        phi = []
        for value in (float(alpha[place]), float(target[place])):
            distance = value - level
            phi.append(1 - distance * (distance >= 0.15))
        total += abs(phi[0] - phi[1])
    return total / 1000


def brute_grad(prediction, truth, sigma=1.4):
    half = 4
    x = np.arange(-half, half + 1)
    gaussian = np.exp(-(x**2) / (2 * sigma**2))
    kernel = np.outer(gaussian, x * gaussian)
    kernel /= np.sqrt((kernel**2).sum())

    def magnitude(matte):
        alpha = np.pad(metrics.as_alpha(matte).astype(np.float64), half, mode="edge")
        height, width = matte.shape
        result = np.zeros(matte.shape)
        for y in range(height):
            for column in range(width):
                window = alpha[y : y + 9, column : column + 9]
                result[y, column] = np.hypot((window * kernel).sum(), (window * kernel.T).sum())
        return result

    return ((magnitude(prediction) - magnitude(truth)) ** 2).sum() / 1000


@pytest.mark.parametrize("kind", ["soft", "levels", "bytes"])
@pytest.mark.parametrize("seed", range(6))
def test_errors_equal_brute_force(seed, kind):
    prediction, truth = mattes(seed, kind=kind)
    errors = metrics.measure(prediction, truth)
    alpha, target = (metrics.as_alpha(matte).astype(np.float64) for matte in (prediction, truth))
    difference = [abs(alpha[place] - target[place]) for place in np.ndindex(alpha.shape)]
    assert errors.pixels == len(difference)
    assert errors.sad == pytest.approx(sum(difference) / 1000, rel=1e-5)
    assert errors.mad == pytest.approx(sum(difference) / len(difference) * 1000, rel=1e-5)
    assert errors.mse == pytest.approx(sum(value**2 for value in difference) / len(difference) * 1000, rel=1e-5)
    assert errors.grad == pytest.approx(brute_grad(prediction, truth), rel=1e-4)
    # d is compared with 0.15 in float32; where it lies within a rounding of it, either is right.
    assert errors.conn == pytest.approx(brute_conn(prediction, truth), rel=1e-4, abs=3e-4)


def test_conn_of_a_detached_island_by_hand():
    truth = np.zeros((20, 20), np.float32)
    truth[2:12, 2:12] = 1
    prediction = truth.copy()
    prediction[15:18, 15:18] = 0.6  # nine pixels that hang on nothing: l = 0, d = 0.6 against d = 0
    assert metrics.measure(prediction, truth).conn == pytest.approx(9 * 0.6 / 1000, rel=1e-6)
    # The background is larger than the subject: the released program takes it for the source region.
    assert metrics.measure(prediction, truth, reference=True).conn != pytest.approx(9 * 0.6 / 1000, rel=1e-2)


def test_errors_of_a_region_are_of_its_pixels_only():
    prediction, truth = mattes(3)
    region = np.zeros(prediction.shape, bool)
    region[4:8, 5:9] = True
    errors = metrics.measure(prediction, truth, region)
    assert errors.pixels == 16
    assert errors.sad == pytest.approx(np.abs(prediction - truth)[region].sum() / 1000, rel=1e-5)
    assert errors.mad == pytest.approx(errors.sad * 1e6 / 16, rel=1e-9)
    empty = metrics.measure(prediction, truth, np.zeros_like(region))
    assert (empty.pixels, empty.sad, empty.mse, empty.mad) == (0, 0, 0, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["soft", "levels", "bytes"]))
def test_a_perfect_matte_has_no_error_and_errors_are_symmetric(seed, kind):
    prediction, truth = mattes(seed, shape=(9, 11), kind=kind)
    for reference in (False, True):
        perfect = metrics.measure(truth, truth, reference=reference)
        assert (perfect.sad, perfect.mse, perfect.mad, perfect.grad, perfect.conn) == (0, 0, 0, 0, 0)
        forth = metrics.measure(prediction, truth, reference=reference)
        back = metrics.measure(truth, prediction, reference=reference)
        assert forth.as_dict() == pytest.approx(back.as_dict(), rel=1e-6)


@pytest.mark.parametrize("fill", [0, 255])
def test_mattes_without_any_structure(fill):
    matte = np.full((6, 7), fill, np.uint8)
    other = np.full((6, 7), 255 - fill, np.uint8)
    assert metrics.measure(matte, matte).conn == 0
    errors = metrics.measure(matte, other)
    assert errors.mad == pytest.approx(1000)
    assert errors.conn == pytest.approx(42 / 1000)


@pytest.mark.parametrize("bad", [
    np.zeros((4, 4, 1), np.float32), np.full((4, 4), 2.0), np.full((4, 4), np.nan), np.zeros((4, 4), np.int64),
])
def test_what_is_no_matte_is_refused(bad):
    with pytest.raises(ValueError, match="matte"):
        metrics.measure(bad, np.zeros((4, 4), np.float32))


def test_mattes_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 5\)"):
        metrics.measure(np.zeros((4, 4), np.float32), np.zeros((4, 5), np.float32))
    with pytest.raises(ValueError, match="region"):
        metrics.measure(np.zeros((4, 4)), np.zeros((4, 4)), np.ones((3, 3), bool))


def test_conn_and_grad_of_four_megapixels_are_fast():
    y, x = np.mgrid[:2000, :2000].astype(np.float32)
    truth = np.clip(1.5 - np.hypot(x - 1000, y - 1000) / 600, 0, 1)
    noise = np.random.default_rng(0).normal(0, 0.15, truth.shape).astype(np.float32)
    prediction = np.clip(truth + noise, 0, 1)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        started = time.process_time()
        metrics.connectivity_map(prediction, truth)
        metrics.gradient_magnitude(prediction)
        metrics.gradient_magnitude(truth)
        assert time.process_time() - started < 3
    finally:
        cv2.setNumThreads(threads)


# Instances


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 10_000), st.booleans())
def test_the_assignment_is_the_best_of_all(rows, columns, seed, coarse):
    gain = np.random.default_rng(seed).random((rows, columns))
    if coarse:  # many ties and zeros
        gain = np.where(gain > 0.5, np.round(gain, 1), 0)
    pairs = metrics.best_assignment(gain)
    assert len(pairs) == min(rows, columns)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    small, large = (gain, columns) if rows <= columns else (gain.T, rows)
    best = max(sum(small[row, column] for row, column in enumerate(order))
               for order in itertools.permutations(range(large), small.shape[0]))
    assert sum(gain[pair] for pair in pairs) == pytest.approx(best, abs=1e-9)


def test_instances_need_their_extra_and_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingExtraError, match=r"matting-anything-core\[evaluate\].*--no-instances"):
        metrics.match_instances([disc(20)], [disc(20)])


def disc(x, radius=8, shape=(40, 90)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.clip(radius - np.hypot(rows - 20, columns - x) + 0.5, 0, 1).astype(np.float32)


def test_imq_by_hand():
    truths = [disc(15), disc(45), disc(75)]
    perfect = metrics.match_instances([truths[2], truths[0], truths[1]], truths)
    assert metrics.instance_quality([perfect])["mad"] == metrics.InstanceQuality(1.0, 1.0, 1.0)
    # One right, one in the wrong place, two missed of three: TP 1, FP 1, FN 2.
    matches = metrics.match_instances([truths[0], disc(75, radius=2)], truths)
    quality = metrics.instance_quality([matches])["mse"]
    assert quality.mq == 1.0
    assert quality.rq == pytest.approx(1 / (1 + 0.5 + 1))
    assert quality.imq == pytest.approx(quality.rq)
    # A picture without any prediction: its instances are missed.
    assert metrics.instance_quality([perfect, metrics.match_instances([], truths)])["mad"].rq == pytest.approx(3 / 4.5)


def test_imq_similarity_by_hand():
    truth, prediction = disc(45), disc(45) * np.float32(0.95)
    similarity = metrics.instance_similarity(prediction, truth)
    area = np.count_nonzero(truth)
    assert similarity["mad"] == pytest.approx(1 - 10 * 0.05 * float(truth.sum()) / area, rel=1e-4)
    assert metrics.instance_similarity(disc(20), disc(70))["mad"] == 0.0


def test_imq_of_nothing():
    empty = metrics.match_instances([], [])
    assert metrics.instance_quality([empty])["mad"].imq == 0.0
    assert metrics.instance_quality([])["mad"].imq == 0.0
    with pytest.raises(ValueError, match="sizes"):
        metrics.match_instances([np.zeros((3, 3))], [np.zeros((4, 4))])


# Made trimaps


def test_a_made_trimap_is_unknown_around_the_boundary_only():
    truth = np.zeros((100, 100), np.float32)
    truth[30:70, 30:70] = 1
    trimap = metrics.trimap_of(truth, kernel=11)
    assert set(np.unique(trimap)) == {0, 128, 255}
    assert trimap[50, 50] == 255
    assert trimap[50, 25] == 128
    assert trimap[50, 24] == 0
    assert trimap[50, 34] == 128
    assert trimap[50, 35] == 255
    truth[50, 50] = 0.5
    assert (metrics.trimap_of(truth, kernel=11)[45:56, 50] == 128).all()
