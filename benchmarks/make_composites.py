"""Make an evaluation set: cut-outs with known alpha composed on photographs, as `evaluate folder` reads it.

    python benchmarks/make_composites.py --cutouts DIR --backgrounds DIR --out SET --count 48

Each cut-out (a picture with an alpha channel, anywhere below its DIR) is used once at most, at its own resolution; the
photograph is scaled to cover the picture and cropped. A cut-out that is cut straight at a side keeps that side at the
picture's edge. The same arguments make the same set. SET gets images/NAME.jpg, alphas/NAME.png and sources.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".tif", ".tiff")


def pictures(folders: list[Path]) -> list[Path]:
    """All pictures below some folders, in an order that does not depend on the file system."""
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    return sorted(found, key=lambda path: (path.name, str(path)))


def read_cutout(path: Path, smallest: int, longest: int) -> np.ndarray | None:
    """A cut-out as uint8 H×W×4, cropped to what is visible; None where it has no alpha or too little is visible."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    array = np.asarray(picture)
    alpha = array[..., 3]
    rows, columns = np.flatnonzero((alpha > 0).any(axis=1)), np.flatnonzero((alpha > 0).any(axis=0))
    if not rows.size or (alpha > 0).all():
        return None
    array = array[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return array if min(array.shape[:2]) >= smallest else None


def place(size: int, room: int, starts: bool, ends: bool, generator: np.random.Generator) -> int:
    """Where a cut-out of `size` starts in `room`; at an edge when it is cut straight on that side."""
    if starts != ends:
        return 0 if starts else room - size
    return int(generator.integers(0, room - size + 1))


def compose(
    cutout: np.ndarray, background: Image.Image, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """I = αF + (1-α)B, and α: uint8 H×W×3 and H×W."""
    height, width = cutout.shape[:2]
    share = generator.uniform(0.55, 0.85)
    side = max(width, height) / share
    wide, high = max(round(1.15 * side), width + 8), max(round(0.95 * side), height + 8)
    scale = max(wide / background.width, high / background.height) * generator.uniform(1.0, 1.3)
    scaled = background.resize(
        (max(wide, round(background.width * scale)), max(high, round(background.height * scale))),
        Image.Resampling.LANCZOS, reducing_gap=2.0,
    )
    left = int(generator.integers(0, scaled.width - wide + 1))
    top = int(generator.integers(0, scaled.height - high + 1))
    picture = np.asarray(scaled.crop((left, top, left + wide, top + high)), np.float32)
    # A side counts as cut straight where a fifth of it is opaque; the last pixels may be soft all the same.
    solid = cutout[..., 3] > 128
    cut = [float(edge.mean()) > 0.2 for edge in
           (solid[:3].any(axis=0), solid[-3:].any(axis=0), solid[:, :3].any(axis=1), solid[:, -3:].any(axis=1))]
    y = place(height, high, cut[0], cut[1], generator)
    x = place(width, wide, cut[2], cut[3], generator)
    alpha = np.zeros((high, wide), np.uint8)
    alpha[y : y + height, x : x + width] = cutout[..., 3]
    weight = alpha[..., None].astype(np.float32) / 255
    colours = np.zeros_like(picture)
    colours[y : y + height, x : x + width] = cutout[..., :3]
    mixed = weight * colours + (1 - weight) * picture
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), alpha


def main() -> int:
    """Make the set; 1 when there is nothing to make it from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutouts", type=Path, action="append", required=True, metavar="DIR", help="repeatable")
    parser.add_argument("--backgrounds", type=Path, action="append", required=True, metavar="DIR", help="repeatable")
    parser.add_argument("--out", type=Path, required=True, metavar="SET")
    parser.add_argument("--count", type=int, default=48, help="how many pictures at most, shared among the cut-outs' "
                                                              "folders (default 48)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smallest", type=int, default=150, help="leave out smaller cut-outs (default 150)")
    parser.add_argument("--longest", type=int, default=1200, help="shrink larger cut-outs to this side (default 1200)")
    args = parser.parse_args()
    generator = np.random.default_rng(args.seed)
    backgrounds = pictures(args.backgrounds)
    chosen: list[tuple[Path, np.ndarray]] = []
    for index, folder in enumerate(args.cutouts):
        wanted = args.count // len(args.cutouts) + (index < args.count % len(args.cutouts))
        candidates = pictures([folder])
        for position in generator.permutation(len(candidates)):
            cutout = read_cutout(candidates[position], args.smallest, args.longest) if wanted > 0 else None
            if cutout is not None:
                chosen.append((candidates[position], cutout))
                wanted -= 1
    if not chosen or not backgrounds:
        print("there are no cut-outs with an alpha channel, or no backgrounds, in these folders")
        return 1
    sources = {}
    for folder in ("images", "alphas"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    for number, (path, cutout) in enumerate(chosen):
        behind = backgrounds[number % len(backgrounds)]
        with Image.open(behind) as opened:
            picture, alpha = compose(cutout, opened.convert("RGB"), generator)
        name = f"{number:03d}_{path.stem}"
        Image.fromarray(picture).save(args.out / "images" / f"{name}.jpg", quality=95, subsampling=0)
        Image.fromarray(alpha).save(args.out / "alphas" / f"{name}.png")
        sources[name] = {"cutout": path.name, "background": behind.name}
    (args.out / "sources.json").write_text(json.dumps(sources, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(chosen)} pictures in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
