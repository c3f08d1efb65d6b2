"""A line chart as an SVG element that stands inside an HTML page and follows its colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

HUES = ("#2a9d8f", "#e76f51", "#457b9d", "#b5838d", "#e9c46a", "#8338ec")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 560, 300, 52, 40, 12, 12


def line_chart(
    title: str, across: str, curves: Mapping[str, Sequence[float]], *, first: int = 0, digits: int = 2
) -> str:
    """Curves by name over first, first + 1, …; `title` names what goes up, `across` what goes to the right.

    Each name keeps its colour by its place; the scale runs from the lowest to the highest value of all curves.
    """
    values = [value for curve in curves.values() for value in curve]
    low, high = min(values), max(values)
    if high - low < 10 ** -digits:
        low, high = low - 10 ** -digits, high + 10 ** -digits
    count = max(len(curve) for curve in curves.values())

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / max(count - 1, 1)

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    parts = [f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" class="chart">',
             f"<title>{escape(title)}</title>"]
    for tick in range(5):
        value = low + (high - low) * tick / 4
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.{digits}f}</text>')
    for step in range(0, count, max(1, (count + 9) // 10)):
        parts.append(f'<text x="{x(step):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{first + step}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(across)}</text>')
    for index, (name, curve) in enumerate(curves.items()):
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in enumerate(curve))
        hue = HUES[index % len(HUES)]
        parts.append(f'<polyline points="{points}" style="stroke:{hue}"><title>{escape(name)}</title></polyline>')
    parts.append("</svg>")
    legend = "".join(f'<span style="color:{HUES[index % len(HUES)]}">&#9632;</span> {escape(name)} '
                     for index, name in enumerate(curves))
    return f'<figure class="chart">{"".join(parts)}<figcaption>{escape(title)}: {legend}</figcaption></figure>'


CHART_STYLE = """
figure.chart { max-width: 560px; min-width: 300px; }
svg.chart { width: 100%; height: auto; }
svg.chart line { stroke: currentColor; opacity: .15; }
svg.chart text { fill: currentColor; font: 12px system-ui, sans-serif; }
svg.chart polyline { fill: none; stroke-width: 2.5; }
"""
