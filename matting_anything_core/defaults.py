"""What a model does where its caller leaves the choice to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from .types import Guidance, Sides

T = TypeVar("T")


class Defaults(NamedTuple):
    """What `auto` means for a model.

    closer: its encoder is so quick that a box that does not fill the picture gets a closer look. inside: its masks end
    where the box does (with a margin), since what it finds elsewhere is more often wrong than a box that is too small.
    snap: its masks are decided anew with the picture's colours (see snap.py). share: the part of Mask-to-Matte in
    alpha, 0..1; where it was trained too little to be trusted alone, the mask has the rest (see `detail.finish`).
    """

    guidance: Guidance = "mask"
    sides: Sides = "one"
    closer: bool = False
    inside: bool = False
    snap: bool = False
    share: float = 1.0

    @classmethod
    def of(cls, architecture: str, metadata: Mapping[str, str]) -> Defaults:
        """Those of a checkpoint: what its metadata says, and the paper's choice where that says nothing known."""
        small = architecture == "lite"
        return cls(
            guidance=_choice(metadata.get("guidance"), ("mask", "alpha")),
            sides=_choice(metadata.get("sides"), ("one", "two")),
            closer=small, inside=small, snap=small,
            share=_share(metadata.get("share")),
        )


def _choice(value: str | None, known: tuple[T, T]) -> T:
    return value if value in known else known[0]


def _share(value: str | None) -> float:
    try:
        share = float(value) if value is not None else 1.0
    except ValueError:
        return 1.0
    return share if 0 <= share <= 1 else 1.0
