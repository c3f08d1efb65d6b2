"""The learning rate by step."""

from __future__ import annotations

import math

from .recipe import Stage


def rate_at(stage: Stage, step: int) -> float:
    """The factor on the learning rate for the step after `step` steps were taken, in (0, 1].

    Linear warm-up over `warmup` steps, then a cosine to `floor` at the stage's end. The first step has 1 / warmup, so
    that nothing is wasted on a rate of zero; and the first step after the warm-up is one below the peak, as in the
    released program.
    """
    if step < stage.warmup:
        return (step + 1) / stage.warmup
    share = (step + 1 - stage.warmup) / max(1, stage.steps - stage.warmup)
    return stage.floor + (1 - stage.floor) * (1 + math.cos(math.pi * min(1.0, share))) / 2
