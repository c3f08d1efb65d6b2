"""What can be done to a matte's edge: shift it, soften it, make it harder. GEGL does the work."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import parts
import pixels
from gi.repository import Gegl


@dataclass(frozen=True)
class Edge:
    """shift: pixels by which the subject gets larger, smaller when negative. feather: pixels over which its edge gets
    softer to either side. contrast: 0 leaves it, 100 makes it hard. In this order."""

    shift: float = 0.0
    feather: float = 0.0
    contrast: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether nothing is done."""
        return self == Edge()

    @property
    def margin(self) -> int:
        """So many pixels around a part decide on it."""
        return math.ceil(abs(self.shift) + 2 * self.feather) + 1

    def scaled(self, scale: float) -> Edge:
        """The same in a picture of another size."""
        return Edge(self.shift * scale, self.feather * scale, self.contrast)


def adjusted(share: Any, width: int, height: int, edge: Edge) -> Any:
    """A buffer of "Y u16" with another edge; the same one when nothing is done."""
    radius = round(abs(edge.shift))
    if edge.contrast == 0 and edge.feather == 0 and radius == 0:
        return share
    result = Gegl.Buffer.new("Y u16", 0, 0, width, height)
    box = parts.bounds(pixels.rows(share, 0, 0, width, height, "Y u8"))
    if box is None:
        return result
    # Beyond the subject's surroundings all stays 0; shifting takes seconds for every ten megapixels.
    left, top = max(box[0] - edge.margin, 0), max(box[1] - edge.margin, 0)
    right, bottom = min(box[2] + edge.margin, width), min(box[3] + edge.margin, height)
    graph = pixels.Graph()
    node = graph.apply("gegl:crop", graph.source(share), x=float(left), y=float(top), width=float(right - left),
                       height=float(bottom - top))
    if radius:
        node = graph.apply("gegl:median-blur", node, radius=radius, percentile=100.0 if edge.shift > 0 else 0.0,
                           high_precision=True)
    if edge.feather:
        node = graph.apply("gegl:gaussian-blur", node, std_dev_x=edge.feather / 2, std_dev_y=edge.feather / 2)
    if edge.contrast:
        low = min(edge.contrast / 200, 0.498)
        node = graph.apply("gegl:levels", node, in_low=low, in_high=1 - low)
    graph.write(graph.apply("gegl:crop", node, x=float(left), y=float(top), width=float(right - left),
                            height=float(bottom - top)), result)
    return result


SURE = bytes(127 if value > 242 else 0 for value in range(256))
"""What of a matte, and of the same blurred, is surely the subject …"""
PERHAPS = bytes(128 if value > 12 else 0 for value in range(256))
"""… and what may be: both together are 255, and nothing of it is surely the background."""


def trimap(share: Any, width: int, height: int, band: float) -> Iterator[bytes]:
    """A trimap of a matte, one byte a pixel, in strips of rows: unknown where the matte is soft, and about as far as
    `band` pixels from its edge to either side."""
    blurred = adjusted(share, width, height, Edge(feather=band))
    for sharp, soft in zip(*(pixels.strips(one, 0, 0, width, height, "Y u8") for one in (share, blurred)),
                           strict=True):
        sure = _number(sharp, SURE) & _number(soft, SURE)
        perhaps = _number(sharp, PERHAPS) | _number(soft, PERHAPS)
        yield (sure | perhaps).to_bytes(len(sharp), "little")


def _number(strip: bytes, table: bytes) -> int:
    """All of a strip as one number, whose bits Python combines at once."""
    return int.from_bytes(strip.translate(table), "little")
