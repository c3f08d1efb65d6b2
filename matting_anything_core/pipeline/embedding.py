"""What a model knows of one image: an Embedding, which keeps the views that prompts asked for.

A view is the image, or a crop of it, as the encoder sees it, with the features it makes of that. Views are encoded when
they are first needed and kept, so that a second prompt on the same object, or a correction, costs what comes after the
encoder only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..geometry import Fit, Window

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..image import Image

MOST_VIEWS = 8
"""An embedding keeps at most so many views; the one that was not used for longest goes first …"""
MOST_BYTES = 256 << 20
"""… and at most so many bytes of them, but always the last one."""
HIDDEN = 127
"""What the network sees where an image is transparent: mid-gray, since the colours there are arbitrary."""


@dataclass(frozen=True, eq=False)
class View:
    """A part of an image as a network sees it.

    Parameters
    ----------
    window : Window
        Which part, in the image's pixels.
    fit : Fit
        How that part lies in the encoder's square input.
    rgb : ndarray
        H×W×3 uint8, the part scaled to `fit.scaled`.
    features : Tensor
        1×256×h×w float32, the encoder's output for the padded input, on the model's device.
    pixels : Tensor
        1×3×S×S float32, the part normalised and padded as the alpha head takes it; 1×3×0×0 when the head takes none.
    fine : tuple of Tensor
        What the mask decoder needs besides, 1×any×any×any float32 each; nothing for SAM itself.
    """

    window: Window
    fit: Fit
    rgb: np.ndarray[Any, np.dtype[np.uint8]] = field(repr=False)
    features: torch.Tensor = field(repr=False)
    pixels: torch.Tensor = field(repr=False)
    fine: tuple[torch.Tensor, ...] = field(default=(), repr=False)

    def to(self, device: str | torch.device) -> View:
        """The same with its tensors on another device."""
        return replace(self, features=self.features.to(device), pixels=self.pixels.to(device),
                       fine=tuple(tensor.to(device) for tensor in self.fine))

    @property
    def nbytes(self) -> int:
        """Bytes that it occupies."""
        tensors = (self.features, self.pixels, *self.fine)
        return int(self.rgb.nbytes + sum(tensor.nelement() * tensor.element_size() for tensor in tensors))


class Views:
    """The views that an embedding keeps: bounded, and safe for threads."""

    def __init__(self, views: dict[Window, View] | None = None) -> None:
        self._views: OrderedDict[Window, View] = OrderedDict(views or {})
        self._lock = threading.RLock()

    def get(self, window: Window, encode: Callable[[], View]) -> View:
        """The view of a window, encoded now if it is not there. Threads that ask for it meanwhile wait."""
        with self._lock:
            view = self._views.get(window)
            if view is None:
                view = self._views[window] = encode()
            self._views.move_to_end(window)
            while len(self._views) > 1 and (len(self._views) > MOST_VIEWS or self.nbytes > MOST_BYTES):
                self._views.popitem(last=False)
            return view

    def all(self) -> dict[Window, View]:
        """What is kept now, the one that was used last at the end."""
        with self._lock:
            return dict(self._views)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(view.nbytes for view in self.all().values())

    def __getstate__(self) -> dict[Window, View]:
        return self.all()

    def __setstate__(self, state: dict[Window, View]) -> None:
        self.__init__(state)  # type: ignore[misc]


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a model knows of one image, made by `MattingAnything.embed` and used for any number of prompts.

    It may be kept or dropped, handed to threads, and moved between devices. The views in it are bounded (`MOST_VIEWS`,
    `MOST_BYTES`); a view that is gone is encoded again when a prompt needs it, with the same result.

    Parameters
    ----------
    image : Image
        What it was made of.
    visible : ndarray
        H×W×3 uint8, the image's colours as a network may see them: on mid-gray where it is transparent.
    model : str
        Which model made it; another one refuses it.
    views : Views
        The whole image and crops of it, with features, as far as prompts asked for them.
    """

    image: Image
    visible: np.ndarray[Any, np.dtype[np.uint8]] = field(repr=False)
    model: str
    views: Views = field(default_factory=Views, repr=False)

    @property
    def whole(self) -> Window:
        """The window of the whole image."""
        return Window(0, 0, self.image.height, self.image.width)

    def to(self, device: str | torch.device) -> Embedding:
        """The same, with the views that it has now, on another device; itself when they are there already, so that what
        is encoded later is kept too."""
        import torch

        place = torch.device(device)
        if all(view.features.device == place for view in self.views.all().values()):
            return self
        return replace(self, views=Views({window: view.to(device) for window, view in self.views.all().items()}))

    @property
    def nbytes(self) -> int:
        """Bytes it occupies now, the image's included (for caches that are bounded by memory); views come and go."""
        own = [self.image.rgb, self.visible, *([] if self.image.alpha is None else [self.image.alpha])]
        once = {array.__array_interface__["data"][0]: array.nbytes for array in own}
        return sum(once.values()) + self.views.nbytes


def visible_colours(image: Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The image's colours H×W×3 uint8, on mid-gray where it is transparent."""
    import numpy as np

    rgb = image.rgb8()
    if image.alpha is None or image.alpha.min() == np.iinfo(image.alpha.dtype).max:
        return rgb
    opacity = (image.alpha.astype(np.float32) / np.float32(np.iinfo(image.alpha.dtype).max))[..., None]
    shown: np.ndarray[Any, np.dtype[np.uint8]] = (rgb * opacity + HIDDEN * (1 - opacity) + 0.5).astype(np.uint8)
    return shown
