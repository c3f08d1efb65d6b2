"""Exponential moving average of a task's trained weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Averages all floating tensors of a module's state, buffers too; decay 0 keeps the last values."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._values = {name: x.detach().clone() for name, x in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after a step; at first faster than `decay` says."""
        share = 1 - min(self.decay, (step + 1) / (step + 20)) if self.decay else 1.0
        now = module.state_dict()
        names = [name for name, x in self._values.items() if x.is_floating_point()]
        torch._foreach_lerp_([self._values[name] for name in names], [now[name] for name in names], share)
        for name, value in self._values.items():
            if not value.is_floating_point():
                value.copy_(now[name])

    def weights(self) -> dict[str, Tensor]:
        """The averaged state by name."""
        return self._values

    def load(self, values: dict[str, Tensor]) -> None:
        """Go on from a checkpoint's averages."""
        for name, value in self._values.items():
            value.copy_(values[name])

    @contextmanager
    def swapped_in(self, module: nn.Module) -> Iterator[None]:
        """Let the module have the averaged weights for a while."""
        kept = {name: x.detach().clone() for name, x in module.state_dict().items()}
        module.load_state_dict(self._values)
        try:
            yield
        finally:
            module.load_state_dict(kept)
