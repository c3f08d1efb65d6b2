"""Train `lite`'s prompt encoder and mask decoder further, for boxes drawn as people draw them: tight, a little off, or
far too large.

    export LITE_DATA=/folder/of/the/pictures
    python docs/lite/data/decoder.py views FOLDER --count 4000             # encodes; 0.6 MB a view, goes on if stopped
    python docs/lite/data/decoder.py train FOLDER lite.safetensors --minutes 55

Encoder and Mask-to-Matte stay as they are, so that embeddings and the network that finds subjects
(matting_anything_core/assets/subject.npz) keep their meaning; a step is cheap, since the encoder's features of each
view are kept. Views are those of the recipe `lite_clicks`; every time an object is asked for in another way. `train`
takes what views there are, and may run while others are made. It does not score: choose by `matting-anything evaluate
clicks --clicks 1` on pictures of your own.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from matting_anything_core import load_model
from matting_anything_core.networks.sam import Sam
from matting_anything_core.training.clicks_task import decode
from matting_anything_core.training.encoder_task import normalised
from matting_anything_core.training.feature_cache import FeatureCache
from matting_anything_core.training.library import open_library
from matting_anything_core.training.losses_sam import inside_weights, mask_losses, measured_iou
from matting_anything_core.training.prompting import box_of, points_on
from matting_anything_core.training.run import find_recipe
from matting_anything_core.training.views import ViewSettings, view
from matting_anything_core.weights.store import open_checkpoint
from matting_anything_core.weights.write import write_safetensors

SIDE, CELL = 512, 4
VIEWS, EACH = 8, 3
"""Views of a step, and prompts on each."""
EXACT, NEAR = 0.35, 0.3
"""How many boxes are exact, and how many have sides that are up to 8 % of the object's size off. The others are larger
by 10 % to 100 % at most, each side for itself."""
KINDS = (0.8, 0.1, 0.1)
"""How many prompts are a box, points, and a box with points."""
OTHERS = 0.3
"""Weight of all three candidates beside the best one: their blend is what is used."""
LONGEST = 0.998
"""Of the running mean of the weights."""
AFTER = 0.5
"""What is written lies so far on the way from the weights before to that mean: much better with loose boxes, and no
worse with tight ones on pictures unlike those that it learns from."""


def make_views(folder: Path, count: int) -> None:
    """Encode the views that are not there yet."""
    recipe, sam = find_recipe("lite_clicks"), load_model("lite", device="cpu").sam
    library = open_library(recipe.sources, recipe.root)
    encoder = sam.image_encoder.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    assert encoder is sam.image_encoder
    settings = ViewSettings(seed=77, side=SIDE, photographs=0.5, most=3, generated=0.3)
    cache = FeatureCache(folder, count, SIDE)
    for number in range(count):
        if number not in cache:
            made = view(library, settings, number)
            pixels = normalised(sam, made.rgb[None], torch.tensor([made.size]))
            with torch.inference_mode():
                features = sam.encode(pixels.contiguous(memory_format=torch.channels_last))
            cache.write(number, features[0], made)
        if number % 100 == 0:
            print(f"{number} views", flush=True)


def drawn_box(rng: np.random.Generator, share: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """The box around an object as somebody may draw it: x0, y0, x1, y1 in pixels of the input.

    share: h×w, 0..1, the object on the grid; size: height and width of the image in the input.
    """
    box = box_of(share) * CELL
    limits = np.array([size[1], size[0]] * 2, np.float32)
    sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    kind = rng.random()
    if kind < EXACT:
        off = np.zeros(4)
    elif kind < EXACT + NEAR:
        off = rng.uniform(-1, 1, 4) * rng.uniform(0, 0.08)
    else:
        off = rng.uniform(0, 1, 4) * np.exp(rng.uniform(np.log(0.1), 0)) * np.array([-1, -1, 1, 1])
    moved = np.clip(box + off * sides, 0, limits)
    usable = moved[2] - moved[0] > 8 and moved[3] - moved[1] > 8
    return (moved if usable else np.clip(box, 0, limits)).astype(np.float32)


class Batches:
    """Prompts on kept views, in an order that is drawn anew when all have had their turn."""

    def __init__(self, cache: FeatureCache, seed: int) -> None:
        self.cache, self.rng = cache, np.random.default_rng(seed)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        waiting: list[int] = []
        while True:
            if len(waiting) < VIEWS:
                there = [number for number in range(self.cache.length) if number in self.cache]
                if len(there) < VIEWS:
                    raise SystemExit(f"there are {len(there)} views, fewer than the {VIEWS} of a step; make more, "
                                     "with decoder.py views FOLDER")
                waiting = list(self.rng.permutation(there))
            yield self._batch([waiting.pop() for _ in range(VIEWS)])

    def _batch(self, numbers: list[int]) -> dict[str, Tensor]:
        features, targets, boxes, points, labels, sizes = [], [], [], [], [], []
        for number in numbers:
            kept, size, objects = self.cache.read(number)
            features.append(kept.float())
            for which in self.rng.permutation(max(len(objects), EACH))[:EACH] % len(objects):
                share = objects[which].numpy().astype(np.float32) / 255
                boxes.append(drawn_box(self.rng, share, size))
                place, sign = points_on(self.rng, share, boxes[-1] / CELL)
                points.append(place * CELL)
                labels.append(sign)
                targets.append(share)
                sizes.append(size)
        return {
            "features": torch.stack(features), "owner": torch.arange(len(numbers)).repeat_interleave(EACH),
            "targets": torch.from_numpy(np.stack(targets)), "boxes": torch.from_numpy(np.stack(boxes)),
            "points": torch.from_numpy(np.stack(points)), "labels": torch.from_numpy(np.stack(labels)),
            "sizes": torch.tensor(sizes).float(),
            "kind": torch.from_numpy(self.rng.choice(3, len(targets), p=KINDS)),
        }


def loss_of(sam: Sam, batch: dict[str, Tensor]) -> tuple[Tensor, float]:
    """The loss, and the mean IoU of the candidate that the decoder holds best."""
    targets, owner, kind = batch["targets"], batch["owner"], batch["kind"]
    logits, predicted = targets.new_zeros((len(owner), 3, *targets.shape[1:])), targets.new_zeros((len(owner), 3))
    for number in range(3):
        rows = torch.nonzero(kind == number)[:, 0]
        if len(rows):
            prompt = {} if number == 1 else {"boxes": batch["boxes"][rows]}
            if number:
                prompt |= {"points": batch["points"][rows], "labels": batch["labels"][rows]}
            with torch.autocast("cpu", torch.bfloat16):
                found, confidence = decode(sam, batch["features"], owner[rows], **prompt)
            logits = logits.index_copy(0, rows, found.float())
            predicted = predicted.index_copy(0, rows, confidence.float())
    each = mask_losses(logits, targets, inside_weights(batch["boxes"], batch["sizes"], targets.shape[1:]))
    iou = measured_iou(logits.detach(), targets)
    loss = each.min(1).values.mean() + OTHERS * each.mean() + F.mse_loss(predicted, iou)
    return loss, float(iou.gather(1, predicted.argmax(1, keepdim=True)).mean())


def train(folder: Path, out: Path, minutes: float, rate: float, most: int) -> None:
    """Train for so long, the rate falling as a cosine, and write the model with the mean of its weights."""
    torch.manual_seed(0)
    checkpoint, sam = open_checkpoint("lite"), load_model("lite", device="cpu").sam
    sam.requires_grad_(False)
    learning = nn.ModuleDict({"mask_decoder": sam.mask_decoder, "prompt_encoder": sam.prompt_encoder})
    learning.requires_grad_(True).train()
    parameters = list(learning.parameters())
    optimiser = torch.optim.AdamW([
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": 0.02},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ], lr=rate, betas=(0.9, 0.99))
    mean = copy.deepcopy(learning)
    started, step, recent = time.monotonic(), 0, []
    for batch in Batches(FeatureCache(folder, most, SIDE), seed=5):
        done = (time.monotonic() - started) / 60 / minutes
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * (0.02 + 0.49 * (1 + np.cos(np.pi * done)))
        loss, iou = loss_of(sam, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        keep = min(LONGEST, (1 + step) / (20 + step))
        with torch.no_grad():
            for kept, now in zip(mean.parameters(), parameters, strict=True):
                kept.lerp_(now, 1 - keep)
        recent = [*recent[-199:], (loss.item(), iou)]
        if step % 50 == 0:
            now_loss, now_iou = np.mean(recent, 0)
            print(f"step {step}, {done:.0%}: loss {now_loss:.4f}, IoU {now_iou:.4f}", flush=True)
    tensors = {f"sam.{name}": value for name, value in checkpoint.sam.items()}
    tensors |= {f"m2m.{name}": value for name, value in checkpoint.m2m.items()}
    for name, value in mean.state_dict().items():
        tensors[f"sam.{name}"] = checkpoint.sam[name].float().lerp(value, AFTER)
    card = json.loads(checkpoint.metadata["data_card"])
    card["note"] += f" Prompt encoder and mask decoder then learned {step} steps of {VIEWS * EACH} prompts on kept " \
                    "features (docs/lite/data/decoder.py), on the same sources; the weights are the mean of those " \
                    "before and after."
    card.pop("scores", None)  # of the weights before
    metadata = {name: value for name, value in checkpoint.metadata.items()
                if name not in ("data_sha256", "file", "m2m_file", "scores")}
    write_safetensors(out, tensors, {**metadata, "data_card": json.dumps(card)}, dtype=torch.float16)
    print(f"{out}: {step} steps")


def main() -> None:
    """Make views, or train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("views", "train"))
    parser.add_argument("folder", type=Path, help="of the kept views")
    parser.add_argument("output", type=Path, nargs="?", default=Path("lite.safetensors"))
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--rate", type=float, default=3e-4)
    arguments = parser.parse_args()
    if arguments.what == "views":
        make_views(arguments.folder, arguments.count)
    else:
        train(arguments.folder, arguments.output, arguments.minutes, arguments.rate, arguments.count)


if __name__ == "__main__":
    main()
