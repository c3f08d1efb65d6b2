"""From frame to frame: where the object was says where it is.

    track, matte = begin(model, first, Prompt(box=…))
    track, matte = follow(model, track, second)

The matte of the last frame, moved by the optical flow, gives the next one's box and the mask to begin with; the
decoder, the colours and features that are remembered (memory.py) and the edges of the new frame decide. A Track is a
value: it may be kept, written to a file and gone on from. When the object is gone the matte is empty, and it is looked
for again in every frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..api import Words, matte
from ..geometry import Window, mask_bounds
from ..opencv import cv2
from ..options import MatteOptions
from ..pipeline.masks import MaskLogits, at_input_size
from ..pipeline.prompting import DecoderPrompt, decoder_prompt
from ..result import Matte, Source
from ..types import Box, Prompt
from .flow import Flow, flow_between, resized, small, warp
from .memory import MOST, Memory, of_frame

if TYPE_CHECKING:
    import torch

    from ..image import ImageInput
    from ..model import MattingAnything
    from ..pipeline.embedding import Embedding, View

    Array = np.ndarray[Any, Any]

WORDS = Words()
MARGIN = 0.08
"""Share of its width and height by which the box around a moved mask is made larger on each side."""
BELIEVED = 8.0
"""The logits of a moved mask far from its outline …"""
DOUBTFUL = 16.0
"""… which count the less the nearer it is than this, in pixels of the network's input."""
UNSURE = 0.35
"""Where the flow does not hold at all a moved mask counts this much: what was hidden and is uncovered looks, to the
flow, as if it had come along."""
DECODER, COLOURS, FEATURES = 0.5, 0.5, 0.25
"""Weights of what the decoder, remembered colours and remembered features say."""
SCALE = 20.0
"""A difference of cosines of 1 / SCALE counts as a logit of 1."""
LIMIT = 4.0
"""What colours and features say counts up to this; the decoder's logits count up to twice as much."""
LEARNS = 3
"""Every so manieth frame is remembered: its neighbours tell nothing new."""
AROUND = 0.16
"""What is around the object within this share of the frame's longer side is remembered."""
GONE = 0.03
"""An object of less than this share of its usual area is gone …"""
FEWEST = 12
"""… and so is one of fewer pixels, at the size at which flow is computed."""
STRANGE = -0.4
"""What looks as little like the object as this (a mean logit by colours and features) is something else."""
STRANGER = 0.3
"""A component that looks less like it than this share of what the best component does is no part of it."""
FOUND = 1.0
"""What looks as much like it as this is the object found again."""
CUT = 0.45
"""Frames that share less of their colours than this are of two scenes, if the flow between them holds in less than …"""
HOLDS = 0.2
"""… this share of the pixels."""

NEW_SCENE = "a new scene begins here"
LOST = "the object is lost here: the matte is empty until it is found again; mark it in a later frame if it is there"
FOUND_AGAIN = "the object is found again here"


@dataclass(frozen=True, eq=False)
class Track:
    """What is known of an object after a frame.

    rgb: h×w×3 uint8, the frame at the size at which flow is computed. alpha: h×w float32, the object's in it. memory:
    its colours and features. area: its usual share of the frame. lost: for how many frames it has not been seen. age:
    frames since the last mark.
    """

    rgb: Array
    alpha: Array
    memory: Memory
    area: float
    lost: int = 0
    age: int = 0


def begin(
    model: MattingAnything, image: ImageInput | Embedding, prompt: Prompt, options: MatteOptions | None = None, *,
    track: Track | None = None, words: Words = WORDS,
) -> tuple[Track, Matte]:
    """The matte of a frame that is marked, and the track that begins there.

    Parameters
    ----------
    model : MattingAnything
    image
        The frame, or its embedding.
    prompt : Prompt
        What is marked in it.
    options : MatteOptions, optional
    track : Track, optional
        What was known before, whose memory is kept.
    words : Words
        How words in the prompt are looked for.

    Raises
    ------
    MattingError
        As `matte` does.
    """
    from ..pipeline.embedding import Embedding

    embedding = image if isinstance(image, Embedding) else model.embed(image)
    result: Matte = matte(embedding, prompt, options, model=model, words=words)
    return _marked(model, embedding, result, track), result


def _marked(model: MattingAnything, embedding: Embedding, result: Matte, track: Track | None) -> Track:
    """The track after a frame whose matte a hand has seen to."""
    rgb = small(embedding.visible)
    alpha = resized(result.alpha, *rgb.shape[:2])
    near = _near(alpha)
    shown = alpha > 0.5
    features = None
    if shown.any():
        seen = Prompt(box=_scaled(mask_bounds(shown), rgb, embedding))
        view = model.view(embedding, model.window_for(seen, embedding.image))
        features = _features(view, result.alpha)
    memory = of_frame(rgb, alpha, near) if track is None else track.memory
    memory = memory.with_frame(rgb, alpha, near, features, True)
    return Track(rgb, alpha, memory, float(shown.mean()))


def follow(
    model: MattingAnything, track: Track, image: ImageInput | Embedding, options: MatteOptions | None = None, *,
    flow: Flow | None = None,
) -> tuple[Track, Matte]:
    """The matte of the next frame (forward or backward in time), and the track after it.

    An object that is gone gives an empty matte; the matte's warnings say when it goes, when it is found again, and that
    there is a new scene. flow: from the track's frame to this one, where it was computed already.

    Raises
    ------
    ImageError, DeviceError
    """
    import torch

    from ..pipeline.embedding import Embedding

    with torch.inference_mode():
        embedding = image if isinstance(image, Embedding) else model.embed(image)
        return _followed(model, track, embedding, options or MatteOptions(), flow)


def _followed(
    model: MattingAnything, track: Track, embedding: Embedding, options: MatteOptions, flow: Flow | None
) -> tuple[Track, Matte]:
    rgb = small(embedding.visible)
    if rgb.shape != track.rgb.shape:
        track = replace(track, rgb=_stretched(track.rgb, rgb), alpha=resized(track.alpha, *rgb.shape[:2]))
    flow = flow_between(track.rgb, rgb) if flow is None else flow
    cut = is_cut(track.rgb, rgb, flow)
    said = [NEW_SCENE] if cut else []
    prior = warp(track.alpha, flow.back) if not (cut or track.lost) else np.zeros_like(track.alpha)
    seen = None
    if _large_enough(prior > 0.5, track):
        seen = _decided(model, track, embedding, rgb, prior, flow.sure)
        if _looks_like(track, seen) < STRANGE:
            seen = None
    if seen is None:
        seen = _found_again(model, track, embedding, rgb)
        if seen is not None and (track.lost or cut):
            said.append(FOUND_AGAIN)
    if seen is None:
        return _gone(model, track, embedding, rgb, options, said)
    result = _matted(model, embedding, seen, track.memory, options, tuple(said))
    alpha = resized(result.alpha, *rgb.shape[:2])
    if not _large_enough(alpha > 0.5, track):
        return _gone(model, track, embedding, rgb, options, [text for text in said if text != FOUND_AGAIN])
    memory, area = track.memory, float((alpha > 0.5).mean())
    if area > 0.3 * track.area and track.age % LEARNS == 0:  # what little is seen of it teaches nothing
        memory = memory.with_frame(rgb, alpha, _near(alpha), _features(seen.view, result.alpha), False)
    usual = track.area + 0.1 * (area - track.area)
    return Track(rgb, alpha, memory, usual, age=track.age + 1), result


def _gone(
    model: MattingAnything, track: Track, embedding: Embedding, rgb: Array, options: MatteOptions, said: list[str]
) -> tuple[Track, Matte]:
    """A frame in which the object is not: what is remembered of it stays, to find it again."""
    if not track.lost:
        said.append(LOST)
    after = replace(track, rgb=rgb, alpha=np.zeros(rgb.shape[:2], np.float32), lost=track.lost + 1, age=track.age + 1)
    return after, _empty(model, embedding, options, tuple(said))


@dataclass(frozen=True, eq=False)
class _Seen:
    """Where the object is decided to be: the view, its mask, the box that was looked in, and for each pixel of the view
    how much it looks like the object."""

    view: View
    mask: MaskLogits
    box: Box
    like: Array


def _decided(
    model: MattingAnything, track: Track, embedding: Embedding, rgb: Array, prior: Array, sure: Array | None = None
) -> _Seen:
    """Decide where the object is, from what is expected at the size of the flow, h×w float32, and how sure that is."""
    height, width = embedding.image.height, embedding.image.width
    x0, y0, x1, y1 = _scaled(mask_bounds(prior > 0.5), rgb, embedding)
    across, down = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
    box = max(x0 - across, 0.0), max(y0 - down, 0.0), min(x1 + across, float(width)), min(y1 + down, float(height))
    asked = Prompt(box=box)
    window = model.window_for(asked, embedding.image)
    view = model.view(embedding, window)
    told = decoder_prompt(asked, window)
    expected = _within(prior, embedding, window, view)
    if not model.defaults.refine_masks:  # a decoder that was taught to take masks
        told = told._replace(mask=np.clip(expected, 0, 1))
    [found] = model.segment(view, [told])
    height, width = view.fit.scaled
    decoded = at_input_size(found.logits, view.fit)[0, :height, :width].cpu().numpy()
    like = _like(track.memory, view)
    solid = expected > 0.5
    inside, outside = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (solid, ~solid))
    believed = np.clip((inside - outside) / DOUBTFUL, -1, 1) * BELIEVED
    if sure is not None:
        trust = np.clip(cv2.blur(sure, (3, 3)), 0, 1) ** 0.25
        believed *= UNSURE + (1 - UNSURE) * _within(trust, embedding, window, view)
    if model.defaults.refine_masks:
        values = believed + DECODER * np.clip(decoded, -2 * LIMIT, 2 * LIMIT) + like
    else:
        values = decoded + DECODER * believed
    return _Seen(view, found._replace(logits=_over_input(values, view, found.logits)), box, like)


def _like(memory: Memory, view: View) -> Array:
    """How much each pixel of a view, at its scaled size, looks like the object: logits."""
    height, width = view.fit.scaled
    features, rows, columns = _cells(view)
    alike = memory.likeness(features).reshape(rows, columns) * np.float32(SCALE)
    alike = np.clip(resized(alike, height, width), -LIMIT, LIMIT)
    result: Array = COLOURS * np.clip(memory.colours(view.rgb), -LIMIT, LIMIT) + FEATURES * alike
    return result.astype(np.float32)


def _looks_like(track: Track, seen: _Seen) -> float:
    """The mean of how much the pixels of a mask look like the object."""
    height, width = seen.view.fit.scaled
    solid = seen.mask.logits[0, :height, :width].cpu().numpy() > 0
    return float(seen.like[solid].mean()) if solid.any() else -LIMIT


def _found_again(model: MattingAnything, track: Track, embedding: Embedding, rgb: Array) -> _Seen | None:
    """The object somewhere in the whole frame, if anything looks like it well enough."""
    view = model.view(embedding, embedding.whole)
    like = _like(track.memory, view)
    likely = (cv2.blur(like, (9, 9)) > FOUND / 2).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(likely, connectivity=8)
    if count < 2:
        return None
    sums = np.bincount(labels.ravel(), np.clip(like, 0, None).ravel(), count)
    best = 1 + int(sums[1:].argmax())
    share = stats[best, cv2.CC_STAT_AREA] / like.size
    if not 0.1 * track.area < share < 4 * track.area:
        return None
    prior = resized((labels == best).astype(np.float32), *rgb.shape[:2])
    if not _large_enough(prior > 0.5, track):
        return None
    seen = _decided(model, track, embedding, rgb, prior)
    return seen if _looks_like(track, seen) >= FOUND else None


def _matted(
    model: MattingAnything, embedding: Embedding, seen: _Seen, memory: Memory, options: MatteOptions,
    said: tuple[str, ...],
) -> Matte:
    """The matte of a mask that is decided: its outline follows the colours, and the head makes alpha of it."""
    view, how = seen.view, model.decided(options)
    mask = _without_strange(model.refine(view, seen.mask, DecoderPrompt()), view, memory)
    patch = model.predict_alpha(embedding, view, mask, how)
    size = embedding.image.height, embedding.image.width
    alpha = np.zeros(size, np.float32)
    if not patch.window.empty:
        part = patch.window.moved(view.window.top, view.window.left).slices()
        alpha[part] = patch.alpha[0, 0].clamp(0, 1).cpu().numpy()
    opacity = embedding.image.alpha_float()
    if opacity is not None:
        alpha *= opacity
    solid = alpha > 0.5
    for array in (alpha, solid):
        array.setflags(write=False)
    return Matte(alpha, solid, mask.score, Prompt(box=seen.box), embedding.image, warnings=said,
                 source=Source(model, embedding, options))


def _without_strange(mask: MaskLogits, view: View, memory: Memory) -> MaskLogits:
    """A mask without the components that look much less like what was marked than its best one does: things that the
    object has passed, mostly."""
    height, width = view.fit.scaled
    values = at_input_size(mask.logits, view.fit)[0, :height, :width].cpu().numpy()
    count, labels = cv2.connectedComponents((values > 0).astype(np.uint8), connectivity=8)
    if count <= 2:  # one thing: whether that is the object is asked elsewhere
        return mask
    like = _like(memory.marked_only, view)
    sizes = np.bincount(labels.ravel(), minlength=count)
    means = np.bincount(labels.ravel(), like.ravel(), count) / np.maximum(sizes, 1)
    # The best one is large: specks may be of any colour.
    best = float(means[1:][sizes[1:] >= 0.1 * sizes[1:].max()].max())
    strange = means < max(STRANGER * best, 0.0)
    strange[0] = False
    if best <= 0 or not strange.any():
        return mask
    kept = np.where(strange[labels], -BELIEVED, values)
    return mask._replace(logits=_over_input(kept, view, mask.logits))


def _empty(
    model: MattingAnything, embedding: Embedding, options: MatteOptions, said: tuple[str, ...]
) -> Matte:
    """The matte of a frame in which the object is not."""
    size = embedding.image.height, embedding.image.width
    alpha, solid = np.zeros(size, np.float32), np.zeros(size, np.bool_)
    for array in (alpha, solid):
        array.setflags(write=False)
    whole = Prompt(box=(0, 0, size[1], size[0]))
    return Matte(alpha, solid, 0.0, whole, embedding.image, warnings=said, source=Source(model, embedding, options))


def is_cut(before: Array, now: Array, flow: Flow) -> bool:
    """Whether a new scene begins: the frames, h×w×3 uint8 from `small`, have few colours in common, and nothing of the
    one is found in the other."""
    if float(flow.sure.mean()) > HOLDS:
        return False
    counts = []
    for frame in (before, now):
        bins = (frame.astype(np.int32) >> 5) @ np.array([64, 8, 1])
        counts.append(np.bincount(bins.ravel(), minlength=512) / bins.size)
    return bool(np.minimum(*counts).sum() < CUT)


def _large_enough(solid: Array, track: Track) -> bool:
    return int(np.count_nonzero(solid)) >= max(FEWEST, GONE * track.area * solid.size)


def _near(alpha: Array) -> Array:
    """What is around the object, within AROUND: h×w bool."""
    reach = max(int(AROUND * max(alpha.shape)), 2)
    # A quarter of the size is enough for that, and a sixteenth of the work.
    quarter = max(alpha.shape[1] // 4, 1), max(alpha.shape[0] // 4, 1)
    shown = cv2.resize(alpha, quarter, interpolation=cv2.INTER_AREA)
    side = 2 * (reach // 4) + 1
    grown = cv2.dilate((shown > 0.05).astype(np.float32), np.ones((side, side), np.uint8))
    near: Array = resized(grown, *alpha.shape) > 0.5
    return near


def _scaled(box: Box, rgb: Array, embedding: Embedding) -> Box:
    """A box at the size of the flow, in the image's pixels."""
    across, down = embedding.image.width / rgb.shape[1], embedding.image.height / rgb.shape[0]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def _stretched(before: Array, now: Array) -> Array:
    """An earlier frame at the size of one that has another, as of a clip whose size changes."""
    return np.asarray(cv2.resize(before, (now.shape[1], now.shape[0]), interpolation=cv2.INTER_AREA))


def _within(prior: Array, embedding: Embedding, window: Window, view: View) -> Array:
    """What is expected, at the size of the flow, in a window of the image: at the view's scaled size."""
    height, width = embedding.image.height, embedding.image.width
    down, across = prior.shape[0] / height, prior.shape[1] / width
    rows, columns = view.fit.scaled
    y = (np.arange(rows, dtype=np.float32) + 0.5) * (window.height / rows) + window.top
    x = (np.arange(columns, dtype=np.float32) + 0.5) * (window.width / columns) + window.left
    map_x, map_y = np.meshgrid(x * across - 0.5, y * down - 0.5)
    seen = cv2.remap(prior, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen)


def _over_input(values: Array, view: View, like: torch.Tensor) -> torch.Tensor:
    """Logits at a view's scaled size over its padded input: 1×S×S, where `like` is."""
    import torch

    result = torch.full((1, view.fit.square, view.fit.square), -10.0)
    result[0, : values.shape[0], : values.shape[1]] = torch.from_numpy(values.astype(np.float32))
    return result.to(like.device)


def _cells(view: View) -> tuple[Array, int, int]:
    """A view's features without the padding: (rows · columns)×256 float32 of length 1, rows, columns."""
    rows, columns = view.fit.at(view.features.shape[-1]).scaled
    cells = view.features[0, :, :rows, :columns]
    cells = cells / cells.norm(dim=0, keepdim=True).clamp(min=1e-6)
    flat: Array = cells.permute(1, 2, 0).reshape(rows * columns, -1).cpu().numpy()
    return flat, rows, columns


def _features(view: View, alpha: Array) -> tuple[Array, Array]:
    """The features of the object and of what is around it in a view of a frame whose alpha is known; at most MOST of
    each, spread evenly."""
    cells, rows, columns = _cells(view)
    cover = resized(alpha[view.window.slices()], rows, columns).ravel()
    return _some(cells[cover > 0.8]), _some(cells[cover < 0.05])


def _some(features: Array) -> Array:
    if len(features) <= MOST:
        return features
    spread: Array = features[np.linspace(0, len(features) - 1, MOST).astype(int)]
    return spread
