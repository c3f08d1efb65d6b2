"""ViTMatte on an image of 4 megapixels: crops along the band beside transformers on the whole image, in one run.

    python benchmarks/vitmatte.py [--side 2000] [--weights FILE] [--threads 1] [--limit 16G]

Each works in a process of its own, with the same weights (FILE, or made ones of the small network's sizes, which cost
the same) and the same trimap: a disc with strands. Told are seconds (the whole way from uint8 to alpha, the best of
--rounds; of the processor, which hold on a machine that does other work as well), the memory that it takes at its peak
beside its weights, and, with trained weights, how far alpha in the band is apart. --limit bounds the memory of each:
the whole image at 4 megapixels wants some 19 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from matting_anything_core.networks.vitmatte import MEAN, STD, build, rename
from matting_anything_core.pipeline.vitmatte import crops, matte_band, vitmatte_head
from matting_anything_core.weights.files import read_file


def scene(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rgb, trimap and alpha: a disc with curved strands on a soft background."""
    rng = np.random.default_rng(0)
    mask = np.zeros((side, side), np.uint8)
    middle, radius = side // 2, int(0.27 * side)
    cv2.circle(mask, (middle, middle), radius, 255, -1, cv2.LINE_AA)
    along = np.linspace(0, 1, 16)
    for _ in range(700):
        angle = rng.uniform(0, np.pi) + np.pi + rng.uniform(-0.2, 0.2) * along  # hair above, a hard edge below
        reach = radius * (0.95 + rng.uniform(0.05, 0.22) * along)
        line = np.stack([middle + reach * np.cos(angle), middle + reach * np.sin(angle)], 1)
        cv2.polylines(mask, [np.round(line * 8).astype(np.int32)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 3)
    alpha = cv2.GaussianBlur(mask, (0, 0), 0.7).astype(np.float32) / 255
    surface = cv2.resize(rng.normal(0, 20, (9, 9, 3)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    front, behind = surface + np.float32((90, 60, 40)), surface[::-1] + np.float32((150, 180, 200))
    rgb = np.clip(front * alpha[..., None] + behind * (1 - alpha[..., None]), 0, 255).astype(np.uint8)
    soft = cv2.dilate(((alpha > 0.01) & (alpha < 0.99)).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    return rgb, np.where(soft, 128, np.where(alpha > 0.5, 255, 0)).astype(np.uint8), alpha


def tensors_of(path: str | None) -> dict[str, Tensor]:
    """A file's tensors, or made ones of the small network."""
    if path is not None:
        return {rename(name): value.float() if value.is_floating_point() else value
                for name, value in read_file(path).tensors.items()}
    from transformers import VitDetConfig, VitMatteConfig, VitMatteForImageMatting

    backbone = VitDetConfig(hidden_size=384, num_attention_heads=6, image_size=512, num_channels=4, window_size=14,
                            use_relative_position_embeddings=True, window_block_indices=[0, 1, 3, 4, 6, 7, 9, 10],
                            residual_block_indices=[2, 5, 8, 11], out_features=["stage12"])
    torch.manual_seed(0)
    config = VitMatteConfig(backbone_config=backbone, hidden_size=384, convstream_hidden_sizes=[48, 96, 192],
                            fusion_hidden_sizes=[256, 128, 64, 32])
    return VitMatteForImageMatting(config).state_dict()


def reference(tensors: Mapping[str, Tensor]) -> torch.nn.Module:
    """transformers' network with these tensors; its sizes are told by theirs."""
    from transformers import VitDetConfig, VitMatteConfig, VitMatteForImageMatting

    def size(name: str, axis: int = 0) -> int:
        return int(tensors[name].shape[axis])

    layer = "backbone.encoder.layer."
    depth = 1 + max(int(name.split(".")[3]) for name in tensors if name.startswith(layer))
    width, head = size("backbone.embeddings.projection.weight"), size(layer + "0.attention.rel_pos_h", 1)
    windows = [index for index in range(depth) if size(f"{layer}{index}.attention.rel_pos_h") == 27]
    backbone = VitDetConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=width // head, image_size=512, num_channels=4,
        mlp_ratio=size(layer + "0.mlp.fc1.weight") // width, window_size=14, use_relative_position_embeddings=True,
        window_block_indices=windows, out_features=[f"stage{depth}"],
        residual_block_indices=[index for index in range(depth) if f"{layer}{index}.residual.conv1.weight" in tensors])
    stream = [size(f"decoder.convstream.convs.{index}.conv.weight") for index in range(3)]
    fusion = [size(f"decoder.fusion_blocks.{index}.conv.conv.weight") for index in range(4)]
    network = VitMatteForImageMatting(VitMatteConfig(backbone_config=backbone, hidden_size=width,
                                                     convstream_hidden_sizes=stream, fusion_hidden_sizes=fusion))
    network.load_state_dict(tensors)
    return network.eval()


def peak() -> float:
    """Most memory that this process had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pages() -> list[int]:
    """Bytes of this process's address space, and of its memory, now."""
    return [int(count) * resource.getpagesize() for count in Path("/proc/self/statm").read_text().split()[:2]]


def child(which: str, side: int, weights: str | None, rounds: int, limit: int, out: str) -> None:
    """One of the two, and what it took, as JSON."""
    rgb, trimap, _ = scene(side)
    tensors = tensors_of(weights)
    if which == "whole":
        network = reference(tensors)
        del tensors

        def work() -> np.ndarray:
            colours = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
            mean, std = torch.tensor([MEAN, STD]).view(2, 1, 3, 1, 1)
            pixels = torch.cat([(colours - mean) / std, torch.from_numpy(trimap)[None, None].float() / 255], 1)
            pixels = torch.nn.functional.pad(pixels, (0, -side % 32, 0, -side % 32))
            return network(pixels).alphas[0, 0, :side, :side].numpy()
    else:
        own = build({name: tuple(value.shape) for name, value in tensors.items()})
        own.load_state_dict(tensors)
        head = vitmatte_head(own)
        del own, tensors

        def work() -> np.ndarray:
            return matte_band(head, rgb, trimap)

    space, now = pages()
    resource.setrlimit(resource.RLIMIT_AS, (space + limit, space + limit))
    before, seconds = now / 2**20, []
    try:
        with torch.inference_mode():
            for _ in range(rounds):
                started = time.process_time()
                alpha = work()
                seconds.append(time.process_time() - started)
    except (RuntimeError, MemoryError) as error:
        print(json.dumps({"error": str(error).splitlines()[0][:100], "memory": limit / 2**20}))
        return
    np.save(out, alpha)
    print(json.dumps({"seconds": min(seconds), "memory": peak() - before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2000)
    parser.add_argument("--weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", default="16G")
    parser.add_argument("--only", choices=("whole", "crops"))
    parser.add_argument("--child", choices=("whole", "crops"), help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    limit = int(float(arguments.limit.rstrip("Gg")) * 2**30)
    if arguments.child:
        torch.set_num_threads(arguments.threads)
        child(arguments.child, arguments.side, arguments.weights, arguments.rounds, limit, arguments.out)
        return
    rgb, trimap, truth = scene(arguments.side)
    band = trimap == 128
    print(f"{rgb.shape[1]} x {rgb.shape[0]} pixels, {band.mean():.1%} of them unknown, "
          f"{len(list(crops(band, 512)))} crops, {arguments.threads} thread(s)")
    told, alphas = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for which in [arguments.only] if arguments.only else ["crops", "whole"]:
            out = os.path.join(folder, f"{which}.npy")
            answer = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--child", which, "--out", out], check=True,
                capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)})
            told[which] = json.loads(answer.stdout.splitlines()[-1])
            if Path(out).is_file():
                alphas[which] = np.load(out)
            print(which, told[which])
    if len(alphas) == 2:
        print(f"time {told['crops']['seconds'] / told['whole']['seconds']:.2f}, "
              f"memory {told['crops']['memory'] / told['whole']['memory']:.2f} of the whole image's")
        if arguments.weights:
            meet = np.zeros(band.shape, np.uint8)
            for crop in crops(band, 512):
                meet[crop.outer.slices()] += 1
            for where, part in (("in the band", band), ("where crops meet", band & (meet > 1))):
                apart = np.abs(alphas["crops"] - alphas["whole"])[part]
                print(f"alpha {where} is apart by {apart.mean():.4f} on average, {np.quantile(apart, 0.99):.4f} at the "
                      f"99th percentile; from the truth: crops {np.abs(alphas['crops'] - truth)[part].mean():.4f}, "
                      f"whole {np.abs(alphas['whole'] - truth)[part].mean():.4f}")


if __name__ == "__main__":
    main()
