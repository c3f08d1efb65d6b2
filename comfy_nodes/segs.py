"""SEGS, the Impact pack's list of found objects: made of mattes, for its detailers and other packs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matting_anything_core import Image, Matte

from .objects import bounds

AROUND = 0.5
"""Share of an object's width and height that its crop has more on every side."""


class Seg(NamedTuple):
    """One object, with the names that the Impact pack has for it. cropped_mask is soft, float32 in 0..1."""

    cropped_image: Any
    cropped_mask: Any
    confidence: float
    crop_region: list[int]
    bbox: list[int]
    label: str
    control_net_wrapper: Any = None


def segs_of(picture: Image, mattes: Sequence[Matte]) -> tuple[tuple[int, int], list[Seg]]:
    """A picture's mattes as SEGS: ((height, width), segments); an empty matte is none."""
    found = []
    for matte in mattes:
        if not (matte.alpha > 0).any():
            continue
        box = [int(value) for value in bounds(matte.alpha > 0)]
        x0, y0, x1, y1 = box
        across, down = round((x1 - x0) * AROUND), round((y1 - y0) * AROUND)
        region = [max(x0 - across, 0), max(y0 - down, 0), min(x1 + across, picture.width),
                  min(y1 + down, picture.height)]
        mask = matte.alpha[region[1]:region[3], region[0]:region[2]].copy()
        score = matte.score if matte.phrase_score is None else matte.phrase_score
        found.append(Seg(None, mask, float(score), region, box, matte.phrase or "object"))
    return (picture.height, picture.width), found
