"""Train the small network that finds the subject of a whole image (matting_anything_core/assets/subject.npz).

    python docs/lite/data/subject.py FOLDER subject.npz [--scenes 5000] [--epochs 15] [--features FILE]

FOLDER holds what `lite` was trained on ($LITE_DATA/train): masked/SOURCE/image and /mask, cutouts/SOURCE and
backgrounds/SOURCE. A scene is a photograph whose masks are its subject, a cut-out or two on a photograph or before a
studio's backdrop (a plain or graded wall, a table, a shadow), or a background alone, in which nothing is to be found.
The features are those of the frozen encoder for the whole scene, as `matte` sees it; the network is convolutions over
them (pipeline/subject.py). Of every tenth scene nothing is learned: the figures that are printed at the end are theirs.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from matting_anything_core import load_model
from matting_anything_core.geometry import Fit
from matting_anything_core.pipeline.subject import GRID, SubjectNetwork, checksum
from matting_anything_core.training.augment import blur, chance, degrade, jitter_colour, placed
from matting_anything_core.training.generator import foreground, noise

Array = np.ndarray[Any, Any]
HELD_OUT = 10
SIDE = 448
"""Longer side of a scene before it is encoded."""


class Pictures:
    """The files, by what they serve for; a photograph comes with all masks that it has."""

    def __init__(self, folder: Path, held_out: bool) -> None:
        def mine(path: Path) -> bool:
            name = path.stem.split("_")[0] if path.parent.parent.name == "coco" else path.stem
            return (int(hashlib.sha1(name.encode()).hexdigest(), 16) % HELD_OUT == 0) == held_out

        photos: dict[tuple[Path, str], list[Path]] = {}
        for mask in sorted(folder.glob("masked/*/mask/*")):
            source = mask.parent.parent
            name = mask.stem.split("_")[0] if source.name == "coco" else mask.stem
            if mine(mask):
                photos.setdefault((source, name), []).append(mask)
        by_source: dict[str, list[tuple[Path, list[Path]]]] = {}
        for (source, name), masks in photos.items():
            image = next(iter(sorted((source / "image").glob(f"{masks[0].stem}.*"))), None) \
                or next(iter(sorted((source / "image").glob(f"{name}.*"))), None)
            if image is not None:
                by_source.setdefault(source.name, []).append((image, masks))
        self.photos = by_source
        self.weights = np.array([len(found) ** 0.5 for found in by_source.values()])
        self.weights /= self.weights.sum()
        self.cutouts = [sorted(path for path in source.rglob("*") if path.is_file() and mine(path))
                        for source in sorted((folder / "cutouts").iterdir())]
        self.cutouts = [paths for paths in self.cutouts if paths]
        self.backgrounds = [path for path in sorted((folder / "backgrounds").rglob("*"))
                            if path.is_file() and mine(path)]


def read(path: Path, flags: int = cv2.IMREAD_COLOR) -> Array | None:
    """A file as floats 0..1, RGB(A) or gray; None when OpenCV cannot."""
    found = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    if found is None:
        return None
    if found.ndim == 3:
        found = found[..., [2, 1, 0, *range(3, found.shape[2])]]
    return found.astype(np.float32) / np.float32(255)


def studio(rng: np.random.Generator, height: int, width: int) -> Array:
    """A backdrop: a wall of one colour, lit unevenly, perhaps with a table, a grain or a pattern."""
    bright = chance(rng, 0.55)
    wall = np.full(3, rng.uniform(0.75, 1.0)) + rng.normal(0, 0.02, 3) if bright else rng.uniform(0, 1, 3)
    result = np.full((height, width, 3), wall, np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    if chance(rng, 0.6):
        slope = rng.normal(0, 0.25, 2)
        result *= (1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5))[..., None]
    if chance(rng, 0.4):
        centre = rng.uniform(0.2, 0.8, 2)
        result *= (1 - rng.uniform(0.1, 0.8) * np.hypot(x - centre[0], y - centre[1]))[..., None]
    if chance(rng, 0.35):
        edge = rng.uniform(0.45, 0.8) + rng.normal(0, 0.04) * (x - 0.5)
        table = np.clip((y * max(height, width) / height - edge) * rng.uniform(8, 200), 0, 1)[..., None]
        result = result * (1 - table) + np.float32(rng.uniform(0, 1, 3) if chance(rng, 0.5) else wall * 0.85) * table
    if chance(rng, 0.3):
        grain = noise(rng, max(height, width), int(rng.integers(3, 40)))[:height, :width, None]
        result += np.float32(rng.uniform(0.02, 0.25)) * (grain - 0.5)
    if chance(rng, 0.15):
        angle, pitch = rng.uniform(0, np.pi), rng.uniform(20, 200)
        waves = np.sin(pitch * (x * np.cos(angle) + y * np.sin(angle)) + 3 * np.sin(5 * y))
        result += np.float32(rng.uniform(0.02, 0.12)) * waves[..., None]
    return np.clip(result, 0, 1)


def ground_of(pictures: Pictures, rng: np.random.Generator, height: int, width: int, plain: float) -> Array | None:
    """A background h×w×3: a studio's backdrop with the probability `plain`, else a part of a photograph."""
    if chance(rng, plain):
        return studio(rng, height, width)
    rgb = read(pictures.backgrounds[rng.integers(len(pictures.backgrounds))])
    if rgb is None:
        return None
    share = rng.uniform(0.5, 1)
    h, w = int(rgb.shape[0] * share), int(rgb.shape[1] * share)
    top, left = rng.integers(rgb.shape[0] - h + 1), rng.integers(rgb.shape[1] - w + 1)
    smaller = h > height
    result = cv2.resize(rgb[top:top + h, left:left + w], (width, height),
                        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    result = np.clip(result, 0, 1)
    return blur(result, rng.uniform(0.5, 6)) if chance(rng, 0.4) else result


def shadow(rng: np.random.Generator, below: Array, alpha: Array) -> Array:
    """The shadow that a cut-out throws: its own outline, flattened, moved and blurred."""
    side = max(alpha.shape)
    squeeze = np.array([[1, rng.normal(0, 0.3), rng.normal(0, 0.05) * side],
                        [0, rng.uniform(0.15, 1), rng.uniform(0, 0.06) * side]], np.float32)
    rows = np.flatnonzero(alpha.max(1) > 0.5)
    bottom = int(rows[-1]) if len(rows) else 0
    squeeze[1, 2] += bottom * (1 - squeeze[1, 1])
    squeeze[0, 2] -= bottom * squeeze[0, 1]
    thrown = cv2.warpAffine(alpha, squeeze, alpha.shape[::-1])
    dark = blur(thrown, float(np.exp(rng.uniform(np.log(1), np.log(25))))) * rng.uniform(0.1, 0.65)
    return below * (1 - dark[..., None])


class Scenes:
    """Scenes by number, always the same."""

    def __init__(self, folder: Path, held_out: bool, seed: int) -> None:
        self.pictures, self.seed = Pictures(folder, held_out), seed

    def __call__(self, number: int) -> tuple[Array, Array]:
        """rgb h×w×3 uint8 and alpha h×w float32 of the subject."""
        rng = np.random.default_rng((self.seed, number))
        while True:
            kind = rng.random()
            made = self.photograph(rng) if kind < 0.42 else self.composite(rng) if kind < 0.94 else self.empty(rng)
            if made is not None:
                break
        rgb, alpha = made
        rgb = degrade(np.clip(jitter_colour(rgb, rng, hue=0.05, strength=0.5), 0, 1), rng)
        if chance(rng, 0.5):
            rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
        return (rgb * 255 + 0.5).astype(np.uint8), np.ascontiguousarray(alpha)

    def photograph(self, rng: np.random.Generator) -> tuple[Array, Array] | None:
        """A photograph, cropped about its subject or not; not one with several things of which none is the subject."""
        names = list(self.pictures.photos)
        found = self.pictures.photos[names[rng.choice(len(names), p=self.pictures.weights)]]
        image, masks = found[rng.integers(len(found))]
        rgb = read(image)
        alphas = [read(mask, cv2.IMREAD_GRAYSCALE) for mask in masks]
        if rgb is None or any(one is None or one.shape != rgb.shape[:2] for one in alphas):
            return None
        alpha = np.max(np.stack([one for one in alphas if one is not None]), axis=0)
        height, width = alpha.shape
        rows, columns = np.flatnonzero(alpha.max(1) > 0.5), np.flatnonzero(alpha.max(0) > 0.5)
        if not len(rows):
            return None
        margin = rng.uniform(0, 1.2) if chance(rng, 0.5) else 9.0
        high, wide = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
        above, under, left, right = (margin * rng.uniform(0.4, 1) for _ in range(4))
        top, bottom = max(int(rows[0] - above * high), 0), min(int(rows[-1] + 1 + under * high), height)
        start, stop = max(int(columns[0] - left * wide), 0), min(int(columns[-1] + 1 + right * wide), width)
        rgb, alpha = rgb[top:bottom, start:stop], alpha[top:bottom, start:stop]
        if not 0.05 < alpha.mean() < 0.9 or min(alpha.shape) < 32:
            return None
        scale = SIDE / max(alpha.shape)
        size = max(round(alpha.shape[1] * scale), 16), max(round(alpha.shape[0] * scale), 16)
        rgb, alpha = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (rgb, alpha))
        return rgb, alpha

    def composite(self, rng: np.random.Generator) -> tuple[Array, Array] | None:
        """A cut-out or a few that belong together, before a background."""
        aspect = float(np.clip(np.exp(rng.normal(0, 0.3)), 0.5, 2))
        height, width = (SIDE, round(SIDE / aspect)) if aspect > 1 else (round(SIDE * aspect), SIDE)
        rgb = ground_of(self.pictures, rng, height, width, 0.55)
        if rgb is None:
            return None
        alpha = np.zeros((height, width), np.float32)
        extent = rng.uniform(0.35, 0.95)
        several = 1 if chance(rng, 0.8) else int(rng.integers(2, 4))
        for _ in range(several):
            if chance(rng, 0.15):
                cut = foreground(rng, lambda r: studio(r, 256, 256))
            else:
                paths = self.pictures.cutouts[rng.integers(len(self.pictures.cutouts))]
                found = read(paths[rng.integers(len(paths))], cv2.IMREAD_UNCHANGED)
                if found is None or found.ndim != 3 or found.shape[2] != 4:
                    return None
                cut = found
            laid = placed(np.ascontiguousarray(cut), rng, height, width, extent=extent / several**0.5, turn=12,
                          warp=0.4)
            own = jitter_colour(np.ascontiguousarray(laid[..., :3]), rng, hue=0.3)
            if chance(rng, 0.5):
                rgb = shadow(rng, rgb, laid[..., 3])
            rgb = own * laid[..., 3:] + rgb * (1 - laid[..., 3:])
            alpha = np.maximum(alpha, laid[..., 3])
        return (rgb, alpha) if alpha.mean() > 0.03 else None

    def empty(self, rng: np.random.Generator) -> tuple[Array, Array] | None:
        """A background without a subject."""
        rgb = ground_of(self.pictures, rng, SIDE, round(SIDE * rng.uniform(0.55, 1)), 0.3)
        return None if rgb is None else (rgb, np.zeros(rgb.shape[:2], np.float32))


def gather(scenes: Scenes, numbers: range, model: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Features float16 N×256×g×g, alpha N×GRID×GRID uint8 over the padded input, and sizes N×2 on that grid."""
    features, targets, sizes = [], [], []
    for number in numbers:
        rgb, alpha = scenes(number)
        view = model.view(model.embed(rgb))
        fit: Fit = view.fit.at(GRID)
        height, width = fit.scaled
        target = np.zeros((GRID, GRID), np.uint8)
        target[:height, :width] = np.round(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA) * 255)
        features.append(view.features[0].half())
        targets.append(torch.from_numpy(target))
        sizes.append(torch.tensor((height, width)))
        if number % 250 == 0:
            print(f"{number} scenes", flush=True)
    return torch.stack(features), torch.stack(targets), torch.stack(sizes)


def valid(sizes: Tensor) -> Tensor:
    """N×GRID×GRID bool: where the padded input shows the image."""
    place = torch.arange(GRID)
    return (place[:, None] < sizes[:, 0, None, None]) & (place < sizes[:, 1, None, None])


def loss_of(logits: Tensor, target: Tensor, shown: Tensor) -> Tensor:
    """Cross-entropy and soft IoU, each scene alike."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = (entropy * shown).sum((1, 2)) / shown.sum((1, 2))
    share = logits.sigmoid() * shown
    overlap = ((share * target).sum((1, 2)) + 4) / ((share + target - share * target) * shown).sum((1, 2)).add(4)
    return (2 * entropy + 1 - overlap).mean()


def iou(logits: Tensor, target: Tensor, shown: Tensor) -> Tensor:
    """Of each scene that has a subject."""
    found, true = (logits > 0) & shown, target > 0.5
    some = true.any(-1).any(-1)
    return (((found & true).sum((1, 2)) / (found | true).sum((1, 2)).clamp(min=1))[some]).float()


def train(data: tuple[Tensor, Tensor, Tensor], held: tuple[Tensor, Tensor, Tensor], epochs: int) -> SubjectNetwork:
    """The network after so many rounds, with its figures on held-out scenes while it learns."""
    features, targets, sizes = data
    network = SubjectNetwork().train().to(memory_format=torch.channels_last)  # twice as fast on a CPU
    batch = 32
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    steps = epochs * (len(features) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        total = 0.0
        for some in torch.randperm(len(features))[: len(features) // batch * batch].view(-1, batch):
            x = F.dropout2d(features[some].float().contiguous(memory_format=torch.channels_last), 0.1)
            loss = loss_of(network(x, sizes[some]), targets[some].float() / 255, valid(sizes[some]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        if epoch % 3 == 2 or epoch == epochs - 1:
            network.eval()
            with torch.no_grad():
                logits = network(held[0].float(), held[2])
            found = iou(logits, held[1].float() / 255, valid(held[2]))
            print(f"epoch {epoch + 1}: loss {total / (len(features) // batch):.4f}; IoU on {len(found)} held-out "
                  f"scenes, grid {GRID}: mean {found.mean():.3f}, median {found.median():.3f}", flush=True)
            network.train()
    return network.eval()


def main() -> None:
    """Collect, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scenes", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--features", type=Path, help="keep what was collected in this file, and take it from there")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    if arguments.features and arguments.features.exists():
        kept = torch.load(arguments.features, weights_only=True)
    else:
        model = load_model("lite")
        learned = gather(Scenes(arguments.folder, False, 41), range(arguments.scenes), model)
        held = gather(Scenes(arguments.folder, True, 42), range(max(arguments.scenes // HELD_OUT, 20)), model)
        kept = {"learned": learned, "held": held}
        if arguments.features:
            torch.save(kept, arguments.features)
    network = train(kept["learned"], kept["held"], arguments.epochs)
    np.savez_compressed(arguments.output, encoder=np.int64(checksum(load_model("lite").sam.image_encoder)),
                        **{name: tensor.half().numpy() for name, tensor in network.state_dict().items()})


if __name__ == "__main__":
    main()
