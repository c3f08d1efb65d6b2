"""One schema for every ComfyUI with the V3 interface, 0.3.64 and later: what an older one does not know is left out."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from comfy_api.latest import io

CATEGORY = "mask/matting"

MattingModelType = io.Custom("MATTING_MODEL")
BoundingBox = getattr(io, "BoundingBox", None) or io.Custom("BOUNDING_BOX")
Boxes = (BoundingBox, io.BBOX, io.Custom("BBOXES"), io.SEGS)
"""The box types of ComfyUI, KJNodes and Florence2, LayerStyle, and the Impact pack."""


def schema(**keywords: Any) -> io.Schema:
    """io.Schema without the keywords this ComfyUI does not know (search_aliases, has_intermediate_output …)."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(category=CATEGORY, **{name: value for name, value in keywords.items() if name in known})


def setting(kind: Any, name: str, **keywords: Any) -> Any:
    """A widget that most users leave alone: folded away where ComfyUI can do that."""
    if "advanced" in inspect.signature(kind.Input.__init__).parameters:
        keywords["advanced"] = True
    return kind.Input(name, **keywords)
