"""What ten prompts on one picture cost beside one, and a second run beside the first, through the ComfyUI nodes.

    COMFYUI_DIR=~/ComfyUI ~/ComfyUI/venv/bin/python benchmarks/comfyui.py

Runs the nodes of a real ComfyUI in this process, on the CPU: `lite`, and ViT-B's geometry with made weights. Seconds
are the CPU's, of all threads together (other work on the machine changes them little); medians of a few runs in turns.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIDE = 1024
RUNS = 3


def main() -> None:
    folder = os.environ.get("COMFYUI_DIR")
    if not folder:
        sys.exit("set COMFYUI_DIR to a ComfyUI's folder")
    sys.path[:0] = [folder, str(ROOT)]
    sys.argv = ["main.py", "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import torch

    import comfy_nodes

    asyncio.run(comfy_nodes.comfy_entrypoint())
    from comfy_nodes.matte import Matte
    from comfy_nodes.model import LoadMattingModel, MattingModel

    image = torch.nn.functional.interpolate(_picture(), (SIDE, SIDE), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1)
    boxes = [(20.0 + 55 * i, 20.0 + 30 * i, 420.0 + 55 * i, 700.0 + 30 * i) for i in range(10)]
    jobs = {"one": (boxes[:1], {}, True), "ten, merged": (boxes, {}, True),
            "ten, one by one": (boxes, {"objects": "one by one"}, True),
            "one, prompt changed": (boxes[1:2], {}, False)}
    with torch.inference_mode():
        for name, model in {"lite": LoadMattingModel.execute("lite").args[0],
                            "vit_b, made weights": MattingModel(_vit_b(), torch.device("cpu"))}.items():
            Matte.execute(model, image, boxes=boxes[:1])
            seconds: dict[str, list[float]] = {job: [] for job in jobs}
            shown = image
            for _ in range(RUNS):
                for job, (given, settings, fresh) in jobs.items():
                    if fresh:  # a picture it has not seen
                        shown = image + torch.rand(()) * 1e-3
                    start = time.process_time()
                    Matte.execute(model, shown.clamp(0, 1), boxes=given, **settings)
                    seconds[job].append(time.process_time() - start)
            one = statistics.median(seconds["one"])
            for job, measured in seconds.items():
                middle = statistics.median(measured)
                print(f"{name:20} {job:20} {middle:7.2f} s  {middle / one:5.2f}x")


def _picture() -> Any:
    import numpy as np
    import torch

    from matting_anything_core import read_image
    from matting_anything_core.assets import demo_picture

    return torch.from_numpy(np.ascontiguousarray(read_image(demo_picture()).rgb_float())).permute(2, 0, 1)[None]


def _vit_b() -> Any:
    import torch

    from matting_anything_core.model import MattingAnything
    from matting_anything_core.networks.m2m import MaskToMatte
    from matting_anything_core.networks.sam import build_sam

    torch.manual_seed(0)
    return MattingAnything(build_sam("vit_b"), MaskToMatte().eval(), device="cpu", name="vit_b")


if __name__ == "__main__":
    main()
