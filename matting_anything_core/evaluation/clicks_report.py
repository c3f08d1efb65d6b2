"""What a run of corrections found: curves, NoC, obedience, harm and time for each system, as JSON and Markdown.

The page with the strips stands in clicks_page.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .clicks import DISC_RADIUS, THRESHOLDS, ClicksProtocol, Course, clicks_needed
from .clicks_runner import ClicksRun
from .report import markdown_cell

FALLS = (0.003, 0.02)
"""A click harms when IoU falls by more than this."""
CURVE_AT = (0, 1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100)
NOTE = (f"IoU of alpha above one half; NoC@90: clicks until IoU is .90, the cap where it never is. A click is obeyed "
        f"when alpha is on its side of one half in the disc of radius {DISC_RADIUS} around it; every click so far is "
        "looked at after each one. Harm: IoU fell by more than this share of all clicks but the first from nothing.")


@dataclass(frozen=True)
class PublishedClicks:
    """NoC from the literature, from nothing. None: not given in that source."""

    system: str
    grabcut_85: float | None
    grabcut_90: float
    berkeley_90: float
    source: str


_RITM = "github.com/SamsungLabs/ritm_interactive_segmentation, README"
_FOCALCLICK = "github.com/alibaba/ClickSEG, README"
_FOCSAM = "Huang et al., FocSAM, CVPR 2024 (arXiv 2405.18706), table 1"

PUBLISHED_CLICKS: tuple[PublishedClicks, ...] = (
    PublishedClicks("RITM, HRNet-18s", 1.54, 1.68, 2.60, _RITM),
    PublishedClicks("RITM, HRNet-18", 1.42, 1.54, 2.26, _RITM),
    PublishedClicks("RITM, HRNet-32", 1.46, 1.56, 2.10, _RITM),
    PublishedClicks("FocalClick, SegFormer-B0 S2", 1.40, 1.66, 2.27, _FOCALCLICK),
    PublishedClicks("FocalClick, SegFormer-B3 S2", 1.44, 1.50, 1.92, _FOCALCLICK),
    PublishedClicks("SimpleClick, ViT-B", None, 1.48, 1.97, _FOCSAM),
    PublishedClicks("SimpleClick, ViT-H", None, 1.50, 1.75, _FOCSAM),
    PublishedClicks("SAM, ViT-H", None, 1.88, 2.09, _FOCSAM),
)
"""All trained on COCO and LVIS, SAM on SA-1B; measured by others on GrabCut (50 images) and Berkeley (100 objects)."""


@dataclass(frozen=True)
class ClicksSummary:
    """One system, over the objects that every system has a result for.

    iou, mad : means after 0, 1, … clicks; mad is empty unless every truth is an alpha. An object on which nothing was
    wrong any more counts on with its last value.
    noc, never : for each of THRESHOLDS, the mean NoC, and on how many objects it was never reached.
    obeyed, obeyed_pixels : share of clicks so far obeyed after each click, by the disc and by the pixel alone;
    obeyed_newest : of the click just made; obeyed_last : of all clicks in the last alpha.
    harmed : for each of FALLS the share of clicks after which IoU had fallen by more; fall : the mean fall of those
    above the first; worst_fall : the greatest.
    first_seconds, click_seconds : medians of the time to the first alpha, and of a later click.
    """

    name: str
    clicks: int
    iou: tuple[float, ...]
    mad: tuple[float, ...]
    noc: tuple[float, ...]
    never: tuple[int, ...]
    obeyed: float
    obeyed_pixels: float
    obeyed_newest: float
    obeyed_last: float
    harmed: tuple[float, ...]
    fall: float
    worst_fall: float
    first_seconds: float
    click_seconds: float


@dataclass(frozen=True)
class ClicksReport:
    """A run, summed up. worst: the objects with the lowest IoU in the end; harmed: those on which a click did most
    harm; both of the first system."""

    run: ClicksRun
    tasks: tuple[str, ...]
    systems: tuple[ClicksSummary, ...]
    worst: tuple[str, ...]
    harmed: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return (*self.run.dataset.problems, *self.run.problems)

    @property
    def published(self) -> tuple[PublishedClicks, ...]:
        """Others' numbers, which are from nothing: beside a start from a box they would mislead."""
        return PUBLISHED_CLICKS if self.run.protocol.start == "nothing" else ()


def falls_of(course: Course, protocol: ClicksProtocol) -> list[float]:
    """By how much each click lowered IoU (below zero: raised it); from nothing, the first has nothing to harm."""
    first = 1 if protocol.start == "nothing" else 0
    return [course.iou[made] - course.iou[made + 1] for made in range(first, len(course.clicks))]


def held(values: Sequence[float], clicks: int) -> list[float]:
    """A curve of fewer clicks continued with its last value."""
    return [*values, *[values[-1]] * (clicks + 1 - len(values))]


def summarise_clicks(run: ClicksRun, *, shown: int = 8) -> ClicksReport:
    """Average a run, and pick the objects to be looked at, `shown` of each kind."""
    tasks = tuple(task for task in run.tasks if all(task in run.courses[name] for name in run.systems))
    first = run.courses[run.systems[0]]

    def greatest(task: str) -> float:
        return max(falls_of(first[task], run.protocol), default=0.0)

    harmed = sorted((task for task in tasks if greatest(task) > FALLS[0]), key=lambda task: (-greatest(task), task))
    return ClicksReport(
        run=run, tasks=tasks,
        systems=tuple(_summary(run, name, tasks) for name in run.systems) if tasks else (),
        worst=tuple(sorted(tasks, key=lambda task: (first[task].iou[-1], task))[:shown]),
        harmed=tuple(harmed[:shown]),
    )


def _summary(run: ClicksRun, name: str, tasks: Sequence[str]) -> ClicksSummary:
    protocol, courses = run.protocol, [run.courses[name][task] for task in tasks]
    steps = range(protocol.clicks + 1)
    curves = [held(course.iou, protocol.clicks) for course in courses]
    errors = [held(course.mad, protocol.clicks) for course in courses if course.mad is not None]
    needed = [[clicks_needed(course.iou, threshold, protocol) for course in courses] for threshold in THRESHOLDS]
    looked_at = sum(made + 1 for course in courses for made in range(len(course.clicks)))
    clicks = sum(len(course.clicks) for course in courses)
    falls = [fall for course in courses for fall in falls_of(course, protocol)]
    bad = [fall for fall in falls if fall > FALLS[0]]
    return ClicksSummary(
        name=name, clicks=clicks,
        iou=tuple(statistics.fmean(curve[step] for curve in curves) for step in steps),
        mad=tuple(statistics.fmean(error[step] for error in errors) for step in steps)
        if len(errors) == len(courses) else (),
        noc=tuple(statistics.fmean(count for count, _ in each) for each in needed),
        never=tuple(sum(not reached for _, reached in each) for each in needed),
        obeyed=_share(sum(sum(course.discs) for course in courses), looked_at),
        obeyed_pixels=_share(sum(sum(course.pixels) for course in courses), looked_at),
        obeyed_newest=_share(sum(sum(course.newest) for course in courses), clicks),
        obeyed_last=_share(sum(course.discs[-1] for course in courses if course.discs), clicks),
        harmed=tuple(_share(sum(fall > limit for fall in falls), len(falls), nothing=0.0) for limit in FALLS),
        fall=statistics.fmean(bad) if bad else 0.0, worst_fall=max(0.0, *falls, 0.0),
        first_seconds=statistics.median(course.first_seconds for course in courses),
        click_seconds=statistics.median([each for course in courses for each in course.seconds] or [0.0]),
    )


def _share(part: int, whole: int, *, nothing: float = 1.0) -> float:
    return part / whole if whole else nothing


def curve_steps(report: ClicksReport) -> list[int]:
    """The numbers of clicks that tables show."""
    last = report.run.protocol.clicks
    return [step for step in CURVE_AT if step < last] + [last]


def clicks_lines(report: ClicksReport) -> list[tuple[str, str]]:
    """What was measured and how, as pairs of name and value."""
    run = report.run
    start = "the true mask's box" if run.protocol.start == "box" else "nothing"
    return [
        ("data", str(run.dataset.root)),
        ("objects", f"{len(report.tasks)} of {len(run.tasks)} asked for"),
        ("start", f"{start}, then up to {run.protocol.clicks} clicks in the middle of the largest error"),
        ("ignored pixels", str(run.protocol.ignored)),
    ]


def rows(report: ClicksReport) -> list[tuple[str, list[str]]]:
    """The table of results: a name, and a cell for each system."""
    def each(render: Callable[[ClicksSummary], str]) -> list[str]:
        return [render(system) for system in report.systems]

    cap = report.run.protocol.clicks
    table: list[tuple[str, list[str]]] = []
    for step in curve_steps(report):
        table.append((f"mean IoU after {step}", [f"{system.iou[step]:.4f}" for system in report.systems]))
    if any(system.mad for system in report.systems):
        for step in curve_steps(report):
            table.append((f"alpha error (MAD, 1e-3) after {step}",
                          [f"{system.mad[step]:.2f}" if system.mad else "" for system in report.systems]))
    for index, threshold in enumerate(THRESHOLDS):
        table.append((f"NoC@{100 * threshold:.0f} (cap {cap}; never)",
                      [f"{system.noc[index]:.2f} ({system.never[index]})" for system in report.systems]))
    table += [
        ("clicks obeyed, all so far", each(lambda s: f"{s.obeyed:.1%}")),
        ("clicks obeyed, the pixel alone", each(lambda s: f"{s.obeyed_pixels:.1%}")),
        ("clicks obeyed, the newest", each(lambda s: f"{s.obeyed_newest:.1%}")),
        ("clicks obeyed, in the last alpha", each(lambda s: f"{s.obeyed_last:.1%}")),
    ]
    for index, limit in enumerate(FALLS):
        table.append((f"clicks that lowered IoU by > {limit}",
                      [f"{system.harmed[index]:.1%}" for system in report.systems]))
    table += [
        ("mean and greatest fall of these", each(lambda s: f"{s.fall:.3f}, {s.worst_fall:.3f}")),
        ("seconds to the first alpha", each(lambda s: f"{s.first_seconds:.2f}")),
        ("seconds a click", each(lambda s: f"{s.click_seconds:.2f}")),
        ("clicks made", each(lambda s: str(s.clicks))),
    ]
    return table


def clicks_json(report: ClicksReport) -> dict[str, Any]:
    """The whole report as JSON values, every object's course included."""
    run = report.run
    return {
        "data": str(run.dataset.root),
        "protocol": asdict(run.protocol),
        "thresholds": list(THRESHOLDS),
        "falls": list(FALLS),
        "systems": [asdict(system) for system in report.systems],
        "published": [asdict(number) for number in report.published],
        "problems": list(report.problems),
        "worst": list(report.worst),
        "harmed": list(report.harmed),
        "objects": {task: {name: asdict(run.courses[name][task]) for name in run.systems} for task in report.tasks},
    }


def clicks_markdown(report: ClicksReport) -> str:
    """The report without images."""
    lines = ["# Corrections click by click", ""]
    lines += [f"- {name}: {markdown_cell(value)}" for name, value in clicks_lines(report)]
    lines += ["", NOTE, ""]
    if report.systems:
        lines.append("| | " + " | ".join(markdown_cell(system.name) for system in report.systems) + " |")
        lines.append("|---|" + "---:|" * len(report.systems))
        lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows(report)]
    if report.published:
        lines += ["", "Measured by others, on other copies of the data, from nothing (NoC, cap 20):", "",
                  "| system | GrabCut 85 | GrabCut 90 | Berkeley 90 | source |", "|---|---:|---:|---:|---|"]
        lines += [f"| {markdown_cell(one.system)} | {published_cell(one.grabcut_85)} | {one.grabcut_90:.2f} | "
                  f"{one.berkeley_90:.2f} | {markdown_cell(one.source)} |" for one in report.published]
    first = report.run.courses[report.run.systems[0]]
    for title, tasks in (("Lowest IoU in the end", report.worst), ("A click did most harm", report.harmed)):
        if tasks:
            lines += ["", f"## {title}", ""]
            lines += [f"- {markdown_cell(task)}: " + " ".join(f"{value:.3f}" for value in first[task].iou)
                      for task in tasks]
    if report.problems:
        lines += ["", f"## Left out ({len(report.problems)})", ""]
        lines += [f"- {markdown_cell(problem)}" for problem in report.problems]
    return "\n".join(lines) + "\n"


def published_cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
