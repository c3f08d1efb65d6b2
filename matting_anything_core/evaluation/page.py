"""The report as one HTML page that needs nothing else: pictures are inside of it, every name is escaped."""

from __future__ import annotations

import base64
from html import escape

from .report import UNITS, Report, column_names, is_best, mean_error, protocol_lines
from .runner import thumbnail_name

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a9d8f33; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 110rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child, td.text { text-align: left; }
td.best { background: var(--good); font-weight: 600; }
.wide { overflow-x: auto; }
.row { display: flex; gap: .6rem; overflow-x: auto; padding: .4rem 0 1.4rem; align-items: flex-start; }
figure { margin: 0; flex: 1 1 0; min-width: 150px; max-width: 360px; }
figcaption { font-size: 13px; opacity: .8; }
img { display: block; width: 100%; background: #777; }
h3 { margin: 1rem 0 0; font-size: 15px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { opacity: .7; } dd { margin: 0; }
"""


def as_html(report: Report) -> str:
    """The page: the table, the published numbers beside it, what was left out, and rows of pictures to look at."""
    title = f"Evaluation: {report.run.dataset.title}"
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>", f"<style>{STYLE}</style></head><body>", f"<h1>{escape(title)}</h1>", "<dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in protocol_lines(report)), "</dl>",
        _table(report), f"<p>{escape(UNITS)}.</p>", _published(report), _problems(report),
    ]
    first = report.run.systems[0]
    galleries = (
        (f"Worst of {first}", report.worst), (f"Best of {first}", report.best),
        (f"Another system is better than {first}", report.lost),
    )
    for heading, pictures in galleries:
        if pictures:
            parts.append(f"<h2>{escape(heading)}</h2>")
            parts += [_row(report, picture) for picture in pictures]
    parts.append("</body></html>")
    return "\n".join(part for part in parts if part) + "\n"


def _table(report: Report) -> str:
    names = column_names(report)
    if not names:
        return "<p>No picture could be evaluated.</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in ("system", *names, "s/picture", "first is better on",
                                                          "missing"))
    rows = []
    for system in report.systems:
        cells = [f"<td>{escape(system.name)}</td>"]
        for name in names:
            mark = ' class="best"' if is_best(report, system, name) else ""
            cells.append(f"<td{mark}>{system.values[name]:.2f}</td>")
        wins = "" if system.wins is None else f"{system.wins} of {len(report.pictures)}"
        cells.append(f"<td>{system.seconds:.2f}</td><td>{wins}</td><td>{system.missing}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _published(report: Report) -> str:
    if not report.published:
        return ""
    rows = "".join(
        f'<tr><td>{escape(number.system)}</td><td class="text">{escape(number.name)}</td>'
        f'<td>{number.value:.2f}</td><td class="text">{escape(number.source)}</td></tr>' for number in report.published
    )
    return ("<h2>Published, not measured here</h2><table><tr><th>system</th><th>metric</th><th>value</th>"
            f"<th>source</th></tr>{rows}</table>")


def _problems(report: Report) -> str:
    if not report.problems:
        return ""
    items = "".join(f"<li>{escape(problem)}</li>" for problem in report.problems)
    return f"<details open><summary>{len(report.problems)} left out</summary><ul>{items}</ul></details>"


def _row(report: Report, picture: str) -> str:
    figures = [_figure(report, thumbnail_name("", picture), "picture", "prompt"),
               _figure(report, thumbnail_name("truth", picture), "truth", "true matte, and cut-out")]
    for system in report.run.systems:
        mad = mean_error(report.run.records[system][picture], "MAD")
        figures.append(_figure(report, thumbnail_name(f"system-{system}", picture), system, f"MAD {mad:.1f}"))
    return f'<h3>{escape(picture)}</h3><div class="row">{"".join(figures)}</div>'


def _figure(report: Report, file: str, name: str, caption: str) -> str:
    path = report.run.output / "thumbnails" / file
    if not path.is_file():
        return f"<figure><p>(no picture)</p><figcaption>{escape(name)}</figcaption></figure>"
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return (f'<figure><img alt="{escape(name)}" src="data:image/jpeg;base64,{content}">'
            f"<figcaption>{escape(name)}: {escape(caption)}</figcaption></figure>")

