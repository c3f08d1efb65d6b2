"""What the nodes make of a picture: a matte and, where somebody takes them, the object's clean colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from matting_anything_core import Matte
from matting_anything_core.foreground import estimate_foreground
from matting_anything_core.types import ProgressCallback

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class Result:
    """A matte; its colours are found when they are first asked for, and kept."""

    matte: Matte
    _colours: Array | None = field(default=None, repr=False)

    def colours(self, progress: ProgressCallback) -> Array:
        """The object's own colours, float32 H×W×3 in 0..1; see `Matte.foreground`. What progress raises ends the work.
        """
        if self._colours is None:
            image = self.matte.image
            self._colours = estimate_foreground(image.own_float(), self.matte.alpha, image.alpha_float(),
                                                progress=progress)
        progress("foreground", 1.0)
        return self._colours

    @property
    def nbytes(self) -> int:
        """Bytes that it occupies."""
        arrays = (self.matte.alpha, self.matte.mask, self.matte.image.rgb, self.matte.image.alpha, self._colours)
        return sum(array.nbytes for array in arrays if array is not None)
