"""The documentation's own code runs, and its site builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from matting_anything_core import read_image
from matting_anything_core.assets import demo_picture

DOCS = Path(__file__).parents[1] / "docs"
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>.*?) -->\n)?```python(?: title=\"(?P<title>.*?)\")?\n(?P<code>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    heading: str
    title: str
    code: str
    reason: str


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        heading = re.findall(r"^## (.*)$", text[: match.start()], re.MULTILINE)[-1]
        found.append(Block(heading, match["title"] or "recipe.py", match["code"], match["reason"] or ""))
    return found


RECIPES = blocks("recipes.md")
WRITTEN = {
    "White background, with a margin and a shadow": ["shop.jpg"],
    "OpenCV": ["alpha.png", "dog.png"],
    "Several processes": ["cut-outs/photo.png"],
    "Many pictures on a GPU": ["cut-outs/photo.png"],
    "Photoshop (PSD), GIMP, Krita": ["photo.psd", "photo.ora"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where recipes run: with their photo, and a folder of photos."""
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/photo.jpg"):
        (tmp_path / name).write_bytes(demo_picture())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_recipe_is_found() -> None:
    assert len(RECIPES) == (DOCS / "recipes.md").read_text(encoding="utf-8").count("```python")
    assert [block.heading for block in RECIPES if block.reason] == ["Blender"]


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, id=block.heading) for block in RECIPES
     if not block.reason and "multiprocessing" not in block.code],
)
def test_recipes_run(block: Block, folder: Path) -> None:
    if ".psd" in block.code:
        pytest.importorskip("psd_tools")
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(block.code, f"docs/recipes.md, {block.heading}", "exec"), names)
    for name in WRITTEN.get(block.heading, []) if "embedding" not in names else []:
        assert (folder / name).stat().st_size > 1000, name
    CHECKS.get(block.title if block.title in CHECKS else block.heading, lambda *_: None)(names, folder)


def shop(_names: dict[str, object], folder: Path) -> None:
    picture = read_image(folder / "shop.jpg").rgb
    assert (picture[:5] > 250).all()
    assert (picture[:, :5] > 250).all()
    assert picture[picture.shape[0] // 2, picture.shape[1] // 2].max() < 250


def opencv(_names: dict[str, object], folder: Path) -> None:
    cut, photo = read_image(folder / "dog.png"), read_image(folder / "photo.jpg")
    assert cut.alpha is not None
    inside = cut.alpha == 255
    assert inside.mean() > 0.2
    assert (cut.rgb[inside] == photo.rgb[inside]).mean() > 0.95  # red is red


def service(names: dict[str, object], folder: Path) -> None:
    png = names["cut_out"]((folder / "photo.jpg").read_bytes(), "0,0,404,512")  # type: ignore[operator]
    assert read_image(png).alpha is not None
    assert answered(names["app"], b"no picture") == 422
    assert answered(names["app"], (folder / "photo.jpg").read_bytes()) == 200


def answered(app: object, body: bytes) -> int:
    """The status of the service's answer to a body: one round of ASGI."""
    import asyncio

    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/cutout", "raw_path": b"/cutout", "headers": [], "scheme": "http",
        "query_string": b"box=0,0,404,512", "http_version": "1.1", "server": ("localhost", 80), "root_path": "",
    }
    asyncio.run(app(scope, receive, send))  # type: ignore[operator]
    return int(sent[0]["status"])  # type: ignore[call-overload]


def layers(_names: dict[str, object], folder: Path) -> None:
    from psd_tools import PSDImage

    document = PSDImage.open(folder / "photo.psd")
    assert [layer.name for layer in document] == ["picture", "object"]
    assert document[1].mask is not None
    assert document.size == (512, 512)


CHECKS = {"White background, with a margin and a shadow": shop, "OpenCV": opencv, "app.py": service,
          "Photoshop (PSD), GIMP, Krita": layers}


@pytest.mark.slow
def test_the_recipe_with_processes_runs(folder: Path) -> None:
    [block] = [block for block in RECIPES if "multiprocessing" in block.code]
    (folder / block.title).write_text(block.code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    done = subprocess.run([sys.executable, block.title], capture_output=True, text=True, check=False, timeout=300,
                          env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{Path('photos', 'photo.jpg')}:", "done"]
    assert read_image(folder / "cut-outs" / "photo.png").alpha is not None


def test_every_page_is_in_the_site() -> None:
    named = set(re.findall(r": ([\w/-]+\.md)$", (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert named == there
