"""Looking for phrases in a picture: one pass of Grounding DINO, and from its tokens' scores to matches.

The pass gives 900 boxes and, for each, how well it fits each token of the caption. A box is kept when its best token
passes the box threshold; it matches a phrase when a token of that phrase passes the text threshold, with that
token's score. Of boxes of one phrase that overlap by more than `nms` (IoU) only the best stays. Defaults are those of
the paper's evaluation with text (section 4.1): .25, .25, .8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..device import autocast, in_chunks, on_its_device, resolve_device, resolve_dtype, working
from ..errors import DeviceError, NothingFoundError, PromptError
from ..geometry import Window, clip_box
from ..image import read_image
from .load import Network, read_network
from .text import Caption, phrases_of

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..image import ImageInput
    from ..types import Box
    from ..weights.store import Source

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

BOX_THRESHOLD, TEXT_THRESHOLD, NMS = 0.25, 0.25, 0.8

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_NARROWEST = 4
"""Longer pictures than 1 : 4 get a margin: below that the network has fewer places than it has queries."""
_MARGIN = 1 / 8
"""What is seen around `within`, in shares of its longer side: an object needs some surroundings to be told."""


@dataclass(frozen=True)
class Match:
    """phrase: what was looked for, in lower case. score: 0..1. box: x0, y0, x1, y1 in pixels of the picture as seen."""

    phrase: str
    score: float
    box: Box


@dataclass(frozen=True)
class Search:
    """All matches, the best first; the best score each phrase reached, matched or not; and the score that is wanted."""

    matches: tuple[Match, ...]
    best: Mapping[str, float]
    threshold: float

    def best_of_each(self) -> list[Match]:
        """The best match of each phrase that has one. Raises NothingFoundError when there is none at all."""
        if not self.matches:
            raise _nothing(self.best, self.threshold)
        first: dict[str, Match] = {}
        for match in self.matches:
            first.setdefault(match.phrase, match)
        return list(first.values())


class Grounding:
    """A Grounding DINO on a device, ready to look for phrases. It holds no other state; threads may share it."""

    threads: int | None = None

    def __init__(self, network: Network, *, device: str | torch.device = "auto", dtype: str | torch.dtype = "auto"):
        """network: from `read_network`. device, dtype: as for `load_grounding`, which is the usual way to get one."""
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        self.network = network
        self._module = network.module.to(self.device)

    def find(
        self,
        image: ImageInput,
        phrases: str | Sequence[str],
        *,
        box_threshold: float = BOX_THRESHOLD,
        text_threshold: float = TEXT_THRESHOLD,
        nms: float = NMS,
        within: Box | None = None,
        all_matches: bool = False,
    ) -> list[Match]:
        """Find what words name, the best match first.

        image: anything `read_image` takes. phrases: "the dog", several in one text ("a dog. a red ball."), or a list.
        box_threshold: the score a box must pass; text_threshold: the score with which it belongs to a phrase; nms:
        overlap (IoU) above which two boxes of a phrase are the same thing; all 0..1.
        within: only look in this box. The network sees it cut out, with an eighth more on every side, so that small
        things are seen larger; a match must lie in it with more than half of its area and is clipped to it.
        all_matches: everything that passes, perhaps nothing; otherwise the best match of each phrase that has one.

        Raises NothingFoundError when nothing passes and not all_matches; the message names the best score.
        PromptError for text without words, of more than 256 word pieces, or thresholds outside of 0..1; ImageError;
        DeviceError when memory does not suffice.
        """
        search = self.search(image, phrases, box_threshold=box_threshold, text_threshold=text_threshold, nms=nms,
                             within=within)
        return list(search.matches) if all_matches else search.best_of_each()

    @on_its_device("looking for words")
    def search(
        self,
        image: ImageInput,
        phrases: str | Sequence[str],
        *,
        box_threshold: float = BOX_THRESHOLD,
        text_threshold: float = TEXT_THRESHOLD,
        nms: float = NMS,
        within: Box | None = None,
    ) -> Search:
        """What `find` chooses from: all matches, and how near the phrases without one came. Arguments as there."""
        for name, value in (("box_threshold", box_threshold), ("text_threshold", text_threshold), ("nms", nms)):
            if not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise PromptError(f"{name} is {value!r}; expected a number from 0 to 1")
        captions = self.network.vocabulary.captions(phrases_of(phrases), self.network.text_limit)
        rgb = read_image(image).rgb8()
        height, width = rgb.shape[:2]
        area = (0.0, 0.0, float(width), float(height)) if within is None else clip_box(within, height, width)
        window = Window(0, 0, height, width) if within is None else _search_window(area, height, width)
        matches: list[Match] = []
        best: dict[str, float] = {}
        for caption in captions:
            boxes, scores = self._look(rgb[window.slices()], caption)
            boxes += (window.left, window.top, window.left, window.top)
            boxes, kept = _clipped(boxes, area)
            candidates, highest = _matches(boxes, scores[kept], caption, box_threshold, text_threshold, nms)
            matches += candidates
            best.update(highest)
        matches.sort(key=lambda match: -match.score)
        return Search(tuple(matches), best, max(box_threshold, text_threshold))

    def _look(self, rgb: np.ndarray[Any, Any], caption: Caption) -> tuple[FloatArray, FloatArray]:
        """One pass over H×W×3 uint8: boxes Q×4 in its pixels and scores Q×tokens, 0..1."""
        import numpy as np
        import torch

        height, width = rgb.shape[:2]
        pixels, padded = to_network(rgb, self.network.shortest, self.network.longest)
        ids = torch.tensor([caption.ids], device=self.device)

        def run(start: int, stop: int) -> tuple[FloatArray, FloatArray]:
            with torch.inference_mode(), autocast(self.device, self.dtype):
                output = self._module(
                    pixel_values=pixels.to(self.device), input_ids=ids, token_type_ids=torch.zeros_like(ids),
                    attention_mask=torch.ones_like(ids),
                )
                scores = output.logits[0, :, : len(caption.ids)].float().sigmoid()
                boxes = output.pred_boxes[0].float()
            return boxes.cpu().numpy(), scores.cpu().numpy()

        [(boxes, scores)] = in_chunks(run, 1, 1, device=self.device, what="pictures")
        if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
            raise DeviceError(f"Grounding DINO gave no finite numbers in {self.dtype} on {self.device}; load it with "
                              "dtype='float32'")
        # Centre and size, in shares of the padded picture (h, w), to corners in pixels.
        scale = np.array([width * padded[1], height * padded[0]], np.float32)
        centre, size = boxes[:, :2] * scale, boxes[:, 2:] * scale
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1), scores


def load_grounding(
    path_or_name: Source = "grounding-dino-tiny",
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    folders: Sequence[Source] = (),
) -> Grounding:
    """Load a Grounding DINO, once; nothing is downloaded.

    path_or_name: grounding-dino-tiny (fetched by `matting-anything weights fetch grounding-dino-tiny`), a folder in
    transformers' layout (model.safetensors, vocab.txt or tokenizer.json, optionally config.json and
    preprocessor_config.json), or the file of weights in it.
    folders: where else to look for grounding-dino-tiny (a host's model folders), in a folder of that name.
    device, dtype: as for `load_model`; half precision is autocast, "auto" on CUDA and float32 elsewhere.

    Raises MissingExtraError without transformers (4.57 or later, or 5: extra `text`), WeightsError when the weights are
    missing, damaged or another network's, DeviceError for an absent device.
    """
    where = resolve_device(device)
    resolve_dtype(dtype, where)  # before anything is read
    with working(where, f"loading {path_or_name}"):
        return Grounding(read_network(path_or_name, folders=folders), device=device, dtype=dtype)


def to_network(rgb: np.ndarray[Any, Any], shortest: int, longest: int) -> tuple[torch.Tensor, tuple[float, float]]:
    """H×W×3 uint8 -> (1×3×h×w float32, normalised; the padded picture's height and width in shares of its own).

    The shorter side becomes `shortest`, unless the longer one would pass `longest`; bilinear with antialiasing on the
    CPU, as the published network was trained. Very long pictures are padded right or below with the mean colour.
    """
    import numpy as np
    import torch
    import torch.nn.functional as F

    height, width = rgb.shape[:2]
    scale = min(shortest / min(height, width), longest / max(height, width))
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    planes = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).unsqueeze(0).float()
    planes = F.interpolate(planes, size, mode="bilinear", align_corners=False, antialias=True) / 255
    planes = (planes - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    least = -(-max(size) // _NARROWEST)
    full = max(size[0], least), max(size[1], least)
    planes = F.pad(planes, (0, full[1] - size[1], 0, full[0] - size[0]))
    return planes, (full[0] / size[0], full[1] / size[1])


def _search_window(area: Box, height: int, width: int) -> Window:
    """The box with its margin, in whole pixels."""
    x0, y0, x1, y1 = area
    margin = _MARGIN * max(x1 - x0, y1 - y0)
    return Window(
        max(math.floor(y0 - margin), 0), max(math.floor(x0 - margin), 0),
        min(math.ceil(y1 + margin), height), min(math.ceil(x1 + margin), width),
    )


def _clipped(boxes: FloatArray, area: Box) -> tuple[FloatArray, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Boxes cut at the area, without those that lie outside with half or more; and which of them are left."""
    import numpy as np

    x0, y0, x1, y1 = area
    low, high = np.array([x0, y0, x0, y0], np.float32), np.array([x1, y1, x1, y1], np.float32)
    cut = np.clip(boxes, low, high)
    inside, whole = _areas(cut), _areas(boxes)
    kept = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1]) & (inside > 0.5 * whole)
    return cut[kept], kept


def _areas(boxes: FloatArray) -> FloatArray:
    areas: FloatArray = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    return areas


def _matches(
    boxes: FloatArray, scores: FloatArray, caption: Caption, box_threshold: float, text_threshold: float, nms: float
) -> tuple[list[Match], dict[str, float]]:
    """The matches of each phrase of a caption, and the best score each phrase reached, matched or not.

    boxes Q×4, scores Q×tokens. Each phrase is judged by itself: two words for one thing both find it.
    """
    matches: list[Match] = []
    best: dict[str, float] = {}
    peaks = [scores[:, first:last].max(1, initial=0) for first, last in caption.spans]
    strongest = scores[:, 1:-1].max(1, initial=0)  # without [CLS] and [SEP]
    for phrase, peak in zip(caption.phrases, peaks, strict=True):
        best[phrase] = float(peak.max(initial=0))
        passing = ((strongest > box_threshold) & (peak > text_threshold)).nonzero()[0]
        order = passing[(-peak[passing]).argsort(kind="stable")]
        for index in _suppressed(boxes, order.tolist(), nms):
            x0, y0, x1, y1 = boxes[index].tolist()
            matches.append(Match(phrase, float(peak[index]), (x0, y0, x1, y1)))
    return matches, best


def _suppressed(boxes: FloatArray, order: Sequence[int], nms: float) -> list[int]:
    """Non-maximum suppression: of `order`, best first, those that overlap no better one by more than `nms` (IoU)."""
    import torch
    from torchvision.ops import nms as suppress

    # Their places in the order stand for their scores: equal scores stay in the order that they are given in.
    ranks = torch.arange(len(order), 0, -1, dtype=torch.float64)
    kept = suppress(torch.from_numpy(boxes[list(order)]).double(), ranks, nms)
    return [order[place] for place in kept.tolist()]


def _nothing(best: Mapping[str, float], threshold: float) -> NothingFoundError:
    phrase, score = max(best.items(), key=lambda item: item[1])
    named = ", ".join(repr(name) for name in list(best)[:5]) + (" …" if len(best) > 5 else "")
    which = "" if len(best) == 1 else f" for {phrase!r}"
    return NothingFoundError(f"nothing in the picture matches {named}: the best score{which} is {score:.2f}, expected "
                             f"more than {threshold:g}; use other words, a box, or a lower box threshold")
