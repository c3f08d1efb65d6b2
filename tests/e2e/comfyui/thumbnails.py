"""The example graphs' thumbnails: every one is run in a real ComfyUI (COMFYUI_DIR, COMFYUI_PYTHON), and what it loads
and what it saves are put side by side. `python -m tests.e2e.comfyui.thumbnails` in the checkout writes them."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import PIL.Image
import PIL.ImageOps

from .graphs import to_api, written
from .server import PACK, Server

SIZE = (640, 400)
TILE = 16


def on_tiles(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A picture on a chessboard, where it is transparent."""
    tiles = PIL.Image.new("L", (-(-picture.width // TILE), -(-picture.height // TILE)))
    tiles.putdata([110 if (x + y) % 2 else 150 for y in range(tiles.height) for x in range(tiles.width)])
    ground = tiles.resize((tiles.width * TILE, tiles.height * TILE), PIL.Image.Resampling.NEAREST)
    ground = ground.crop((0, 0, *picture.size)).convert("RGBA")
    return PIL.Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")


def thumbnail(before: PIL.Image.Image, after: PIL.Image.Image) -> PIL.Image.Image:
    shown = PIL.Image.new("RGB", SIZE)
    half = (SIZE[0] // 2, SIZE[1])
    for place, picture in enumerate((before.convert("RGB"), on_tiles(after))):
        shown.paste(PIL.ImageOps.fit(picture, half), (place * half[0], 0))
    return shown


def write(server: Server) -> None:
    known = server.get("/object_info")
    paths = sorted(PACK.glob("example_workflows/*.json"), key=lambda path: ("words" in path.stem, path.stem))
    for path in paths:
        run = to_api(json.loads(path.read_text()), known)
        before = PIL.Image.open(PACK / "example_pictures" / run["1"]["inputs"]["image"])
        entry = server.run(run)
        if written(run) in entry["outputs"]:
            after = PIL.Image.open(server.pictures(entry, written(run))[0])
        elif "words" in path.stem:  # its weights are not there: what the same picture gives with clicks
            after = PIL.Image.open(next((server.base / "output").glob("matting_anything/clicks*")))
        else:
            raise RuntimeError(f"{path.stem} does not run: {entry['status']}")
        thumbnail(before, after).save(path.with_suffix(".jpg"), quality=85)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, \
            Server(Path(os.environ["COMFYUI_DIR"]), os.environ.get("COMFYUI_PYTHON", sys.executable),
                   Path(folder)) as started:
        write(started)
