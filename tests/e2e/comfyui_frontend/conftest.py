"""The real `comfyui-frontend-package` in Debian's Chromium, in both of its renderers."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

HERE = Path(__file__).parent
PACK = HERE.parents[2] / "comfy_nodes"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RENDERERS = {"litegraph": False, "nodes2": True}
SIZE = (320, 240)  # of the picture cat.png; its quarters are red, green, blue and white
QUARTERS = {(80, 60): (200, 0, 0), (240, 60): (0, 150, 0), (80, 180): (0, 0, 200), (240, 180): (250, 250, 250)}


def frontends() -> dict[str, Path]:
    """version -> static folder: the frontends in COMFYUI_FRONTENDS (folders of pip --target), and the installed one."""
    roots = [Path(path) for path in os.environ.get("COMFYUI_FRONTENDS", "").split(os.pathsep) if path]
    spec = importlib.util.find_spec("comfyui_frontend_package")
    if spec and spec.origin:
        roots.append(Path(spec.origin).parents[1])
    found = {}
    for root in roots:
        for info in root.glob("comfyui_frontend_package-*.dist-info"):
            version = info.name.split("-")[1].removesuffix(".dist")
            found[version] = root / "comfyui_frontend_package" / "static"
    return found


FRONTENDS = frontends()
MISSING = (
    "Chromium is not installed (Debian: apt-get install chromium)"
    if not CHROMIUM
    else "comfyui-frontend-package is not installed (it comes with the extra `dev`)"
    if not FRONTENDS
    else "playwright is not installed (it comes with the extra `dev`)"
    if not importlib.util.find_spec("playwright")
    else ""
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if MISSING and "frontend" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=MISSING))


def object_info() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((HERE / "data" / "object_info.json").read_text())
    return recorded


@pytest.fixture(scope="package")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI's folders with pictures whose quarters have colours of their own."""
    root = tmp_path_factory.mktemp("comfyui")
    for folder in ("input/sub folder", "output", "temp"):
        (root / folder).mkdir(parents=True)
    picture(SIZE).save(root / "input" / "cat.png")
    picture((480, 480)).save(root / "input" / "sub folder" / "square.png")
    picture(SIZE, turned=True).save(root / "output" / "out.png")
    picture((160, 120), turned=True).save(root / "temp" / "run.png")
    return root


def picture(size: tuple[int, int], turned: bool = False) -> Image.Image:
    quarters = Image.new("RGB", (2, 2))
    quarters.putdata(list(QUARTERS.values()))
    if turned:
        quarters = quarters.rotate(180)
    return quarters.resize(size, Image.Resampling.NEAREST)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Ends with this package's tests: while Playwright runs, no other event loop can run in this thread."""
    from playwright.sync_api import sync_playwright

    from .page import CHROMIUM_FLAGS

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="package", params=sorted(FRONTENDS) or ["none"])
def frontend(request: pytest.FixtureRequest, files: Path) -> Iterator[Any]:
    """The test server with one version of the frontend."""
    from .frontend_server import FrontendServer

    info = object_info()
    info["LoadImage"]["input"]["required"]["image"][0] = ["cat.png", "sub folder/square.png"]
    with FrontendServer(FRONTENDS[request.param], PACK / "web", info, files) as server:
        yield server


@pytest.fixture(scope="package", params=list(RENDERERS))
def renderer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="package")
def opened(browser: Any, frontend: Any, renderer: str) -> Iterator[Any]:
    """One page in one renderer, which the tests share as a user's day does."""
    with open_page(browser, frontend, renderer) as page:
        yield page


@pytest.fixture
def editor(opened: Any) -> Iterator[Any]:
    """The shared page, its view as at first; an error that our code throws in it fails the test."""
    opened.errors.clear()
    opened.page.mouse.move(5, 5)
    opened.page.evaluate("window.app.graph.clear()")
    yield opened
    assert not opened.errors, opened.errors


@contextmanager
def open_page(browser: Any, frontend: Any, renderer: str, locale: str = "en", **options: Any) -> Iterator[Any]:
    from .page import LOADED, EditorPage

    frontend.settings.clear()
    frontend.settings |= {
        "Comfy.TutorialCompleted": True,
        "Comfy.VueNodes.Enabled": RENDERERS[renderer],
        "Comfy.VueNodes.AutoScaleLayout": False,
        "Comfy.Locale": locale,
        "Comfy.Minimap.Visible": False,
        "Comfy.Workflow.ShowMissingNodesWarning": False,  # of the graph that older frontends begin with
    }
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.route(
        lambda url: not url.startswith((frontend.url, frontend.url.replace("http", "ws"), "data:", "blob:")),
        lambda route: route.abort(),
    )
    opened = EditorPage(page)
    page.on("pageerror", lambda error: opened.note_error(f"{error}\n{error.stack}"))
    page.goto(frontend.url)
    page.wait_for_function(LOADED)
    page.wait_for_timeout(500)
    yield opened
    context.close()
