"""What a notebook shows of a prompt: its marks where they lie, on an empty picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from .strokes import draw

if TYPE_CHECKING:
    import numpy as np

    from .types import Prompt

LONGER, FEWEST = 400, 24
"""Pixels on the longer side, and the fewest on the shorter one."""
GROUND, GIVEN, BOX, POSITIVE, NEGATIVE = (238, 238, 240), (120, 150, 200), (214, 150, 0), (30, 160, 70), (220, 50, 50)


def picture_of(prompt: Prompt) -> bytes:
    """A PNG. Its size is the image's where the prompt has arrays; else as far as its marks go, from the top left."""
    import numpy as np
    from PIL import Image, ImageDraw

    height, width = _size(prompt)
    scale = LONGER / max(height, width)
    size = max(round(width * scale), FEWEST), max(round(height * scale), FEWEST)
    across, down = size[0] / width, size[1] / height

    def shown(share: np.ndarray[Any, Any]) -> Image.Image:
        return Image.fromarray((np.asarray(share, np.float32) * 255).astype(np.uint8)).resize(
            size, Image.Resampling.BOX)

    canvas = Image.new("RGB", size, GROUND)
    for array in (prompt.former, prompt.mask, None if prompt.trimap is None else prompt.trimap / np.float32(255)):
        if array is not None:
            canvas.paste(GIVEN, mask=shown(array))
    for strokes, colour in ((prompt.kept, POSITIVE), (prompt.dropped, NEGATIVE)):
        if strokes is not None:
            canvas.paste(colour, mask=shown(draw(strokes, height, width) if isinstance(strokes, tuple) else strokes))
    brush = ImageDraw.Draw(canvas)
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        x0, y0, x1, y1 = x0 * across, y0 * down, x1 * across, y1 * down
        brush.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=BOX, width=2)
    for (x, y), label in zip(prompt.points or (), prompt.labels or (), strict=True):
        x, y = x * across, y * down
        brush.ellipse((x - 5, y - 5, x + 5, y + 5), fill=POSITIVE if label else NEGATIVE, outline="white")
    words = prompt.text or ("the one clear subject" if prompt.subject else None)
    if words is not None:
        brush.text((6, 6), words, fill="black")
    canvas.save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def _size(prompt: Prompt) -> tuple[int, int]:
    for array in (prompt.former, prompt.mask, prompt.trimap, prompt.keep, prompt.drop):
        if hasattr(array, "shape"):
            height, width = array.shape  # type: ignore[union-attr]
            return int(height), int(width)
    places = [*(prompt.points or ())]
    if prompt.box is not None:
        places += [(prompt.box[0], prompt.box[1]), (prompt.box[2], prompt.box[3])]
    for strokes in (prompt.kept, prompt.dropped):
        for stroke in strokes if isinstance(strokes, tuple) else ():
            places += [(x + stroke.width / 2, y + stroke.width / 2) for x, y in stroke.points]
    if not places:
        return 40, 400
    width, height = (min(max(1.05 * max(place[axis] for place in places), 16.0), 1e5) for axis in (0, 1))
    return round(max(height, width / 12)), round(max(width, height / 12))
