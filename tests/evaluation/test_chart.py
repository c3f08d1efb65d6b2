"""The line chart of the reports."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from matting_anything_core.evaluation.chart import line_chart


def polylines(chart):
    return [[tuple(map(float, pair.split(","))) for pair in points.split()]
            for points in re.findall(r'<polyline points="([^"]*)"', chart)]


def test_higher_values_stand_higher_and_the_scale_holds_all_curves():
    chart = line_chart("IoU", "clicks", {"ours": [0.2, 0.6, 1.0], "theirs": [0.6, 0.6, 0.6]})
    ours, theirs = polylines(chart)
    assert [x for x, _ in ours] == [x for x, _ in theirs] == sorted(x for x, _ in ours)
    assert ours[0][1] > ours[1][1] > ours[2][1]  # SVG counts downwards
    assert ours[1] == theirs[1]
    assert ours[1][1] == pytest.approx((ours[0][1] + ours[2][1]) / 2, abs=0.1)
    for text in (">0.20<", ">1.00<", ">clicks<"):
        assert text in chart


@pytest.mark.parametrize("curve", [[0.5], [0.5, 0.5], [0.0] * 101])
def test_flat_and_short_curves_can_be_drawn(curve):
    [points] = polylines(line_chart("IoU", "clicks", {"ours": curve}))
    assert len(points) == len(curve)
    assert len({y for _, y in points}) == 1


def test_steps_are_numbered_from_where_they_start():
    chart = line_chart("IoU", "clicks", {"ours": [0.1, 0.2, 0.3]}, first=1)
    assert re.findall(r'text-anchor="middle">(\d+)<', chart) == ["1", "2", "3"]


def test_names_are_escaped():
    chart = line_chart("<b>", "<i>", {"<script>": [0, 1]})
    assert "<script>" not in chart
    assert "<b>" not in chart
    ElementTree.fromstring(chart.replace("&#9632;", ""))  # well-formed
