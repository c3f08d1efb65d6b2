"""A custom node for the tests: pictures with one channel, [B,H,W,1]. Other packs make them, ComfyUI itself does not."""

from __future__ import annotations

from typing import Any


class GrayImage:
    """The mean of a picture's channels."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": ("IMAGE",)}}

    def run(self, image: Any) -> tuple[Any]:
        return (image.mean(-1, keepdim=True),)


NODE_CLASS_MAPPINGS = {"TestGrayImage": GrayImage}
