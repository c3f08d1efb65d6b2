"""Pixels between GIMP's buffers and bytes, in strips of whole rows, so that layers of any size go through.

Colours are sRGB ("R'G'B'"), straight alpha. Masks and selections are linear ("Y"): their value is the share itself. A
channel may be stored with sRGB's curve ("Y'"); then its stored value is the share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gi.repository import Babl, Gegl, Gimp

STRIP = 4 << 20
EIGHT_BITS = (Gimp.Precision.U8_LINEAR, Gimp.Precision.U8_NON_LINEAR, Gimp.Precision.U8_PERCEPTUAL)
BYTES = {"Y u8": 1, "Y' u8": 1, "Y u16": 2, "Y' u16": 2, "YA u16": 4, "Y'A u8": 2, "R'G'B' u8": 3, "R'G'B'A u8": 4,
         "R'G'B' u16": 6, "R'G'B'A u16": 8}
"""Bytes of a pixel in the formats that are used; GIMP ends a process that asks for one it does not know."""
FAINT = bytes(range(16))
"""High bytes of shares that count as nothing."""


def strips(buffer: Any, x: int, y: int, width: int, height: int, form: str) -> Iterator[bytes]:
    """A rectangle of a buffer, row by row; zeros outside of the buffer."""
    rows = max(1, STRIP // (width * BYTES[form]))
    for top in range(0, height, rows):
        part = Gegl.Rectangle.new(x, y + top, width, min(rows, height - top))
        yield buffer.get(part, 1.0, form, Gegl.AbyssPolicy.NONE)


def rows(buffer: Any, x: int, y: int, width: int, height: int, form: str) -> Iterator[bytes]:
    """A rectangle of a buffer, a row at a time; zeros outside of the buffer."""
    length = width * BYTES[form]
    for strip in strips(buffer, x, y, width, height, form):
        yield from (strip[at:at + length] for at in range(0, len(strip), length))


def share_format(item: Any, number: str) -> str:
    """The format in which a mask or channel holds shares: a channel of an 8-bit image has sRGB's curve."""
    return f"""{"Y'" if "'" in Babl.format_get_encoding(item.get_format()) else "Y"} {number}"""


def fill(buffer: Any, x: int, y: int, width: int, form: str, data: Iterable[bytes]) -> None:
    """Write strips of whole rows into a buffer, the first one's top left corner at (x, y)."""
    for strip in data:
        rows, rest = divmod(len(strip), width * BYTES[form])
        assert rest == 0, "a wrong number of bytes would silently write nothing"
        buffer.set(Gegl.Rectangle.new(x, y, width, rows), form, strip)
        y += rows


def kept(width: int, height: int, form: str, data: Iterable[bytes]) -> Any:
    """A new buffer that holds the strips."""
    Gegl.init(None)
    buffer = Gegl.Buffer.new(form, 0, 0, width, height)
    fill(buffer, 0, 0, width, form, data)
    return buffer


def depth(image: Any) -> str:
    """"u8" for images with 8 bits a channel, "u16" for all that have more."""
    return "u8" if image.get_precision() in EIGHT_BITS else "u16"


def dtype(form: str) -> str:
    """The numbers of a format, as the service names them."""
    return form.split()[1]


def picture_format(layer: Any) -> tuple[str, int]:
    """The format in which a layer's colours are sent, and its channels: 4 where some of it is transparent, else 3."""
    bits = depth(layer.get_image())
    return (f"R'G'B'A {bits}", 4) if has_holes(layer) else (f"R'G'B' {bits}", 3)


def has_holes(layer: Any) -> bool:
    """Whether any pixel of a layer is transparent, wholly or in part."""
    if not layer.has_alpha():
        return False
    width, height = layer.get_width(), layer.get_height()
    buffer = layer.get_buffer()
    return any(strip[1::2].count(255) < len(strip) // 2
               for strip in strips(buffer, 0, 0, width, height, "Y'A u8"))


def sent_colours(layer: Any) -> Any:
    """A layer's colours as the service gets them, without alpha, as a buffer."""
    width, height, form = layer.get_width(), layer.get_height(), f"R'G'B' {depth(layer.get_image())}"
    return kept(width, height, form, strips(layer.get_buffer(), 0, 0, width, height, form))


def own_alpha(layer: Any) -> Any:
    """A layer's alpha channel as a buffer of "Y u16"."""
    width, height = layer.get_width(), layer.get_height()
    both = strips(layer.get_buffer(), 0, 0, width, height, "YA u16")
    return kept(width, height, "Y u16", (bytes(memoryview(strip).cast("H")[1::2]) for strip in both))


class Graph:
    """GEGL operations over buffers: `source` and `apply` give what the next one takes, `write` does the work."""

    def __init__(self) -> None:
        Gegl.init(None)
        self._graph = Gegl.Node()

    def source(self, buffer: Any) -> Any:
        """What gives a buffer's pixels."""
        return self._node("gegl:buffer-source", buffer=buffer)

    def apply(self, operation: str, over: Any, aux: Any = None, **properties: Any) -> Any:
        """An operation over one or two others."""
        node = self._node(operation, **properties)
        over.link(node)
        if aux is not None:
            aux.connect_to("output", node, "aux")
        return node

    def write(self, last: Any, target: Any) -> None:
        """Do all of it, into a buffer."""
        last.link(self._node("gegl:write-buffer", buffer=target))
        self._last.process()

    def _node(self, operation: str, **properties: Any) -> Any:
        self._last = self._graph.create_child(operation)
        for name, value in properties.items():
            self._last.set_property(name.replace("_", "-"), value)
        return self._last


def combine(operation: str, one: Any, other: Any, width: int, height: int) -> Any:
    """The product ("gegl:multiply"), sum, difference or quotient ("gegl:divide", 0 where `other` is 0) of two masks,
    limited to 0..1."""
    graph = Graph()
    result = Gegl.Buffer.new("Y u16", 0, 0, width, height)
    graph.write(graph.apply(operation, graph.source(one), graph.source(other)), result)
    return result


def put_clean(source: Any, sent: Any, clean: Any, share: Any, target: Any, amount: float = 1.0) -> None:
    """Write the subject of `source` into `target`, a buffer with alpha.

    source: the layer's own pixels. sent: the same as the service got them, in sRGB and within 0..1; clean: its clean
    colours, None to leave the layer's as they are. share: the subject's in each pixel, by which the layer's alpha is
    multiplied.

    What is written is the layer's own colour and the difference that cleaning makes, times `amount` (0..1). So where
    nothing was to be cleaned every value stays as it is, also those that sRGB or 0..1 cannot hold.
    """
    graph = Graph()
    cleaned = graph.source(source)
    if clean is not None:
        change = graph.apply("gegl:subtract", graph.source(clean), graph.source(sent))
        if amount != 1:
            change = graph.apply("gegl:multiply", change, value=amount)
        cleaned = graph.apply("gegl:add", cleaned, change)
    graph.write(graph.apply("gegl:opacity", cleaned, graph.source(share)), target)


def seen(strips: Iterable[bytes], counts: list[int]) -> Iterator[bytes]:
    """The same strips of "Y u16"; at the end `counts` has got the number of pixels above one sixteenth."""
    count = 0
    for strip in strips:
        high = strip[1::2]  # little endian
        count += len(high.translate(None, FAINT))
        yield strip
    counts.append(count)


def paste(share: Any, target: Any, x: int, y: int) -> None:
    """Write a buffer of "Y u16" into a mask or channel, its top left corner at (x, y); what sticks out is cut off."""
    extent = share.get_extent()
    left, top = max(x, 0), max(y, 0)
    width = min(x + extent.width, target.get_width()) - left
    height = min(y + extent.height, target.get_height()) - top
    if width > 0 and height > 0:
        form = share_format(target, "u16")
        buffer = target.get_buffer()
        fill(buffer, left, top, width, form, strips(share, left - x, top - y, width, height, "Y u16"))
        buffer.flush()
        target.update(left, top, width, height)
