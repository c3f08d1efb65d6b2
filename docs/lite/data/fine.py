"""Train the bundled model's alpha head (matting_anything_core/assets/fine.npz) on cut-outs whose alpha is known.

    python docs/lite/data/fine.py gather FOLDER SAMPLES [--rendered FOLDER] [--first 0] [--count 3000]
    python docs/lite/data/fine.py train SAMPLES fine.npz [--minutes 60] [--resume]

FOLDER is what `lite` was trained on, as for subject.py; rendered: the pictures of render.py. `gather` composites
cut-outs before photographs and backdrops, masks each with the installed model from a box, as `matte` would, and keeps
the crop, its true alpha, the mask's logits and the encoder's features, one file a sample. `train` learns from patches
around the edges. Every tenth sample is held out: errors in its soft pixels are printed, beside those of the guided
filter that the head replaces.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from subject import Pictures, ground_of, read, shadow, studio
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from matting_anything_core import Prompt, load_model
from matting_anything_core.geometry import Window, fit_picture
from matting_anything_core.networks.fine import MULTIPLE, OPINION, FineNetwork, alpha_of, features_within
from matting_anything_core.pipeline.guided_filter import Guide
from matting_anything_core.pipeline.masks import at_input_size
from matting_anything_core.pipeline.prompting import decoder_prompt
from matting_anything_core.training.augment import blur, bounds, chance, degrade, jitter_colour, placed
from matting_anything_core.training.generator import foreground, grown_hair

Array = np.ndarray[Any, Any]
WORK = 768
"""Longer side in pixels that the head works at, at most."""
PATCH = 256
HELD_OUT = 10
LEAST_IOU = 0.55
"""Of a mask from which the head can be expected to find alpha."""


class Composites:
    """Composites by number, always the same."""

    def __init__(self, folder: Path, rendered: Path | None, held_out: bool, seed: int) -> None:
        self.pictures, self.seed = Pictures(folder, held_out), seed
        every = sorted(rendered.glob("*.webp")) if rendered else []
        self.rendered = [path for path in every if (int(path.name[:5]) % HELD_OUT == 0) == held_out]

    def __call__(self, number: int) -> tuple[Array, Array]:
        """rgb h×w×3 uint8 and alpha h×w float32 of one object."""
        rng = np.random.default_rng((self.seed, number))
        made = None
        while made is None:
            made = self.composite(rng)
        rgb, alpha = made
        rgb = degrade(np.clip(jitter_colour(rgb, rng, hue=0.05, strength=0.5), 0, 1), rng)
        return (rgb * 255 + 0.5).astype(np.uint8), alpha

    def subject(self, rng: np.random.Generator, side: int) -> Array | None:
        """h×w×4 float32."""
        kind = rng.random()
        if kind < 0.3:
            return foreground(rng, self.texture, side)
        if kind < 0.6 and self.rendered:
            return read(self.rendered[rng.integers(len(self.rendered))], cv2.IMREAD_UNCHANGED)
        if kind < 0.8:
            paths = self.pictures.cutouts[rng.integers(len(self.pictures.cutouts))]
            found = read(paths[rng.integers(len(paths))], cv2.IMREAD_UNCHANGED)
            if found is None or found.ndim != 3 or found.shape[2] != 4 or (found.shape[0] < 300 and chance(rng, 0.6)):
                return None
        else:
            names = list(self.pictures.photos)
            records = self.pictures.photos[names[rng.choice(len(names), p=self.pictures.weights)]]
            image, masks = records[rng.integers(len(records))]
            rgb, alpha = read(image), read(masks[0], cv2.IMREAD_GRAYSCALE)
            if rgb is None or alpha is None or rgb.shape[:2] != alpha.shape:
                return None
            inner = blur(cv2.erode((alpha > 0.5).astype(np.float32), np.ones((3, 3), np.uint8)), 0.8)
            found = np.dstack([rgb, inner])
        return grown_hair(found, rng) if chance(rng, 0.5) else found

    def texture(self, rng: np.random.Generator) -> Array:
        """A photograph for a surface."""
        found = read(self.pictures.backgrounds[rng.integers(len(self.pictures.backgrounds))])
        return studio(rng, 256, 256) if found is None else found

    def composite(self, rng: np.random.Generator) -> tuple[Array, Array] | None:
        """One cut-out before a background, sometimes beside another."""
        side = int(rng.integers(400, 1050))
        aspect = float(np.clip(np.exp(rng.normal(0, 0.3)), 0.5, 2))
        height, width = (side, round(side / aspect)) if aspect > 1 else (round(side * aspect), side)
        rgb = ground_of(self.pictures, rng, height, width, 0.3)
        if rgb is None:
            return None
        alpha = np.zeros((height, width), np.float32)
        for index in range(1 + chance(rng, 0.2)):
            cut = self.subject(rng, int(0.8 * side))
            if cut is None or cut.ndim != 3 or cut.shape[2] != 4 or bounds(cut[..., 3], 0.05) is None:
                return None
            laid = placed(np.ascontiguousarray(cut), rng, height, width, extent=rng.uniform(0.45, 1.02), turn=15,
                          warp=0.3)
            own, there = jitter_colour(np.ascontiguousarray(laid[..., :3]), rng, hue=0.15), laid[..., 3]
            if chance(rng, 0.3):
                rgb = shadow(rng, rgb, there)
            rgb = own * there[..., None] + rgb * (1 - there[..., None])
            alpha = there if index == 0 else alpha * (1 - there)  # the last one stands in front
        if (alpha > 0.5).mean() < 0.02:
            return None
        return rgb, alpha


def gather(scenes: list[Composites], numbers: range, folder: Path) -> None:
    """Mask each composite, and keep what the head is given and what it is to say. scenes: to learn from, held out."""
    model = load_model("lite")
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / f"{number:06}.npz"
        if path.exists():
            continue
        rgb, alpha = scenes[number % HELD_OUT == 0](number)
        rng = np.random.default_rng((7, number))
        x0, y0, x1, y1 = bounds(alpha, 0.1) or (0, 0, 1, 1)
        reach = 0.03 * np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
        box = np.array([x0, y0, x1, y1]) + rng.uniform(-1, 1, 4) * reach
        embedding = model.embed(rgb)
        [prompt] = model.check(embedding.image, [Prompt(box=box)])
        window = model.window_for(prompt, embedding.image)
        view, told = model.view(embedding, window), decoder_prompt(prompt, window)
        mask = model.refine(view, model.segment(view, [told])[0], told, whole=True)
        height, width = view.fit.scaled
        logits = at_input_size(mask.logits, view.fit)[0, :height, :width].numpy()
        work = view.fit.at(min(WORK, max(window.height, window.width)))
        part = alpha[window.slices()]
        small = fit_picture(np.round(part * 255).astype(np.uint8), work)
        found = cv2.resize(logits, work.scaled[::-1]) > 0
        true = small > 127
        if (found & true).sum() < LEAST_IOU * (found | true).sum():
            continue
        beside = path.with_suffix(".tmp")
        with beside.open("wb") as file:
            np.savez(file, rgb=fit_picture(rgb[window.slices()], work), alpha=small, logits=logits.astype(np.float16),
                     features=view.features[0].half().numpy())
        beside.rename(path)
        if number % 50 == 0:
            print(f"{number}", flush=True)


class Sample:
    """What `gather` kept, ready for the network."""

    def __init__(self, path: Path) -> None:
        kept = np.load(path)
        self.rgb, self.alpha = kept["rgb"], kept["alpha"]
        height, width = self.alpha.shape
        self.logits = cv2.resize(kept["logits"].astype(np.float32), (width, height))
        self.features = torch.from_numpy(kept["features"])
        self.side = max(height, width)
        soft = (self.alpha > 5) & (self.alpha < 250)
        self.edge = soft | ((self.alpha > 127) != (self.logits > 0))

    def within(self, window: Window) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """rgb 3×h×w, mask 1×h×w, features and alpha 1×h×w inside a window, which may pass the image's edges."""
        def cut(array: Array, fill: float) -> Tensor:
            part = array[window.top:window.bottom, window.left:window.right]
            down, across = window.height - part.shape[0], window.width - part.shape[1]
            missing = [(0, down), (0, across), (0, 0)][: array.ndim]
            return torch.from_numpy(np.pad(part, missing, constant_values=fill).astype(np.float32))

        seen = features_within(self.features[None].float(), self.side, window)[0]
        mask = torch.tanh(cut(self.logits, -10)[None] / OPINION)
        return cut(self.rgb, 127).permute(2, 0, 1) / 127.5 - 1, mask, seen, cut(self.alpha, 0)[None] / 255

    def patch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A square about some pixel of the edge, mirrored at random."""
        height, width = self.alpha.shape
        places = np.argwhere(self.edge)
        y, x = places[rng.integers(len(places))] if len(places) else (height // 2, width // 2)
        top, left = (int(np.clip(at - rng.integers(PATCH), 0, max(length - PATCH, 0)))
                     for at, length in ((y, height), (x, width)))
        parts = self.within(Window(top, left, top + PATCH, left + PATCH))
        return tuple(part.flip(-1) for part in parts) if chance(rng, 0.5) else parts  # type: ignore[return-value]


def loss_of(added: Tensor, mask: Tensor, alpha: Tensor) -> Tensor:
    """Mean absolute error, more where alpha is soft or the mask wrong, and that of alpha's gradients."""
    found = alpha_of(added, mask)
    soft = ((alpha > 0.02) & (alpha < 0.98)) | ((alpha > 0.5) != (mask > 0))
    near = F.max_pool2d(soft.float(), 9, 1, 4)
    error = ((found - alpha).abs() * (0.1 + near + soft)).mean() * 4
    across, down = ((torch.diff(found, dim=axis) - torch.diff(alpha, dim=axis)).abs().mean() for axis in (2, 3))
    return error + across + down


def errors_of(network: FineNetwork, samples: list[Path]) -> tuple[Array, Array]:
    """Mean absolute error x 1000, of the image and of its soft pixels: head, guided filter, mask."""
    rows = []
    for path in samples:
        sample = Sample(path)
        height, width = sample.alpha.shape
        whole = Window(0, 0, -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE)
        rgb, mask, seen, _ = sample.within(whole)
        with torch.no_grad():
            head = alpha_of(network(rgb[None], mask[None], seen[None]), mask[None])[0, 0, :height, :width].numpy()
        binary = (sample.logits > 0).astype(np.float32)
        radius = 2 * max(round(sample.side / 384), 1)
        filtered = np.clip(Guide(sample.rgb.astype(np.float32) / 255, radius)(binary), 0, 1)
        true = sample.alpha.astype(np.float32) / 255
        soft = (true > 0.02) & (true < 0.98)
        found = [np.abs(one - true) for one in (head, filtered, binary)]
        rows.append([*(one.mean() for one in found), *(one[soft].mean() if soft.any() else np.nan for one in found)])
    table = 1000 * np.array(rows)
    return np.nanmean(table[:, :3], axis=0), np.nanmean(table[:, 3:], axis=0)


def train(folder: Path, output: Path, minutes: float, resume: bool, batch: int = 8) -> None:
    """Learn for so many minutes; the weights are written every ten, and with what is needed to go on beside them."""
    paths = sorted(folder.glob("*.npz"))
    held = [path for path in paths if int(path.stem) % HELD_OUT == 0][:60]
    mine = [path for path in paths if int(path.stem) % HELD_OUT]
    torch.manual_seed(0)
    network = FineNetwork().to(memory_format=torch.channels_last)  # twice as fast on a CPU
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    state, step, spent = output.with_suffix(".pt"), 0, 0.0
    if resume and state.exists():
        kept = torch.load(state, weights_only=True)
        network.load_state_dict(kept["network"])
        average.load_state_dict(kept["average"])
        optimiser.load_state_dict(kept["optimiser"])
        step, spent = kept["step"], kept["spent"]
    rng, started, noted = np.random.default_rng((1, step)), time.monotonic() - spent, time.monotonic()
    losses: list[float] = []
    pool: list[Sample] = []
    while time.monotonic() - started < 60 * minutes:
        done = (time.monotonic() - started) / (60 * minutes)
        for group in optimiser.param_groups:
            group["lr"] = 1.5e-3 * min(1, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        if len(pool) >= 24:
            pool.pop(0)
        while len(pool) < 24:
            pool.append(Sample(mine[rng.integers(len(mine))]))
        drawn = [pool[rng.integers(len(pool))].patch(rng) for _ in range(batch)]
        rgb, mask, seen, alpha = (torch.stack(part) for part in zip(*drawn, strict=True))
        loss = loss_of(network(rgb.contiguous(memory_format=torch.channels_last), mask, seen), mask, alpha)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        losses.append(loss.item())
        step += 1
        if step % 50 == 0:
            print(f"step {step}, {(time.monotonic() - started) / 60:.1f} min: loss {np.mean(losses[-200:]):.4f}",
                  flush=True)
        if time.monotonic() - noted > 600:
            noted = time.monotonic()
            _write(output, average.module)
            torch.save({"network": network.state_dict(), "average": average.state_dict(), "step": step,
                        "optimiser": optimiser.state_dict(), "spent": time.monotonic() - started}, state)
            print("held out, whole and soft, head/guided/mask:", *errors_of(average.module.eval(), held[:20]),
                  flush=True)
            average.module.train()
    _write(output, average.module)
    print("held out, whole and soft, head/guided/mask:", *errors_of(average.module.eval(), held), flush=True)


def _write(output: Path, network: torch.nn.Module) -> None:
    np.savez_compressed(output, **{name: value.half().numpy() for name, value in network.state_dict().items()})


def main() -> None:
    """Gather, or train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("gather")
    one.add_argument("folder", type=Path)
    one.add_argument("samples", type=Path)
    one.add_argument("--rendered", type=Path)
    one.add_argument("--first", type=int, default=0)
    one.add_argument("--count", type=int, default=3000)
    two = commands.add_parser("train")
    two.add_argument("samples", type=Path)
    two.add_argument("output", type=Path)
    two.add_argument("--minutes", type=float, default=60)
    two.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "train":
        train(arguments.samples, arguments.output, arguments.minutes, arguments.resume)
        return
    scenes = [Composites(arguments.folder, arguments.rendered, held_out, 51) for held_out in (False, True)]
    gather(scenes, range(arguments.first, arguments.first + arguments.count), arguments.samples)


if __name__ == "__main__":
    main()
