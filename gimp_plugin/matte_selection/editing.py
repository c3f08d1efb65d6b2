"""What is done in the window, as a chain of values, so that undo and redo compute nothing. Nothing here knows of GIMP
or GTK, or waits for anything."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from marks import Mark, Marks, added, prompt_of

STEPS = 100
"""So many values are kept for undo."""


@dataclass(frozen=True)
class Result:
    """A matte as the service made it, or that was there before.

    matte: its id at the service, "" for one that the service has not. packed: zlib of its alpha, two bytes a pixel,
    little endian, row by row. visible: pixels where something of it can be seen; None when it was not counted.
    """

    matte: str
    packed: bytes
    size: tuple[int, int]
    box: tuple[float, ...] | None = None
    warnings: tuple[str, ...] = ()
    visible: int | None = None

    def rows(self, strip: int = 4 << 20) -> Iterable[bytes]:
        """The alpha, some whole rows at a time."""
        row = 2 * self.size[0]
        unpacker, rest, most = zlib.decompressobj(), self.packed, max(strip // row, 1) * row
        held = b""
        while rest and not unpacker.eof:
            held += unpacker.decompress(rest, most)
            rest = unpacker.unconsumed_tail
            whole = len(held) // row * row
            if whole:
                yield held[:whole]
                held = held[whole:]

    def as_mask(self) -> dict[str, Any]:
        """The alpha as prompts hold it, with eight bits."""
        return mask_of((strip[1::2] for strip in self.rows()), self.size)


@dataclass(frozen=True)
class State:
    """Marks; what they go on from (None: from nothing), and what the service made of them (None: not yet)."""

    marks: Marks = ()
    base: Result | None = None
    result: Result | None = None

    @property
    def shown(self) -> Result | None:
        """The newest matte that there is."""
        return self.result or self.base

    def prompt(self) -> dict[str, Any] | None:
        """What the service is to be asked; None when it has answered, or nothing says what the object is.

        In the place of `previous` stands True where the base is to be named.
        """
        if self.result is not None or not self.marks:
            return None
        side = max(self.base.size) if self.base is not None else 0
        return prompt_of(self.marks, previous=None if self.base is None else True,
                         box=None if self.base is None else self.base.box, reach=max(2.0, 0.003 * side))


class Editing:
    """The values that there were, and the place among them."""

    def __init__(self, start: State | None = None) -> None:
        self._states = [start or State()]
        self._at = 0

    @property
    def state(self) -> State:
        """The present value."""
        return self._states[self._at]

    def mark(self, mark: Mark) -> None:
        """Make a mark. One that says anew what the object is begins from nothing."""
        state = self.state
        self._push(State(added(state.marks, mark), state.shown if mark.corrects else None))

    def clear(self) -> None:
        """Take everything away."""
        if self.state != State():
            self._push(State())

    def go_on_from(self, base: Result) -> None:
        """Take a matte that is there as what marks correct."""
        self._push(State((), base))

    def replace(self, state: State) -> None:
        """Another value in the place of the present one."""
        self._states[self._at] = state

    def _push(self, state: State) -> None:
        self._states[self._at + 1:] = [state]
        del self._states[:-STEPS]
        self._at = len(self._states) - 1

    def answered(self, asked: State, result: Result) -> bool:
        """Put the service's answer to where it was asked for; whether that is still among the values."""
        for at, state in enumerate(self._states):
            if state is asked:
                self._states[at] = replace(asked, result=result)
                return True
        return False

    def undo(self) -> bool:
        """One value back; False at the first."""
        moved = self._at > 0
        self._at -= moved
        return moved

    def redo(self) -> bool:
        """One value forward; False at the last."""
        moved = self._at + 1 < len(self._states)
        self._at += moved
        return moved

    @property
    def can_undo(self) -> bool:
        """Whether there is a former value."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a later one."""
        return self._at + 1 < len(self._states)


def mask_of(strips: Iterable[bytes], size: tuple[int, int]) -> dict[str, Any]:
    """Rows of one byte a pixel as prompts hold masks."""
    packer = zlib.compressobj(1)
    pieces = [packer.compress(strip) for strip in strips]
    pieces.append(packer.flush())
    return {"width": size[0], "height": size[1], "deflate": base64.b64encode(b"".join(pieces)).decode()}


def packed(strips: Iterable[bytes]) -> tuple[bytes, int]:
    """Alpha of two bytes a pixel as a Result holds it, and the number of pixels above one sixteenth."""
    packer, pieces, count = zlib.compressobj(1), [], 0
    for strip in strips:
        count += len(strip[1::2].translate(None, bytes(range(16))))
        pieces.append(packer.compress(strip))
    pieces.append(packer.flush())
    return b"".join(pieces), count


