"""The Prompt Editor in a page of the real frontend, as a user and as a program sees it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
]  # fmt: skip
LOADED = "() => window.app?.canvas?.graph && window.LiteGraph?.registered_node_types?.MattingAnythingPromptEditor"


def workflow(prompt: str = "", source: str = "LoadImage", picture: str = "cat.png") -> dict[str, Any]:
    """Load Image (or another node that makes a picture) into a Prompt Editor, as ComfyUI saves it."""
    load = {
        "id": 1, "type": source, "pos": [30, 60], "size": [280, 330], "flags": {}, "order": 0, "mode": 0, "inputs": [],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}, {"name": "MASK", "type": "MASK", "links": None}],
        "properties": {}, "widgets_values": [picture, "image"] if source == "LoadImage" else [],
    }  # fmt: skip
    editor = {
        "id": 2, "type": "MattingAnythingPromptEditor", "pos": [360, 60], "size": [480, 640], "flags": {}, "order": 1,
        "mode": 0, "inputs": [{"name": "image", "type": "IMAGE", "link": 1}], "outputs": [], "properties": {},
        "widgets_values": [prompt],
    }  # fmt: skip
    return {
        "last_node_id": 2, "last_link_id": 1, "nodes": [load, editor], "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "groups": [], "config": {}, "extra": {"ds": {"scale": 1, "offset": [60, 40]}}, "version": 0.4,
    }  # fmt: skip


class EditorPage:
    """One page with one graph; positions are pixels of the picture shown by the editor of the node `node`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []

    def note_error(self, text: str) -> None:
        """Keep an uncaught error of the page if our extension has a part in it."""
        if "/extensions/matting_anything/" in text:
            self.errors.append(text)

    def load(self, graph: dict[str, Any], node: int = 2) -> None:
        self.page.evaluate("graph => window.app.loadGraphData(graph)", graph)
        self.page.wait_for_function("id => window.app.graph.getNodeById(id)?.widgets?.length > 0", arg=node)
        self.canvas.first.wait_for(state="visible")

    def wait_for_picture(self, width: int, height: int) -> None:
        self.page.locator(".mae-place", has_text=f"{width} × {height}").first.wait_for()

    @property
    def canvas(self) -> Locator:
        return self.page.locator(".mae-canvas")

    @property
    def status(self) -> str:
        return self.page.locator(".mae-status").first.inner_text()

    def tool(self, name: str) -> Locator:
        return self.page.locator(f".mae-button[data-tool={name}]").first

    def text(self, node: int = 2) -> str:
        """The text of the node's `prompt` widget."""
        find = "id => window.app.graph.getNodeById(id).widgets.find(w => w.name === 'prompt').value"
        return str(self.page.evaluate(find, node))

    def prompt(self, node: int = 2) -> dict[str, Any]:
        return dict(json.loads(self.text(node)))

    def objects(self, node: int = 2) -> list[dict[str, Any]]:
        return list(self.prompt(node)["objects"])

    def at(self, x: float, y: float, size: tuple[int, int], index: int = 0) -> tuple[float, float]:
        """Where the page shows the point (x, y) of the whole picture of that size, the view not zoomed."""
        box = self.canvas.nth(index).bounding_box()
        assert box is not None
        graph_zoom = box["width"] / self.canvas.nth(index).evaluate("canvas => canvas.clientWidth")
        w, h = box["width"] / graph_zoom, box["height"] / graph_zoom
        scale = min((w - 24) / size[0], (h - 24) / size[1])
        left, top = (w - size[0] * scale) / 2, (h - size[1] * scale) / 2
        return box["x"] + (left + x * scale) * graph_zoom, box["y"] + (top + y * scale) * graph_zoom

    def click(self, x: float, y: float, size: tuple[int, int], button: Any = "left", modifier: str = "") -> None:
        if modifier:
            self.page.keyboard.down(modifier)
        self.page.mouse.click(*self.at(x + 0.5, y + 0.5, size), button=button)
        if modifier:
            self.page.keyboard.up(modifier)

    def drag(self, start: tuple[float, float], end: tuple[float, float], size: tuple[int, int]) -> None:
        self.page.mouse.move(*self.at(*start, size))
        self.page.mouse.down()
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.page.mouse.move(*self.at(*middle, size))
        self.page.mouse.move(*self.at(*end, size))
        self.page.mouse.up()

    def colour(self, x: float, y: float, size: tuple[int, int]) -> tuple[int, int, int]:
        """The colour that the page shows at a point of the picture."""
        px, py = self.at(x, y, size)
        shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        ratio = self.page.evaluate("window.devicePixelRatio")
        r, g, b = shot.getpixel((round(px * ratio), round(py * ratio)))  # type: ignore[misc]
        return r, g, b
