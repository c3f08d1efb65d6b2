"""Depthwise convolutions kept in float32 under autocast.

On a CPU bfloat16 makes the small encoder's dense convolutions twice as fast, but the gradient of a depthwise
convolution's weight five to eight times slower (oneDNN has no such kernel and falls back): 50-100 ms instead of 10 for
one layer. So these layers alone stay in float32.
"""

from __future__ import annotations

from torch import Tensor, autocast, nn


class Float32Conv(nn.Module):
    """Runs a convolution in float32 whatever autocast says; `weight` and `bias` keep their names."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        object.__setattr__(self, "conv", conv)  # not registered: its tensors are this module's own

    conv: nn.Conv2d

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution's own; float32 out."""
        with autocast(x.device.type, enabled=False):
            result: Tensor = self.conv(x.float())
        return result


def depthwise_in_float32(module: nn.Module) -> nn.Module:
    """Wrap every depthwise convolution inside a module; the names and values of its tensors stay."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1:
            setattr(module, name, Float32Conv(child))
        else:
            depthwise_in_float32(child)
    return module
