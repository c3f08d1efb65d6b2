"""Words in prompts become boxes, so that a model, which knows boxes, points and masks, can take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import PromptError
from ..geometry import check_point, clip_box, mask_bounds
from ..image import read_image
from ..types import Prompt
from .detect import BOX_THRESHOLD, NMS, TEXT_THRESHOLD, Grounding, Match, Search

if TYPE_CHECKING:
    from ..image import ImageInput
    from ..types import Box


class Grounded(NamedTuple):
    """A prompt without words. phrase, score: what was found and how surely (0..1), None when there were no words.

    source: which of the prompts given it comes from.
    """

    prompt: Prompt
    phrase: str | None
    score: float | None
    source: int


def ground(
    prompts: Sequence[Prompt],
    image: ImageInput,
    grounding: Grounding,
    *,
    all_matches: bool = False,
    box_threshold: float = BOX_THRESHOLD,
    text_threshold: float = TEXT_THRESHOLD,
    nms: float = NMS,
) -> list[Grounded]:
    """Replace the words in prompts by the boxes of what they name, in the order given.

    A prompt without text passes through. One with text is looked for by itself, so its result does not depend on the
    other prompts, and becomes one prompt with the most confident box, or with all_matches one for each match, perhaps
    none. What else the prompt holds is used:
    - a box restricts the search to it; so do the bounds of a mask, which stays in the prompt besides;
    - points choose and refine: a match that holds all positive points goes before a surer one that does not, and the
      points stay beside the box; with all_matches each box takes the points that lie in it.

    box_threshold, text_threshold, nms: as for `Grounding.find`, which also says what is raised: NothingFoundError for
    words that match nothing (unless all_matches), PromptError for words, boxes or points that cannot be.
    """
    picture = read_image(image)
    grounded: list[Grounded] = []
    searches: dict[tuple[str, Box | None], Search] = {}
    for source, prompt in enumerate(prompts):
        if prompt.text is None:
            grounded.append(Grounded(prompt, None, None, source))
            continue
        within = _within(prompt, picture.height, picture.width)
        key = prompt.text, within
        if key not in searches:
            searches[key] = grounding.search(picture, prompt.text, box_threshold=box_threshold,
                                             text_threshold=text_threshold, nms=nms, within=within)
        search = searches[key]
        if all_matches:
            grounded += [_grounded(_points_in(prompt, match.box), match, source) for match in search.matches]
        else:
            grounded.append(_grounded(prompt, _chosen(search, prompt), source))
    return grounded


def _grounded(prompt: Prompt, match: Match, source: int) -> Grounded:
    return Grounded(replace(prompt, box=match.box, text=None), match.phrase, match.score, source)


def _within(prompt: Prompt, height: int, width: int) -> Box | None:
    """Where to look: in the prompt's box, around its mask, or where both are. Points are checked by the way."""
    for point in prompt.points or ():
        check_point(point, height, width)
    box = None if prompt.box is None else clip_box(prompt.box, height, width)
    if prompt.mask is None:
        return box
    if prompt.mask.shape != (height, width):
        raise PromptError(f"the mask is {prompt.mask.shape[1]} x {prompt.mask.shape[0]} pixels, the picture "
                          f"{width} x {height}; expected a mask of the picture's size")
    around = mask_bounds(prompt.mask)
    if box is None:
        return around
    both = max(box[0], around[0]), max(box[1], around[1]), min(box[2], around[2]), min(box[3], around[3])
    if both[0] >= both[2] or both[1] >= both[3]:
        raise PromptError("the box and the mask have nothing in common, so there is nowhere to look for "
                          f"{prompt.text!r}; give one of them, or let them overlap")
    return both


def _chosen(search: Search, prompt: Prompt) -> Match:
    """The most confident match; of those that hold all positive points, if there are any."""
    holding = [match for match in search.matches if all(_holds(match.box, point) for point in _positive(prompt))]
    if holding:
        return holding[0]
    return max(search.best_of_each(), key=lambda match: match.score)


def _positive(prompt: Prompt) -> list[tuple[float, float]]:
    return [point for point, label in zip(prompt.points or (), prompt.labels or (), strict=True) if label == 1]


def _holds(box: Box, point: tuple[float, float]) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _points_in(prompt: Prompt, box: Box) -> Prompt:
    inside = [index for index, point in enumerate(prompt.points or ()) if _holds(box, point)]
    if prompt.points is None or prompt.labels is None or not inside:
        return replace(prompt, points=None, labels=None)
    return replace(prompt, points=[prompt.points[index] for index in inside],
                   labels=[prompt.labels[index] for index in inside])
