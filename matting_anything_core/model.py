"""A model: `embed` an image once, `matte` any number of prompts on it. The pipeline of the paper's figure 2.

    image ─► view ─► features ─► segment ─► mask logits ─► refine ─► mask ─► predict_alpha ─► alpha ─► Matte
                        prompt ─────┴── seeds ────────────────┴───────────────────────────────┘

The steps are public, each a method on values, and `matte` takes them in this order. A MattingAnything holds networks
and nothing that changes, so one may serve many threads.
"""

from __future__ import annotations

import copy
import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .device import autocast, in_chunks, on_its_device, resolve_device, resolve_dtype, working
from .errors import PromptError
from .geometry import Fit, Window, fit_picture, to_square
from .image import Image, ImageInput, read_image
from .networks.backbone import Defaults
from .networks.backbones import BACKBONES
from .networks.head_networks import HEAD_NETWORKS
from .networks.m2m import MaskToMatte
from .networks.sam import Sam, build_sam, load_state
from .options import CHOICES, MatteOptions, OptionKeywords, chosen
from .pipeline.closed_form import solve_trimap
from .pipeline.continuation import around, as_logits, weight_of
from .pipeline.correction import corrected
from .pipeline.crops import crop_for
from .pipeline.embedding import Embedding, View, visible_colours
from .pipeline.heads import HEADS, ON_TRIMAPS, AlphaHead, BinaryMask, HeadOptions, Patch, build_head
from .pipeline.mask_refinement import AWAY, refine_mask
from .pipeline.masks import MaskLogits, at_input_size, of_candidates, united_masks
from .pipeline.prompting import (
    DecoderPrompt,
    beyond,
    checked,
    clip_to_box,
    decoder_prompt,
    groups,
    hull,
    mask_logits,
    united,
)
from .pipeline.rough_mask import with_rough_mask
from .pipeline.seeds import DROP, KEEP, Seeds, held, seeds_of, shrunk
from .pipeline.subject import Subject, find_subject, is_whole, knows
from .pipeline.trimap import UNSAID, Hand
from .result import SURE, Matte, Source
from .threads import check_threads
from .transfers import uploaded
from .types import Box, ProgressCallback, Prompt, PromptInput, prompts_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .pipeline.seeds import Marks
    from .weights.store import Checkpoint

CHUNK = 16
"""Prompts that are decoded at once; about 40 MB each with a ViT."""
SEARCH = 2 / 3
"""Share of the encoding's progress that belongs to finding the subject, where it has to be found."""


class MattingAnything:
    """SAM and an alpha head, ready to work on one device. Made by `load_model` or `from_checkpoint`."""

    def __init__(
        self,
        sam: Sam,
        m2m: nn.Module | None,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        matte_square: int | None = None,
        name: str = "custom",
        defaults: Defaults | None = None,
        threads: int | None = None,
    ) -> None:
        """Take networks as they are; both are moved to the device, and m2m is folded into its inference form.

        Parameters
        ----------
        sam, m2m : the networks, with their weights; m2m is that of the alpha head (Mask-to-Matte, ViTMatte), None for a
            head without one.
        device, dtype : as for `load_model`.
        matte_square : int, optional
            Side of the square that Mask-to-Matte works in, a multiple of 16; the encoder's own when left out. When it
            is larger, the features are enlarged bilinearly.
        name : str
            What the model is called.
        defaults : Defaults, optional
            What it does where the caller leaves the choice.
        threads : int, optional
            As for `load_model`.
        """
        self.device = resolve_device(device)
        self.threads = check_threads(threads)
        self.dtype = resolve_dtype(dtype, self.device)
        self.name = name
        self.defaults = Defaults() if defaults is None else defaults
        self.matte_square = sam.square if matte_square is None else matte_square
        self._sam = sam.to(self.device).eval().requires_grad_(False)
        self._head: AlphaHead = build_head(self.defaults.head, m2m, self.matte_square).to(self.device, self.dtype)
        tokens = sam.mask_decoder.mask_tokens.weight.detach().float().cpu().numpy()
        self.fingerprint = f"{name}/{sam.square}/{zlib.crc32(tokens.tobytes()):08x}"
        if self.defaults.head in HEAD_NETWORKS and m2m is not None:
            last = [*m2m.parameters()][-2].detach().float().cpu().numpy()  # the last one that is more than a bias
            self.fingerprint += f"/{zlib.crc32(last.tobytes()):08x}"

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, device: str | torch.device = "auto", dtype: str | torch.dtype = "auto",
        threads: int | None = None,
    ) -> MattingAnything:
        """Build the networks on the meta device and put the checkpoint's tensors in place."""
        with working(resolve_device(device), f"loading {checkpoint.architecture}", threads=threads):
            with torch.device("meta"):
                sam = build_sam(checkpoint.architecture, checkpoint.square)
                network: nn.Module | None = MaskToMatte().eval() if checkpoint.m2m else None
                if checkpoint.head is not None:
                    network = checkpoint.head.build()
            load_state(sam, checkpoint.sam, f"the SAM weights of {checkpoint.metadata.get('file', 'the checkpoint')}")
            if network is not None:
                file = checkpoint.metadata.get("m2m_file", checkpoint.metadata.get("file", "it"))
                load_state(network, checkpoint.m2m, f"the alpha head's weights of {file}")
            backbone = BACKBONES[checkpoint.architecture]
            own = backbone.defaults if checkpoint.m2m or backbone.alone is None else backbone.alone
            defaults = _defaults(own, checkpoint.metadata)
            name = checkpoint.architecture
            if checkpoint.head is not None:
                name, defaults = f"{name}+{checkpoint.head.label}", replace(defaults, head=checkpoint.head.name)
            return cls(sam, network, device=device, dtype=dtype, matte_square=checkpoint.matte_square, name=name,
                       threads=threads, defaults=defaults)

    @property
    def square(self) -> int:
        """Side in pixels of the square that the encoder sees."""
        return self._sam.square

    @property
    def sam(self) -> Sam:
        """Segment Anything, which holds nearly all of the weights: for hosts that move weights between devices by
        themselves. Once they are on another device, work goes on with `model.to(device)`."""
        return self._sam

    def to(self, device: str | torch.device, dtype: str | torch.dtype = "auto") -> MattingAnything:
        """This model on another device. SAM's weights are moved, not copied, so this object rests until they are back;
        those of the alpha head (11 MB; ViTMatte 100 or 390) are copied. See `Embedding.to`. Raises DeviceError."""
        moved = copy.copy(self)
        moved.device = resolve_device(device)
        moved.dtype = resolve_dtype(dtype, moved.device)
        moved._sam = self._sam.to(moved.device)
        moved._head = self._head.to(moved.device, moved.dtype)
        return moved

    # --- the whole way ------------------------------------------------------------------------------------------

    @on_its_device("encoding the image")
    def embed(self, image: ImageInput, *, progress: ProgressCallback | None = None) -> Embedding:
        """Take in an image, once for any number of prompts.

        Parameters
        ----------
        image
            Anything that `read_image` takes.
        progress : callable, optional
            Called with ("encode", 0..1); what it raises ends the work.

        Returns
        -------
        Embedding
            With the whole image encoded already, but for models that look at crops: these encode what a prompt needs.

        Raises
        ------
        ImageError, DeviceError
        """
        picture = read_image(image)
        embedding = Embedding(picture, visible_colours(picture), self.fingerprint)
        if not self.defaults.crops:
            self.view(embedding, progress=progress)
        return embedding

    @on_its_device("matting")
    @torch.inference_mode()
    def matte(
        self,
        embedding: Embedding,
        prompts: PromptInput | Sequence[PromptInput] | None = None,
        options: MatteOptions | None = None,
        *,
        progress: ProgressCallback | None = None,
        **keywords: Unpack[OptionKeywords],
    ) -> list[Matte]:
        """One Matte for each prompt (section 3.3), in the order given.

        Parameters
        ----------
        embedding : Embedding
            From this model's `embed`.
        prompts : optional
            One or many; 200 boxes are fine. Left out: the one clear subject of the image.
        options : MatteOptions, optional
            How; its fields may be given as keywords as well.
        progress : callable, optional
            Called with ("matte", share done); what it raises ends the work.

        Raises
        ------
        PromptError
            For prompts that do not fit the image, an embedding of another model, and unknown options.
        MissingExtraError
            For prompts with text that nobody turned into boxes.
        DeviceError
            When memory does not suffice.
        """
        how = self.decided(MatteOptions.of(options, keywords))
        report = progress or _silent
        report("matte", 0.0)
        asked = [self._ask(embedding, one, how) for one in self._checked(embedding, prompts, report)]
        found: dict[int, Matte] = {}
        for window in dict.fromkeys(one.window for one in asked):
            members = [index for index, one in enumerate(asked) if one.window == window]
            searched = any(asked[index].subject is not None for index in members)
            view = self.view(embedding, window, progress=_part_of(report, SEARCH, 1) if searched else report)
            masks = self.segment(view, [asked[index].begins for index in members])
            for index, mask in zip(members, masks, strict=True):
                step = _part_of(report, len(found) / len(asked), (len(found) + 1) / len(asked))
                found[index] = self._finished(embedding, view, asked[index], mask, how, step)
        return [found[index] for index in range(len(asked))]

    @on_its_device("matting")
    @torch.inference_mode()
    def matte_together(
        self,
        embedding: Embedding,
        prompts: PromptInput | Sequence[PromptInput],
        options: MatteOptions | None = None,
        *,
        progress: ProgressCallback | None = None,
        **keywords: Unpack[OptionKeywords],
    ) -> Matte:
        """One Matte of everything the prompts mark: their masks are united before the alpha head.

        Objects that touch get no seam, and ten cost little more than one. Parameters and errors as for `matte`, and for
        one prompt the same result; several are all looked at in the whole image. The result's prompt has the boxes'
        hull, its score is the lowest.
        """
        ready = self._checked(embedding, prompts, progress or _silent)
        if len(ready) == 1:
            return self.matte(embedding, prompts, options, progress=progress, **keywords)[0]
        how = self.decided(MatteOptions.of(options, keywords))
        report = progress or _silent
        report("matte", 0.0)
        asked = [self._ask(embedding, one, how, embedding.whole) for one in ready]
        view = self.view(embedding, embedding.whole, progress=report)
        masks = self.segment(view, [one.begins for one in asked])
        if self.defaults.clip_to_box:
            masks = [mask._replace(logits=clip_to_box(mask.logits, one.begins, view.fit))
                     for one, mask in zip(asked, masks, strict=True)]
        together = _Ready(united([one.prompt for one in ready]))
        limits = [box for one in asked for box in one.limits] if all(one.limits for one in asked) else []
        everything = replace(self._ask(embedding, together, how, embedding.whole), several=True, limits=tuple(limits))
        return self._finished(embedding, view, everything, united_masks(masks), how, _part_of(report, 0, 1))

    # --- its steps ----------------------------------------------------------------------------------------------

    def decided(self, options: MatteOptions) -> HeadOptions:
        """Options with "auto" decided for this model.

        Raises
        ------
        PromptError
            For an option that its alpha head does not have.
        """
        if options.transparent and self.defaults.head not in ON_TRIMAPS:
            raise PromptError(f"transparent=True is for models with ViTMatte, and {self.name} has none: it would "
                              f"change nothing; expected a model such as {self.name.partition('+')[0]}+vitmatte_s, or "
                              "transparent=False")
        return HeadOptions(
            guidance=chosen(options.guidance, self.defaults.guidance), sides=chosen(options.sides, self.defaults.sides),
            postprocess=options.postprocess, detail=options.detail and not options.reference,
            reference=options.reference, band=options.band, transparent=options.transparent,
        )

    def check(self, image: Image, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The prompts as they are used on an image: boxes clipped, a box put around a mask that has none.

        Raises
        ------
        PromptError
            For a box or point outside of the image, and for arrays of another size.
        MissingExtraError
            For text.
        """
        return [checked(prompt, image.height, image.width) for prompt in prompts]

    def window_for(self, prompt: Prompt, image: Image, *, detail: bool = True) -> Window:
        """The part of an image to look at for a checked prompt: all of it, or a crop where the encoder is quick."""
        whole = Window(0, 0, image.height, image.width)
        if not (detail and self.defaults.crops) or max(image.height, image.width) <= self.square // 2:
            return whole
        extent = hull(prompt)
        crop = None if extent is None else crop_for(extent, image.height, image.width)
        return whole if crop is None else crop

    @on_its_device("encoding the image")
    @torch.inference_mode()
    def view(
        self, embedding: Embedding, window: Window | None = None, *, progress: ProgressCallback | None = None
    ) -> View:
        """A part of an image as the network sees it, encoded unless the embedding keeps it.

        Parameters
        ----------
        embedding : Embedding
            From this model's `embed`.
        window : Window, optional
            In the image's pixels; left out, the whole image.
        progress : callable, optional
            Called with ("encode", 0..1).
        """
        part = embedding.whole if window is None else window
        return embedding.views.get(part, lambda: self._encoded(embedding, part, progress or _silent))

    def _fit(self, window: Window) -> Fit:
        """How a part of an image lies in the encoder's input."""
        return Fit(window.height, window.width, self.square, self._sam.stretched)

    def _encoded(self, embedding: Embedding, window: Window, report: ProgressCallback) -> View:
        report("encode", 0.0)
        fit = self._fit(window)
        colours = embedding.visible[window.slices()]
        rgb = fit_picture(colours, fit)
        pixels = to_square(rgb, fit.at(self.square), self._sam.mean, self._sam.std, self.device)
        with autocast(self.device, self.dtype):
            [(features, fine)] = in_chunks(lambda _a, _b: self._sam.look(pixels, lambda share: report("encode", share)),
                                           1, 1, device=self.device, what="images")
        side = self._head.input_size
        if side is None:
            pixels = pixels.new_zeros((1, 3, 0, 0))
        elif side != self.square:
            pixels = to_square(colours, fit.at(side), self._sam.mean, self._sam.std, self.device)
        report("encode", 1.0)
        return View(window, fit, rgb, features.float(), pixels, tuple(tensor.float() for tensor in fine))

    def find_subject(self, embedding: Embedding, *, progress: ProgressCallback | None = None) -> Subject:
        """The one clear subject of an image: its box, and how sure that is (see pipeline/subject.py).

        It is found with the bundled model's features, for other models in an embedding that is made for it.

        Parameters
        ----------
        embedding : Embedding
            From this model's `embed`.
        progress : callable, optional
            Called with ("encode", 0..1).
        """
        if not knows(self._sam.image_encoder):
            finder = _finder()
            return finder.find_subject(finder.embed(embedding.image), progress=progress)
        report = progress or _silent
        view = self.view(embedding, progress=_part_of(report, 0, 0.5))
        found = find_subject(view.features, view.fit)
        if found.box is None:
            return found
        return found._replace(box=self._closer(embedding, found.box, _part_of(report, 0.5, 1)))

    @torch.inference_mode()
    def _closer(self, embedding: Embedding, box: Box, report: ProgressCallback) -> Box:
        """The box around what is in a rough box: the mask that is found there tells it better."""
        image, prompt = embedding.image, Prompt(box=box)
        view = self.view(embedding, self.window_for(prompt, image), progress=report)
        told = decoder_prompt(prompt, view.window)
        mask = self.refine(view, self.segment(view, [told])[0], told, whole=True)
        found = BinaryMask.of(mask, view.fit, tight=True).bounds.moved(view.window.top, view.window.left)
        return box if found.empty else (float(found.left), float(found.top), float(found.right), float(found.bottom))

    @on_its_device("decoding the prompts")
    @torch.inference_mode()
    def segment(self, view: View, prompts: Sequence[DecoderPrompt]) -> list[MaskLogits]:
        """The best of SAM's three candidate masks for each prompt, by predicted IoU (section 3.1), or, with models that
        blend them (`Defaults.blend_candidates`), their mean.

        Parameters
        ----------
        view : View
            From `view`.
        prompts : sequence of DecoderPrompt
            In the view's pixels.
        """
        found: dict[int, MaskLogits] = {}
        # Prompts with the same parts go through the decoder together. Padding unequal ones would not be exact: in SAM
        # a padding point is a token like any other.
        for members in groups(prompts):

            def decode(start: int, stop: int, members: Sequence[int] = members) -> list[MaskLogits]:
                return self._decode(view, [prompts[i] for i in members[start:stop]])

            decoded = in_chunks(decode, len(members), CHUNK, device=self.device)
            found.update(zip(members, (mask for chunk in decoded for mask in chunk), strict=True))
        return [found[index] for index in range(len(prompts))]

    def _decode(self, view: View, prompts: Sequence[DecoderPrompt]) -> list[MaskLogits]:
        def tensor(values: object) -> Tensor:
            return uploaded(torch.tensor(values, dtype=torch.float32), self.device)

        first, fit = prompts[0], view.fit
        boxes = points = labels = masks = None
        if first.box is not None:
            boxes = tensor([fit.box(prompt.box) for prompt in prompts if prompt.box is not None])
        if first.points:
            points = tensor([[fit.point(*point) for point in prompt.points] for prompt in prompts])
            labels = tensor([prompt.labels for prompt in prompts])
        if first.mask is not None:
            masks = torch.stack([mask_logits(prompt.mask, fit) for prompt in prompts if prompt.mask is not None])
            masks = uploaded(masks, self.device)
        with autocast(self.device, self.dtype):
            logits, iou = self._sam.decode(view.features, boxes, points, labels, masks, fine=view.fine)
        scores = iou.float().amax(1).tolist()
        selected = of_candidates(logits, iou, blend=self.defaults.blend_candidates and not first.points)
        return [MaskLogits(selected[i : i + 1], scores[i]) for i in range(len(prompts))]

    @on_its_device("refining a mask")
    @torch.inference_mode()
    def refine(
        self, view: View, mask: MaskLogits, prompt: DecoderPrompt, *, whole: bool = False,
        rough: np.ndarray[Any, Any] | None = None,
    ) -> MaskLogits:
        """A decoded mask, clipped to its box and refined with the view's colours, where this model does so.

        Parameters
        ----------
        view : View
            That the mask was found in.
        mask : MaskLogits
            From `segment`.
        prompt : DecoderPrompt
            What the decoder was told.
        whole : bool
            The prompt says that it is one object, of which small components are no part.
        rough : ndarray, optional
            H×W bool, a rough mask in the view's pixels that came with the prompt (see pipeline/rough_mask.py).
        """
        logits = mask.logits
        if self.defaults.clip_to_box:
            logits = clip_to_box(logits, prompt, view.fit)
        if rough is not None:
            logits = self._with_rough_mask(view, logits, rough)
        if self.defaults.refine_masks:
            logits = refine_mask(logits, view.rgb, view.fit, whole=whole)
        return mask._replace(logits=logits)

    def _with_rough_mask(self, view: View, logits: Tensor, rough: np.ndarray[Any, Any]) -> Tensor:
        height, width = view.fit.scaled
        small = fit_picture(rough.astype(np.uint8) * 255, view.fit) > 127
        result = at_input_size(logits, view.fit).clone()
        decoded = result[0, :height, :width].cpu().numpy()
        result[0, :height, :width] = uploaded(torch.from_numpy(with_rough_mask(small, decoded)), result.device)
        return result

    @on_its_device("correcting a mask")
    @torch.inference_mode()
    def correct(
        self, view: View, mask: MaskLogits, marks: Marks, evidence: MaskLogits | None = None
    ) -> tuple[MaskLogits, np.ndarray[Any, np.dtype[np.bool_]]]:
        """A mask that obeys the user's seeds, each with the region it points at (see pipeline/correction.py).

        Parameters
        ----------
        view : View
            Whose colours say how far a region goes.
        mask : MaskLogits
            What is corrected.
        marks : ndarray
            h×w int8 at the view's scaled size, see `Seeds`.
        evidence : MaskLogits, optional
            What the decoder says with the same points.

        Returns
        -------
        The mask, and which pixels (h×w bool at the scaled size) it changed.
        """
        height, width = view.fit.scaled

        def scaled(logits: Tensor) -> np.ndarray[Any, Any]:
            return at_input_size(logits, view.fit)[0, :height, :width].cpu().numpy()

        before = scaled(mask.logits)
        after = corrected(before, marks, view.rgb, None if evidence is None else scaled(evidence.logits))
        changed = (after > 0) != (before > 0)
        if not changed.any():
            return mask, changed
        logits = at_input_size(mask.logits, view.fit).clone()
        logits[0, :height, :width] = uploaded(torch.from_numpy(after), logits.device)
        return mask._replace(logits=logits), changed

    @on_its_device("predicting alpha")
    @torch.inference_mode()
    def predict_alpha(
        self, embedding: Embedding, view: View, mask: MaskLogits, options: HeadOptions, *,
        report: ProgressCallback | None = None, where: Window | None = None, binary: BinaryMask | None = None,
        hand: Hand = UNSAID,
    ) -> Patch:
        """The alpha of one object in the view's pixels (sections 3.2 and 3.3), from its mask.

        where: the part of the view that matters; left out, all of it. binary: the mask in the view's pixels there, when
        it was made already. hand: what the user said of the view's pixels.
        """
        binary = BinaryMask.of(mask, view.fit, where) if binary is None else binary
        if binary.bounds.empty and (hand.trimap is None or self.defaults.head not in ON_TRIMAPS):
            return Patch(torch.zeros((1, 1, 0, 0), device=self.device), Window(0, 0, 0, 0))
        rgb = embedding.visible[view.window.slices()]
        return self._head.alpha(view, mask, binary, rgb, options,
                                lambda share: (report or _silent)("matte", share), where, hand)

    # --- one object ---------------------------------------------------------------------------------------------

    def _checked(
        self, embedding: Embedding, prompts: PromptInput | Sequence[PromptInput] | None, report: ProgressCallback
    ) -> list[_Ready]:
        if not isinstance(embedding, Embedding):
            raise PromptError(f"the embedding was given as {type(embedding).__name__}; expected what "
                              "model.embed(image) gives, or matte(image, prompt, model=model) for a picture")
        if embedding.model != self.fingerprint:
            raise PromptError(f"the embedding was made by {embedding.model}, this model is {self.fingerprint}; "
                              "embed the image again with this model")
        return [self._placed(embedding, prompt, report)
                for prompt in self.check(embedding.image, prompts_of(prompts)[0])]

    def _placed(self, embedding: Embedding, prompt: Prompt, report: ProgressCallback) -> _Ready:
        """A checked prompt with the box of the subject in the place of `subject`, or of a box around everything where
        this model refines its masks by itself."""
        image, box = embedding.image, prompt.box
        everything = self.defaults.refine_masks and prompt.former is None and prompt.mask is None \
            and prompt.trimap is None and box is not None and is_whole(box, image.width, image.height)
        if not (prompt.subject or everything):
            return _Ready(prompt)
        found = self.find_subject(embedding, progress=_part_of(report, 0, SEARCH))
        place = found.box or (0.0, 0.0, float(image.width), float(image.height))
        return _Ready(replace(prompt, subject=False, box=place), found, nothing=found.box is None and prompt.subject)

    def _ask(self, embedding: Embedding, ready: _Ready, how: HeadOptions, window: Window | None = None) -> _Asked:
        """What a checked prompt asks for, and where to look for it."""
        prompt, image = ready.prompt, embedding.image
        part = self.window_for(prompt, image, detail=how.detail) if window is None else window
        seeds = Seeds(None) if how.reference else seeds_of(prompt, image.height, image.width)
        marks = shrunk(seeds, part, self._fit(part).scaled)
        told = decoder_prompt(prompt, part, with_mask=how.reference)
        begins = told
        if self.defaults.points_correct and not how.reference and told.box is not None and prompt.former is None:
            begins = told._replace(points=(), labels=())
        limits: tuple[Box, ...] = ()
        if prompt.box is not None and self.defaults.clip_to_box and not how.reference and ready.subject is None \
                and not begins.points and all(one is None for one in (prompt.mask, prompt.trimap, prompt.former)):
            limits = (prompt.box,)
        return _Asked(prompt, part, begins, told, seeds, marks, ready.subject, ready.nothing, limits=limits)

    def _finished(
        self, embedding: Embedding, view: View, one: _Asked, found: MaskLogits, how: HeadOptions,
        report: ProgressCallback,
    ) -> Matte:
        """The matte of one object from what the decoder found."""
        report("matte", 0.02)
        previous = one.prompt.former
        if previous is not None:
            logits = as_logits(previous[view.window.slices()], view.fit)
            mask = found._replace(logits=uploaded(logits, self.device))
        elif how.reference:
            mask = found
        else:
            rough = None if one.prompt.mask is None else one.prompt.mask[view.window.slices()]
            mask = self.refine(view, found, one.begins, whole=one.whole, rough=rough)
            if one.limits:  # refining lets it grow again
                ends = decoder_prompt(Prompt(box=one.prompt.box), view.window)
                mask = mask._replace(logits=clip_to_box(mask.logits, ends, view.fit))
        if one.nothing:
            mask = mask._replace(logits=torch.full_like(mask.logits, AWAY))
        changed = np.zeros(view.fit.scaled, np.bool_)
        if one.marks.any():
            evidence = found if one.begins == one.told else self.segment(view, [one.told])[0]
            mask, changed = self.correct(view, mask, one.marks, evidence)
        report("matte", 0.1)
        if previous is None:
            size = embedding.image.height, embedding.image.width
            alpha, solid = np.zeros(size, np.float32), np.zeros(size, np.bool_)
            where, weight = Window(0, 0, view.fit.height, view.fit.width), None
        else:
            alpha, solid = previous.copy(), np.asarray(previous > 0.5)
            where = around(changed, view.fit)
            weight = weight_of(changed, view.fit, where)
        if not where.empty:
            binary = BinaryMask.of(mask, view.fit, where)
            hand = UNSAID if how.reference else Hand(one.prompt.trimap, one.seeds.marks).within(*view.window.slices())
            patch = self.predict_alpha(embedding, view, mask, how, report=report, where=where, binary=binary, hand=hand)
            part = where.moved(view.window.top, view.window.left).slices()
            fresh = _pasted(patch, where) * _opacity(embedding.image, part)
            alpha[part] = fresh if weight is None else alpha[part] + weight * (fresh - alpha[part])
            solid[part] = binary.within(where)[0, 0].cpu().numpy()
            if one.limits:
                far = beyond(one.limits, *alpha.shape)
                if changed.any():  # what is corrected may lie anywhere
                    far[part] &= weight_of(changed, view.fit, where) == 0
                np.copyto(alpha, np.float32(0), where=far)
                solid &= ~far
        if one.prompt.trimap is not None and not how.reference:
            alpha, solid = self._within_trimap(embedding, one, alpha)
        if embedding.image.alpha is not None:  # what is transparent in the image stays so
            solid &= embedding.image.alpha > 0
        held(alpha, solid, one.seeds)
        report("matte", 1.0)
        alpha.setflags(write=False)
        solid.setflags(write=False)
        return Matte(alpha=alpha, mask=solid, score=found.score, prompt=one.prompt, image=embedding.image,
                     warnings=(*one.seeds.warnings, *_doubts(one.subject)),
                     subject_score=None if one.subject is None else one.subject.score,
                     source=Source(self, embedding, MatteOptions(**asdict(how))))

    def _within_trimap(
        self, embedding: Embedding, one: _Asked, alpha: np.ndarray[Any, Any]
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.bool_]]]:
        """Alpha and mask that are as the trimap, and the seeds, say where they are certain. In between as the alpha
        head says, where it was trained to; else solved in closed form, unless an earlier matte is corrected."""
        assert one.prompt.trimap is not None
        trimap = one.prompt.trimap.copy()
        if one.seeds.marks is not None:
            trimap[one.seeds.marks == KEEP], trimap[one.seeds.marks == DROP] = 255, 0
        if self.defaults.head == "guided" and one.prompt.former is None:
            result = solve_trimap(embedding.visible, trimap)
            result *= _opacity(embedding.image, (slice(None), slice(None)))
        else:
            result = np.where(trimap == 128, alpha, np.float32(1) * (trimap == 255))
        return result.astype(np.float32), np.asarray(result > 0.5)


class _Ready(NamedTuple):
    """A checked prompt; subject: what was found where the prompt did not say what to matte; nothing: it was asked for,
    and there is none, so that the matte begins empty."""

    prompt: Prompt
    subject: Subject | None = None
    nothing: bool = False


@dataclass(frozen=True, eq=False)
class _Asked:
    """A checked prompt, the part of the image to look at, what the decoder is told of it there (begins: for the mask
    that is then corrected; told: all of it), its seeds (in the image's pixels, and at the view's scaled size), and the
    subject that was found for it (nothing: there is none). limits: boxes beyond which nothing is the object unless it
    is corrected; none where nobody said how far it goes."""

    prompt: Prompt
    window: Window
    begins: DecoderPrompt
    told: DecoderPrompt
    seeds: Seeds
    marks: Marks
    subject: Subject | None = None
    nothing: bool = False
    several: bool = False
    limits: tuple[Box, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the mask begins with a box alone, so that small components are no part of the object."""
        return not self.several and not self.begins.points and self.prompt.mask is None


@functools.lru_cache(maxsize=1)
def _finder() -> MattingAnything:
    """The bundled model, which finds the subject for all others."""
    from .weights.store import open_checkpoint

    return MattingAnything.from_checkpoint(open_checkpoint("lite"), device="cpu")


def _doubts(subject: Subject | None) -> tuple[str, ...]:
    """What the user should know of a subject that was found."""
    if subject is None or subject.score >= SURE:
        return ()
    found = "no clear subject was found in the image" if subject.box is None else \
        "it is not sure what the subject of the image is"
    return (f"{found} (score {subject.score:.2f}, expected {SURE} or more); a box or a point says what to matte",)


def _defaults(defaults: Defaults, metadata: Mapping[str, str]) -> Defaults:
    """A backbone's defaults with what a file's metadata says in their place; what is not known there is not taken."""
    known = {**CHOICES, "head": tuple(name for name in HEADS if name not in HEAD_NETWORKS)}
    told = {name: metadata[name] for name in ("guidance", "sides", "head")
            if metadata.get(name) in known[name] and metadata[name] != "auto"}
    return replace(defaults, **told)  # type: ignore[arg-type]


def _pasted(patch: Patch, where: Window) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A patch of alpha inside a window of the view that holds it; 0 elsewhere."""
    alpha = np.zeros((where.height, where.width), np.float32)
    if not patch.window.empty:
        alpha[patch.window.relative_to(where).slices()] = patch.alpha[0, 0].clamp(0, 1).cpu().numpy()
    return alpha


def _opacity(image: Image, part: tuple[slice, slice]) -> np.ndarray[Any, np.dtype[np.float32]] | np.float32:
    """The image's own alpha in some rows and columns, 0..1; 1 for an opaque image."""
    if image.alpha is None:
        return np.float32(1)
    return image.alpha[part].astype(np.float32) / np.float32(np.iinfo(image.alpha.dtype).max)


def _part_of(report: ProgressCallback, start: float, stop: float) -> ProgressCallback:
    """Progress 0..1 of a part of the work as start..stop of the whole."""
    return lambda stage, done: report(stage, start + (stop - start) * done)


def _silent(_stage: str, _done: float) -> None:
    return None
