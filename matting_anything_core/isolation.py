"""The same numbers whatever the program around has set: torch's default type and device, its autocast, numpy's errors.

These settings belong to the program, and most hold for all of its threads, so they are not changed, not even for a
moment: inside of `isolated` this thread's calls of torch get the type and device that they would have without them.
What a program may want to hold for this library too is left to it: deterministic algorithms, TF32 and the precision of
matrix products, cuDNN's and OpenCV's settings, the number of threads. No random numbers are drawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.overrides import TorchFunctionMode

_FROM_VALUES = ("tensor", "as_tensor", "asarray", "full", "arange", "scalar_tensor")
"""Makers of tensors whose type is told by the values that they are given."""
_FROM_SHAPES = ("empty", "empty_strided", "zeros", "ones", "eye", "linspace", "logspace", "rand", "randn")
"""Makers of tensors of the default type."""
_WITH_INTEGERS = ("randint", "randperm", "tril_indices", "triu_indices")
"""Makers of integers: only their device is a default."""


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Compute in float32 on the CPU wherever the code names neither type nor device, in the thread that calls this.

    It costs microseconds unless the program has set other defaults. torch's autocast is left to `device.autocast`.
    """
    import numpy as np
    import torch

    # Division by zero, overflow and the like are looked at where they can happen; a program that made them errors
    # for its own arrays has not asked about ours.
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        probe = torch.empty(0)
        if probe.dtype == torch.float32 and probe.device.type == "cpu":
            yield
        else:
            with _usual_defaults():
                yield


def _usual_defaults() -> TorchFunctionMode:
    """A context in which calls of torch behave as if its defaults were float32 and the CPU. It is this thread's own."""
    import torch
    from torch.overrides import TorchFunctionMode

    from_values = {getattr(torch, name) for name in _FROM_VALUES if hasattr(torch, name)}
    from_shapes = {getattr(torch, name) for name in _FROM_SHAPES if hasattr(torch, name)}
    makers = from_values | from_shapes | {getattr(torch, name) for name in _WITH_INTEGERS}

    class UsualDefaults(TorchFunctionMode):
        def __torch_function__(
            self, function: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            named = dict(kwargs or {})
            if function in makers:
                given = [value for value in args if isinstance(value, torch.Tensor)]
                if named.get("device") is None and not given:
                    named["device"] = "cpu"
                if function in from_shapes and named.get("dtype") is None:
                    named["dtype"] = torch.float32
            result = function(*args, **named)
            default = torch.get_default_dtype()
            if default == torch.float32 or not isinstance(result, torch.Tensor) or result.dtype != default:
                return result
            if function in from_values and named.get("dtype") is None and not _typed(args, named, default):
                return function(*args, **{**named, "dtype": torch.float32})
            if named.get("dtype") is None and not _typed(args, named, default) and function not in makers:
                # Whole numbers became fractions, which are of the default type.
                return function(*_fractions(args), **named)
            return result

    return UsualDefaults()


def _typed(args: Sequence[Any], named: Mapping[str, Any], dtype: Any) -> bool:
    """Whether something given to a function has that type already, so that its result has it by right."""
    import numpy as np
    import torch

    for value in (*args, *named.values()):
        if value is dtype or getattr(value, "dtype", None) == dtype:
            return True
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.name == str(dtype).removeprefix("torch."):
            return True
        if isinstance(value, (list, tuple)) and any(isinstance(one, torch.Tensor) for one in value) \
                and _typed(value, {}, dtype):
            return True
    return False


def _fractions(args: Sequence[Any]) -> list[Any]:
    """Arguments with tensors of whole numbers as float32."""
    import torch

    return [value.to(torch.float32) if isinstance(value, torch.Tensor) and not value.is_floating_point()
            and not value.is_complex() else value for value in args]
