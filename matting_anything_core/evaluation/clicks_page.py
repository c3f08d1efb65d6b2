"""The report on corrections as one HTML page that needs nothing else: curves, table, and strips click by click."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from .chart import CHART_STYLE, line_chart
from .clicks import Course
from .clicks_report import NOTE, ClicksReport, clicks_lines, published_cell, rows
from .clicks_runner import strip_name
from .clicks_strip import has_panel
from .page import STYLE

_STYLE = """
.strip { overflow-x: auto; padding-bottom: 1rem; }
.strip img { width: auto; max-width: none; }
.steps { display: grid; font-size: 12px; opacity: .85; width: 0; min-width: 100%; }
.plus { color: #2a9d3f; } .minus { color: #d33; }
"""


def clicks_html(report: ClicksReport) -> str:
    """The page; every name in it is escaped."""
    title = "Corrections click by click"
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>", f"<style>{STYLE}{CHART_STYLE}{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>", "<dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in clicks_lines(report)), "</dl>",
        _charts(report), _table(report), f"<p>{escape(NOTE)}</p>", _published(report), _problems(report.problems),
    ]
    first = report.run.systems[0]
    for heading, tasks in ((f"Lowest IoU of {first} in the end", report.worst),
                           (f"A click on {first} did most harm", report.harmed)):
        if tasks:
            parts.append(f"<h2>{escape(heading)}</h2><p>Orange is missing, blue is too much; the dot is the next "
                         "click, green on the object, red not on it.</p>")
            parts += [_object(report, task) for task in tasks]
    parts.append("</body></html>")
    return "\n".join(part for part in parts if part) + "\n"


def _charts(report: ClicksReport) -> str:
    if not report.systems:
        return "<p>No object could be evaluated.</p>"
    # From nothing the curve starts with the first click: a zero before it would flatten all that matters.
    skipped = 1 if report.run.protocol.start == "nothing" else 0
    curves = {system.name: system.iou[skipped:] for system in report.systems}
    charts = [line_chart("mean IoU", "clicks", curves, first=skipped, digits=4)]
    errors = {system.name: system.mad[skipped:] for system in report.systems if system.mad}
    if errors:
        charts.append(line_chart("mean alpha error (MAD, 1e-3)", "clicks", errors, first=skipped))
    return f'<div class="row">{"".join(charts)}</div>'


def _table(report: ClicksReport) -> str:
    if not report.systems:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *(system.name for system in report.systems)))
    body = "".join(f"<tr><td>{escape(name)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
                   for name, cells in rows(report))
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _published(report: ClicksReport) -> str:
    if not report.published:
        return ""
    body = "".join(
        f'<tr><td>{escape(one.system)}</td><td>{published_cell(one.grabcut_85)}</td><td>{one.grabcut_90:.2f}</td>'
        f'<td>{one.berkeley_90:.2f}</td><td class="text">{escape(one.source)}</td></tr>' for one in report.published
    )
    return ("<h2>Measured by others, on other copies of the data, from nothing (NoC, cap 20)</h2><table><tr>"
            "<th>system</th><th>GrabCut 85</th><th>GrabCut 90</th><th>Berkeley 90</th><th>source</th></tr>"
            f"{body}</table>")


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    items = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    return f"<details open><summary>{len(problems)} left out</summary><ul>{items}</ul></details>"


def _object(report: ClicksReport, task: str) -> str:
    parts = [f"<h3>{escape(task)}</h3>"]
    for name in report.run.systems:
        course = report.run.courses[name][task]
        path = report.run.output / "strips" / strip_name(name, task)
        curve = " ".join(f"{value:.3f}" for value in course.iou)
        parts.append(f"<div>{escape(name)}: {curve}</div>")
        if path.is_file():
            content = base64.b64encode(path.read_bytes()).decode("ascii")
            parts.append(f'<div class="strip"><div style="width:max-content"><img alt="{escape(name)}, click by click" '
                         f'src="data:image/jpeg;base64,{content}">{_captions(report, course)}</div></div>')
    return "".join(parts)


def _captions(report: ClicksReport, course: Course) -> str:
    last = len(course.clicks)
    turns = [made for made in range(last + 1) if made == last or has_panel(made, report.run.protocol.clicks)]
    cells = []
    for made in turns:
        text = f"{made}: {course.iou[made]:.3f}"
        if course.mad is not None:
            text += f", MAD {course.mad[made]:.1f}"
        if made and not course.newest[made - 1]:
            text += ", not obeyed"
        if made < len(course.clicks):
            click = course.clicks[made]
            sign = '<span class="plus">+</span>' if click.label else '<span class="minus">&minus;</span>'
            text += f" {sign} {click.x},{click.y}"
        cells.append(f"<span>{text}</span>")
    return f'<div class="steps" style="grid-template-columns:repeat({len(turns)},minmax(0,1fr))">{"".join(cells)}</div>'
