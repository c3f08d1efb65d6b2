"""One schema for every ComfyUI with the V3 interface, 0.3.64 and later: what an older one does not know is left out."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from comfy_api.latest import io

from matting_anything_core.options import CHOICES, OPTION_HELP, SWITCHES, MatteOptions

CATEGORY = "mask/matting"

MattingModelType = io.Custom("MATTING_MODEL")
BoundingBox = getattr(io, "BoundingBox", None) or io.Custom("BOUNDING_BOX")
Boxes = (BoundingBox, io.BBOX, io.Custom("BBOXES"), io.SEGS)
"""The box types of ComfyUI, KJNodes and Florence2, LayerStyle, and the Impact pack."""
Trimaps = (io.Mask, io.Image, io.Custom("TRIMAP"))
"""What a trimap comes as."""


def schema(**keywords: Any) -> io.Schema:
    """io.Schema without the keywords this ComfyUI does not know (search_aliases, has_intermediate_output …)."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(category=CATEGORY, **{name: value for name, value in keywords.items() if name in known})


def options(*names: str) -> list[Any]:
    """Widgets for the core's options (see MatteOptions): those that are named, else all others than the named ones that
    the nodes began with, which come last, so that saved workflows keep their widgets' order."""
    wanted = names or tuple(name for name in OPTION_HELP if name not in FIRST_OPTIONS)
    return [_option(name) for name in wanted]


FIRST_OPTIONS = ("guidance", "sides")


def _option(name: str) -> Any:
    [default] = [one.default for one in dataclasses.fields(MatteOptions) if one.name == name]
    tooltip = OPTION_HELP[name][0].upper() + OPTION_HELP[name][1:]
    if name in CHOICES:
        return setting(io.Combo, name, options=list(CHOICES[name]), default=default, optional=True, tooltip=tooltip)
    if name not in SWITCHES:
        raise TypeError(f"the option {name} is neither a choice nor a switch; say here what widget it has")
    return setting(io.Boolean, name, default=default, optional=True, tooltip=tooltip)


def setting(kind: Any, name: str, **keywords: Any) -> Any:
    """A widget that most users leave alone: folded away where ComfyUI can do that."""
    if "advanced" in inspect.signature(kind.Input.__init__).parameters:
        keywords["advanced"] = True
    return kind.Input(name, **keywords)
