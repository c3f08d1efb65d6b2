"""What a run tells: lines with the time left, and TensorBoard's scalars and pictures where it is installed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Log:
    """Prints and appends to a file; collects the values of steps between two reports. Silent without a path."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._values: list[Mapping[str, float]] = []
        self._waits: list[float] = []
        self._since = time.monotonic()

    def __call__(self, text: str) -> None:
        if self.path is None:
            return
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def collect(self, values: Mapping[str, float], waited: float) -> None:
        """Keep one step's values."""
        self._values.append(values)
        self._waits.append(waited)

    def report(self, stage: int, step: int, steps: int) -> dict[str, float]:
        """Write the means since the last report, with the seconds a step takes and the time left."""
        means = {name: float(np.mean([v[name] for v in self._values])) for name in self._values[0]}
        each = (time.monotonic() - self._since) / len(self._values)
        left = time.strftime("%H:%M:%S", time.gmtime(each * (steps - step)))
        self(f"stage {stage + 1} step {step}/{steps} "
             + " ".join(f"{name} {value:.4g}" for name, value in means.items())
             + f" | {each:.2f} s a step, {np.mean(self._waits):.2f} s waiting for data, {left} left")
        self._values, self._waits, self._since = [], [], time.monotonic()
        return means | {"seconds_a_step": each}


class Board:
    """TensorBoard, when the package `tensorboard` is there (extra `train`); else nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._writer: Any = None
        if folder is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._writer = SummaryWriter(str(folder))

    @property
    def on(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add values by name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, name: str, picture: np.ndarray[Any, Any], step: int) -> None:
        """Add a picture, H×W×3 uint8."""
        if self._writer is not None:
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()
