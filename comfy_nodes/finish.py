"""Matte Apply (a new background) and Trimap from Matte: what comes after a matte."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from comfy_api.latest import io

from matting_anything_core import Image, PromptError
from matting_anything_core.foreground import composite, estimate_foreground

from .pictures import Array, at_size, grown, images_of, stacked
from .schema import schema
from .work import Work, part_of

BACKGROUNDS = ("colour", "image", "blur")
HIDDEN = 1e-3
"""Shares of the background below this say nothing about it."""


class MatteApply(io.ComfyNode):
    """The object on a colour, on another picture, or on its own background, blurred."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingApply",
            display_name="Matte Apply / Composite",
            description="Puts the object on a colour, on another picture, or on its own background out of focus. Soft "
                        "edges get the object's own colours, so that nothing of the old background shines through.",
            search_aliases=["composite", "replace background", "change background", "blur background", "portrait mode",
                            "bokeh", "green screen", "background removal", "rembg"],
            inputs=[
                io.Image.Input("image", tooltip="The picture, or a cut-out (RGBA)"),
                io.Combo.Input("background", options=list(BACKGROUNDS), default=BACKGROUNDS[0]),
                io.String.Input("colour", default="#20a040", optional=True,
                                tooltip="#rrggbb or red,green,blue (0 to 255), for background: colour"),
                io.Float.Input("blur", default=2.0, min=0.0, max=50.0, step=0.1, optional=True, tooltip=(
                    "For background: blur. Its radius in percent of the picture's longer side")),
                io.Boolean.Input("clean_colours", default=True, optional=True, tooltip=(
                    "Find the object's own colours in soft edges; not needed for a cut-out, which has them")),
                io.Mask.Input("mask", optional=True, tooltip="The matte (1 = object); a cut-out brings its own"),
                io.Image.Input("background_image", optional=True, tooltip="For background: image"),
            ],
            outputs=[
                io.Image.Output("IMAGE", display_name="image"),
                io.Image.Output("CUTOUT", display_name="cutout", tooltip="The object alone: RGBA with straight alpha"),
            ],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, background: str, colour: str = "#20a040", blur: float = 2.0,
        clean_colours: bool = True, mask: torch.Tensor | None = None, background_image: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        pictures, alphas = _pairs(images_of(image), mask)
        if background == "image" and background_image is None:
            raise PromptError("connect background_image, or choose colour or blur: the background is to be an image, "
                              "and none is connected")
        grounds = images_of(background_image) if background == "image" and background_image is not None else []
        if len(grounds) > 1 and len(grounds) != len(pictures):
            raise PromptError(f"there are {len(grounds)} background images for {len(pictures)} pictures; expected one "
                              "for all, or one each")
        shown, colours, work = [], [], Work(1, {})
        for index, (picture, alpha) in enumerate(zip(pictures, alphas, strict=True)):
            whole = picture.rgb_float()
            report = part_of(work, index, len(pictures))
            own = estimate_foreground(whole, alpha, progress=report) if clean_colours and picture.alpha is None else \
                whole
            report("foreground", 1.0)
            if background == "image":
                ground = grounds[index % len(grounds)].rgb_float()
            elif background == "blur":
                ground = blurred_background(whole, alpha, blur / 100 * max(whole.shape))
            else:
                ground = np.array(parse_colour(colour), np.float32)
            shown.append(composite(own, alpha, ground))
            colours.append(np.dstack([own, alpha]))
        return io.NodeOutput(stacked(shown), stacked(colours))

    @classmethod
    def validate_inputs(cls, colour: str | None = None) -> bool | str:
        """A colour that cannot be read is refused before anything runs."""
        try:
            parse_colour(colour if colour is not None else "#000000")
        except PromptError as error:
            return str(error)
        return True


def _pairs(pictures: list[Image], mask: torch.Tensor | None) -> tuple[list[Image], list[Array]]:
    """Pictures and their alphas, one for each; a single one of either goes with all of the other."""
    if mask is None:
        if any(picture.alpha is None for picture in pictures):
            raise PromptError("connect a mask, or a cut-out (RGBA) as the image: nothing says where the object is")
        return pictures, [_own_alpha(picture) for picture in pictures]
    planes = mask.reshape(-1, *mask.shape[-2:])
    count = max(len(pictures), len(planes))
    if len(pictures) not in (1, count) or len(planes) not in (1, count):
        raise PromptError(f"there are {len(planes)} masks for {len(pictures)} pictures; expected one of each, or a "
                          "single one for all")
    pictures = pictures * (count // len(pictures))
    alphas = []
    for index, picture in enumerate(pictures):
        plane = planes[index % len(planes)].detach().float().nan_to_num().clamp(0, 1).cpu().numpy()
        alpha = at_size(plane, picture.height, picture.width)
        alphas.append(alpha if picture.alpha is None else np.minimum(alpha, _own_alpha(picture)))
    return pictures, alphas


def _own_alpha(picture: Image) -> Array:
    assert picture.alpha is not None
    share: Array = picture.alpha.astype(np.float32) / np.float32(np.iinfo(picture.alpha.dtype).max)
    return share


def parse_colour(text: str) -> tuple[float, float, float]:
    """#rgb, #rrggbb or three numbers 0..255 -> 0..1. Raises PromptError."""
    digits = text.strip().lstrip("#")
    if re.fullmatch("[0-9a-fA-F]{3}", digits):
        digits = "".join(digit * 2 for digit in digits)
    if re.fullmatch("[0-9a-fA-F]{6}", digits):
        values: Sequence[float] = [int(digits[start : start + 2], 16) for start in (0, 2, 4)]
    else:
        parts = re.fullmatch(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*", text)
        values = [int(part) for part in parts.groups()] if parts else []
    if not values or max(values) > 255:
        raise PromptError("write the colour as #rrggbb, or as red,green,blue with numbers 0 to 255: it is "
                          f"{text[:40]!r}")
    red, green, blue = (value / 255 for value in values)
    return red, green, blue


def blurred_background(picture: Array, alpha: Array, radius: float) -> Array:
    """The background out of focus, H×W×3: a Gaussian of `radius` pixels over what is background, so that the object's
    colours do not run into it."""
    share = torch.from_numpy(1 - alpha)[None, None]
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None]
    weights = blurred(share, radius)
    known = blurred(planes * share, radius) / weights.clamp(min=HIDDEN)
    result: Array = torch.lerp(blurred(planes, radius), known, (weights / HIDDEN).clamp(max=1))[0] \
        .permute(1, 2, 0).clamp(0, 1).contiguous().numpy()
    return result


def blurred(planes: torch.Tensor, radius: float) -> torch.Tensor:
    """1×C×H×W blurred with a Gaussian of standard deviation `radius`; wide ones on a smaller copy."""
    if radius < 0.3:
        return planes
    height, width = planes.shape[-2:]
    shrink = max(radius / 4, 1.0)
    small = [max(round(side / shrink), 1) for side in (height, width)]
    functional = torch.nn.functional
    if shrink > 1:
        planes = functional.interpolate(planes, small, mode="bilinear", antialias=True, align_corners=False)
    sigma = radius / shrink
    reach = int(3 * sigma + 0.5)
    kernel = torch.exp(-torch.arange(-reach, reach + 1, dtype=planes.dtype).square() / (2 * sigma * sigma))
    kernel = (kernel / kernel.sum()).expand(planes.shape[1], 1, 1, -1)
    padded = functional.pad(planes, (reach, reach, reach, reach), mode="replicate")
    planes = functional.conv2d(padded, kernel, groups=planes.shape[1])
    planes = functional.conv2d(planes, kernel.transpose(2, 3), groups=planes.shape[1])
    return functional.interpolate(planes, (height, width), mode="bilinear", align_corners=False)


class TrimapFromMatte(io.ComfyNode):
    """What is surely object, surely background, and unknown, for other matting and inpainting nodes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingTrimap",
            display_name="Trimap from Matte",
            description="White where the matte is surely the object, black where it is surely background, and gray in "
                        "between.",
            search_aliases=["trimap", "unknown region", "matting", "vitmatte"],
            inputs=[
                io.Mask.Input("mask", tooltip="The matte (1 = object), or a mask"),
                io.Float.Input("low", default=0.05, min=0.0, max=1.0, step=0.01, optional=True,
                               tooltip="Alpha up to this is background"),
                io.Float.Input("high", default=0.95, min=0.0, max=1.0, step=0.01, optional=True,
                               tooltip="Alpha from this on is the object"),
                io.Int.Input("width", default=10, min=0, max=4096, optional=True,
                             tooltip="Pixels by which the unknown part is widened on both sides"),
            ],
            outputs=[
                io.Mask.Output("TRIMAP", display_name="trimap", tooltip="0, 0.5 and 1"),
                io.Image.Output("IMAGE", display_name="image", tooltip="The same as a picture"),
            ],
        )

    @classmethod
    def execute(cls, mask: torch.Tensor, low: float = 0.05, high: float = 0.95, width: int = 10) -> io.NodeOutput:
        if low >= high:
            raise PromptError(f"low is {low:g} and high {high:g}; expected low below high")
        planes = mask.reshape(-1, *mask.shape[-2:]).detach().float().cpu()
        trimap = stacked([trimap_of(plane, low, high, width).numpy() for plane in planes])
        return io.NodeOutput(trimap, trimap[..., None].expand(-1, -1, -1, 3).contiguous())


def trimap_of(alpha: torch.Tensor, low: float, high: float, width: int) -> torch.Tensor:
    """Alpha H×W -> 0, 0.5 and 1: unknown within `width` pixels of what is neither."""
    outer, inner = grown((alpha > low).float(), width), 1 - grown((alpha < high).float(), width)
    return (outer + inner) / 2
