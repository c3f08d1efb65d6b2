"""Foreground colours at 4 megapixels: our time and error beside pymatting's estimate_foreground_ml, alternating.

    python benchmarks/foreground.py [--side 2000] [--rounds 5] [--threads 1]

Composites of scikit-image's pictures with known foreground colours: a soft shape with strands, and blurred shapes.
Errors are mean absolute differences where 0.02 < alpha < 0.98, as shares of the error of the picture's own colours.
Both wall time and processor time are told: the second holds on a machine that does other work as well.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
import skimage.data
import torch
from pymatting import estimate_foreground_ml

from matting_anything_core.foreground import estimate_foreground


def picture(name: str, side: int) -> np.ndarray:
    pixels = getattr(skimage.data, name)()[..., :3].astype(np.float32) / 255
    short = min(pixels.shape[:2])
    return np.clip(cv2.resize(pixels[:short, :short], (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)


def strands(side: int) -> np.ndarray:
    rng, mask = np.random.default_rng(0), np.zeros((2 * side, 2 * side), np.uint8)
    cv2.circle(mask, (side, side), int(0.56 * side), 255, -1)
    along = np.linspace(0, 1, 20)
    for _ in range(400):
        angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.6, 0.6) * along
        reach = 0.56 * side * (0.95 + rng.uniform(0.2, 0.7) * along)
        line = np.stack([side + reach * np.cos(angle), side + reach * np.sin(angle)], 1)
        cv2.polylines(mask, [line.astype(np.int32)], False, 255, int(rng.integers(2, 9)), cv2.LINE_AA)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def blurred(side: int) -> np.ndarray:
    rng, mask = np.random.default_rng(1), np.zeros((side, side), np.float32)
    for _ in range(5):
        middle, axes = rng.uniform(0.25, 0.75, 2) * side, rng.uniform(0.08, 0.25, 2) * side
        cv2.ellipse(mask, tuple(map(int, middle)), tuple(map(int, axes)), 0, 0, 360, 1, -1)
    return np.clip(cv2.GaussianBlur(mask, (0, 0), side / 160), 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    front, back = picture("coffee", arguments.side), picture("chelsea", arguments.side)
    methods = {"pymatting": estimate_foreground_ml, "ours": estimate_foreground}
    for kind in (strands, blurred):
        alpha = kind(arguments.side)
        share = alpha[..., None]
        image = (np.round((share * front + (1 - share) * back) * 255) / 255).astype(np.float32)
        soft = (alpha > 0.02) & (alpha < 0.98)
        own = np.abs(image - front)[soft].mean()
        wall: dict[str, list[float]] = {name: [] for name in methods}
        processor: dict[str, list[float]] = {name: [] for name in methods}
        errors = {}
        for turn in range(arguments.rounds + 1):  # the first one warms up and is not counted
            for name, method in methods.items():
                started, used = time.perf_counter(), time.process_time()
                estimate = method(image, alpha)
                if turn:
                    wall[name].append(time.perf_counter() - started)
                    processor[name].append(time.process_time() - used)
                errors[name] = np.abs(estimate - front)[soft].mean() / own
        print(f"{kind.__name__}: {arguments.side} x {arguments.side}, "
              f"{((alpha > 0) & (alpha < 1)).mean():.0%} of the pixels soft")
        for name in methods:
            print(f"  {name:10s} median {np.median(wall[name]):.3f} s, best {min(wall[name]):.3f} s, "
                  f"processor {np.median(processor[name]):.3f} s, error {errors[name]:.3f} of the picture's")
        print(f"  time ratio (ours / pymatting): wall {np.median(wall['ours']) / np.median(wall['pymatting']):.2f}, "
              f"processor {np.median(processor['ours']) / np.median(processor['pymatting']):.2f}")


if __name__ == "__main__":
    main()
