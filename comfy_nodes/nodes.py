"""All nodes of the pack, as ComfyUI's loader wants them."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .editor import PromptEditor
from .finish import MatteApply, TrimapFromMatte
from .matte import Matte, MatteRefine
from .model import LoadMattingModel
from .weights import GetWeights


class MattingAnythingExtension(ComfyExtension):
    """Made once, by comfy_entrypoint."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [LoadMattingModel, GetWeights, PromptEditor, Matte, MatteRefine, MatteApply, TrimapFromMatte]
