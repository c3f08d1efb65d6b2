"""A sheet to look at: picture with its prompt, mask, alpha and cut-out side by side, one row an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .result import Matte

SIDE = 420
"""Longer side of a panel in pixels."""
GAP = 8
GROUND = (32, 32, 36)
BOX_COLOUR, POSITIVE, NEGATIVE = (255, 196, 0), (40, 210, 90), (235, 60, 60)


def _scaled(array: np.ndarray[Any, Any], size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(array)).resize(size, Image.Resampling.BOX)


def _checkerboard(size: tuple[int, int], tile: int = 10) -> Image.Image:
    x, y = np.arange(size[0]) // tile, np.arange(size[1]) // tile
    board = np.where((x[None, :] + y[:, None]) % 2, 205, 245).astype(np.uint8)
    return Image.fromarray(np.repeat(board[..., None], 3, 2))


def _with_prompt(picture: Image.Image, matte: Matte) -> Image.Image:
    scale_x, scale_y = picture.width / matte.image.width, picture.height / matte.image.height
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    if matte.prompt.box is not None:
        x0, y0, x1, y1 = matte.prompt.box
        corners = (x0 * scale_x, y0 * scale_y, x1 * scale_x - 1, y1 * scale_y - 1)
        draw.rectangle((*corners[:2], max(corners[2], corners[0]), max(corners[3], corners[1])), outline=BOX_COLOUR,
                       width=3)
    for (x, y), label in zip(matte.prompt.points or (), matte.prompt.labels or (), strict=True):
        x, y = x * scale_x, y * scale_y
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=POSITIVE if label else NEGATIVE, outline="white", width=2)
    if matte.phrase:
        draw.text((6, 4), matte.phrase, fill="white", stroke_width=2, stroke_fill="black")
    return picture


def _panels(matte: Matte) -> list[Image.Image]:
    height, width = matte.image.height, matte.image.width
    scale = SIDE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = _scaled(matte.image.rgb8(), size)
    cutout = matte.cutout()
    alpha = _scaled((matte.alpha * 255 + 0.5).astype(np.uint8), size)
    # Scaled premultiplied, as a viewer would: straight colours under zero alpha must not bleed in.
    colours = cutout.rgb8().astype(np.float32) * matte.alpha[..., None]
    shown = np.asarray(_checkerboard(size), np.float32) * (1 - np.asarray(alpha, np.float32)[..., None] / 255)
    shown += np.asarray(_scaled((colours + 0.5).astype(np.uint8), size), np.float32)
    return [
        _with_prompt(picture, matte),
        _scaled(matte.mask.astype(np.uint8) * 255, size).convert("RGB"),
        alpha.convert("RGB"),
        Image.fromarray(np.clip(shown + 0.5, 0, 255).astype(np.uint8)),
    ]


def draw_sheet(mattes: Sequence[Matte]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One row for each matte: the picture with its prompt, the mask, alpha, the cut-out on a checkerboard.

    Returns uint8 h×w×3.
    """
    rows = [_panels(matte) for matte in mattes]
    width = max(sum(panel.width + GAP for panel in row) for row in rows) + GAP
    height = sum(row[0].height + GAP for row in rows) + GAP
    sheet = Image.new("RGB", (width, height), GROUND)
    y = GAP
    for row in rows:
        x = GAP
        for panel in row:
            sheet.paste(panel, (x, y))
            x += panel.width + GAP
        y += row[0].height + GAP
    return np.array(sheet)
