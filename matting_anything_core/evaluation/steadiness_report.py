"""What asking differently did: for each change how far results agree, and the objects that agree least."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from .page import STYLE
from .report import markdown_cell
from .steadiness import Answer, SteadinessRun, kind_of, limit_of, picture_name

NOTE = ("Agreement: IoU, of alpha above one half, with the result that was asked for plainly from the true mask's "
        "box. Steady: the share of objects that agree at least as well as the limit says. IoU change: what the change "
        "did to the IoU with the truth, on average.")
COLUMNS = ("change", "limit", "steady", "mean", "5th percentile", "lowest", "IoU change", "asked")


@dataclass(frozen=True)
class ChangeSummary:
    """One kind of change, over all objects (and draws): agreement's mean, fifth percentile and lowest; the share that
    is at least `limit`; the mean change of the IoU with the truth; how many were asked."""

    change: str
    limit: float
    steady: float
    mean: float
    low: float
    lowest: float
    iou_change: float
    asked: int


@dataclass(frozen=True)
class Unsteady:
    """One object whose result changed too much."""

    system: str
    task: str
    change: str
    agreement: float
    iou_before: float
    iou_after: float


@dataclass(frozen=True)
class SteadinessReport:
    """A run, summed up. systems[name]: its changes. worst: the lowest agreements of the first system."""

    run: SteadinessRun
    systems: dict[str, tuple[ChangeSummary, ...]]
    worst: tuple[Unsteady, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return (*self.run.dataset.problems, *self.run.problems)


def summarise_steadiness(run: SteadinessRun, *, shown: int = 8) -> SteadinessReport:
    """Average a run and pick the `shown` objects and changes that agree least."""
    first = run.systems[0]
    unsteady = [
        Unsteady(first, task, answer.change, answer.agreement, run.iou[first][task], answer.iou or 0.0)
        for task, answers in run.answers[first].items() for answer in answers
        if answer.agreement is not None and answer.agreement < limit_of(answer.change)
    ]
    unsteady.sort(key=lambda one: (one.agreement, one.task, one.change))
    return SteadinessReport(run, {name: _summaries(run, name) for name in run.systems}, tuple(unsteady[:shown]))


def _summaries(run: SteadinessRun, system: str) -> tuple[ChangeSummary, ...]:
    by_kind: dict[str, list[tuple[Answer, float]]] = {}
    for task, answers in run.answers[system].items():
        for answer in answers:
            by_kind.setdefault(kind_of(answer.change), []).append((answer, run.iou[system][task]))
    summaries = []
    for kind, answered in by_kind.items():
        given = [(answer.agreement, (answer.iou or 0.0) - before) for answer, before in answered
                 if answer.agreement is not None]
        if not given:
            continue
        values, limit = sorted(value for value, _ in given), limit_of(kind)
        summaries.append(ChangeSummary(
            kind, limit, sum(value >= limit for value in values) / len(values), statistics.fmean(values),
            values[int(0.05 * (len(values) - 1))], values[0], statistics.fmean(change for _, change in given),
            len(values),
        ))
    return tuple(summaries)


def steadiness_lines(report: SteadinessReport) -> list[tuple[str, str]]:
    """What was measured and how, as pairs of name and value."""
    run, protocol = report.run, report.run.protocol
    return [
        ("data", str(run.dataset.root)),
        ("objects", f"{max(len(of) for of in run.answers.values())} of {len(run.tasks)} asked for"),
        ("prompt", "the true mask's box"),
        ("jitter", f"{protocol.draws} boxes, sides moved by up to {protocol.jitter:.1%} of the image, "
                   f"seed {protocol.seed}"),
        ("padding", f"{protocol.padding} pixels of the image's edge"),
    ]


def cells(summary: ChangeSummary) -> list[str]:
    """A row of the table, as in COLUMNS."""
    return [summary.change, f"{summary.limit:.2f}", f"{summary.steady:.1%}", f"{summary.mean:.4f}",
            f"{summary.low:.4f}", f"{summary.lowest:.4f}", f"{summary.iou_change:+.4f}", str(summary.asked)]


def steadiness_json(report: SteadinessReport) -> dict[str, Any]:
    """The whole report as JSON values, every answer included."""
    run = report.run
    return {
        "data": str(run.dataset.root),
        "protocol": asdict(run.protocol),
        "systems": {name: [asdict(summary) for summary in of] for name, of in report.systems.items()},
        "worst": [asdict(one) for one in report.worst],
        "problems": list(report.problems),
        "objects": {name: {task: {"iou": run.iou[name][task], "answers": [asdict(answer) for answer in answers]}
                           for task, answers in of.items()} for name, of in run.answers.items()},
    }


def steadiness_markdown(report: SteadinessReport) -> str:
    """The report without images."""
    lines = ["# Steadiness", ""]
    lines += [f"- {name}: {markdown_cell(value)}" for name, value in steadiness_lines(report)]
    lines += ["", NOTE]
    for system, summaries in report.systems.items():
        lines += ["", f"## {markdown_cell(system)}", "", "| " + " | ".join(COLUMNS) + " |",
                  "|---|" + "---:|" * (len(COLUMNS) - 1)]
        lines += ["| " + " | ".join(cells(summary)) + " |" for summary in summaries]
    if report.worst:
        lines += ["", "## Least steady", ""]
        lines += [f"- {markdown_cell(one.task)}, {one.change}: {one.agreement:.3f} (IoU {one.iou_before:.3f}, then "
                  f"{one.iou_after:.3f})" for one in report.worst]
    lines += _left_out(report.problems)
    return "\n".join(lines) + "\n"


def _left_out(problems: Sequence[str]) -> list[str]:
    if not problems:
        return []
    return ["", f"## Left out ({len(problems)})", "", *(f"- {markdown_cell(problem)}" for problem in problems)]


def steadiness_html(report: SteadinessReport) -> str:
    """One page that needs nothing else; every name in it is escaped."""
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">', "<title>Steadiness</title>",
        f"<style>{STYLE}</style></head><body><h1>Steadiness</h1><dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in steadiness_lines(report)),
        f"</dl><p>{escape(NOTE)}</p>",
    ]
    for system, summaries in report.systems.items():
        head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells(one))}</tr>" for one in summaries)
        parts.append(f"<h2>{escape(system)}</h2><div class=\"wide\"><table><tr>{head}</tr>{body}</table></div>")
    if report.worst:
        parts.append("<h2>Least steady</h2><p>The image and its box; the plain result; the result after the change."
                     "</p>")
    for one in report.worst:
        parts.append(f"<h3>{escape(one.task)}: {escape(one.change)}</h3><p>agreement {one.agreement:.3f}; IoU with the "
                     f"truth {one.iou_before:.3f}, then {one.iou_after:.3f}</p>")
        path = report.run.output / "unsteady" / picture_name(one.system, one.task, one.change)
        if path.is_file():
            content = base64.b64encode(path.read_bytes()).decode("ascii")
            parts.append(f'<img style="width:auto;max-width:100%" alt="{escape(one.task)}" '
                         f'src="data:image/jpeg;base64,{content}">')
    if report.problems:
        items = "".join(f"<li>{escape(problem)}</li>" for problem in report.problems)
        parts.append(f"<details open><summary>{len(report.problems)} left out</summary><ul>{items}</ul></details>")
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"
