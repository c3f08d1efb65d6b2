"""Matting Anything for ComfyUI: soft alpha mattes from boxes, points, masks and words.

    nodes.py ─► model.py   Load Matting Model: weights, ComfyUI's memory management, what is kept between runs
             ─► weights.py Get Weights
             ─► matte.py   Matte, Matte Refine   ◄─ prompts.py (the editor's and other packs' prompts, as values)
                   │                             ◄─ objects.py (which mark belongs to which object)
                   └► work.py  the way of every picture; results.py, segs.py, previews.py: what comes of it
             ─► editor.py  Prompt Editor (its canvas is web/js/)        pictures.py (ComfyUI's tensors in and out)
             ─► finish.py  Matte Apply, Trimap from Matte               schema.py   (one schema for old and new ComfyUI)
                                                                        wiring.py   (who takes which output)

ComfyUI finds `comfy_entrypoint` (V3 schema). The package imports nothing but ComfyUI, torch, numpy and
matting_anything_core, and none of them before the nodes are asked for.
"""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> Any:
    """The pack's nodes, for ComfyUI's loader."""
    import importlib.util

    if importlib.util.find_spec("matting_anything_core") is None:
        raise ImportError(
            "the nodes of Matting Anything need the package matting-anything-core in the Python that runs ComfyUI, and "
            "it is not there. In a checkout of Matting Anything, install it with that Python: python -m pip install "
            "--no-deps . and then: python -m matting_anything_core.cli install comfyui PATH_OF_COMFYUI, which lists "
            "what else is missing"
        )
    from .model import register_folders
    from .nodes import MattingAnythingExtension

    register_folders()  # before the schemas list what is in them
    return MattingAnythingExtension()
