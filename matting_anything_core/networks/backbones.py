"""The backbones that a model can have, by name.

A new one is a file beside this one with its network and its entry (see backbone.py), and its name in `BACKBONES`. Input
size, normalisation, defaults, memory and how its files are recognised stand in the entry and nowhere else.
"""

from __future__ import annotations

from ..errors import WeightsError
from .backbone import Backbone, Shapes
from .hq import HQ_LIGHT, HQ_TINY_TEST, HQ_VIT_B, HQ_VIT_H, HQ_VIT_L
from .lite import LITE
from .sam2 import SAM2_TINY_TEST, SAM21_B, SAM21_L, SAM21_S, SAM21_T
from .tiny_vit import MOBILE_SAM
from .vit import VIT_B, VIT_H, VIT_L, VIT_TINY_TEST

BACKBONES: dict[str, Backbone] = {one.name: one for one in (
    LITE, VIT_B, VIT_L, VIT_H, MOBILE_SAM, HQ_LIGHT, HQ_VIT_B, HQ_VIT_L, HQ_VIT_H,
    SAM21_T, SAM21_S, SAM21_B, SAM21_L, VIT_TINY_TEST, HQ_TINY_TEST, SAM2_TINY_TEST,
)}
"""By name, in the order in which they are listed."""


def backbone_of(name: str) -> Backbone:
    """The backbone of that name.

    Raises
    ------
    WeightsError
        When there is none, with the names that there are.
    """
    if name not in BACKBONES:
        raise WeightsError(f"there is no architecture {name[:80]!r}; expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def recognised(shapes: Shapes) -> Backbone | None:
    """The backbone whose tensors these are, None for an unknown one."""
    return next((backbone for backbone in BACKBONES.values() if backbone.recognises(shapes)), None)
