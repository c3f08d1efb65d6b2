"""Twelve made-up clips with true alpha: marked once and followed, beside matting every frame by itself.

    python benchmarks/video.py                       all twelve, at 384 x 288
    python benchmarks/video.py --frames 16 --every 2 --only runs,bends --stills look.png

followed     the true box of the first frame, `matte_video`
true boxes   every frame by itself, with its true box
same prompt  every frame by itself, with the true box of the first frame

What it must show: the mean MAD of `followed` at most 1.3 of that of `true boxes` and half of that of `same prompt`; its
dtSSD at most 0.6 of that of `true boxes`; its seconds a frame at most 1.1 of those of a single `matte`. Results are
noted clip by clip in --json; the same command again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
from video_clips import PLANS, Plan, frames

from matting_anything_core import Prompt, load_model, matte_video
from matting_anything_core.evaluation.video_metrics import NAMES, measure_clip
from matting_anything_core.model import MattingAnything

SYSTEMS = ("followed", "true boxes", "same prompt")


def box_of(alpha: np.ndarray) -> tuple[float, float, float, float] | None:
    """The box around what is above half; None for next to nothing."""
    rows, columns = np.flatnonzero((alpha > 0.5).any(1)), np.flatnonzero((alpha > 0.5).any(0))
    if (alpha > 0.5).sum() < 4:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def results(model: MattingAnything, images: list[np.ndarray], alphas: list[np.ndarray],
            steady: float) -> dict[str, tuple[list[np.ndarray], float]]:
    """The alphas of each system, and its seconds of computing a frame."""
    first = box_of(alphas[0])
    found: dict[str, tuple[list[np.ndarray], float]] = {}

    def timed(name: str, made) -> None:
        started = time.process_time()
        found[name] = list(made), (time.process_time() - started) / len(images)

    def single(image: np.ndarray, box) -> np.ndarray:
        if box is None:
            return np.zeros(image.shape[:2], np.float32)
        return model.matte(model.embed(image), [Prompt(box=box)])[0].alpha

    timed("followed", (matte.alpha for matte in matte_video(images, {0: first}, model=model, steady=steady)))
    timed("true boxes", (single(image, box_of(alpha)) for image, alpha in zip(images, alphas, strict=True)))
    timed("same prompt", (single(image, first) for image in images))
    return found


def still(images: list[np.ndarray], alphas: list[np.ndarray], found: dict) -> np.ndarray:
    """A frame three quarters through: the image, the true alpha, what each system makes, and the first one's error."""
    index = 3 * len(images) // 4
    panels = [alphas[index], *(found[name][0][index] for name in SYSTEMS),
              np.abs(found["followed"][0][index] - alphas[index])]
    return np.hstack([images[index], *(np.repeat((panel * 255 + 0.5).astype(np.uint8)[..., None], 3, 2)
                                       for panel in panels)])


def clip(plan: Plan, args: argparse.Namespace) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The frames of a clip that are measured."""
    images, alphas = [], []
    for index, (image, alpha) in enumerate(frames(plan, args.height, args.width)):
        if index % args.every == 0 and (args.frames is None or len(images) < args.frames):
            images.append(image)
            alphas.append(alpha)
    return images, alphas


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--height", type=int, default=288)
    parser.add_argument("--frames", type=int, help="no more than so many frames of each clip")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth frame")
    parser.add_argument("--only", help="names of clips, separated by commas")
    parser.add_argument("--steady", type=float, default=0.7)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("video.json"), help="where results are noted")
    parser.add_argument("--stills", type=Path, help="write one frame of each clip side by side")
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    model = load_model(args.model, device="cpu", threads=args.threads)
    settings = [args.width, args.height, args.frames, args.every, args.steady, args.model]
    known = json.loads(args.json.read_text()) if args.json.exists() else {}
    done = known.get("clips", {}) if known.get("settings") == settings else {}
    shown = []
    for plan in PLANS:
        if (args.only and plan.name not in args.only.split(",")) or (plan.name in done and not args.stills):
            continue
        images, alphas = clip(plan, args)
        found = results(model, images, alphas, args.steady)
        done[plan.name] = {name: {**asdict(measure_clip(zip(made, alphas, images, strict=True))), "seconds": seconds}
                           for name, (made, seconds) in found.items()}
        args.json.write_text(json.dumps({"settings": settings, "clips": done}, indent=1))
        print(f"{plan.name:16}" + "   ".join(f"{name} MAD {done[plan.name][name]['mad']:.2f} "
                                             f"dtSSD {done[plan.name][name]['dtssd']:.2f}" for name in SYSTEMS),
              flush=True)
        if args.stills:
            shown.append(still(images, alphas, found))
    if shown:
        from matting_anything_core import write_image

        write_image(args.stills, np.vstack(shown))
    print(f"\n{'mean of ' + str(len(done)):16}" + "".join(f"{name:>9}" for name in (*NAMES, "seconds")))
    means = {name: {key: float(np.mean([one[name][key] for one in done.values()])) for key in (*NAMES, "seconds")}
             for name in SYSTEMS}
    for name in SYSTEMS:
        print(f"{name:16}" + "".join(f"{means[name][key]:9.3f}" for key in (*NAMES, "seconds")))
    ours, boxes, same = (means[name] for name in SYSTEMS)
    print(f"\nMAD {ours['mad'] / boxes['mad']:.2f} of true boxes (at most 1.3), {ours['mad'] / same['mad']:.2f} of "
          f"same prompt (at most 0.5); dtSSD {ours['dtssd'] / boxes['dtssd']:.2f} of true boxes (at most 0.6); "
          f"{ours['seconds'] / boxes['seconds']:.2f} of a matte's time (at most 1.1)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
