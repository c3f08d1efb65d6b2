"""A linear layer or a convolution with the GELU behind it in one pass over memory, where oneDNN does that (float32 on
the CPU); elsewhere one after the other. Numbers agree to float32's rounding.

torch has these two for its own compiler, as operators without a promise that they stay; so it is asked whether they are
there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from .attention import uses_blocks


@functools.lru_cache(maxsize=1)
def _there() -> bool:
    return bool(torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]
                and hasattr(torch.ops.mkldnn, "_convolution_pointwise"))


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`gelu(linear(x))`; no gradients."""
    if uses_blocks(x) and _there():
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "gelu", [], "none"))
    return F.gelu(F.linear(x, weight, bias))


def convolution_gelu(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: Sequence[int],
                     groups: int) -> Tensor:
    """`gelu(conv2d(x))`; no gradients."""
    if uses_blocks(x) and _there():
        return cast(Tensor, torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, list(padding), [stride, stride], [1, 1], groups, "gelu", [], "none"))
    return F.gelu(F.conv2d(x, weight, bias, stride, tuple(padding), groups=groups))
