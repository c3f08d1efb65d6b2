"""What a file of weights says about itself, checked: a text that cannot be is refused, not guessed at.

The numbers decide how large the network's input is and how much its alpha counts, so a wrong one gives a wrong matte or
takes all memory. Texts that are only shown (sources, licences) are not looked at here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ..errors import DeviceError, WeightsError
from ..memory import in_words, total_memory

BYTES_PER_PIXEL = 64
"""What an encoder needs at least for each pixel of its input: the input itself in float32, and its first features,
32 or more channels at half of the size, before and after a nonlinearity."""


def check_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Check the numbers in a file's metadata.

    Parameters
    ----------
    path : Path
        The file, for the error.
    metadata : mapping of str to str
        Its texts; those that are missing are no fault.

    Raises
    ------
    WeightsError
        When `square` or `matte_square` is no whole number of pixels, or `share` is no number from 0 to 1 (not a number,
        negative, infinite).
    """
    pixels(path, metadata, "square")
    pixels(path, metadata, "matte_square")
    share(path, metadata)


def pixels(path: Path, metadata: Mapping[str, str], key: str) -> int | None:
    """A positive whole number in a file's metadata, None when it has none. Raises WeightsError for other texts."""
    text = metadata.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 6 and int(text) > 0):
        raise WeightsError(f"{path} says {key} = {text[:40]!r} in its metadata; expected a number of pixels")
    return int(text)


def share(path: Path, metadata: Mapping[str, str]) -> float:
    """How much of alpha is the alpha head's (the rest is the mask's), 0..1; 1 when the file does not say.

    Raises WeightsError for other texts.
    """
    text = metadata.get("share")
    if text is None:
        return 1.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise WeightsError(f"{path} says share = {text[:40]!r} in its metadata; expected a number from 0 to 1")
    return value


def check_room(path: Path, side: int, key: str) -> None:
    """Raise DeviceError when a network with an input of side × side pixels cannot work on this machine at all."""
    needed, total = BYTES_PER_PIXEL * side * side, total_memory()
    if total is not None and needed > total:
        raise DeviceError(f"{path} says {key} = {side}: an input of {side} x {side} pixels needs at least "
                          f"{in_words(needed)} of memory, and there are {in_words(total)} in all; "
                          "use another file of weights, or a machine with more memory")
