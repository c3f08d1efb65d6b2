"""The parser of the command line: argparse, but with help that fits the terminal, numbers that may be negative, and an
error that names the nearest option and shows the usage of the command it belongs to."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

NARROW = 60
"""Columns below which choices are listed in the text instead of the option's own line."""
_NEGATIVE = re.compile(r"-[\d.][\d.,;%eE+\s-]*")
_LENGTH = re.compile(r"\d+(\.\d*)?(%|px)?")
_COMMAND = re.compile(r"\s*(matting-anything|torchrun|python3?|curl|find|eval|pip)\s")
_COLUMNS = re.compile(r"(\s*\S.*?\S|\s*\S)\s{3,}(\S.*)")


class Parser(argparse.ArgumentParser):
    """A parser for the command or one of its subcommands."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **{**keywords, "formatter_class": HelpFormatter})

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; what is left over is an error here, where the usage of this command can be shown."""
        arguments = joined(sys.argv[1:] if args is None else list(args))
        parsed, extras = super().parse_known_args(arguments, namespace)
        several: list[str] | None = getattr(parsed, self.get_default("collects") or "", None)
        if several is not None and extras and not any(extra.startswith("-") and extra != "-" for extra in extras):
            several.extend(extras)  # argparse takes files only where they stand together
            extras = []
        if extras:
            self.error(self._unknown(extras))
        return parsed, extras

    def _unknown(self, extras: Sequence[str]) -> str:
        options = [extra.split("=", 1)[0] for extra in extras if extra.startswith("-") and extra != "-"]
        if not options:
            return f"unexpected argument {extras[0]!r}"
        return f"unknown option {options[0]}{self._nearest(options[0])}"

    def _nearest(self, option: str) -> str:
        known = [name for name in self._option_string_actions if name.startswith("--")]
        near = difflib.get_close_matches("--" + option.lstrip("-"), known, 1, 0.5)
        return f"; did you mean {near[0]}?" if near else ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value), known, 1, 0.5)
        raise argparse.ArgumentError(action, f"{value!r} is unknown"
                                     + (f"; did you mean {near[0]}?" if near else "")
                                     + f" (known: {', '.join(known)})")

    def error(self, message: str) -> NoReturn:
        """Usage of this command and one line on standard error; status 2."""
        # Ambiguous or cut-off options come here from argparse's own checks.
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n(`{self.prog} --help` shows all there is)\n")


def joined(arguments: Sequence[str]) -> list[str]:
    """Arguments in which a negative number is the value of the option before it, and --crop may stand alone.

    argparse takes `-10,80,520,400` for an option and would take a file after --crop for its margin.
    """
    result: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*result, argument, *rest]
        following = rest[0] if rest else ""
        if argument == "--crop":
            value = rest.pop(0) if _LENGTH.fullmatch(following) else "0"
            result.append(f"{argument}={value}")
        elif argument.startswith("--") and "=" not in argument and _NEGATIVE.fullmatch(following):
            result.append(f"{argument}={rest.pop(0)}")
        else:
            result.append(argument)
    return result


class HelpFormatter(argparse.HelpFormatter):
    """Help that fits the terminal: paragraphs are filled, examples keep their lines and are continued with a
    backslash where they are too long for them."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for paragraph in _paragraphs(text):
            lines += _fitted(paragraph, width)
        return "\n".join(indent + line for line in lines)

    def start_section(self, heading: str | None) -> None:
        """Begin a section; its heading is broken where it is too long."""
        super().start_section(heading and "\n".join(_wrapped(heading, self._width - 1, "", "")))

    def _format_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None) -> str:
        lines = super()._format_usage(usage, actions, groups, prefix).split("\n")
        if any("\x1b" in line for line in lines):  # colours: their characters take no columns
            return "\n".join(lines)
        return "\n".join(part for line in lines for part in (
            [line] if len(line) <= self._width else _wrapped(line.strip(), self._width, " " * 7, " " * 9)))

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Any:
        if self._hides_choices(action):
            return lambda size: (default_metavar,) * size
        return super()._metavar_formatter(action, default_metavar)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = super()._get_help_string(action)
        if text is None or action.choices is None or not self._hides_choices(action):
            return text
        return f"{text} (one of {', '.join(str(choice) for choice in action.choices)})"

    def _hides_choices(self, action: argparse.Action) -> bool:
        return (self._width < NARROW and action.metavar is None and action.choices is not None
                and len(",".join(str(choice) for choice in action.choices)) > 10)


def _paragraphs(text: str) -> list[str]:
    """Lines; those of prose (not indented, no empty line between them) are put together."""
    result: list[str] = []
    for line in text.strip("\n").splitlines():
        flush = bool(line) and not line[0].isspace()
        before = result[-1] if result else ""
        if flush and before and not before[0].isspace() and not before.endswith(":") and not _COMMAND.match(line):
            result[-1] = f"{before} {line}"
        else:
            result.append(line)
    return result


def _fitted(line: str, width: int) -> list[str]:
    """A line of help in lines of at most `width` characters, as far as its words allow."""
    if len(line) <= width:
        return [line]
    columns = _COLUMNS.fullmatch(line)
    indent = " " * (len(line) - len(line.lstrip()))
    if columns:
        return [*_fitted(columns[1], width), *_wrapped(columns[2], width, indent + "    ", indent + "    ")]
    if _COMMAND.match(line):
        lines = _wrapped(line.strip(), width - 2, indent, indent + "    ")
        return [*(part + " \\" for part in lines[:-1]), lines[-1]]
    return _wrapped(line.strip(), width, indent, indent)


def _wrapped(text: str, width: int, first: str, then: str) -> list[str]:
    return textwrap.wrap(text, max(width, 20), initial_indent=first, subsequent_indent=then, break_long_words=False,
                         break_on_hyphens=False)
