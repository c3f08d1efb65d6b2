"""What the library must know of the network of an alpha head that goes with any segmenter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .backbone import Shapes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class HeadNetwork:
    """The network of an alpha head, told by the tensors of its files.

    Parameters
    ----------
    head : str
        The head that it belongs to, by its name in pipeline/heads.py.
    title : str
        What messages call it.
    rename : callable
        A tensor's name in any published layout -> the one that the network has.
    recognises : callable
        Whether the names (renamed) and shapes of a file's tensors are this one's.
    build : callable
        These names and shapes -> the network with fresh weights. It may run under `torch.device("meta")`. What cannot
        be built raises ValueError, which says why.
    label : callable
        These names and shapes -> what a model with this head is called: the part behind the "+".
    """

    head: str
    title: str
    rename: Callable[[str], str] = field(repr=False)
    recognises: Callable[[Shapes], bool] = field(repr=False)
    build: Callable[[Shapes], nn.Module] = field(repr=False)
    label: Callable[[Shapes], str] = field(repr=False)
