"""A model: `embed` a picture once, `matte` any number of prompts on it. The pipeline of the paper's figure 2.

    picture ─ embed ─► features ─┬─ decode with the prompt ─► mask ─┬─► merge ─► alpha
                                 └──────── Mask-to-Matte ◄──────────┘ os8, os4, os1

A MattingAnything holds networks and nothing that changes, so one may serve many threads.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import detail, refine
from .defaults import Defaults
from .device import autocast, in_chunks, on_its_device, resolve_device, resolve_dtype, working
from .errors import PromptError
from .geometry import Fit, Window, fit_picture, resize_window, source_window, to_square
from .image import Image, read_image
from .masks import Candidate, united_masks, upsample_mask
from .networks.m2m import MaskToMatte
from .networks.m2m_fast import FoldedMaskToMatte, Prepared, Stages, fold, prepare
from .networks.sam import Sam, build_sam, load_state
from .prompting import checked, ended_at_box, groups, mask_logits, united, within
from .result import Matte
from .snap import snapped
from .threads import check_threads
from .types import Embedding, Guidance, ImageInput, ProgressCallback, Prompt, PromptInput, Sides, prompts_of

if TYPE_CHECKING:
    from .weights.store import Checkpoint

T = TypeVar("T")
Report: TypeAlias = ProgressCallback

CHUNK = 16
"""Prompts that are decoded at once; about 40 MB each with a ViT."""
HIDDEN = 127
"""What the network sees where a picture is transparent: mid-gray, since the colours there are arbitrary."""


class MattingAnything:
    """SAM and Mask-to-Matte, ready to work on one device. Made by `load_model` or `from_checkpoint`."""

    def __init__(
        self,
        sam: Sam,
        m2m: MaskToMatte,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        matte_square: int | None = None,
        name: str = "custom",
        defaults: Defaults | None = None,
        threads: int | None = None,
    ) -> None:
        """Take networks as they are; both are moved to the device, and m2m is folded into its inference form.

        matte_square: side of the square that Mask-to-Matte works in, a multiple of 16; the encoder's own when left
        out. When it is larger, the features are enlarged bilinearly. threads: as for `load_model`.
        """
        self.device = resolve_device(device)
        self.threads = check_threads(threads)
        self.dtype = resolve_dtype(dtype, self.device)
        self.name = name
        self.defaults = Defaults() if defaults is None else defaults
        self.matte_square = sam.square if matte_square is None else matte_square
        self._sam = sam.to(self.device).eval().requires_grad_(False)
        self._m2m: FoldedMaskToMatte = fold(m2m).to(self.device, self.dtype)
        tokens = sam.mask_decoder.mask_tokens.weight.detach().float().cpu().numpy()
        self.fingerprint = f"{name}/{sam.square}/{zlib.crc32(tokens.tobytes()):08x}"

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, device: str | torch.device = "auto", dtype: str | torch.dtype = "auto",
        threads: int | None = None,
    ) -> MattingAnything:
        """Build the networks on the meta device and put the checkpoint's tensors in place."""
        with working(resolve_device(device), f"loading {checkpoint.architecture}", threads=threads):
            with torch.device("meta"):
                sam = build_sam(checkpoint.architecture, checkpoint.square)
                m2m = MaskToMatte().eval()
            load_state(sam, checkpoint.sam, f"the SAM weights of {checkpoint.metadata.get('file', 'the checkpoint')}")
            load_state(m2m, checkpoint.m2m, f"the Mask-to-Matte weights of {checkpoint.metadata.get('file', 'it')}")
            return cls(sam, m2m, device=device, dtype=dtype, matte_square=checkpoint.matte_square,
                       name=checkpoint.architecture, threads=threads,
                       defaults=Defaults.of(checkpoint.architecture, checkpoint.metadata))

    @property
    def square(self) -> int:
        """Side in pixels of the square the encoder sees."""
        return self._sam.square

    @property
    def sam(self) -> Sam:
        """Segment Anything, which holds nearly all of the weights: for hosts that move weights between devices by
        themselves. Once they are on another device, work goes on with `model.to(device)`."""
        return self._sam

    def to(self, device: str | torch.device, dtype: str | torch.dtype = "auto") -> MattingAnything:
        """This model on another device. SAM's weights are moved, not copied, so this object rests until they are back;
        those of Mask-to-Matte (11 MB) are copied. See `Embedding.to`. Raises DeviceError."""
        moved = copy.copy(self)
        moved.device = resolve_device(device)
        moved.dtype = resolve_dtype(dtype, moved.device)
        moved._sam = self._sam.to(moved.device)
        moved._m2m = self._m2m.to(moved.device, moved.dtype)
        return moved

    @on_its_device("encoding the picture")
    @torch.inference_mode()
    def embed(self, image: ImageInput, *, progress: ProgressCallback | None = None) -> Embedding:
        """Encode a picture (anything `read_image` takes), once for any number of prompts.

        progress: called with ("encode", 0..1); what it raises ends the work. Raises ImageError, DeviceError.
        """
        picture = read_image(image)
        report = progress or _silent
        report("encode", 0.0)
        rgb = _visible(picture)
        fit = Fit(picture.height, picture.width, self.square)
        pixels = to_square(rgb, fit, self._sam.mean, self._sam.std, self.device)
        with autocast(self.device, self.dtype):
            [features] = in_chunks(lambda _a, _b: self._sam.encode(pixels, lambda share: report("encode", share)), 1, 1,
                                   device=self.device, what="pictures")
        if self.matte_square != self.square:
            pixels = to_square(rgb, fit.at(self.matte_square), self._sam.mean, self._sam.std, self.device)
        report("encode", 1.0)
        return Embedding(image=picture, features=features.float(), pixels=pixels, model=self.fingerprint)

    @on_its_device("matting")
    @torch.inference_mode()
    def matte(
        self,
        embedding: Embedding,
        prompts: PromptInput | Sequence[PromptInput],
        *,
        guidance: Guidance | Literal["auto"] = "auto",
        sides: Sides | Literal["auto"] = "auto",
        postprocess: bool = False,
        detail: bool = True,
        reference: bool = False,
        progress: ProgressCallback | None = None,
    ) -> list[Matte]:
        """One Matte for each prompt (section 3.3), in the order given.

        embedding: from this model's `embed`. prompts: one or many; 200 boxes are fine.
        guidance: what the matte grows from, `mask` (pictures with several things) or `alpha` (one clear subject).
        sides: let it change only the outside of the mask's edge (`one`) or its inside as well (`two`).
        `auto` is what suits the model. postprocess: with alpha guidance, nothing outside of the mask's bounds.
        detail: take the edges of pictures larger than the square from their own pixels and, with `lite`, encode anew
        what is around a box that does not fill the picture (see detail.py).
        reference: exactly what the authors' released program does where it differs (see refine.py); no `detail`.
        progress: called with ("matte", share done); what it raises ends the work.

        Raises PromptError for prompts that do not fit the picture and for an embedding of another model,
        MissingExtraError for prompts with text that nobody turned into boxes, DeviceError when memory does not suffice.
        """
        ready = self._ready(embedding, prompts)
        modes = self._modes(guidance, sides, postprocess, detail, reference)
        report = progress or _silent
        report("matte", 0.0)
        parts = [self._part(prompt, embedding.image, modes) for prompt in ready]
        plain = [index for index, part in enumerate(parts) if part is None]
        mattes: dict[int, Matte] = {}
        if plain:
            step = _share(report, 0, len(plain) / len(ready))
            found = self._mattes(embedding, [ready[i] for i in plain], modes, step)
            mattes.update(zip(plain, found, strict=True))
        for index, part in enumerate(parts):
            if part is not None:
                step = _share(report, len(mattes) / len(ready), (len(mattes) + 1) / len(ready))
                mattes[index] = self._closer(embedding.image, ready[index], *part, modes, step)
        return [mattes[index] for index in range(len(ready))]

    @on_its_device("matting")
    @torch.inference_mode()
    def matte_together(
        self,
        embedding: Embedding,
        prompts: PromptInput | Sequence[PromptInput],
        *,
        guidance: Guidance | Literal["auto"] = "auto",
        sides: Sides | Literal["auto"] = "auto",
        postprocess: bool = False,
        detail: bool = True,
        progress: ProgressCallback | None = None,
    ) -> Matte:
        """One Matte of everything the prompts mark: their masks are united before Mask-to-Matte.

        Objects that touch get no seam, and ten cost little more than one. Arguments and errors as for `matte`, and for
        one prompt the same result; for several there is no closer look at those that do not fill the picture. The
        result's prompt has the boxes' hull, its score is the lowest.
        """
        ready = self._ready(embedding, prompts)
        if len(ready) == 1:
            return self.matte(embedding, ready, guidance=guidance, sides=sides, postprocess=postprocess,
                              detail=detail, progress=progress)[0]
        report = progress or _silent
        report("matte", 0.0)
        modes = self._modes(guidance, sides, postprocess, detail, False)
        [matte] = self._mattes(embedding, ready, modes, report, together=True)
        return matte

    def _ready(self, embedding: Embedding, prompts: PromptInput | Sequence[PromptInput]) -> list[Prompt]:
        if embedding.model != self.fingerprint:
            raise PromptError(f"the embedding was made by {embedding.model}, this model is {self.fingerprint}; "
                              "embed the picture again with this model")
        return self.check(embedding.image, prompts_of(prompts)[0])

    def _modes(
        self, guidance: Guidance | Literal["auto"], sides: Sides | Literal["auto"], postprocess: bool, detail: bool,
        reference: bool,
    ) -> _Modes:
        return _Modes(
            guidance=self.defaults.guidance if guidance == "auto" else _known(guidance, ("mask", "alpha"), "guidance"),
            sides=self.defaults.sides if sides == "auto" else _known(sides, ("one", "two"), "sides"),
            postprocess=postprocess, detail=detail and not reference, reference=reference,
        )

    def _part(self, prompt: Prompt, image: Image, modes: _Modes) -> tuple[Window, Prompt] | None:
        """Where to look closer for this prompt, and what it is there; None for the whole picture."""
        if not (modes.detail and self.defaults.closer) or prompt.box is None \
                or max(image.height, image.width) <= self.square // 2:
            return None
        part = detail.closer(prompt.box, image.height, image.width)
        moved = None if part is None else within(prompt, part)
        return None if part is None or moved is None else (part, moved)

    def _closer(
        self, image: Image, prompt: Prompt, part: Window, moved: Prompt, modes: _Modes, report: Report
    ) -> Matte:
        """Matte an object in a part of the picture, as if that were the picture."""
        cut = part.slices()
        small = Image(image.rgb[cut].copy(), None if image.alpha is None else image.alpha[cut].copy())
        [matte] = self._mattes(self.embed(small), self.check(small, [moved]), modes, report)
        alpha, mask = np.zeros((image.height, image.width), np.float32), np.zeros((image.height, image.width), bool)
        alpha[cut], mask[cut] = matte.alpha, matte.mask
        return _frozen(Matte(alpha=alpha, mask=mask, score=matte.score, prompt=prompt, image=image))

    def _mattes(
        self, embedding: Embedding, ready: Sequence[Prompt], modes: _Modes, report: Report, *, together: bool = False
    ) -> list[Matte]:
        """The mattes of checked prompts, all from one embedding; together: one of them all."""
        candidates = self._segment(embedding, ready)
        if not modes.reference:
            candidates = self._ended(embedding.image, ready, candidates)
        if together:
            candidates, ready = [united_masks(candidates)], [united(ready)]
        fit = Fit(embedding.image.height, embedding.image.width, self.square)
        colours = fit_picture(_visible(embedding.image), fit) if self.defaults.snap and not modes.reference else None
        features = embedding.features
        if self.matte_square != self.square:
            grid = self.matte_square // 16
            features = F.interpolate(features, (grid, grid), mode="bilinear", align_corners=False)
        prepared = prepare(features.to(self.dtype), embedding.pixels)
        mattes = []
        for index, (prompt, candidate) in enumerate(zip(ready, candidates, strict=True)):
            step = _share(report, index / len(ready), (index + 1) / len(ready))
            step("matte", 0.02)
            if colours is not None:
                whole = not together and prompt.points is None and prompt.mask is None
                candidate = candidate._replace(logits=snapped(candidate.logits, colours, fit, whole=whole))
            step("matte", 0.1)
            mattes.append(self._one(embedding.image, prompt, candidate, prepared, modes, step))
            step("matte", 1.0)
        return mattes

    def _ended(
        self, image: Image, prompts: Sequence[Prompt], candidates: list[Candidate]
    ) -> list[Candidate]:
        """The masks ended at their boxes, where this model's defaults say so."""
        if not self.defaults.inside:
            return candidates
        fit = Fit(image.height, image.width, self.square)
        return [candidate._replace(logits=ended_at_box(candidate.logits, prompt, fit))
                for candidate, prompt in zip(candidates, prompts, strict=True)]

    def check(self, image: Image, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The prompts as they are used on a picture: boxes clipped, a box put around a mask that has none.

        Raises PromptError for a box or point outside of the picture and a mask of another size, MissingExtraError for
        text.
        """
        return [checked(prompt, image.height, image.width) for prompt in prompts]

    def _segment(self, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Candidate]:
        """The best of SAM's three candidates for each prompt (by predicted IoU)."""
        fit = Fit(embedding.image.height, embedding.image.width, self.square)
        found: dict[int, Candidate] = {}
        # Prompts with the same parts go through the decoder together. Padding unequal ones would not be exact: in SAM
        # a padding point is a token like any other.
        for members in groups(prompts):

            def decode(start: int, stop: int, members: Sequence[int] = members) -> list[Candidate]:
                return self._decode(embedding.features, [prompts[i] for i in members[start:stop]], fit)

            decoded = in_chunks(decode, len(members), CHUNK, device=self.device)
            found.update(zip(members, _joined(decoded), strict=True))
        return [found[index] for index in range(len(prompts))]

    def _decode(self, features: Tensor, prompts: Sequence[Prompt], fit: Fit) -> list[Candidate]:
        def tensor(values: object) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=self.device)

        first = prompts[0]
        boxes = points = labels = masks = None
        if first.box is not None:
            boxes = tensor([fit.box(cast("tuple[float, float, float, float]", prompt.box)) for prompt in prompts])
        if first.points is not None:
            points = tensor([[fit.point(*point) for point in prompt.points or ()] for prompt in prompts])
            labels = tensor([prompt.labels for prompt in prompts])
        if first.mask is not None:
            masks = torch.stack([mask_logits(cast(np.ndarray, prompt.mask), fit) for prompt in prompts])
            masks = masks.to(self.device)
        with autocast(self.device, self.dtype):
            logits, iou = self._sam.decode(features, boxes, points, labels, masks)
        best = iou.argmax(1)
        rows = torch.arange(len(prompts), device=best.device)
        chosen, scores = logits[rows, best].float(), iou[rows, best].float().tolist()
        return [Candidate(chosen[i : i + 1], scores[i]) for i in range(len(prompts))]

    def _one(
        self, image: Image, prompt: Prompt, candidate: Candidate, prepared: Prepared, modes: _Modes,
        report: Report,
    ) -> Matte:
        """Mask and alpha of one object in the picture's pixels; all of it inside the window where alpha can be."""
        size = image.height, image.width
        alpha = np.zeros(size, np.float32)
        mask = np.zeros(size, bool)
        coarse = Fit(*size, self.square)
        binary, box = upsample_mask(candidate.logits, coarse)
        window = refine.reach(box, size, guidance=modes.guidance, postprocess=modes.postprocess)
        mixed = modes.detail and self.defaults.share < 1
        if mixed:
            window = refine.grow(window, detail.spread(coarse), size)
        if box.height:
            mask[box.slices()] = binary.cpu().numpy()
            inside = torch.zeros((1, 1, window.height, window.width), dtype=torch.bool, device=self.device)
            inside[(..., *_relative(box, window).slices())] = binary
            seed = (candidate.logits > 0).float().unsqueeze(0)
            fit = Fit(*size, self.matte_square)
            merged = self._merge(seed, inside, window, fit, prepared, modes, report)
            if mixed:
                merged = detail.finish(merged, inside.float(), self.defaults.share, _visible(image), coarse, window)
            elif modes.detail:
                merged = detail.sharpen(merged, _visible(image), fit, window)
            alpha[window.slices()] = merged[0, 0].clamp_(0, 1).cpu().numpy()
        if image.alpha is not None:
            # What is transparent in the picture stays so.
            own = image.alpha.astype(np.float32) / np.float32(np.iinfo(image.alpha.dtype).max)
            alpha *= own
            mask &= own > 0
        return _frozen(Matte(alpha=alpha, mask=mask, score=candidate.score, prompt=prompt, image=image))

    def _merge(
        self, seed: Tensor, mask: Tensor, window: Window, fit: Fit, prepared: Prepared, modes: _Modes,
        report: Report,
    ) -> Tensor:
        """`refine.merge` inside a window of the picture, each finer scale computed only where it counts."""
        size = fit.height, fit.width
        stages = self._m2m.stages(prepared, seed, source_window(window, size, fit.scaled))

        def at(scale: Callable[[Window], Tensor], part: Window) -> Tensor:
            """A scale's alpha in the picture's pixels, inside `part` of the window."""
            absolute = Window(part.top + window.top, part.left + window.left,
                              part.bottom + window.top, part.right + window.left)
            read = source_window(absolute, size, fit.scaled)
            return resize_window(scale(read), size, absolute, source=fit.scaled, origin=(read.top, read.left))

        whole = Window(0, 0, window.height, window.width)
        alpha = refine.start(mask, at(stages.os8, whole), guidance=modes.guidance, sides=modes.sides,
                             postprocess=modes.postprocess, reference=modes.reference)
        report("matte", 0.4)
        for finer, width, share in ((_os4, refine.OS4_WIDTH, 0.7), (_os1, refine.OS1_WIDTH, 0.95)):
            uncertain = refine.alpha_weight_map(alpha, width, modes.sides)
            [part] = refine.bounds(uncertain[:, 0])
            if part.height:
                cut = (..., *part.slices())
                alpha[cut] = at(finer(stages, uncertain[cut]), part).where(uncertain[cut], alpha[cut])
            report("matte", share)
        return alpha


class _Modes(NamedTuple):
    guidance: Guidance
    sides: Sides
    postprocess: bool
    detail: bool
    reference: bool


def _os4(stages: Stages, _uncertain: Tensor) -> Callable[[Window], Tensor]:
    return stages.os4


def _os1(stages: Stages, uncertain: Tensor) -> Callable[[Window], Tensor]:
    """Tiles without anything uncertain are not computed."""
    return lambda window: stages.os1(window, uncertain)


def _visible(image: Image) -> np.ndarray[Any, Any]:
    """uint8 H×W×3: the picture's colours on mid-gray where it is transparent."""
    rgb = image.rgb8()
    if image.alpha is None or image.alpha.min() == np.iinfo(image.alpha.dtype).max:
        return rgb
    share = (image.alpha.astype(np.float32) / np.float32(np.iinfo(image.alpha.dtype).max))[..., None]
    shown: np.ndarray[Any, Any] = (rgb * share + HIDDEN * (1 - share) + 0.5).astype(np.uint8)
    return shown


def _relative(inner: Window, outer: Window) -> Window:
    return Window(inner.top - outer.top, inner.left - outer.left, inner.bottom - outer.top, inner.right - outer.left)


def _known(value: T, known: tuple[T, ...], what: str) -> T:
    if value not in known:
        raise PromptError(f"{what} was given as {value!r}; expected auto, {' or '.join(map(str, known))}")
    return value


def _joined(chunks: Iterable[Sequence[T]]) -> list[T]:
    return [item for chunk in chunks for item in chunk]


def _frozen(matte: Matte) -> Matte:
    matte.alpha.setflags(write=False)
    matte.mask.setflags(write=False)
    return matte


def _share(report: Report, start: float, stop: float) -> Report:
    """Progress 0..1 of a part of the work as start..stop of the whole."""
    return lambda stage, share: report(stage, start + (stop - start) * share)


def _silent(_stage: str, _share: float) -> None:
    return None
