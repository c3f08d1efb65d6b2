"""What a run found: averages for each system, the pictures that went worst and best, as JSON and Markdown.

The page with pictures stands in page.py.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..replacing import replace_text
from .metrics import QUALITY_KINDS, instance_quality
from .protocol import PUBLISHED, Published
from .runner import Record, Run, matches_of

COLUMNS = ("SAD", "MSE", "MAD", "Grad", "Conn")
REGIONS = ("whole", "band")
UNITS = ("SAD, Grad and Conn in thousands, MSE and MAD times 1000 (lower is better); IMQ times 100, at IoU 0.5 "
         "(higher is better); band: the unknown part of the trimap")


@dataclass(frozen=True)
class SystemSummary:
    """One row of the table. values: by column name; wins: on how many pictures the first system's MAD is lower than
    this one's (None for the first system itself)."""

    name: str
    values: dict[str, float]
    missing: int
    seconds: float
    wins: int | None


@dataclass(frozen=True)
class Report:
    """A run, summed up over the pictures that every system has a result for."""

    run: Run
    pictures: tuple[str, ...]
    systems: tuple[SystemSummary, ...]
    published: tuple[Published, ...]
    worst: tuple[str, ...]
    best: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return (*self.run.dataset.problems, *self.run.problems)


def mean_error(record: Record, column: str, region: str = "whole") -> float:
    """A record's error, averaged over the instances of the picture."""
    return statistics.fmean(errors[region][column.lower()] for errors in record["errors"])


def summarise(run: Run, *, shown: int = 8) -> Report:
    """Average a run and pick the pictures to be looked at, `shown` of each kind."""
    pictures = tuple(
        sample.name for sample in run.samples if all(sample.name in run.records[name] for name in run.systems)
    )
    first = run.records[run.systems[0]]
    ordered = sorted(pictures, key=lambda name: (-mean_error(first[name], "MAD"), name))
    half = max(1, (len(ordered) + 1) // 2)
    others = [run.records[name] for name in run.systems[1:]]

    def behind(name: str) -> float:
        return mean_error(first[name], "MAD") - min((mean_error(each[name], "MAD") for each in others), default=1e9)

    lost = sorted((name for name in pictures if behind(name) > 0), key=lambda name: (-behind(name), name))
    return Report(
        run=run, pictures=pictures,
        systems=tuple(_summary(run, name, pictures) for name in run.systems) if pictures else (),
        published=tuple(PUBLISHED.get(run.dataset.benchmark, ())),
        worst=tuple(ordered[:min(shown, half)]),
        best=tuple(reversed(ordered[max(half, len(ordered) - shown):])),
        lost=tuple(lost[:max(1, shown // 2)]),
    )


def _summary(run: Run, system: str, pictures: Sequence[str]) -> SystemSummary:
    records = [run.records[system][name] for name in pictures]
    first = run.records[run.systems[0]]
    # The released program looks only at predictions that are there; by definition a missing one is an empty matte.
    counted = [record for record in records if not (run.protocol.reference and _is_absent(record))]
    instances = [errors for record in counted for errors in record["errors"]]
    values: dict[str, float] = {}
    for region in REGIONS:
        for column in COLUMNS:
            name = column if region == "whole" else f"{column} {region}"
            values[name] = statistics.fmean(each[region][column.lower()] for each in instances) if instances else 0.0
    if run.protocol.instances:
        matches = [match for match in map(matches_of, counted) if match is not None]
        quality = instance_quality(matches, reference=run.protocol.reference)
        values |= {f"IMQ {kind}": 100 * quality[kind].imq for kind in QUALITY_KINDS}
    wins = None
    if system != run.systems[0]:
        wins = sum(mean_error(first[name], "MAD") < mean_error(run.records[system][name], "MAD") for name in pictures)
    return SystemSummary(
        name=system, values=values, missing=sum(int(record["missing"]) for record in records),
        seconds=statistics.median(float(record["seconds"]) for record in records), wins=wins,
    )


def _is_absent(record: Record) -> bool:
    return int(record["missing"]) == len(record["errors"])


def column_names(report: Report) -> tuple[str, ...]:
    return tuple(report.systems[0].values) if report.systems else ()


def is_best(report: Report, system: SystemSummary, column: str) -> bool:
    """Whether no system has a better value in this column (and there are several)."""
    values = [each.values[column] for each in report.systems]
    best = max(values) if column.startswith("IMQ") else min(values)
    return len(values) > 1 and system.values[column] == best


def protocol_lines(report: Report) -> list[tuple[str, str]]:
    """What was measured and how, as pairs of name and value."""
    run, protocol = report.run, report.run.protocol
    size = f"{len(report.pictures)} of {len(run.dataset.samples)} found"
    if run.dataset.published is not None:
        size += f" ({run.dataset.published} published)"
    jitter = f", sides moved by up to {protocol.box_jitter:.0%}, seed {protocol.seed}" if protocol.box_jitter else ""
    return [
        ("benchmark", run.dataset.title),
        ("pictures", size),
        ("prompt", f"{protocol.prompt}{jitter}"),
        ("guidance", f"{protocol.guidance}, sides {protocol.sides}" +
         (", with post-processing" if protocol.postprocess else "")),
        ("metrics", "as the released program computes them (--reference)" if protocol.reference else "by definition"),
    ]


def as_json(report: Report) -> dict[str, Any]:
    """The whole report as JSON values, every picture's errors included."""
    run = report.run
    return {
        "benchmark": run.dataset.benchmark,
        "title": run.dataset.title,
        "protocol": asdict(run.protocol),
        "found": len(run.dataset.samples),
        "published_size": run.dataset.published,
        "units": UNITS,
        "systems": [asdict(system) for system in report.systems],
        "published": [asdict(number) for number in report.published],
        "problems": list(report.problems),
        "worst": list(report.worst),
        "best": list(report.best),
        "lost": list(report.lost),
        "pictures": {
            name: {system: {"errors": run.records[system][name]["errors"], "missing":
                            run.records[system][name]["missing"], "seconds": run.records[system][name]["seconds"]}
                   for system in run.systems}
            for name in report.pictures
        },
    }


def as_markdown(report: Report) -> str:
    """The report without pictures."""
    lines = [f"# {markdown_cell(report.run.dataset.title)}", ""]
    lines += [f"- {name}: {markdown_cell(value)}" for name, value in protocol_lines(report)]
    lines += ["", UNITS + ".", ""]
    names = column_names(report)
    if names:
        lines.append("| system | " + " | ".join(names) + " | s/picture | first is better on | missing |")
        lines.append("|---|" + "---:|" * (len(names) + 3))
    for system in report.systems:
        cells = [_bold(f"{system.values[name]:.2f}", is_best(report, system, name)) for name in names]
        wins = "" if system.wins is None else f"{system.wins} of {len(report.pictures)}"
        lines.append(f"| {markdown_cell(system.name)} | " + " | ".join(cells) +
                     f" | {system.seconds:.2f} | {wins} | {system.missing} |")
    if report.published:
        lines += ["", "Published (not measured here):", ""]
        lines += ["| system | metric | value | source |", "|---|---|---:|---|"]
        lines += [f"| {markdown_cell(number.system)} | {number.name} | {number.value:.2f} | "
                  f"{markdown_cell(number.source)} |" for number in report.published]
    for title, pictures in (("Worst", report.worst), ("Best", report.best), ("Another system is better", report.lost)):
        if pictures:
            lines += ["", f"## {title}", ""]
            lines += [f"- {markdown_cell(name)}: {mad_line(report, name)}" for name in pictures]
    if report.problems:
        lines += ["", f"## Left out ({len(report.problems)})", ""]
        lines += [f"- {markdown_cell(problem)}" for problem in report.problems]
    return "\n".join(lines) + "\n"


def mad_line(report: Report, picture: str) -> str:
    """«MAD lite 3.1, grabcut 9.0» for one picture."""
    records = report.run.records
    return "MAD " + ", ".join(f"{markdown_cell(system)} {mean_error(records[system][picture], 'MAD'):.1f}"
                              for system in report.run.systems)


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def markdown_cell(text: str) -> str:
    """File names may hold anything; none of it shall be taken for Markdown or HTML."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*_[]|":
        escaped = escaped.replace(character, "\\" + character)
    return " ".join(escaped.split())


def write_reports(report: Report, page: Callable[[Report], str]) -> list[Path]:
    """Write report.md, report.json and report.html (made by `page`) into the run's folder; each is whole or the old
    one."""
    return write_report_files(report.run.output, as_markdown(report), as_json(report), page(report))


def write_report_files(folder: Path, markdown: str, content: dict[str, Any], page: str) -> list[Path]:
    """Write report.md, report.json and report.html into a folder; each is whole or the old one."""
    contents = {
        "report.md": markdown,
        "report.json": json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n",
        "report.html": page,
    }
    written = []
    for name, text in contents.items():
        path = folder / name
        replace_text(path, text)
        written.append(path)
    return written
