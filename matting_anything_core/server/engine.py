"""The work: one warm model, embeddings kept by content, mattes kept by id. Runs in the thread of jobs.py."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..api import all_matches, load_model, matte
from ..errors import WeightsError
from ..foreground import estimate_foreground
from ..weights import catalogue, store
from .cache import Cache
from .settings import Settings

if TYPE_CHECKING:
    from ..image import Image
    from ..model import MattingAnything
    from ..result import Matte
    from ..types import Embedding, Guidance, ProgressCallback, Prompt


@dataclass(frozen=True, eq=False)
class Ask:
    """A request for mattes of one picture. model: a name, or None for the service's own."""

    prompts: Sequence[Prompt]
    model: str | None = None
    guidance: Guidance | Literal["auto"] = "auto"
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
            if name not in catalogue.MODELS:
                raise WeightsError(f"there is no model {name[:80]!r}; this service has {', '.join(self.available())}")
            store.find(name)  # what is not installed must not cost the one that is warm
        if progress is not None:
            progress("load", 0.0)
        self._model = None  # before the other one takes memory
        self._model, self._name = load_model(name, device=self.settings.device), name
        return self._model

    def available(self) -> list[str]:
        """Models that requests may name: the service's own and those that are installed."""
        return list(dict.fromkeys([self._default, *(name for name in catalogue.MODELS if _installed(name))]))

    def status(self) -> dict[str, Any]:
        """What is loaded and available, on which device, and how full the cache is."""
        model = self._model
        return {
            "device": self.settings.device if model is None else str(model.device),
            "models": {"loaded": [] if model is None else [self._name], "available": self.available()},
            "text": words_usable(),
            "cache": {"bytes": self.cache.nbytes, "limit": self.cache.limit},
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
        model = self.load(ask.model, progress)
        model.check(image, [prompt for prompt in ask.prompts if prompt.text is None])  # before the long work
        embedding = self._embedding(key, image, model, progress)
        if any(prompt.text is not None for prompt in ask.prompts):
            progress("words", 0.0)
        if not ask.all_matches:
            found = matte(embedding, list(ask.prompts), model=model, device=self.settings.device,
                          guidance=ask.guidance, progress=progress)
        else:
            found = []
            room = self.settings.mattes(image.width * image.height)
            for prompt in ask.prompts:
                found += all_matches(embedding, prompt, model=model, device=self.settings.device,
                                     guidance=ask.guidance, most=max(room - len(found), 0), progress=progress)
        return {"mattes": [self._keep(key, one) for one in found]}

    def foreground(self, key: str, found: Matte) -> Any:
        """The clean colours of a matte, float32 H×W×3 in 0..1, kept beside it."""
        colours = self.cache.get(("foreground", key))
        if colours is None:
            colours = estimate_foreground(found.image.rgb_float(), found.alpha, found.image.alpha_float())
            self.cache.put(("foreground", key), colours, colours.nbytes, parent=("matte", key))
        return colours

    def _embedding(self, key: str, image: Image, model: MattingAnything, progress: ProgressCallback) -> Embedding:
        name = ("embedding", key, model.fingerprint)
        embedding: Embedding | None = self.cache.get(name)
        if embedding is None:
            embedding = model.embed(image, progress=progress)
            own = embedding.nbytes - _nbytes(image.rgb, image.alpha)  # the picture is counted already
            self.cache.put(name, embedding, own, parent=("image", key))
        return embedding

    def _keep(self, key: str, found: Matte) -> dict[str, Any]:
        name = secrets.token_urlsafe(12)
        self.cache.put(("matte", name), found, _nbytes(found.alpha, found.mask), parent=("image", key))
        return {
            "matte": name, "score": found.score, "box": None if found.box is None else list(found.box),
            "phrase": found.phrase, "phrase_score": found.phrase_score,
            "width": found.image.width, "height": found.image.height, "empty": not bool(found.alpha.any()),
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


def _nbytes(*arrays: Any) -> int:
    return sum(array.nbytes for array in arrays if array is not None)
