"""What can be done to a matte's edge: shift it, soften it, make it harder. GEGL does the work, in strips."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
    graph = pixels.Graph()
    node = graph.source(share)
    if radius:
        node = graph.apply("gegl:median-blur", node, radius=radius, percentile=100.0 if edge.shift > 0 else 0.0,
                           high_precision=True)
    if edge.feather:
        node = graph.apply("gegl:gaussian-blur", node, std_dev_x=edge.feather / 2, std_dev_y=edge.feather / 2)
    if edge.contrast:
        low = min(edge.contrast / 200, 0.498)
        node = graph.apply("gegl:levels", node, in_low=low, in_high=1 - low)
    result = Gegl.Buffer.new("Y u16", 0, 0, width, height)
    graph.write(node, result)
    return result
