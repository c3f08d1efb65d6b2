"""The frozen encoder's features of training views, kept in files: a view is encoded once, however often it is used.

A folder holds three memory-mapped arrays and a note of what they were made with. Rows are written in any order and by
any number of processes; the mark that a row is there is written last. A row of the input size 512 takes 0.6 MB, and a
row that nobody wrote takes no room where the file system knows sparse files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import MattingError
from ..replacing import replace_text
from .views import OBJECTS, View

CHANNELS, PATCH, CELL = 256, 16, 4


class FeatureCache:
    """Features float16, targets uint8, and sizes with the number of objects, for a fixed number of views."""

    def __init__(self, folder: Path, length: int, side: int) -> None:
        """Opens the folder's arrays, made when they are not there, and made longer when there are to be more views."""
        self.folder, self.length = folder, length
        folder.mkdir(parents=True, exist_ok=True)
        grid, low = side // PATCH, side // CELL
        self._features = self._array("features.f16", np.float16, (length, CHANNELS, grid, grid))
        self._targets = self._array("targets.u8", np.uint8, (length, OBJECTS, low, low))
        self._heads = self._array("heads.i16", np.int16, (length, 4))  # is there, height, width, objects

    def _array(self, name: str, kind: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
        path = self.folder / name
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        with path.open("ab") as file:
            file.truncate(max(size, file.tell()))
        return np.memmap(path, kind, "r+", shape=shape)

    def claim(self, made_with: dict[str, Any]) -> None:
        """Note what the features are made with, or check that it is what they were made with before. Raises
        MattingError when it is not."""
        path, text = self.folder / "made_with.json", json.dumps(made_with, sort_keys=True, indent=1)
        if not path.exists():
            replace_text(path, text)
        found = json.loads(path.read_text(encoding="utf-8"))
        now = json.loads(text)
        other = sorted(key for key in now.keys() | found.keys() if now.get(key) != found.get(key))
        if other:
            raise MattingError(f"the features in {self.folder} were made with another {', '.join(other)}; name another "
                               "feature_cache, or delete the folder")

    def __contains__(self, index: int) -> bool:
        return bool(self._heads[index, 0])

    def __len__(self) -> int:
        return int((self._heads[:, 0] != 0).sum())

    def read(self, index: int) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Features 256×h×w float16, the image's height and width in the square, and the targets K×4h×4w uint8."""
        _, height, width, count = (int(v) for v in self._heads[index])
        features, targets = np.array(self._features[index]), np.array(self._targets[index, :count])
        return torch.from_numpy(features), (height, width), torch.from_numpy(targets)

    def write(self, index: int, features: Tensor, view: View) -> None:
        """Keep what `read` gives."""
        count = len(view.targets)
        self._features[index] = features.to("cpu", torch.float16).numpy()
        self._targets[index, :count] = view.targets.cpu().numpy()
        self._heads[index, 1:] = (*view.size, count)
        self._heads[index, 0] = 1
