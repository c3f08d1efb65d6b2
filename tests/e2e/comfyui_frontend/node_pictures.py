"""The pictures of the nodes' help pages, taken in the real frontend, which needs what the tests of this folder need.

`python -m tests.e2e.comfyui_frontend.node_pictures` writes them.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from .conftest import CHROMIUM, FRONTENDS, PACK, object_info, open_page
from .frontend_server import FrontendServer
from .page import CHROMIUM_FLAGS, EditorPage
from .test_strokes import with_matte

PICTURE = "matting_anything_astronaut.png"
MARGIN = 10
PLACE = """kind => {
    const {graph, canvas} = window.app;
    const node = graph.nodes.find(one => one.type === kind);
    canvas.deselectAll?.();
    canvas.ds.scale = 1;
    canvas.ds.offset = [140 - node.pos[0], 180 - node.pos[1]];
    canvas.setDirty(true, true);
    return [...node.size];
}"""
ADD = """kind => {
    const {graph} = window.app;
    const node = LiteGraph.createNode(kind);
    graph.add(node);
    node.pos = [2000 * graph.nodes.length, 60];
}"""


def take(page: EditorPage, kind: str) -> Image.Image:
    width, height = page.page.evaluate(PLACE, kind)
    page.page.wait_for_timeout(900)
    clip = {"x": 140 - MARGIN, "y": 180 - 30 - MARGIN, "width": width + 2 * MARGIN, "height": height + 30 + 2 * MARGIN}
    return Image.open(io.BytesIO(page.page.screenshot(clip=clip))).convert("RGB")  # type: ignore[arg-type]


def main() -> None:
    prompt = json.dumps({"version": 2, "width": 512, "height": 512, "objects": [
        {"box": [4, 4, 404, 512], "points": [[220, 130, 1]], "strokes": [
            {"points": [[440, 80], [470, 250]], "width": 24, "label": 0}]}]})
    info = object_info()
    info["LoadImage"]["input"]["required"]["image"][0] = [PICTURE]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        files = Path(folder)
        for name in ("input", "output", "temp"):
            (files / name).mkdir()
        shutil.copyfile(PACK / "example_pictures" / PICTURE, files / "input" / PICTURE)
        [frontend, *_] = FRONTENDS.values()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_FLAGS)
        with FrontendServer(frontend, PACK / "web", info, files) as server, \
                open_page(browser, server, "litegraph") as page:
            graph = with_matte(prompt)
            graph["nodes"][0]["widgets_values"][0] = PICTURE
            page.load(graph)
            page.wait_for_picture(512, 512)
            for kind in sorted(path.name for path in (PACK / "web" / "docs").iterdir()):
                if not page.page.evaluate("kind => window.app.graph.nodes.some(one => one.type === kind)", kind):
                    page.page.evaluate(ADD, kind)
                take(page, kind).save(PACK / "web" / "docs" / kind / "picture.webp", quality=80)
        browser.close()


if __name__ == "__main__":
    main()
