"""Train the small network of corrections (matting_anything_core/assets/correction.npz) on clicks into wrong masks.

    python docs/lite/data/correction.py FOLDER correction.npz [--images 437] [--clicks 6]

FOLDER holds SOURCE/image and SOURCE/mask, as the pictures that `lite` was trained on ($LITE_DATA/train/masked). Each
picture is segmented from a box with jitter; then a click is put into the middle of the largest error, the features of
the pixels around it are noted (`look_around`) with whether they are of the click's side, and the mask is changed, again
and again. A network 20-32-16-1 learns to tell them apart; regions that grow too far cost half as much again as those
that stay too small. Of every eighth click nothing is learned: the figures that are printed at the end are theirs.

While clicks are collected, the network that is installed answers seven in ten of them, and a disc the others. (The
bundled one was trained on 2,468 clicks that a linear model of fourteen features answered, of which nothing is left.)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from matting_anything_core import MatteOptions, Prompt, load_model, read_image
from matting_anything_core.pipeline.color_model import Colors
from matting_anything_core.pipeline.correction import FEATURES, Scene, corrected, look_around
from matting_anything_core.pipeline.masks import MaskLogits, at_input_size
from matting_anything_core.pipeline.prompting import DecoderPrompt, decoder_prompt

Array = np.ndarray[Any, Any]
PIXELS = 500
"""Pixels that are noted of a click at most."""
RADIUS = 2
HELD_OUT = 8


def depth(region: Array) -> Array:
    """Distance to what is not the region; the image's border is not."""
    return cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]


def next_click(found: Array, truth: Array) -> tuple[int, int, int] | None:
    """x, y and label of the middle of the largest error; None when nothing is wrong."""
    missing, extra = depth(truth & ~found), depth(found & ~truth)
    label = int(missing.max() > extra.max())
    field = missing if label else extra
    if field.max() < 1.5:
        return None
    y, x = np.unravel_index(int(field.argmax()), field.shape)
    return int(x), int(y), label


class Notes:
    """What was noted: features, whether a pixel is of the click's side, its weight, and its click's number."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.count = rng, 0
        self.rows: list[tuple[Array, Array, Array, Array]] = []

    def add(self, scene: Scene, seed: Array, label: int, truth: Array) -> None:
        """Note the pixels around a click."""
        seen = look_around(scene, seed, 1 if label else -1)
        open_ = np.flatnonzero(seen.open)
        if len(open_) < 20:
            return
        chosen = self.rng.choice(open_, min(PIXELS, len(open_)), replace=False)
        weight = np.sqrt(len(open_) / max(int(truth.sum()), 1)) / len(chosen)
        self.rows.append((seen.features.reshape(-1, FEATURES)[chosen], truth[seen.part].ravel()[chosen] == bool(label),
                          np.full(len(chosen), weight), np.full(len(chosen), self.count)))
        self.count += 1


def dialogue(model: Any, image: Any, truth: Array, notes: Notes, clicks: int) -> None:
    """Segment an image from a box, and note some clicks into what is wrong."""
    rng = notes.rng
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    reach = rng.choice([0, 0.02, 0.06])
    box += rng.uniform(-reach, reach, 4) * np.tile([box[2] - box[0], box[3] - box[1]], 2)
    box = np.clip(box, 0, np.tile([truth.shape[1], truth.shape[0]], 2))
    embedding = model.embed(image)
    [prompt] = model.check(embedding.image, [Prompt(box=box)])
    window = model.window_for(prompt, embedding.image)
    view, told = model.view(embedding, window), decoder_prompt(prompt, window)
    [found] = model.segment(view, [told])
    height, width = view.fit.scaled
    small = cv2.resize(truth[window.slices()].astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0.5

    def scaled(mask: MaskLogits) -> Array:
        return at_input_size(mask.logits, view.fit)[0, :height, :width].numpy()

    values, colors = scaled(model.refine(view, found, told, whole=True)), Colors(view.rgb)
    marks, said = np.zeros((height, width), np.int8), []
    for _ in range(clicks):
        click = next_click(values > 0, small)
        if click is None:
            return
        x, y, label = click
        said.append(click)
        seed = np.zeros((height, width), np.uint8)
        cv2.circle(seed, (x, y), RADIUS, 1, -1)
        marks[seed > 0] = 1 if label else -1
        points = tuple(((a + 0.5) * window.width / width, (b + 0.5) * window.height / height) for a, b, _ in said)
        former = cv2.resize((values > 0).astype(np.float32), (window.width, window.height))
        [answer] = model.segment(view, [DecoderPrompt(told.box, points, tuple(one for *_, one in said), former)])
        notes.add(Scene(values, view.rgb, colors, scaled(answer)), seed > 0, label, small)
        if rng.random() < 0.7:
            values = corrected(values, marks, view.rgb, scaled(answer))
        else:
            away = depth((values > 0) != bool(label))[y, x]
            disc = np.zeros((height, width), np.uint8)
            cv2.circle(disc, (x, y), int(min(max(0.8 * away, 2), 0.2 * max(height, width))), 1, -1)
            values = np.where(disc > 0, np.float32(10 if label else -10), values)


def train(notes: Notes, epochs: int = 14) -> torch.nn.Sequential:
    """The network, and its figures on the clicks that were held out."""
    features, sides, weights, numbers = (np.concatenate(part) for part in zip(*notes.rows, strict=True))
    x, y = torch.from_numpy(features).float(), torch.from_numpy(sides).float()
    weight = torch.from_numpy(weights / weights.mean()).float()
    held = torch.from_numpy(numbers % HELD_OUT == 0)
    mine, rest = torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]
    network = torch.nn.Sequential(torch.nn.Linear(FEATURES, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16),
                                  torch.nn.ReLU(), torch.nn.Linear(16, 1))
    batch = min(8192, len(mine))
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * (len(mine) // batch))
    for _ in range(epochs):
        order = mine[torch.randperm(len(mine))]
        for some in order[: len(mine) // batch * batch].view(-1, batch):
            loss = F.binary_cross_entropy_with_logits(network(x[some])[:, 0], y[some], reduction="none")
            optimiser.zero_grad()
            (loss * weight[some] * (1 + 0.5 * (1 - y[some]))).mean().backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        right = ((network(x[rest])[:, 0] > 0) == (y[rest] > 0.5)).float()
    total = weight[rest].sum()
    share = float((y[rest] * weight[rest]).sum() / total)
    told = float((right * weight[rest]).sum() / total)
    print(f"{notes.count} clicks; of held-out pixels {told:.3f} are told right, {max(share, 1 - share):.3f} "
          "by always saying the same")
    return network


def main() -> None:
    """Collect, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=437)
    parser.add_argument("--clicks", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    model, notes = load_model("lite", device="cpu"), Notes(rng)
    assert model.decided(MatteOptions()).detail
    masks = {(path.parent.parent.name, path.stem): path for path in sorted(args.folder.glob("*/mask/*"))}
    images = [path for path in sorted(args.folder.glob("*/image/*")) if (path.parent.parent.name, path.stem) in masks]
    for index in rng.permutation(len(images))[: args.images]:
        image = read_image(images[index])
        truth = read_image(masks[images[index].parent.parent.name, images[index].stem]).rgb8()[..., 0] > 127
        if truth.shape == (image.height, image.width) and truth.mean() > 0.01:
            dialogue(model, image, truth, notes, args.clicks)
    layers = [layer for layer in train(notes) if isinstance(layer, torch.nn.Linear)]
    arrays = {f"{kind}{i}": getattr(layer, kind).detach().numpy().astype(np.float16)
              for i, layer in enumerate(layers) for kind in ("weight", "bias")}
    temporary = args.out.with_suffix(".part.npz")
    np.savez_compressed(temporary, **arrays)
    temporary.replace(args.out)


if __name__ == "__main__":
    main()
