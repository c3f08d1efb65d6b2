"""What the window shows: the picture with its matte and the marks over it. GEGL scales, GdkPixbuf puts together."""

from __future__ import annotations

from typing import Any

import pixels
from edges import Edge, adjusted
from gi.repository import GdkPixbuf, Gegl, GLib
from viewing import View

MODES = ("tint", "checks", "white", "black", "alone")
"""What is dropped is tinted; the subject is on a ground; the matte alone is shown."""
AROUND = 0x505050FF
TINT = 205, 30, 60
TINTED = bytes(round((255 - value) * 0.6) for value in range(256))
"""Opacity of the tint for each value of the matte."""
CHECKS = {"checks": (0x999999, 0x666666), "white": (0xFFFFFF, 0xFFFFFF), "black": (0, 0)}


def ground(picture: Any, share: Any, view: View, edge: Edge, mode: str) -> Any:
    """A pixbuf of the window's size without marks. picture: a buffer of colours; share: one of "Y u16", or None."""
    width, height = view.window
    whole = GdkPixbuf.Pixbuf.new(GdkPixbuf.Colorspace.RGB, False, 8, width, height)
    whole.fill(AROUND)
    left, top, right, bottom = view.shown()
    if right <= left or bottom <= top:
        return whole
    if view.scale <= 1:
        part = (left - view.x, top - view.y, right - left, bottom - top)
        scale, enlarged, place = view.scale, 1.0, (float(left), float(top))
    else:
        x0, y0 = int((left - view.x) / view.scale), int((top - view.y) / view.scale)
        x1 = min(int((right - view.x) / view.scale) + 1, view.picture[0])
        y1 = min(int((bottom - view.y) / view.scale) + 1, view.picture[1])
        part = (x0, y0, x1 - x0, y1 - y0)
        scale, enlarged, place = 1.0, view.scale, (view.x + x0 * view.scale, view.y + y0 * view.scale)
    seen = _part(picture, share, part, scale, edge, mode)
    area = left, top, right - left, bottom - top
    fitting = *area, *place, enlarged, enlarged, GdkPixbuf.InterpType.NEAREST
    if mode in CHECKS and share is not None:
        seen.composite_color(whole, *fitting, 255, left, top, 8, *CHECKS[mode])
    else:
        seen.composite(whole, *fitting, 255)
    return whole


def _part(picture: Any, share: Any, part: tuple[int, int, int, int], scale: float, edge: Edge, mode: str) -> Any:
    """A part of the scaled picture, with the matte in it as the mode wants."""
    width, height = part[2:]
    rectangle = Gegl.Rectangle.new(*part)
    if share is None:
        return pixbuf(picture.get(rectangle, scale, "R'G'B' u8", Gegl.AbyssPolicy.CLAMP), width, height)
    alpha = _alpha(share, part, scale, edge)
    count = width * height
    data = bytearray(4 * count)
    if mode == "alone":
        data[0::4] = data[1::4] = data[2::4] = alpha
        data[3::4] = b"\xff" * count
        return pixbuf(bytes(data), width, height, alpha=True)
    colours = picture.get(rectangle, scale, "R'G'B' u8", Gegl.AbyssPolicy.CLAMP)
    if mode in CHECKS:
        for channel in range(3):
            data[channel::4] = colours[channel::3]
        data[3::4] = alpha
        return pixbuf(bytes(data), width, height, alpha=True)
    below = pixbuf(colours, width, height)
    for channel in range(3):
        data[channel::4] = bytes((TINT[channel],)) * count
    data[3::4] = alpha.translate(TINTED)
    over(below, bytes(data))
    return below


def _alpha(share: Any, part: tuple[int, int, int, int], scale: float, edge: Edge) -> Any:
    """The matte of a part as the edge's controls make it, one byte a pixel."""
    x, y, width, height = part
    if edge.plain:
        return share.get(Gegl.Rectangle.new(*part), scale, "Y u8", Gegl.AbyssPolicy.CLAMP)
    near = edge.scaled(scale)
    margin = near.margin
    size = width + 2 * margin, height + 2 * margin
    around = share.get(Gegl.Rectangle.new(x - margin, y - margin, *size), scale, "Y u16", Gegl.AbyssPolicy.CLAMP)
    made = adjusted(pixels.kept(*size, "Y u16", [around]), *size, near)
    return made.get(Gegl.Rectangle.new(margin, margin, width, height), 1.0, "Y u8", Gegl.AbyssPolicy.NONE)


def pixbuf(data: bytes, width: int, height: int, *, alpha: bool = False) -> Any:
    """Pixels as GTK shows them, in memory of their own."""
    made = GdkPixbuf.Pixbuf.new_from_bytes(GLib.Bytes.new(data), GdkPixbuf.Colorspace.RGB, alpha, 8, width, height,
                                           width * (4 if alpha else 3))
    return made.copy()


def over(below: Any, data: bytes) -> None:
    """Put straight RGBA of the same size over a pixbuf."""
    width, height = below.get_width(), below.get_height()
    upper = GdkPixbuf.Pixbuf.new_from_bytes(GLib.Bytes.new(data), GdkPixbuf.Colorspace.RGB, True, 8, width, height,
                                            4 * width)
    upper.composite(below, 0, 0, width, height, 0.0, 0.0, 1.0, 1.0, GdkPixbuf.InterpType.NEAREST, 255)
