"""Renders cut-outs with true hair, fur, feathers, grass, fringe, glass and smoke: straight RGBA, made with Blender.

    python -m venv BLENDER && BLENDER/bin/pip install "bpy>=4.5,<4.6" scipy opencv-python-headless pillow  # Python 3.11
    BLENDER/bin/python docs/lite/data/render.py OUT --count 2000            # pictures 0 to 1,999; what is there stays
    BLENDER/bin/python docs/lite/data/render.py OUT --only 7 12 --again     # these two anew
    python docs/lite/data/render.py OUT --sheet sheet.webp                  # look at what is there
    python docs/lite/data/render.py OUT --pack PACK --count 400             # small lossy copies of the softest

OUT is the recipe's $LITE_DATA/train/cutouts/rendered. A picture's number decides everything about it, so that each can
be made again (by the same version of Blender) and a run that was ended goes on where it was. Written are lossless
OUT/NUMBER_KIND.webp, temporary name first; a number that Blender fails at is noted in OUT/failed.txt and passed over.
Everything is made here or comes with Blender under CC0 (its panoramas), the SIL Open Font License (Noto Emoji, whose
licence lets pictures made with it be anybody's) or as its own model (the monkey): what comes out is the project's, MIT.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from rendering.colours import Bytes, as_bytes, cropped, developed, exposure, over, straight, with_glints

SEED = 16
BATCH = 12  # pictures a process: Blender's memory grows, and what it fails at takes no more with it
PATIENCE = 1800  # seconds that one picture may take

# How often each kind is drawn; "several" is two or three of the others together.
SHARES = {"animal": 0.17, "fuzzy": 0.1, "portrait": 0.16, "feathers": 0.08, "grass": 0.08, "plant": 0.08, "wires": 0.05,
          "cloth": 0.08, "glass": 0.04, "smoke": 0.02, "solid": 0.05, "bristles": 0.05, "several": 0.04}


@dataclass(frozen=True)
class Plan:
    """What is decided about a picture before Blender is asked.

    kinds: one, or those of "several"; longest: of the frame, in pixels; azimuth, elevation: where it is seen from, in
    radians; grey: how bright it is on the whole, in linear light; focus: the lens's radius as a share of the subject's;
    motion: how far it goes while the shutter is open, in units.
    """

    number: int
    kind: str
    kinds: tuple[str, ...]
    longest: int
    azimuth: float
    elevation: float
    grey: float
    focus: float
    motion: float

    @property
    def name(self) -> str:
        return f"{self.number:05d}_{self.kind}.webp"


def planned(number: int) -> Plan:
    """The plan of a number, always the same."""
    if number < 0:
        raise ValueError(f"a picture's number is 0 or more, not {number}")
    rng = np.random.default_rng([SEED, number])
    names, shares = list(SHARES), np.array(list(SHARES.values()))
    kind = names[rng.choice(len(names), p=shares / shares.sum())]
    kinds = (kind,)
    if kind == "several":
        some = [name for name in names if name not in ("several", "smoke", "glass")]
        kinds = tuple(some[index] for index in rng.integers(len(some), size=int(rng.integers(2, 4))))
    azimuth = float(rng.normal(0, 0.9) if kind == "portrait" else rng.uniform(-np.pi, np.pi))
    elevation = float(np.clip(rng.normal(*((0.05, 0.12) if kind == "portrait" else (0.2, 0.25))), -0.5, 1.2))
    if kind in ("wires", "feathers"):  # a wheel, a web, a fan is nothing from its edge
        azimuth = float(rng.normal(0, 0.5)) + np.pi * int(rng.integers(2))
    grey = float(np.exp(rng.uniform(np.log(0.03), np.log(0.4))))
    focus = float(rng.uniform(0.01, 0.06)) if rng.random() < 0.25 else 0.0
    motion = float(rng.uniform(0.005, 0.04)) if rng.random() < 0.12 else 0.0
    return Plan(number, kind, kinds, int(rng.integers(512, 641)), azimuth, elevation, grey, focus, motion)


def lacking(folder: Path, numbers: Iterable[int]) -> list[int]:
    """Those of the numbers that have neither a picture nor failed."""
    failed = folder / "failed.txt"
    done = {int(line.split()[0]) for line in failed.read_text().splitlines()} if failed.exists() else set()
    return [number for number in numbers if number not in done and not (folder / planned(number).name).exists()]


def save(picture: Bytes, path: Path, **settings: Any) -> None:
    """Write WebP, colours under alpha 0 included, by way of a temporary file."""
    temporary = path.with_name(f".unfinished-{os.getpid()}-{path.stem}")  # no picture's ending: training may look
    try:
        Image.fromarray(picture).save(temporary, "WEBP", exact=True, **settings)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def finished(light: Any, coverage: Any, alpha: Any, samples: int, grey: float, *, clear: bool,
             denoised: Callable[[Any], Any] | None = None) -> Bytes:
    """What Blender gives as a straight RGBA picture.

    clear: there is glass or smoke, whose glints must stay, and whose coverage is as smooth as they are. denoised: what
    takes noise from colours; a fifth of it is left, as a camera would have it, but for single sparks.
    """
    colours = straight(light, coverage, samples)
    if denoised:
        clean = denoised(colours)
        colours = clean + np.clip(0.2 * (colours - clean), -0.1 * clean, 0.1 * clean)
        if clear:
            alpha = np.clip(denoised(np.repeat(alpha[..., None], 3, axis=2))[..., 0], 0, 1) * (alpha > 0)
    factor = exposure(colours, alpha, grey)
    if clear:
        alpha = with_glints(colours, alpha, factor)
    return cropped(as_bytes(developed(colours, factor), alpha))


def render(plan: Plan, *, threads: int, samples: int, edges: int, scale: float) -> Bytes:
    """One picture. Needs bpy."""
    from rendering import stage, subjects
    from rendering.denoised import denoised

    stage.emptied()
    rng = np.random.default_rng([SEED, plan.number, 1])
    scene = stage.Stage(rng)
    if plan.kind == "several":
        subjects.several(scene, list(plan.kinds))
    else:
        subjects.SUBJECTS[plan.kind](scene)
    view = np.array([np.sin(plan.azimuth), -np.cos(plan.azimuth), np.sin(plan.elevation)])
    stage.lit(rng, view)
    stage.framed(scene, rng, plan.azimuth, plan.elevation, round(plan.longest * scale), focus=plan.focus,
                 margin=0.02 + plan.motion * 0.5 + plan.focus)
    if plan.motion:
        stage.moved(scene, rng, plan.motion)
    if "portrait" in plan.kinds:  # hair in its own shadow
        samples, bounces = samples * 3 // 2, 4
    else:
        bounces = 3
    light, coverage, alpha, rays = stage.rendered(scene, plan.number, samples=samples, bounces=bounces, threads=threads,
                                                  edges=edges * (2 if plan.motion or plan.focus else 1))
    return finished(light, coverage, alpha, rays, plan.grey, clear=scene.clear, denoised=denoised)


def work(folder: Path, numbers: Sequence[int], options: argparse.Namespace) -> None:
    """Render these in this process."""
    for number in numbers:
        plan, start, used = planned(number), time.monotonic(), time.process_time()
        picture = render(plan, threads=options.threads, samples=options.samples, edges=options.edges,
                         scale=options.scale)
        save(picture, folder / plan.name, lossless=True, quality=60, method=3)
        print(f"{plan.name} {picture.shape[1]}x{picture.shape[0]} {time.monotonic() - start:.0f} s,"
              f" {time.process_time() - used:.0f} s of a processor", file=sys.stderr, flush=True)


def in_batches(folder: Path, numbers: list[int], options: argparse.Namespace) -> int:
    """Render the numbers in processes of their own, a batch each. Returns how many failed."""
    command = [sys.executable, __file__, str(folder), "--here", "--threads", str(options.threads), "--samples",
               str(options.samples), "--edges", str(options.edges), "--scale", str(options.scale), "--only"]
    failed = 0
    while numbers:
        batch = numbers[:BATCH]
        try:
            # Blender writes a line for each step to the standard output.
            code = subprocess.run([*command, *map(str, batch)], stdout=subprocess.DEVNULL,
                                  timeout=PATIENCE * len(batch)).returncode
        except subprocess.TimeoutExpired:
            code = -1
        left = lacking(folder, numbers)
        if code and left and left[0] in batch:  # they are made in order: the first that lacks is the one it failed at
            with (folder / "failed.txt").open("a", encoding="utf-8") as file:
                file.write(f"{left[0]} {planned(left[0]).kind} exit status {code}\n")
            failed, left = failed + 1, left[1:]
        numbers = left
    return failed


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*_*.webp"))


def chequered(height: int, width: int, square: int = 12) -> Bytes:
    rows, columns = np.mgrid[:height, :width] // square
    return np.asarray(np.where((rows + columns) % 2, 235, 175)[..., None].repeat(3, 2), np.uint8)


def sheet(paths: Sequence[Path], out: Path, *, columns: int = 8, side: int = 190, quality: int = 78) -> None:
    """Draw pictures with their numbers over chequers and, beside, over green, magenta, black and white by turns."""
    grounds = ((0, 255, 0), (255, 0, 255), (8, 8, 8), (250, 250, 250))
    rows = -(-len(paths) // columns)
    page = Image.new("RGB", (columns * 2 * side, rows * side), (90, 90, 90))
    draw = ImageDraw.Draw(page)
    for index, path in enumerate(paths):
        picture = Image.open(path)
        rgba = np.asarray(picture)
        x, y = index % columns * 2 * side, index // columns * side
        for place, ground in enumerate((chequered(*rgba.shape[:2]), grounds[index % 4])):
            small = Image.fromarray(over(rgba, ground))
            small.thumbnail((side - 2, side - 2), Image.Resampling.LANCZOS)
            page.paste(small, (x + place * side + (side - small.width) // 2, y + (side - small.height) // 2))
        draw.text((x + 3, y + 2), path.stem[:5].lstrip("0") or "0", (255, 60, 0))
    page.save(out, quality=quality, method=6) if out.suffix == ".webp" else page.save(out)


def softness(path: Path) -> float:
    """The share of the pixels that are neither empty nor solid, among those that are not empty."""
    alpha = np.asarray(Image.open(path))[..., 3]
    return float(((alpha > 12) & (alpha < 243)).sum() / max(1, (alpha > 12).sum()))


def pack(folder: Path, out: Path, count: int, most: int = 12_000_000) -> int:
    """Copy the softest pictures of each kind, in fair shares, at 512 px as lossy WebP with near-exact alpha, as many as
    fit into `most` bytes. Returns how many."""
    ranked: dict[str, list[Path]] = {}
    for path in sorted(pictures(folder), key=softness, reverse=True):
        ranked.setdefault(path.stem.partition("_")[2], []).append(path)
    order = sorted(((index / len(paths), path) for paths in ranked.values() for index, path in enumerate(paths)),
                   key=lambda pair: (pair[0], pair[1].name))
    out.mkdir(parents=True, exist_ok=True)
    size = taken = 0
    for _, path in order[:count]:
        rgba = np.asarray(Image.open(path)).astype(np.float32)
        share = min(1.0, 512 / max(rgba.shape[:2]))
        # Premultiplied while it is made smaller, so that no colour under alpha 0 leaks out.
        weight = np.maximum(rgba[..., 3:], 0.5)
        layers = [Image.fromarray(np.ascontiguousarray(layer)) for layer in np.moveaxis(
            np.concatenate([rgba[..., :3] * weight, weight, rgba[..., 3:]], 2), 2, 0)]
        to = max(1, round(rgba.shape[1] * share)), max(1, round(rgba.shape[0] * share))
        small = np.stack([np.asarray(layer.resize(to, Image.Resampling.BOX)) for layer in layers], 2)
        picture = np.concatenate([small[..., :3] / small[..., 3:4], small[..., 4:]], 2)
        save(np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8), out / path.name, quality=80, alpha_quality=90,
             method=6)
        size += (out / path.name).stat().st_size
        if size > most:
            (out / path.name).unlink()
            break
        taken += 1
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder of the pictures")
    parser.add_argument("--count", type=int, default=2000, help="how many: numbers from --first on (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first number (default 0)")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="these numbers instead")
    parser.add_argument("--again", action="store_true", help="make them anew, though they are there")
    parser.add_argument("--threads", type=int, default=1, help="for Blender (default 1)")
    parser.add_argument("--samples", type=int, default=8, help="rays of light a pixel (default 8)")
    parser.add_argument("--edges", type=int, default=64, help="rays a pixel for coverage, at edges (default 64)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the frame, for trying things out")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw the first --count pictures that are there")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="write small copies of the softest pictures")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sheet:
        chosen = [options.out / planned(number).name for number in options.only or ()] or pictures(options.out)[
            options.first:options.first + options.count]
        return sheet(chosen, options.sheet)
    if options.pack:
        print(f"{pack(options.out, options.pack, options.count)} pictures in {options.pack}")
        return None
    if find_spec("bpy") is None:
        parser.exit(1, "Blender's Python module is not installed here; the head of this file says how to get it:"
                       f"\n    {sys.executable} -m pip install 'bpy>=4.5,<4.6'   (needs Python 3.11)\n")
    # Ended politely, take the batch's process along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options.out.mkdir(parents=True, exist_ok=True)
    numbers = options.only or list(range(options.first, options.first + options.count))
    if options.again:
        for number in numbers:
            (options.out / planned(number).name).unlink(missing_ok=True)
    numbers = lacking(options.out, numbers) if not options.here else numbers
    if options.here:
        work(options.out, numbers, options)
        return None
    failed = in_batches(options.out, numbers, options)
    print(f"{len(pictures(options.out))} pictures in {options.out}; {failed} failed")
    return None


if __name__ == "__main__":
    main()
