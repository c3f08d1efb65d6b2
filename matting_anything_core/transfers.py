"""Bringing numbers to a device without waiting for it.

`tensor.to("cuda")` waits until everything that was asked of the card before is done. From memory that is not pinned
CUDA stages a copy before the call returns, so an upload need not wait, and the memory may be used again at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STAGING = ("cuda", "meta")
"""Kinds of device for which that is so; meta is what tests pretend a card with. Other ones may read the memory late."""


def uploaded(tensor: torch.Tensor, device: torch.device | str | None) -> torch.Tensor:
    """A tensor on a device; itself when it is there already, or when there is no device given."""
    if device is None:
        return tensor
    import torch

    place = torch.device(device)
    return tensor if tensor.device == place else tensor.to(place, non_blocking=place.type in _STAGING)
