"""The work: one warm model, embeddings kept by content, mattes kept by id. Runs in the thread of jobs.py."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..adjust import content_window
from ..api import all_matches, load_model, matte
from ..errors import WeightsError
from ..foreground import composite, estimate_foreground
from ..options import USUAL, MatteOptions
from ..result import Matte
from ..types import Prompt
from ..weights import catalogue, store
from .cache import Cache, megabytes
from .machine import available_memory
from .problems import NoRoom, TooLarge
from .settings import Settings

if TYPE_CHECKING:
    from ..image import Image
    from ..image.arrays import Array
    from ..model import MattingAnything
    from ..pipeline.embedding import Embedding
    from ..types import ProgressCallback

    Ground = Image | tuple[int, int, int]
    """What a composite is on: a picture, or a colour 0..255."""


MATTING, MATTED = 36, 5
"""Bytes a pixel that matting takes besides the picture: in the object's box while it goes on, and of each matte."""
COMBINED = 5
"""The same for what comes of several mattes, besides two copies of floats while it goes on."""
COLOURING, COLOURED = 42, 12
"""The same for clean colours (27, and 12 of the picture as floats, measured)."""
PATIENCE = 20.0
"""Seconds that a job waits for memory that reading a picture takes."""


@dataclass(frozen=True, eq=False)
class Ask:
    """A request for mattes of one picture. model: a name, or None for the service's own. options: how they are made."""

    prompts: Sequence[Prompt]
    model: str | None = None
    options: MatteOptions = USUAL
    all_matches: bool = False


class Engine:
    """The model and what it has made. All methods but `status`, `image` and `find` belong to the job thread."""

    def __init__(self, settings: Settings, model: MattingAnything | None = None) -> None:
        """model: a loaded one that is the service's own; else settings.model is loaded by `load` or when work comes."""
        self.settings = settings
        self.cache = Cache(settings.memory)
        self._name = settings.model if model is None else model.name
        self._default = self._name
        self._own = self._model = model

    def load(self, name: str | None = None, progress: ProgressCallback | None = None) -> MattingAnything:
        """The model of that name (None: the service's own), loaded unless it is the one that is warm.

        One is kept: another one takes its place. Raises WeightsError, DeviceError.
        """
        name = self._default if name is None else name
        if self._model is not None and name == self._name:
            return self._model
        if name == self._default and self._own is not None:
            self._model, self._name = self._own, name
            return self._own
        if name != self._default:
            if name not in catalogue.models():
                raise WeightsError(f"there is no model {name[:80]!r}; this service has {', '.join(self.available())}")
            store.find(name)  # what is not installed must not cost the one that is warm
        if progress is not None:
            progress("load", 0.0)
        self._model = None  # before the other one takes memory
        self._model, self._name = load_model(name, device=self.settings.device), name
        return self._model

    def available(self) -> list[str]:
        """Models that requests may name: the service's own and those that are installed."""
        return list(dict.fromkeys([self._default, *(name for name in catalogue.models() if _installed(name))]))

    def status(self) -> dict[str, Any]:
        """What is loaded and available, on which device, and how full the cache is."""
        model = self._model
        return {
            "device": self.settings.device if model is None else str(model.device),
            "models": {"loaded": [] if model is None else [self._name], "available": self.available()},
            "text": words_usable(),
            "cache": {"bytes": self.cache.nbytes, "limit": self.cache.limit, "work": self.cache.work},
        }

    def keep_image(self, key: str, image: Image) -> None:
        """Keep a picture by its content."""
        self.cache.put(("image", key), image, _nbytes(image.rgb, image.alpha))

    def image(self, key: str) -> Image | None:
        """A kept picture."""
        found: Image | None = self.cache.get(("image", key))
        return found

    def find(self, key: str) -> Matte | None:
        """A kept matte."""
        found: Matte | None = self.cache.get(("matte", key))
        return found

    def drop(self, kind: Literal["image", "matte"], key: str) -> bool:
        """Forget a picture with all that was made of it, or a matte; False when there was none."""
        return self.cache.drop((kind, key))

    def mattes(self, key: str, image: Image, ask: Ask, progress: ProgressCallback) -> dict[str, Any]:
        """Matte a picture, keep the mattes, and describe them as the answer does. Raises MattingError."""
        return {"mattes": [self._keep(key, one) for one in self._mattes(key, image, ask, progress)]}

    def at_once(self, key: str, image: Image, ask: Ask, output: str, ground: Ground,
                progress: ProgressCallback) -> tuple[dict[str, Any], Matte, Array]:
        """Matte one prompt, keep the matte -> (its description, the matte, the pixels of an output)."""
        [found] = self._mattes(key, image, ask, progress)
        described = self._keep(key, found)
        return described, found, self.pixels(str(described["matte"]), found, output, ground, progress)

    def combined(self, key: str, image: Image, alphas: Sequence[Array], progress: ProgressCallback) -> dict[str, Any]:
        """Keep one matte of several, and describe it. alphas: H×W in 0..1, or whole numbers of 8 bits."""
        with self._room((8 + COMBINED) * image.width * image.height, f"one matte of {len(alphas)}", progress):
            rest = np.ones((image.height, image.width), np.float32)
            for done, alpha in enumerate(alphas):
                progress("matte", done / len(alphas))
                rest *= 1 - (alpha.astype(np.float32) / 255 if alpha.dtype == np.uint8 else alpha)
            together = 1 - rest
            x0, y0, x1, y1 = content_window(together)
            return self._keep(key, Matte(together, together >= 0.5, 1.0, Prompt(box=(x0, y0, x1, y1)), image))

    def colours(self, key: str, found: Matte, progress: ProgressCallback) -> dict[str, Any]:
        """Make the clean colours of a matte, which its outputs then have."""
        self._foreground(key, found, progress)
        return {"matte": key}

    def pixels(self, key: str, found: Matte, output: str, ground: Ground, progress: ProgressCallback) -> Array:
        """What an output of a matte is made of: alpha, mask, or the colours of foreground, cutout or composite."""
        if output in ("alpha", "mask"):
            return found.alpha if output == "alpha" else found.mask
        if output == "composite":
            return self._composite(key, found, ground, progress)
        return self._foreground(key, found, progress)

    def _mattes(self, key: str, image: Image, ask: Ask, progress: ProgressCallback) -> list[Matte]:
        model = self.load(ask.model, progress)
        model.check(image, [prompt for prompt in ask.prompts if prompt.text is None])  # before the long work
        with self._room(_matting_bytes(image, ask.prompts), f"matting {_size(image)}", progress):
            embedding, name = self._embedding(key, image, model, progress)
            with self.cache.using(name):
                if any(prompt.text is not None for prompt in ask.prompts):
                    progress("words", 0.0)
                if not ask.all_matches:
                    found = matte(embedding, list(ask.prompts), ask.options, model=model, device=self.settings.device,
                                  progress=progress)
                else:
                    found = []
                    room = self.settings.mattes(image.width * image.height)
                    for prompt in ask.prompts:
                        found += all_matches(embedding, prompt, ask.options, model=model, device=self.settings.device,
                                             most=max(room - len(found), 0), progress=progress)
        self.cache.resize(name, _own_bytes(embedding))  # it may keep more now than it did before
        return found

    def _foreground(self, key: str, found: Matte, progress: ProgressCallback) -> Array:
        """The clean colours of a matte, float32 H×W×3 in 0..1, kept beside it."""
        colours: Array | None = self.cache.get(("foreground", key))
        if colours is None:
            pixels = found.alpha.size
            with self._room(COLOURING * pixels, f"the clean colours of {_size(found.image)}", progress):
                progress("foreground", 0.0)
                colours = estimate_foreground(found.image.rgb_float(), found.alpha, found.image.alpha_float(),
                                              progress=progress)
            self.cache.put(("foreground", key), colours, colours.nbytes, parent=("matte", key))
        return colours

    def _composite(self, key: str, found: Matte, ground: Ground, progress: ProgressCallback) -> Array:
        """A matte's object on a colour or on another picture: float32 H×W×3 in 0..1."""
        colours = self._foreground(key, found, progress)
        pixels = found.alpha.size
        taken = COLOURED * (2 * pixels + (0 if isinstance(ground, tuple) else 3 * ground.width * ground.height))
        with self._room(taken, f"a composite of {_size(found.image)}", progress):
            below = np.array(ground, np.float32) / np.float32(255) if isinstance(ground, tuple) else ground.rgb_float()
            return composite(colours, found.alpha, below)

    @contextlib.contextmanager
    def _room(self, nbytes: int, what: str, progress: ProgressCallback) -> Iterator[None]:
        """Memory for a job, which may wait for what others use, and may take more than the service's where the machine
        has that much free. Raises TooLarge, NoRoom, and what `progress` raises."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.cache.reserve(nbytes, what)
                break
            except (TooLarge, NoRoom):
                if not self.cache.work:  # there is nothing to wait for: the rest is the picture's own
                    nbytes = self._beyond(nbytes, what)
                    break
                if time.monotonic() > until:
                    raise
            progress("memory", 0.0)
            time.sleep(0.05)
        try:
            yield
        finally:
            self.cache.release(nbytes)

    def _beyond(self, nbytes: int, what: str) -> int:
        """Take all that is left of the service's memory, and trust in the machine's for the rest. Raises TooLarge."""
        free = available_memory()
        if free is not None and nbytes > free:
            raise TooLarge(f"{what} takes about {megabytes(nbytes)}, more than is left of this service's --memory of "
                           f"{megabytes(self.cache.limit)} and more than the {megabytes(free)} that this machine has "
                           "free; make the picture or its box smaller")
        return self.cache.reserve_rest(nbytes)

    def _embedding(self, key: str, image: Image, model: MattingAnything,
                   progress: ProgressCallback) -> tuple[Embedding, Hashable]:
        """The embedding of a picture, and its name in the cache."""
        name = ("embedding", key, model.fingerprint)
        embedding: Embedding | None = self.cache.get(name)
        if embedding is None:
            embedding = model.embed(image, progress=progress)
            self.cache.put(name, embedding, _own_bytes(embedding), parent=("image", key))
        return embedding, name

    def _keep(self, key: str, found: Matte) -> dict[str, Any]:
        name = secrets.token_urlsafe(12)
        self.cache.put(("matte", name), found, _nbytes(found.alpha, found.mask), parent=("image", key))
        return describe(name, found)


def describe(name: str, found: Matte) -> dict[str, Any]:
    """A matte as answers describe it."""
    return {
        "matte": name, "score": found.score, "box": None if found.box is None else list(found.box),
        "phrase": found.phrase, "phrase_score": found.phrase_score,
        "width": found.image.width, "height": found.image.height, "empty": not bool(found.alpha.any()),
        "warnings": list(found.warnings),
    }


def words_usable() -> bool:
    """Whether words can be prompts here: transformers is installed, and so are the detector's weights."""
    from importlib.util import find_spec

    return find_spec("transformers") is not None and _installed("grounding-dino-tiny")


def _installed(name: str) -> bool:
    try:
        store.find(name)
    except WeightsError:
        return False
    return True


def _own_bytes(embedding: Embedding) -> int:
    """Bytes of an embedding without its picture, which is counted already."""
    return embedding.nbytes - _nbytes(embedding.image.rgb, embedding.image.alpha)


def _matting_bytes(image: Image, prompts: Sequence[Prompt]) -> int:
    pixels, largest = image.width * image.height, 0.0
    for prompt in prompts:
        x0, y0, x1, y1 = prompt.box or (0, 0, image.width, image.height)
        largest = max(largest, max(min(x1, image.width) - max(x0, 0), 0) * max(min(y1, image.height) - max(y0, 0), 0))
    return int(MATTING * largest) + MATTED * pixels * len(prompts)


def _size(image: Image) -> str:
    return f"a picture of {image.width} x {image.height} pixels"


def _nbytes(*arrays: Any) -> int:
    return sum(array.nbytes for array in arrays if array is not None)
