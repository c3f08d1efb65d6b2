"""The interactive protocol: where the next click goes, and what is measured after it."""

from __future__ import annotations

import numpy as np
import pytest

from matting_anything_core.evaluation.clicks import (
    Click,
    ClicksProtocol,
    Truth,
    Turn,
    clicks_needed,
    correct,
    depth,
    iou_of,
    mad_of,
    next_click,
    obeyed,
    truth_of,
)
from matting_anything_core.evaluation.data import DataError


def square(size, top, left, bottom, right):
    result = np.zeros((size, size), bool)
    result[top:bottom, left:right] = True
    return result


def truth(inside, counted=None, alpha=None):
    return Truth(inside, np.ones_like(inside) if counted is None else counted, alpha)


def as_alpha(found):
    return found.astype(np.float32)


# Where the next click goes


def brute_force_depth(region):
    """Distance to the nearest pixel outside, the image's surroundings included."""
    padded = np.pad(region, 1)
    outside = np.argwhere(~padded)
    return np.array([[np.hypot(*(outside - (row + 1, column + 1)).T).min() if region[row, column] else 0
                      for column in range(region.shape[1])] for row in range(region.shape[0])])


@pytest.mark.parametrize("seed", range(4))
def test_depth_is_the_distance_to_the_nearest_pixel_outside(seed):
    region = np.random.default_rng(seed).random((13, 9)) < (0.6, 0.9, 0.98, 1.0)[seed]
    np.testing.assert_allclose(depth(region), brute_force_depth(region), atol=1e-4)


def test_the_first_click_from_nothing_is_the_middle_of_the_object():
    click = next_click(np.zeros((41, 41), np.float32), truth(square(41, 10, 5, 31, 26)))
    assert click == Click(15, 20, 1)
    assert click.point == (15.5, 20.5)


def test_the_deeper_error_is_clicked_not_the_larger_one():
    inside = square(60, 10, 10, 50, 50)
    long_and_thin = square(60, 0, 0, 4, 60)       # 240 pixels of background that are too much, 2 deep
    small_and_deep = square(60, 25, 25, 36, 36)   # 121 pixels of the object that are missing, 6 deep
    alpha = as_alpha((inside | long_and_thin) & ~small_and_deep)
    assert next_click(alpha, truth(inside)) == Click(30, 30, 1)
    assert next_click(as_alpha(inside | long_and_thin), truth(inside)).label == 0


def test_what_touches_the_edge_of_the_image_is_not_clicked_on_the_edge():
    click = next_click(np.zeros((21, 21), np.float32), truth(square(21, 0, 0, 11, 21)))
    assert (click.y, click.label) == (5, 1)


def test_equally_deep_errors_are_taken_too_much_first_row_by_row():
    inside = square(40, 5, 5, 14, 14) | square(40, 25, 5, 34, 14)
    assert next_click(np.zeros((40, 40), np.float32), truth(inside)) == Click(9, 9, 1)
    both = as_alpha(square(40, 25, 5, 34, 14) | square(40, 25, 25, 34, 34))
    assert next_click(both, truth(inside)) == Click(29, 29, 0)


def test_ignored_pixels_are_never_clicked_on_and_count_for_nothing():
    inside, ignored = square(30, 5, 5, 15, 15), square(30, 15, 5, 29, 15)
    known = truth(inside, ~ignored)
    assert next_click(as_alpha(inside | ignored), known) is None
    assert iou_of(as_alpha(inside | ignored), known) == 1.0
    assert iou_of(as_alpha(inside | ignored), truth(inside)) < 0.5


def test_a_pixel_is_clicked_on_once():
    inside = square(9, 4, 4, 5, 5)
    nothing = np.zeros((9, 9), np.float32)
    click = next_click(nothing, truth(inside))
    assert click == Click(4, 4, 1)
    assert next_click(nothing, truth(inside), [click]) is None


def test_half_is_outside():
    inside = square(9, 2, 2, 7, 7)
    assert iou_of(np.where(inside, np.float32(0.5), 0), truth(inside)) == 0
    assert next_click(np.where(inside, np.float32(0.5), 0), truth(inside)) == Click(4, 4, 1)


# The truth


def test_the_middle_gray_of_a_black_and_white_mask_is_ignored():
    values = np.array([[0, 128, 255]], np.float32) / 255
    known = truth_of(values)
    assert known.counted.tolist() == [[True, False, True]]
    assert known.inside.tolist() == [[False, False, True]]
    assert known.alpha is None


def test_a_truth_with_many_grays_is_an_alpha():
    values = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    known = truth_of(values)
    assert known.counted.all()
    assert known.alpha is values
    assert known.inside.tolist() == (values > 0.5).tolist()
    assert mad_of(values + np.float32(0.25), known) == pytest.approx(250, rel=1e-5)


@pytest.mark.parametrize("levels", [(0, 40, 255), (0, 230, 255), (0, 100, 128, 255)])
def test_other_grays_are_not_taken_for_ignored(levels):
    known = truth_of(np.array([levels], np.float32) / 255)
    assert known.counted.all()
    assert known.alpha is not None


def test_the_ignored_value_can_be_said():
    values = np.array([[0, 200, 255, 255]], np.float32) / 255
    assert truth_of(values, 200).counted.tolist() == [[True, False, True, True]]
    assert truth_of(values, 200).alpha is None
    assert truth_of(np.array([[0, 128, 255]], np.float32) / 255, "none").counted.all()
    # White as the ignored border of Pascal VOC's own masks, drawn with a gray object.
    drawn = truth_of(np.array([[0, 150, 255]], np.float32) / 255, 255)
    assert drawn.inside.tolist() == [[False, True, False]]


@pytest.mark.parametrize("values", [np.zeros((3, 3)), np.full((3, 3), 128 / 255), np.full((3, 3), 0.2)])
def test_a_truth_without_an_object_is_refused(values):
    with pytest.raises(DataError, match="nothing above one half"):
        truth_of(values.astype(np.float32), 128)


def test_the_box_holds_the_object_and_nothing_ignored():
    values = np.zeros((20, 30), np.float32)
    values[4:9, 6:16] = 128 / 255
    values[5:8, 7:15] = 1
    assert truth_of(values).box == (7, 5, 15, 8)


@pytest.mark.parametrize(("changes", "message"), [
    ({"clicks": 0}, "number of clicks is 0"), ({"clicks": 101}, "1 to 100"), ({"start": "mask"}, "box or nothing"),
    ({"ignored": 256}, "ignored value"), ({"ignored": "gray"}, "ignored value"),
])
def test_a_protocol_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        ClicksProtocol(**changes)


# Obedience


def test_a_click_is_obeyed_when_the_disc_around_it_is():
    clicks = [Click(10, 10, 1), Click(30, 10, 0)]
    alpha = np.zeros((40, 40), np.float32)
    assert obeyed(alpha, clicks) == [(False, False), (True, True)]
    alpha[10, 10] = 0.51
    assert obeyed(alpha, clicks) == [(True, False), (True, True)]
    alpha[8:13, 8:13] = 0.51
    assert obeyed(alpha, clicks) == [(True, True), (True, True)]
    alpha[10, 12] = 0.5
    assert obeyed(alpha, clicks)[0] == (True, False)
    alpha[10, 12], alpha[8, 8] = 0.51, 0  # a corner of the square around the disc is none of its pixels
    assert obeyed(alpha, clicks)[0] == (True, True)
    alpha[12, 30] = 0.5
    assert obeyed(alpha, clicks)[1] == (True, False)


def test_of_contradicting_clicks_the_later_one_counts():
    alpha = np.zeros((20, 20), np.float32)
    assert obeyed(alpha, [Click(10, 10, 1), Click(10, 10, 0)]) == [(True, True), (True, True)]
    assert obeyed(alpha, [Click(10, 10, 0), Click(10, 10, 1)]) == [(True, True), (False, False)]
    # Beside each other: what the later disc does not reach still belongs to the earlier one.
    assert obeyed(alpha, [Click(10, 10, 1), Click(12, 10, 0)]) == [(True, False), (True, True)]
    assert obeyed(alpha, [Click(10, 10, 1), Click(13, 10, 0)]) == [(False, False), (True, True)]


def test_discs_end_at_the_edge_of_the_image():
    assert obeyed(np.ones((5, 5), np.float32), [Click(0, 0, 1), Click(4, 4, 1)]) == [(True, True)] * 2


# A whole course


class Painter:
    """Paints a disc of `radius` for each click on what it has: a system whose course can be computed by hand."""

    name = "painter"

    def __init__(self, radius, spoil=None):
        self.radius, self.spoil, self.seen = radius, spoil, []

    @property
    def settings(self):
        return {"radius": self.radius}

    def start(self, image, box):
        self.seen.append(box)
        alpha = np.zeros(image.shape[:2], np.float32)
        if box is not None:
            x0, y0, x1, y1 = map(int, box)
            alpha[y0:y1, x0:x1] = 1
        return Turn(alpha, 0)

    def click(self, turn, point, label):
        rows, columns = np.mgrid[: turn.alpha.shape[0], : turn.alpha.shape[1]] + 0.5
        alpha = turn.alpha.copy()
        alpha[np.hypot(rows - point[1], columns - point[0]) <= self.radius] = label
        if self.spoil is not None and turn.memory == self.spoil:
            alpha[:] = 0
        return Turn(alpha, turn.memory + 1)


IMAGE = np.zeros((48, 48, 3), np.uint8)


def ring():
    rows, columns = np.mgrid[:48, :48] - 24
    return truth(np.hypot(rows, columns) <= 18)


def test_a_course_from_the_box():
    painter = Painter(4)
    course = correct(painter, IMAGE, ring(), ClicksProtocol(clicks=6))
    assert painter.seen == [ring().box]
    assert len(course.iou) == 7
    assert len(course.clicks) == len(course.seconds) == len(course.discs) == 6
    assert [click.label for click in course.clicks[:4]] == [0, 0, 0, 0]  # the corners of the box, in their order
    assert course.iou[0] == pytest.approx(ring().inside.sum() / 37**2)
    assert list(course.iou[:5]) == sorted(course.iou[:5])
    assert course.discs == course.pixels == (1, 2, 3, 4, 5, 6)
    assert course.newest == (True,) * 6
    assert course.mad is None


def test_a_course_from_nothing_ends_when_nothing_is_wrong():
    painter, turns = Painter(18), []
    course = correct(painter, IMAGE, ring(), ClicksProtocol("nothing", clicks=20),
                     lambda made, alpha, following: turns.append((made, following)))
    assert painter.seen == [None]
    assert course.iou[0] == 0
    assert course.iou[-1] == 1
    assert len(course.clicks) < 20
    assert [made for made, _ in turns] == list(range(len(course.iou)))
    assert [following for _, following in turns] == [*course.clicks, None]
    assert len(course.seconds) == len(course.clicks) - 1  # the first click is part of the first alpha


def test_what_breaks_earlier_clicks_shows():
    course = correct(Painter(4, spoil=2), IMAGE, ring(), ClicksProtocol("nothing", clicks=3))
    assert course.pixels[:2] == (1, 2)
    assert course.newest == (True, True, False)
    assert course.pixels[2] == course.discs[2] == 0


def test_an_alpha_of_another_size_is_an_error():
    class Small(Painter):
        def start(self, image, box):
            return Turn(np.zeros((4, 4), np.float32))

    with pytest.raises(DataError, match=r"painter gave an alpha of \(4, 4\)"):
        correct(Small(1), IMAGE, ring(), ClicksProtocol())


def test_what_the_watcher_raises_ends_the_work():
    def stop(made, alpha, following):
        if made == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        correct(Painter(2), IMAGE, ring(), ClicksProtocol(), stop)


@pytest.mark.parametrize(("start", "iou", "needed"), [
    ("box", [0.92, 0.8, 0.95], (0, True)),
    ("nothing", [0.0, 0.8, 0.95], (2, True)),
    ("nothing", [0.0, 0.9], (1, True)),      # reached exactly
    ("box", [0.1, 0.8, 0.89], (7, False)),   # the cap, even when nothing was left to click on
])
def test_the_number_of_clicks(start, iou, needed):
    assert clicks_needed(iou, 0.9, ClicksProtocol(start, clicks=7)) == needed
