"""Whether the values of a recipe can mean something: kinds, choices and ranges, checked before anything is trained."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from ..errors import MattingError

Range: TypeAlias = "tuple[Callable[[Any], bool], str]"


def between(low: float, high: float) -> Range:
    """From low to high, both included."""
    return lambda x: low <= x <= high, f"{low:g} to {high:g}"


def at_least(low: float) -> Range:
    """This much or more."""
    return lambda x: x >= low, f"{low:g} or more"


ABOVE_ZERO: Range = (lambda x: x > 0, "more than 0")
BELOW_ONE: Range = (lambda x: 0 <= x < 1, "0 or more, and less than 1")
SHARES: Range = (lambda x: min(x) >= 0 and sum(x) > 0, "numbers of 0 or more, not all 0")


def multiple(of: int, low: int) -> Range:
    """A multiple, `low` or more."""
    return lambda x: x % of == 0 and x >= low, f"a multiple of {of}, {low} or more"


STAGE: Mapping[str, Range] = {
    "steps": at_least(1), "batch": at_least(1), "square": multiple(32, 32), "matte_square": multiple(16, 0),
    "crop": multiple(16, 0), "maps_from": at_least(0), "rate": ABOVE_ZERO, "backbone_rate": at_least(0),
    "betas": (lambda x: all(0 <= beta < 1 for beta in x), "two numbers of 0 or more, and less than 1"),
    "decay": at_least(0), "warmup": at_least(0), "floor": between(0, 1), "clip": ABOVE_ZERO, "clip_moving": at_least(0),
    "ema": BELOW_ONE, "photographs": between(0, 1), "most_objects": at_least(1), "generated": at_least(0),
    "crops": at_least(1), "losses": SHARES, "views": at_least(0), "starts": SHARES, "rounds": at_least(1),
    "teacher": at_least(0), "obey": at_least(0), "others": at_least(0), "prompt_factor": at_least(0),
}
SOURCE: Mapping[str, Range] = {
    "path": (bool, "a folder"), "match": (bool, "a pattern for file names"), "weight": ABOVE_ZERO,
    "hold_out": (lambda x: x == (0, 0) or 0 <= x[1] < x[0], "[n, k] with 0 <= k < n"),
}
RECIPE: Mapping[str, Range] = {
    "name": (lambda x: x.strip() and not set(x) & set('/\\:*?"<>|'), "a name that can be a folder's"),
    "seed": at_least(0), "workers": at_least(0), "checkpoint_minutes": at_least(0), "validate_minutes": at_least(0),
    "validate_pictures": at_least(1), "log_steps": at_least(1),
}
METADATA: Mapping[str, tuple[str, ...]] = {"guidance": ("mask", "alpha"), "sides": ("one", "two")}


def fitted(value: Any, hint: Any, where: str) -> Any:
    """A value of a TOML file as the type that a field is annotated with: lists as tuples, whole numbers as floats.

    Raises MattingError, beginning with `where`, when it is of another type, none of a Literal's choices, or not finite.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (hint,) = (option for option in get_args(hint) if option is not type(None))
        return fitted(value, hint, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in get_args(hint):
            raise MattingError(f"{where} is {value!r}; expected one of {', '.join(map(str, get_args(hint)))}")
        return value
    if origin is tuple:
        inner = get_args(hint)
        if not isinstance(value, list | tuple) or len(value) != len(inner):
            raise MattingError(f"{where} is {value!r}; expected a list of {len(inner)} values")
        return tuple(fitted(x, one, where) for x, one in zip(value, inner, strict=True))
    if origin is dict:
        if not isinstance(value, dict):
            raise MattingError(f"{where} is {value!r}; expected a table")
        return {key: fitted(x, get_args(hint)[1], f"{where}.{key}") for key, x in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise MattingError(f"{where} is {value!r}; expected {_called(hint)}")
    if hint is float and not math.isfinite(value):
        raise MattingError(f"{where} is {value!r}; expected a finite number")
    return value


def _called(hint: Any) -> str:
    return {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}.get(hint, str(hint))


def check_ranges(record: object, ranges: Mapping[str, Range], where: str) -> None:
    """Raises MattingError that names the first field whose value is out of its range."""
    for name, (right, expected) in ranges.items():
        value = getattr(record, name)
        if not right(value):
            shown = list(value) if isinstance(value, tuple) else value
            raise MattingError(f"{where}: {name} is {shown!r}; expected {expected}")


def check_metadata(metadata: Mapping[str, str], where: str) -> None:
    """The keys that the model reads from an exported file have values that it knows. Raises MattingError."""
    for key, known in METADATA.items():
        if metadata.get(key, known[0]) not in known:
            raise MattingError(f"{where}: metadata.{key} is {metadata[key]!r}; expected one of {', '.join(known)}")
    try:
        share = float(metadata.get("share", "1"))
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise MattingError(f"{where}: metadata.share is {metadata['share']!r}; expected a number from 0 to 1 in quotes")
