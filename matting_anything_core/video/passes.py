"""The passes over a clip that mattes one object: forward and backward from every frame that is marked.

    0 ◄──────── first mark ────────► ◄──────── next mark ────────► the end
       backward            forward and backward,          forward
                                 blended

What lies before the first mark is gone through backward, what lies between two marks both ways, and what lies behind
the last one forward. Backward passes come before the frames in front of them can be given out, so their alphas are kept
on the disk meanwhile: memory holds a few frames, however long the clip is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count, pairwise, takewhile
from typing import TYPE_CHECKING, Any

from ..api import Words
from ..errors import PromptError
from ..options import MatteOptions
from ..pipeline.embedding import Embedding, visible_colours
from ..types import Prompt
from .flow import Flow, flow_between, small
from .marks import Correction, Mark, Marks, as_correction, corrects
from .source import Clip
from .store import EVERY, Found, Store, rounded
from .tracker import LOST, NEW_SCENE, Track, begin, follow

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from ..image import Image
    from ..model import MattingAnything

    Array = np.ndarray[Any, Any]

DISAGREE = 8.0
"""How much more abruptly one direction gives way to the other where they disagree wholly, than where they agree."""
LOST_BACKWARD = "the object is lost before this frame: mark it in an earlier one if it is there"


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of the result: its number, the image, the alpha and what is said of it; marked: by hand."""

    index: int
    image: Image
    found: Found
    marked: bool = False


@dataclass(eq=False)
class Work:
    """What all passes share: the clip, the model, and what is kept of the last few frames, for several objects.

    store: where alphas of passes are kept; keeps: whether they stay there for a later run. tick: called before each
    frame with what is done; what it raises ends the work.
    """

    clip: Clip
    model: MattingAnything
    options: MatteOptions
    words: Words
    store: Store
    keeps: bool
    tick: Callable[[str], None]
    _embeddings: OrderedDict[int, Embedding] = field(default_factory=OrderedDict)
    _flows: OrderedDict[tuple[int, int], Flow] = field(default_factory=OrderedDict)

    def embedding(self, index: int, image: Image) -> Embedding:
        """A frame's embedding, not encoded before something is asked of it."""
        found = self._embeddings.get(index)
        if found is None or found.image is not image:
            found = Embedding(image, visible_colours(image), self.model.fingerprint)
        _keep(self._embeddings, index, found)
        return found

    def flow(self, before: int, now: int, old: Array, new: Array) -> Flow:
        """The flow between two frames, given at the size of the flow."""
        found = self._flows.get((before, now)) or flow_between(old, new)
        _keep(self._flows, (before, now), found)
        return found


def _keep(values: OrderedDict[Any, Any], key: Any, value: Any, most: int = 3) -> None:
    values[key] = value
    values.move_to_end(key)
    while len(values) > most:
        values.popitem(last=False)


def frames_of(work: Work, marks: Marks, name: str) -> Iterator[Frame]:
    """The frames of a clip with the alpha of one object, in order.

    Raises
    ------
    PromptError
        For marks behind the end of the clip.
    """
    places = list(marks)
    first = places[0]
    track, image, found = _begun(work, first, marks[first], None)
    yield from _before(work, first, track, f"{name}back{first}")
    yield Frame(first, image, found, True)
    for last, place in pairwise(places):
        between = range(last + 1, place)
        forth, back = f"{name}forth{last}", f"{name}back{place}"
        for _, _, after in _pass(work, forth, between, track, keep=True):
            track = after
        track, image, found = _begun(work, place, marks[place], track)
        for _ in _pass(work, back, reversed(between), track, keep=True, backward=True):
            pass
        for index in between:
            share = (index - last) / (place - last)
            yield Frame(index, work.clip.read(index), _blended(work.store, forth, back, index, share))
            work.clip.release(index)
            _forget(work, (forth, back), index)
        yield Frame(place, image, found, True)
    rest = _pass(work, f"{name}forth{places[-1]}", count(places[-1] + 1), track, keep=work.keeps)
    for index, found, _ in rest:
        yield Frame(index, work.clip.read(index), found)
        work.clip.release(index)


def _before(work: Work, first: int, track: Track, name: str) -> Iterator[Frame]:
    """What lies before the first mark."""
    for _ in _pass(work, name, range(first - 1, -1, -1), track, keep=True, backward=True):
        pass
    for index in range(first):
        found = work.store.needed(name, index)
        yield Frame(index, work.clip.read(index), found)
        work.clip.release(index)
        _forget(work, (name,), index)


def _begun(work: Work, index: int, mark: Mark, before: Track | None) -> tuple[Track, Image, Found]:
    """A marked frame: the track that begins there, the image, and its alpha. before: the track up to the frame before,
    which a correction goes on from."""
    work.tick(f"frame {index}")
    try:
        image = work.clip.read(index)
    except IndexError:
        raise PromptError(f"frame {index} is marked, but the clip has "
                          f"{work.clip.count or 'fewer'} frames, numbered from 0") from None
    embedding = work.embedding(index, image)
    if before is not None and corrects(mark):
        rgb = small(embedding.visible)
        flow = work.flow(index - 1, index, before.rgb, rgb) if before.rgb.shape == rgb.shape else None
        _, matte = follow(work.model, before, embedding, work.options, flow=flow)
        if matte.alpha.any() or isinstance(mark, Correction):
            mark = as_correction(mark).of(matte.alpha)
    assert isinstance(mark, Prompt)  # marks_of: the first one is no correction
    track, matte = begin(work.model, embedding, mark, work.options, track=before, words=work.words)
    return track, image, Found(rounded(matte.alpha), matte.score, matte.warnings)


def _pass(
    work: Work, name: str, indices: Iterable[int], track: Track, *, keep: bool, backward: bool = False,
) -> Iterator[tuple[int, Found, Track]]:
    """Follow the object through frames in an order, up to the last one that there is; keep: put the alphas into the
    store. Goes on where an earlier run has stopped."""
    before: int | None = None
    indices = iter(indices)
    resumed = work.store.get_track(name) if work.keeps else None
    if resumed is not None:
        done = [*takewhile(lambda index: index != resumed[0], indices), resumed[0]]
        if all(work.store.has(name, index) for index in done):
            before, track = resumed
            for index in done:
                yield index, work.store.needed(name, index), track
        else:  # something is missing: all of it anew
            indices = chain(done, indices)
    for index in indices:
        try:
            image = work.clip.read(index)
        except IndexError:
            return
        work.tick(f"frame {index}")
        embedding = work.embedding(index, image)
        rgb = small(embedding.visible)
        last = (index + 1 if backward else index - 1) if before is None else before
        flow = work.flow(last, index, track.rgb, rgb) if track.rgb.shape == rgb.shape else None
        track, matte = follow(work.model, track, embedding, work.options, flow=flow)
        said = tuple(LOST_BACKWARD if backward and text == LOST else text for text in matte.warnings
                     if not (backward and text == NEW_SCENE))
        found = Found(rounded(matte.alpha), matte.score, said)
        if keep:
            work.store.put(name, index, found)
            if work.keeps and index % EVERY == 0:
                work.store.put_track(name, index, track)
        before = index
        yield index, found, track


def _forget(work: Work, names: Iterable[str], index: int) -> None:
    if not work.keeps:
        for name in names:
            work.store.drop(name, index)


def _blended(store: Store, forth: str, back: str, index: int, share: float) -> Found:
    """The alpha of a frame between two marks, a share of the way from one to the other."""
    one, other = store.needed(forth, index), store.needed(back, index)
    if not one.alpha.any():  # lost on the one way, but perhaps not on the other
        return other
    if not other.alpha.any():
        return one
    alpha = blended(one.alpha, other.alpha, share)
    nearer = one if share < 0.5 else other
    return Found(rounded(alpha), nearer.score, one.warnings)


def blended(forth: Array, back: Array, share: float) -> Array:
    """Both directions' alpha, H×W float32, as one: near the first mark (share 0) the forward one, near the second
    (share 1) the backward one.

    Where they agree but for a little they give way evenly. Where they disagree a mixture would be a ghost that neither
    saw; there one gives way to the other within a few frames, half way.
    """
    import numpy as np

    apart = np.abs(forth - back)
    weight = np.clip((np.float32(share) - 0.5) * (1 + DISAGREE * apart) + 0.5, 0, 1)
    result: Array = forth + weight * (back - forth)
    return result
