"""Prompt encoder and mask decoder of the small model learn to be corrected, on the frozen encoder's features.

A sample is a dialogue. It begins with a box, a point, or a rough mask with its box; then come clicks where the mask is
wrong, each with the mask so far as the mask prompt. Every round is taught, so that a click is obeyed, what was right
stays right, and plain boxes are answered as before: for these the decoder that the stage began with is a teacher, too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import MattingError
from ..networks.m2m import MaskToMatte
from ..networks.prompts import embed_prompts
from ..networks.sam import Sam
from ..pipeline.prompting import MASK_LOGIT
from .augment import Rng, chance
from .clicks import STRIDE, bounds_of, confirming_click, next_click, rough_mask, some_region
from .depthwise import depthwise_in_float32
from .encoder_task import normalised
from .feature_cache import FeatureCache
from .lean_decoder import lean_decode_masks
from .losses_sam import inside_weights, mask_losses, measured_iou
from .recipe import DTYPES, Stage
from .views import View, ViewSettings

BOX, POINT, MASK = 0, 1, 2
"""What a dialogue begins with; the stage's `starts` are their shares."""
NEAR = 2.0
"""Cells around a click that are to obey it, as far as the truth agrees."""
BARE = 0.2
"""How often a round gets no mask prompt, as when a prompt is given with all of its clicks at once …"""
NEWEST = 0.15
"""… or, with the mask prompt, its newest click alone."""


class ClicksTask(nn.Module):
    """Holds the frozen encoder, the prompt encoder and mask decoder that learn, `m2m` untouched, and the teacher."""

    trained = "sam."

    def __init__(self, sam: Sam, m2m: MaskToMatte, stage: Stage, seed: int, cache: FeatureCache | None,
                 settings: ViewSettings, teacher: Mapping[str, Tensor] | None = None) -> None:
        """teacher: its weights, as an earlier stage of this kind hands them on; left out, those of `sam`."""
        super().__init__()
        self.sam, self.m2m, self.stage, self.seed = sam, m2m, stage, seed
        self.cache, self.settings = cache, settings
        m2m.requires_grad_(False)
        sam.image_encoder.requires_grad_(False)
        self.teacher = nn.ModuleList([copy.deepcopy(sam.prompt_encoder), copy.deepcopy(sam.mask_decoder)])
        if teacher:
            self.teacher.load_state_dict(teacher)
        self.teacher.requires_grad_(False)
        depthwise_in_float32(sam.image_encoder)
        sam.image_encoder.to(memory_format=torch.channels_last)
        if cache is not None:
            cache.claim({"encoder": fingerprint(sam.image_encoder), "precision": stage.precision, **asdict(settings)})

    def train(self, mode: bool = True) -> ClicksTask:
        """As nn.Module.train; encoder, teacher and Mask-to-Matte stay in eval mode."""
        super().train(mode)
        self.sam.image_encoder.eval()
        self.teacher.eval()
        self.m2m.eval()
        return self

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimiser; vectors without decay."""
        result = []
        for module, rate in ((self.sam.prompt_encoder, self.stage.rate * self.stage.prompt_factor),
                             (self.sam.mask_decoder, self.stage.rate)):
            for vectors in (False, True):
                part = [p for p in module.parameters() if p.requires_grad and (p.ndim <= 1) == vectors]
                result.append({"params": part, "lr": rate, "base": rate,
                               "weight_decay": 0.0 if vectors else self.stage.decay})
        return result

    def features(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The encoder's features of a batch of views; those that are not kept yet are made, and kept."""
        features = batch["features"].float()
        new = torch.nonzero(~batch["kept"])[:, 0]
        if len(new):
            made = self.encoded(batch["rgb"][new], batch["size"][new])
            # Rounded as the kept ones are, so that it makes no difference which process comes first.
            features[new] = made.float()
            if self.cache is not None:
                for row, index in enumerate(new.tolist()):
                    size, count = batch["size"][index].tolist(), int(batch["count"][index])
                    shown = View(batch["rgb"][index], (size[0], size[1]), batch["every"][index, :count])
                    self.cache.write(int(batch["number"][index]), made[row], shown)
        return features

    @torch.no_grad()
    def encoded(self, rgb: Tensor, sizes: Tensor) -> Tensor:
        """The frozen encoder's features of views B×3×S×S uint8 as float16 B×256×h×w."""
        pixels = normalised(self.sam, rgb, sizes)
        precision = self.stage.precision
        with torch.autocast(pixels.device.type, DTYPES[precision], enabled=precision != "float32"):
            features: Tensor = self.sam.encode(pixels).to(torch.float16)
        return features

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return torch.device(self.sam.mask_decoder.mask_tokens.weight.device)

    def forward(self, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of `clicks_data.ClickViews`, and what to log."""
        kind = batch["size"].device.type
        with torch.no_grad():
            features = self.features(batch)
        rng = np.random.default_rng((self.seed, step, 8))
        with torch.autocast(kind, enabled=False):
            return self._dialogue(Dialogue(batch, rng, self.stage), features, rng)

    def _dialogue(self, talk: Dialogue, features: Tensor, rng: Rng) -> tuple[Tensor, dict[str, Tensor]]:
        rounds = 1 + int(rng.choice(self.stage.rounds, p=_shorter_rather(self.stage.rounds)))
        owner, losses = talk.owner, []
        values: dict[str, Tensor] = {}
        for number in range(rounds + 1):
            bare, newest = chance(rng, BARE), chance(rng, NEWEST)
            if number:
                talk.click(rng)
            logits = talk.targets.new_zeros((len(owner), 3, *talk.targets.shape[1:]))
            predicted = logits.new_zeros((len(owner), 3))
            for rows, prompt in talk.prompts(rng, bare=bare, newest=newest, first=number == 0):
                if number == 0 and talk.starts[rows[0]] == MASK:
                    prompt = self._own_sometimes(talk, rng, rows, prompt, features)
                found = decode(self.sam, features, owner[rows], **prompt)
                logits = logits.index_copy(0, rows, found[0])
                predicted = predicted.index_copy(0, rows, found[1])
            loss, iou, hit = talk.loss(logits, predicted)
            if number == 0 and self.stage.teacher:
                loss = loss + self.stage.teacher * self._taught(talk, logits, features)
            losses.append(loss)
            talk.answer(logits.detach(), predicted.detach())
            name = "first" if number == 0 else "later"
            values[f"{name}_loss"] = values.get(f"{name}_loss", 0) + loss.detach() / (rounds if number else 1)
            values[f"{name}_iou"] = values.get(f"{name}_iou", 0) + iou / (rounds if number else 1)
            if number:
                values["obeyed"] = values.get("obeyed", 0) + hit / rounds
        return torch.stack(losses).mean(), values

    @torch.no_grad()
    def _own_sometimes(self, talk: Dialogue, rng: Rng, rows: Tensor, prompt: dict[str, Tensor],
                       features: Tensor) -> dict[str, Tensor]:
        """Now and then the mask that is given is the decoder's own from the box, and not a rough one."""
        if not chance(rng, 0.2):
            return prompt
        boxes = talk.boxes[rows]
        logits, predicted = decode(self.sam, features, talk.owner[rows], boxes=boxes)
        return {"boxes": boxes, "masks": talk.as_mask(rng, chosen(logits, predicted))}

    def _taught(self, talk: Dialogue, logits: Tensor, features: Tensor) -> Tensor:
        """How far the answers to plain boxes are from the teacher's: cross-entropy of all three candidates, less the
        teacher's own entropy."""
        rows = torch.nonzero(talk.starts == BOX)[:, 0]
        if not len(rows):
            return logits.sum() * 0
        prompts, decoder = self.teacher
        with torch.no_grad():
            sparse, dense = prompts(None, talk.boxes[rows], None)
            place: Tensor = prompts.get_dense_pe()  # type: ignore[operator]
            theirs, _ = lean_decode_masks(decoder, features, place, sparse, dense, talk.owner[rows])
        soft = theirs.sigmoid()
        weights = talk.weights[rows].unsqueeze(1)
        each = F.binary_cross_entropy_with_logits(logits[rows], soft, reduction="none") \
            - F.binary_cross_entropy_with_logits(theirs, soft, reduction="none")
        return (each * weights).sum((2, 3)).mean() * (len(rows) / len(logits))


def decode(sam: Sam, features: Tensor, owner: Tensor, boxes: Tensor | None = None, points: Tensor | None = None,
           labels: Tensor | None = None, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """As `Sam.decode`, by the decoder that trains faster."""
    sparse, dense, places = embed_prompts(sam.prompt_encoder, boxes, points, labels, masks)
    return lean_decode_masks(sam.mask_decoder, features, places, sparse, dense, owner)


class Dialogue:
    """The prompts of a batch so far, and the mask that they brought. N prompts; all tensors on the batch's device.

    starts: N; boxes: N×4; owner: N, the view of each; targets: N×h×w in 0..1; weights: N×h×w for the cross-entropy.
    """

    def __init__(self, batch: Mapping[str, Tensor], rng: Rng, stage: Stage) -> None:
        self.stage = stage
        views, each = batch["targets"].shape[:2]
        device = batch["targets"].device
        self.targets = batch["targets"].flatten(0, 1).float() / 255
        self.boxes = batch["boxes"].flatten(0, 1).clone()
        self.owner = torch.arange(views, device=device).repeat_interleave(each)
        sizes = batch["size"][self.owner]
        self.inside = [(-(-int(h) // STRIDE), -(-int(w) // STRIDE)) for h, w in sizes.tolist()]
        self.shares = self.targets.cpu().numpy()
        kinds = rng.choice(3, len(self.owner), p=np.array(stage.starts) / sum(stage.starts))
        self.starts = torch.from_numpy(kinds).to(device)
        self.weights = inside_weights(self.boxes, sizes.float(), self.targets.shape[-2:])
        self.points: list[list[tuple[float, float, int]]] = [[] for _ in kinds]
        self.mask = torch.zeros_like(self.targets)  # logits of the masks so far; replaced by the first answer
        self.given: Tensor | None = None  # the mask prompt as it was last given
        for i, start in enumerate(kinds):
            if start == POINT:
                valid = np.zeros(self.shares[i].shape, bool)
                valid[: self.inside[i][0], : self.inside[i][1]] = True
                click = confirming_click(rng, self.shares[i], valid)
                while not click.label and (self.shares[i] > 0.75).any():  # the first one is on the object
                    click = confirming_click(rng, self.shares[i], valid)
                self.points[i].append(click)
            elif start == MASK:
                rough = rough_mask(rng, self.shares[i])
                self.mask[i] = torch.from_numpy(rough).to(device) * (2 * MASK_LOGIT) - MASK_LOGIT
                self.boxes[i] = torch.from_numpy(bounds_of(rough)).to(device)

    def click(self, rng: Rng) -> None:
        """The next click of every dialogue, on what its mask has wrong. Sometimes a part of the mask was put right by
        other means before, as by the refinement that follows the decoder, and is not to be lost."""
        found = (self.mask > 0).cpu().numpy()
        for i, (share, inside) in enumerate(zip(self.shares, self.inside, strict=True)):
            if chance(rng, 0.12):
                region = some_region(rng, found[i].shape)
                better = np.where(region, share > 0.5, found[i])
                if better.any():
                    found[i] = better
                    logits = torch.from_numpy(better.astype(np.float32)) * (2 * MASK_LOGIT) - MASK_LOGIT
                    self.mask[i] = logits.to(self.mask.device)
            self.points[i].append(next_click(rng, found[i], share, inside))

    def prompts(self, rng: Rng, *, bare: bool, newest: bool, first: bool) -> list[tuple[Tensor, dict[str, Tensor]]]:
        """The prompts of a round in groups of like ones: which of the N, and the decoder's arguments. In the first
        round each is what the dialogue begins with; later, those with a box keep it, and get the mask so far."""
        self.before = self.mask.clone()
        parts = [(BOX,), (POINT,), (MASK,)] if first else [(BOX, MASK), (POINT,)]
        found = []
        for part in parts:
            rows = torch.nonzero(torch.isin(self.starts, torch.tensor(part, device=self.starts.device)))[:, 0]
            if not len(rows):
                continue
            prompt: dict[str, Tensor] = {}
            if POINT not in part:
                prompt["boxes"] = self.boxes[rows]
            with_mask = part == (MASK,) if first else not bare
            if POINT in part or not first:
                last = slice(-1, None) if newest and with_mask else slice(None)
                clicks = torch.tensor([self.points[i][last] for i in rows.tolist()], device=self.boxes.device)
                prompt["points"], prompt["labels"] = clicks[..., :2], clicks[..., 2]
            if with_mask:
                prompt["masks"] = self.as_mask(rng, self.mask[rows])
            found.append((rows, prompt))
        return found

    def as_mask(self, rng: Rng, logits: Tensor) -> Tensor:
        """The mask so far as a mask prompt N×1×h×w: the logits themselves, or what is left of them when a binary mask
        in pixels is brought back to the grid."""
        logits = logits.unsqueeze(1)
        if chance(rng, 0.5):
            return logits.clamp(-MASK_LOGIT, MASK_LOGIT)
        fine = F.interpolate(logits, scale_factor=STRIDE, mode="bilinear", align_corners=False) > 0
        return F.avg_pool2d(fine.float(), STRIDE) * (2 * MASK_LOGIT) - MASK_LOGIT

    def loss(self, logits: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of a round's answers, the IoU of the candidate that would be taken, and how many of the newest
        clicks it obeys. logits: N×3×h×w; predicted: N×3.

        Besides the weights of a plain prompt, what was wrong before counts, and what is about the newest click. All
        three candidates are taught more evenly once there are clicks: nothing is left to guess then.
        """
        weights, later = self.weights, any(len(points) > (s == POINT) for points, s in zip(
            self.points, self.starts.tolist(), strict=True))
        hit = logits.new_zeros(())
        if later:
            wrong = ((self.before > 0) != (self.targets > 0.5)).float()
            weights = weights + wrong / wrong.sum((1, 2), keepdim=True).clamp(min=60)
            clicks = torch.tensor([points[-1] for points in self.points], device=logits.device)
            near = discs(clicks[:, None, :2], self.targets.shape[-2:], NEAR)[:, 0]
            label = clicks[:, 2, None, None]
            near = near * ((self.targets - label).abs() < 0.5)
            weights = weights + self.stage.obey * near / near.sum((1, 2), keepdim=True).clamp(min=1)
            here = at_points(chosen(logits.detach(), predicted), clicks[:, :2])
            hit = ((here > 0) == (clicks[:, 2] > 0.5)).float().mean()
        each = mask_losses(logits, self.targets, weights)
        iou = measured_iou(logits.detach(), self.targets)
        share = self.stage.others if later else 0.1
        loss = each.min(1).values.mean() + share * each.mean() + F.mse_loss(predicted, iou)
        return loss, iou.gather(1, predicted.argmax(1, keepdim=True)).mean(), hit

    def answer(self, logits: Tensor, predicted: Tensor) -> None:
        """Take the most confident candidate as the mask so far."""
        self.mask = chosen(logits, predicted)


def chosen(logits: Tensor, predicted: Tensor) -> Tensor:
    """The candidate with the highest predicted IoU: N×3×h×w and N×3 -> N×h×w."""
    return logits[torch.arange(len(logits), device=logits.device), predicted.argmax(1)]


def discs(points: Tensor, size: tuple[int, ...] | torch.Size, radius: float) -> Tensor:
    """1 within `radius` cells of each point, else 0. points: N×P×2 in pixels of the input; returns N×P×h×w."""
    y = torch.arange(size[0], device=points.device) + 0.5
    x = torch.arange(size[1], device=points.device) + 0.5
    cells = points / STRIDE
    far = (x - cells[..., 0, None]) ** 2
    high = (y - cells[..., 1, None]) ** 2
    return ((high[..., :, None] + far[..., None, :]) <= radius**2).float()


def at_points(logits: Tensor, points: Tensor) -> Tensor:
    """What maps N×h×w say at one point each, bilinearly. points: N×2 in pixels of the input."""
    height, width = logits.shape[-2:]
    scale = torch.tensor([width, height], device=points.device) * STRIDE / 2
    grid = (points / scale - 1)[:, None, None, :]
    return F.grid_sample(logits[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)[:, 0, 0, 0]


def fingerprint(module: nn.Module) -> str:
    """A short checksum of a module's weights."""
    import zlib

    value = 0
    for tensor in module.state_dict().values():
        value = zlib.crc32(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(), value)
    return f"{value:08x}"


def _shorter_rather(most: int) -> np.ndarray[Any, Any]:
    """The chances of 1, 2, … `most` rounds with clicks."""
    if most < 1:
        raise MattingError(f"rounds is {most}; expected at least 1")
    weights = 1 / np.arange(1, most + 1) ** 0.5
    result: np.ndarray[Any, Any] = weights / weights.sum()
    return result
