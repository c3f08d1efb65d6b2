"""Stages of a matte, timed on a device: this library's way, and the plain one.

plain is segment_anything's own modules, one picture at a time in the decoder as they take it, and Mask-to-Matte in the
form that trains, over the whole square; its merging is done on the device, where the authors' program goes to the CPU.
Both ways get the same mask, an ellipse in the box: what there is to do then does not depend on made-up weights.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from gpu_models import Networks, Scene
from torch import Tensor
from torch.nn import functional as F

from matting_anything_core.benchmark import subject_logits
from matting_anything_core.device import autocast
from matting_anything_core.geometry import Fit, fit_picture, to_square
from matting_anything_core.memory import is_out_of_memory
from matting_anything_core.model import MattingAnything
from matting_anything_core.options import MatteOptions
from matting_anything_core.pipeline.embedding import Embedding, View, visible_colours
from matting_anything_core.pipeline.masks import MaskLogits
from matting_anything_core.pipeline.merging import merge

STAGES = ("prepare", "encode", "decode", "alpha", "result")
"""prepare: the picture scaled on the CPU, uploaded, normalised. alpha: head and merging. result: alpha fetched."""
SECOND = ("decode", "alpha", "result")


class Clock:
    """Milliseconds by stage: CUDA's events on a card, the host's clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._marks: list[tuple[str, Any, Any]] = []

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is done inside belongs to a stage."""
        start = self._now()
        yield
        self._marks.append((name, start, self._now()))

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def taken(self) -> dict[str, float]:
        """Milliseconds of each stage since this was last called; waits for the device."""
        if self._cuda:
            torch.cuda.synchronize(self._device)
        marks, self._marks = self._marks, []
        found: dict[str, float] = {}
        for name, start, stop in marks:
            spent = start.elapsed_time(stop) if self._cuda else (stop - start) * 1000
            found[name] = found.get(name, 0.0) + spent
        return found


@dataclass
class Row:
    """One way through one model. Times are medians in milliseconds for all its images together.

    first, second: by stage; of the second prompt on the same images. api: `embed` and `matte` as they are called, one
    image after the other, by the host's clock. peak: bytes of the card's memory. off: how far alpha is from this
    library's in float32 on this device (mean, largest). failed: why there are no numbers.
    """

    model: str
    way: str
    dtype: str
    images: int
    first: dict[str, float] = field(default_factory=dict)
    second: dict[str, float] = field(default_factory=dict)
    api: dict[str, float] = field(default_factory=dict)
    peak: int | None = None
    off: tuple[float, float] | None = None
    repeats: int = 0
    failed: str = ""

    def total(self, second: bool = False) -> float | None:
        """Milliseconds of a prompt."""
        stages = self.second if second else self.first
        return sum(stages.values()) if stages else None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "first_total": self.total(), "second_total": self.total(second=True)}


@dataclass(frozen=True)
class Effort:
    """How often: `warm` times that don't count, then at least `least` times and until `seconds` are over."""

    seconds: float = 1.0
    least: int = 3
    warm: int = 2


def name_of(dtype: torch.dtype) -> str:
    """float32, float16, bfloat16."""
    return str(dtype).removeprefix("torch.")


def measure(networks: Networks, dtype: torch.dtype, scenes: Sequence[Scene], *, plain: bool, effort: Effort,
            truth: list[Tensor] | None = None) -> tuple[Row, list[Tensor]]:
    """One way through one model: its row, and the alphas it ended with (on the CPU). truth: alphas to compare with."""
    device = networks.model.device
    row = Row(networks.name, "plain" if plain else "ours", name_of(dtype), len(scenes))
    clock = Clock(device)
    take = _plain(networks, dtype, scenes, clock) if plain else _ours(networks, dtype, scenes, clock)
    alphas: list[Tensor] = []
    try:
        times: list[tuple[dict[str, float], dict[str, float]]] = []
        _forget(device)
        until = time.monotonic() + effort.seconds
        while len(times) < effort.warm + effort.least or time.monotonic() < until:
            if len(times) < effort.warm:
                until = time.monotonic() + effort.seconds
            alphas, *spent = take()
            times.append((spent[0], spent[1]))
        counted = times[effort.warm:]
        row.repeats = len(counted)
        row.first, row.second = (
            {stage: statistics.median(one[which][stage] for one in counted) for stage in counted[0][which]}
            for which in (0, 1))
        row.peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        if truth is not None:
            off = [(a - b).abs() for a, b in zip(alphas, truth, strict=True)]
            row.off = float(torch.stack([one.mean() for one in off]).mean()), max(float(one.max()) for one in off)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        row.failed = "out of memory"
    if row.failed:  # outside of the handler, whose traceback holds what is to be freed
        del take
        _forget(device)
    return row, alphas


def _forget(device: torch.device) -> None:
    if device.type == "cuda":
        gc.collect()
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


Taken = tuple[list[Tensor], dict[str, float], dict[str, float]]


def _ours(networks: Networks, dtype: torch.dtype, scenes: Sequence[Scene], clock: Clock) -> Callable[[], Taken]:
    """The library's own steps: pictures encoded and prompts decoded together, the head one object at a time."""
    model = networks.model.to(networks.model.device, dtype)
    options = model.decided(MatteOptions(guidance="mask", sides="one", detail=False))
    device, sam = model.device, model.sam
    embeddings = [Embedding(one.image, visible_colours(one.image), model.fingerprint) for one in scenes]
    fits = [Fit(one.image.height, one.image.width, model.square) for one in scenes]
    masks = [MaskLogits(subject_logits(one.box, fit).to(device), 1.0) for one, fit in zip(scenes, fits, strict=True)]
    boxes = torch.tensor([fit.box(one.box) for one, fit in zip(scenes, fits, strict=True)])
    owner = torch.arange(len(scenes), device=device)

    def prompt(views: list[View], features: Tensor) -> list[Tensor]:
        with clock.stage("decode"), autocast(device, dtype):
            logits, iou = sam.decode(features, boxes=boxes.to(device, non_blocking=True), owner=owner)
            logits[owner, iou.argmax(1)].float()
        with clock.stage("alpha"):
            patches = [model.predict_alpha(embedding, view, mask, options)
                       for embedding, view, mask in zip(embeddings, views, masks, strict=True)]
        with clock.stage("result"):
            found = [patch.alpha.cpu() for patch in patches]
        return [_placed(alpha, patch.window, fit) for alpha, patch, fit in zip(found, patches, fits, strict=True)]

    @torch.inference_mode()
    def take() -> Taken:
        with clock.stage("prepare"):
            small = [fit_picture(one.visible, fit) for one, fit in zip(embeddings, fits, strict=True)]
            pixels = torch.cat([to_square(rgb, fit, sam.mean, sam.std, device)
                                for rgb, fit in zip(small, fits, strict=True)])
        with clock.stage("encode"), autocast(device, dtype):
            features = sam.encode(pixels).float()
        views = [View(embedding.whole, fit, rgb, features[i:i + 1], pixels[i:i + 1])
                 for i, (embedding, fit, rgb) in enumerate(zip(embeddings, fits, small, strict=True))]
        prompt(views, features)
        first = clock.taken()
        alphas = prompt(views, features)
        return alphas, first, clock.taken()

    return take


def _plain(networks: Networks, dtype: torch.dtype, scenes: Sequence[Scene], clock: Clock) -> Callable[[], Taken]:
    """segment_anything's own modules and Mask-to-Matte as it trains; in half precision under autocast."""
    sam, m2m, device = networks.sam, networks.m2m, networks.model.device
    fits = [Fit(one.image.height, one.image.width, sam.square) for one in scenes]
    logits = torch.stack([subject_logits(one.box, fit) for one, fit in zip(scenes, fits, strict=True)]).to(device)
    boxes = torch.tensor([[fit.box(one.box)] for one, fit in zip(scenes, fits, strict=True)], device=device)

    def prompt(pixels: Tensor, features: Tensor) -> list[Tensor]:
        with clock.stage("decode"), autocast(device, dtype):
            for index in range(len(scenes)):
                sparse, dense = sam.prompt_encoder(None, boxes[index], None)
                sam.mask_decoder(features[index:index + 1], sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
        with clock.stage("alpha"):
            with autocast(device, dtype):
                scales = m2m(features, pixels, (logits > 0).float())
            square = F.interpolate(logits, pixels.shape[-2:], mode="bilinear", align_corners=False)
            merged = []
            for index, fit in enumerate(fits):
                mask, *alphas = (_resized(one[index:index + 1].float(), fit) for one in (square, *scales))
                merged.append(merge(mask > 0, *alphas, guidance="mask", sides="one"))
        with clock.stage("result"):
            return [alpha[0, 0].cpu() for alpha in merged]

    @torch.inference_mode()
    def take() -> Taken:
        with clock.stage("prepare"):
            pixels = torch.cat([to_square(one.image.rgb8(), fit, sam.mean, sam.std, device)
                                for one, fit in zip(scenes, fits, strict=True)])
        with clock.stage("encode"), autocast(device, dtype):
            features = sam.image_encoder(pixels)
        prompt(pixels, features)
        first = clock.taken()
        alphas = prompt(pixels, features)
        return alphas, first, clock.taken()

    return take


def _resized(values: Tensor, fit: Fit) -> Tensor:
    """From the square to the picture's pixels."""
    height, width = fit.scaled
    return F.interpolate(values[..., :height, :width], (fit.height, fit.width), mode="bilinear", align_corners=False)


def _placed(alpha: Tensor, window: Any, fit: Fit) -> Tensor:
    """A patch in its picture, H×W."""
    whole = torch.zeros((fit.height, fit.width))
    if not window.empty:
        whole[window.slices()] = alpha[0, 0]
    return whole


def api_times(model: MattingAnything, scenes: Sequence[Scene], effort: Effort) -> tuple[dict[str, float], list[Any]]:
    """Milliseconds of `embed` with the first prompt, and of a second one, for all images one after the other; and the
    last mattes. `matte` returns what is on the CPU, so the host's clock tells."""
    first, second = [], []
    mattes: list[Any] = []
    until = time.monotonic() + effort.seconds
    while len(first) < effort.warm + effort.least or time.monotonic() < until:
        if len(first) < effort.warm:
            until = time.monotonic() + effort.seconds
        start = time.perf_counter()
        embeddings = [model.embed(one.image) for one in scenes]
        for one, embedding in zip(scenes, embeddings, strict=True):
            model.matte(embedding, one.box)
        middle = time.perf_counter()
        mattes = [model.matte(embedding, one.box)[0] for one, embedding in zip(scenes, embeddings, strict=True)]
        first.append((middle - start) * 1000)
        second.append((time.perf_counter() - middle) * 1000)
    return {"first": statistics.median(first[effort.warm:]), "second": statistics.median(second[effort.warm:])}, mattes
