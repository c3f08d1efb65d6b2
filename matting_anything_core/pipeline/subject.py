"""A box around the whole image says nothing of where the object is: what touches the borders all around is ground.

Asked for what is in such a box, a small decoder often answers with the backdrop. Then the object is what it left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..geometry import Fit
    from .prompting import DecoderPrompt

WHOLE = 0.97
"""A box is the whole image when it has at least this share of its width and of its height."""
GROUND = 0.6
"""A mask that has at least this share of the image's border pixels is the ground …"""
LEAST = 0.01
"""… when it leaves out at least this share of the image."""


def is_whole(prompt: DecoderPrompt, fit: Fit) -> bool:
    """Whether a prompt is the whole view as a box, and nothing else."""
    if prompt.box is None or prompt.points or prompt.mask is not None:
        return False
    x0, y0, x1, y1 = prompt.box
    return x1 - x0 >= WHOLE * fit.width and y1 - y0 >= WHOLE * fit.height


def not_the_ground(logits: Tensor, fit: Fit) -> Tensor:
    """Mask logits 1×h×w over the padded input of the object in a box around everything: turned round when they are
    those of the ground."""
    import torch

    side = logits.shape[-1] / fit.square
    height, width = max(round(fit.scaled[0] * side), 1), max(round(fit.scaled[1] * side), 1)
    inside = logits[0, :height, :width] > 0
    border = torch.cat([inside[0], inside[-1], inside[:, 0], inside[:, -1]]).float().mean()
    if border < GROUND or (~inside).float().mean() < LEAST:
        return logits
    turned = logits.clone()
    turned[0, :height, :width] = -logits[0, :height, :width]
    return turned
