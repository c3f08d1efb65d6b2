"""A ViTMatte small enough to be trained in minutes: its sizes, its pictures of hair, its training, weights from names.

It is the published network with everything made small (0.3 M parameters) and has learned on generated pictures of dark
hair, and of hard edges, before something light. Its weights are kept in golden/vitmatte_tiny.safetensors (float16),
since how well a short training ends depends on the processor's arithmetic. `python tests/tiny_vitmatte.py` trains them
anew, in about two minutes on one core.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from matting_anything_core.networks.vitmatte import MEAN, STD, VitMatte, build

WEIGHTS = Path(__file__).parent / "golden" / "vitmatte_tiny.safetensors"
WIDTH, HEADS, HIDDEN, NECK = 64, 4, 192, 32
STREAM, FUSION, MIDDLE = (16, 24, 32), (48, 32, 24, 16), 16
NECKS = (False, True, True)
"""Blocks; those with a neck attend to everything."""


def tiny_config():
    """The same as transformers configures it."""
    from transformers import VitDetConfig, VitMatteConfig

    backbone = VitDetConfig(
        hidden_size=WIDTH, num_hidden_layers=len(NECKS), num_attention_heads=HEADS, mlp_ratio=HIDDEN // WIDTH,
        image_size=512, num_channels=4, use_relative_position_embeddings=True, window_size=14,
        window_block_indices=[index for index, neck in enumerate(NECKS) if not neck],
        residual_block_indices=[index for index, neck in enumerate(NECKS) if neck],
        out_features=[f"stage{len(NECKS)}"])
    return VitMatteConfig(backbone_config=backbone, hidden_size=WIDTH, convstream_hidden_sizes=list(STREAM),
                          fusion_hidden_sizes=list(FUSION))


def published_config(size: str):
    """The published configuration of "small" or "base"."""
    from transformers import VitDetConfig, VitMatteConfig

    width, heads = {"small": (384, 6), "base": (768, 12)}[size]
    backbone = VitDetConfig(
        hidden_size=width, num_attention_heads=heads, image_size=512, num_channels=4, window_size=14,
        use_relative_position_embeddings=True, window_block_indices=[0, 1, 3, 4, 6, 7, 9, 10],
        residual_block_indices=[2, 5, 8, 11], out_features=["stage12"])
    return VitMatteConfig(backbone_config=backbone, hidden_size=width, convstream_hidden_sizes=[48, 96, 192],
                          fusion_hidden_sizes=[256, 128, 64, 32])


def shapes_of(config) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the reference's tensors."""
    from transformers import VitMatteForImageMatting

    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in VitMatteForImageMatting(config).state_dict().items()}


def made_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights made from names (see recipe.py), with no path idle and alphas that are neither 0 nor 1."""
    result = {}
    for name, shape in shapes.items():
        noise = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode()))).standard_normal(
            shape or (1,), dtype=np.float32).reshape(shape)
        if name.endswith("num_batches_tracked"):
            result[name] = torch.zeros((), dtype=torch.int64)
            continue
        offset, factor = 0.0, 0.05
        if name.endswith("running_var"):
            offset, factor, noise = 1.0, 0.3, np.abs(noise)
        elif "rel_pos" in name or "position_embeddings" in name:
            factor = 0.2
        elif len(shape) == 1 and name.endswith("weight"):
            offset, factor = 1.0, 0.1
        elif len(shape) > 1:
            factor = (1.4 if "decoder" in name else 1.0) / float(np.prod(shape[1:])) ** 0.5
        result[name] = torch.from_numpy(offset + factor * noise)
    return result


def trained() -> VitMatte:
    """The network with the weights that are kept."""
    from safetensors.torch import load_file

    tensors = {name: value.float() if value.is_floating_point() else value
               for name, value in load_file(WEIGHTS).items()}
    network = build({name: tuple(value.shape) for name, value in tensors.items()})
    network.load_state_dict(tensors)
    return network.eval()


# --- pictures ------------------------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, size: tuple[int, int], cells: int) -> np.ndarray:
    field = rng.standard_normal((cells, cells)).astype(np.float32)
    return cv2.resize(field, size[::-1], interpolation=cv2.INTER_CUBIC)


def _surface(rng: np.random.Generator, size: tuple[int, int], colour: np.ndarray, contrast: float) -> np.ndarray:
    """H×W×3 float: a colour with smooth and fine changes."""
    changes = _noise(rng, size, 4) + 0.5 * _noise(rng, size, 12) + 0.3 * _noise(rng, size, max(min(size) // 3, 4))
    tint = rng.uniform(0.6, 1.4, 3)
    return colour + contrast * changes[..., None] * tint


def scene(seed: int, size: tuple[int, int] = (192, 192), *, hair: bool = True, scale: float = 1.0):
    """A generated picture: rgb H×W×3 uint8, alpha H×W float32, and its outline as a segmenter says it, H×W bool.

    scale: how large things are drawn, strands included.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    up = 4
    body = np.zeros((height * up, width * up), np.uint8)
    centre = np.array([width * rng.uniform(0.42, 0.58), height * rng.uniform(0.45, 0.6)]) * up
    axes = np.array([rng.uniform(0.17, 0.26), rng.uniform(0.17, 0.28)]) * min(size) * up
    if hair:
        cv2.ellipse(body, (int(centre[0]), int(centre[1])), (int(axes[0]), int(axes[1])), rng.uniform(0, 180), 0, 360,
                    255, -1)
    else:
        corners = cv2.boxPoints(((float(centre[0]), float(centre[1])),
                                 (float(2 * axes[0]), float(2 * axes[1])), float(rng.uniform(0, 90))))
        cv2.fillConvexPoly(body, np.round(corners).astype(np.int32), 255)
    whole = body.copy()
    if hair:
        strands = np.zeros_like(body)
        length, bend = rng.uniform(0.10, 0.24) * min(size) * up, rng.uniform(0.03, 0.12)
        for _ in range(int(rng.integers(180, 420) * (min(size) / 192) / scale)):
            angle = rng.uniform(0, 2 * np.pi)
            start = centre + 0.9 * axes.max() * np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.7, 1.0)
            angles = angle + rng.normal(0, 0.5) + np.cumsum(rng.normal(0, bend, 10))
            steps = np.stack([np.cos(angles), np.sin(angles)], 1) * length * rng.uniform(0.4, 1.2) / 10
            path = np.concatenate([start[None], start + np.cumsum(steps, 0)])
            cv2.polylines(strands, [np.round(path * 8).astype(np.int32)], False, 255,
                          max(round(rng.uniform(0.5, 1.6) * up * scale), 1), cv2.LINE_AA, 3)
        whole = np.maximum(whole, strands)
    alpha = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    outline = cv2.GaussianBlur(alpha, (0, 0), min(size) / 50 if hair else 1.0) > 0.5
    front = _surface(rng, size, rng.uniform(15, 95, 3), rng.uniform(4, 12))
    behind = _surface(rng, size, rng.uniform(135, 240, 3), rng.uniform(4, 18))
    mixed = front * alpha[..., None] + behind * (1 - alpha[..., None])
    rgb = np.clip(mixed + rng.normal(0, 2, mixed.shape), 0, 255).astype(np.uint8)
    return rgb, alpha, outline


def trimap_of(alpha: np.ndarray, grow: int) -> np.ndarray:
    """The trimap that alpha has when what is soft is grown by some pixels."""
    soft = ((alpha > 0.02) & (alpha < 0.98)).astype(np.uint8)
    soft = cv2.dilate(soft, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))) > 0
    return np.where(soft, 128, np.where(alpha > 0.5, 255, 0)).astype(np.uint8)


# --- training ------------------------------------------------------------------------------------------------------


def fresh(seed: int = 0) -> VitMatte:
    """The tiny network before it has learned anything."""
    torch.manual_seed(seed)
    shapes = shapes_of(tiny_config())
    network = build(shapes)
    for name, value in network.named_parameters():
        if "rel_pos" in name or "position_embeddings" in name:
            torch.nn.init.normal_(value, std=0.02)
    for block in network.backbone.encoder.layer:
        if block.residual is not None:
            torch.nn.init.zeros_(block.residual.norm3.weight)
    return network.train()


def pixels_of(rgb: np.ndarray, trimap: np.ndarray) -> Tensor:
    """1×4×H×W as the network takes it."""
    colours = (rgb.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    both = np.dstack([colours, trimap.astype(np.float32) / 255]).astype(np.float32)
    return torch.from_numpy(both).permute(2, 0, 1)[None]


def train(steps: int = 260, batch: int = 4, seed: int = 0, log=print) -> VitMatte:
    """Learn on generated pictures; L1 and its gradient's in what is unknown."""
    network = fresh(seed)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        inputs, targets = [], []
        size = (96, 96) if step % 2 else (128, 64)
        for index in range(batch):
            number = 1000 + step * batch + index
            rgb, alpha, _ = scene(number, size, hair=rng.random() < 0.75, scale=float(rng.uniform(0.8, 1.6)))
            inputs.append(pixels_of(rgb, trimap_of(alpha, int(rng.integers(1, 14)))))
            targets.append(torch.from_numpy(alpha)[None, None])
        pixels, target = torch.cat(inputs), torch.cat(targets)
        unknown = (pixels[:, 3:] > 0.1) & (pixels[:, 3:] < 0.9)
        alpha = network(pixels)
        error = alpha - target
        loss = error.abs()[unknown].mean()
        for down, across in ((1, 0), (0, 1)):
            slope = error[..., down:, across:] - error[..., :error.shape[-2] - down, :error.shape[-1] - across]
            loss = loss + 0.25 * slope.abs()[unknown[..., down:, across:]].mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            log(f"{step} {float(loss.detach()):.4f} {float(error.detach().abs()[unknown].mean()):.4f}", flush=True)
    return network.eval()


if __name__ == "__main__":
    from safetensors.torch import save_file

    learned = train().state_dict()
    save_file({name: value.half().contiguous() if value.is_floating_point() else value
               for name, value in learned.items()}, WEIGHTS)
    print(WEIGHTS, WEIGHTS.stat().st_size)
