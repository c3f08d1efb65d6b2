"""The page in a real browser (Chromium), with the real service and the bundled model."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from server.service import Client, in_a_process, until

from matting_anything_core import matte, read_image
from matting_anything_core.assets import DEMO_BOX, demo_picture
from matting_anything_core.image import encode_image

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
SHOTS = os.environ.get("MATTING_ANYTHING_SCREENSHOTS")
"""A folder for pictures of the page, for those who want to look at it."""
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; apt-get install chromium")
PATIENCE = 60_000  # milliseconds; for a stalled machine


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("page") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATTING_ANYTHING_RUNTIME", str(folder))
        with in_a_process(folder) as (_, client):
            yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, client: Client) -> Iterator[Any]:
    """The page as `serve --open` opens it; what goes wrong in its scripts fails the test."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{client.endpoint.url}/#token={client.endpoint.token}")
    yield page
    page.close()
    assert wrong == []


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "astronaut.jpg"
    path.write_bytes(demo_picture())
    return path


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def says(page: Any, words: str) -> None:
    sync_api.expect(page.locator("#message")).to_contain_text(re.compile(words), timeout=PATIENCE)


def place(page: Any, x: float, y: float) -> tuple[float, float]:
    """A pixel of the picture on the screen, where the stage says that it lies."""
    stage = page.locator("#stage")
    rect, at = stage.bounding_box(), stage.evaluate("stage => ({...stage.dataset})")
    return rect["x"] + float(at["x"]) + x * float(at["scale"]), rect["y"] + float(at["y"]) + y * float(at["scale"])


def drag(page: Any, box: tuple[float, ...]) -> None:
    line(page, box[:2], (box[2] - 20, box[3] - 20), box[2:])


def line(page: Any, *points: tuple[float, ...], button: str = "left") -> None:
    """Drag the pointer along pixels of the picture."""
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down(button=button)
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=4)
    page.mouse.up(button=button)


def canvas(page: Any, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """What the screen shows of pixels of the picture, uint8 h×w×3."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    address = page.evaluate("document.getElementById('picture').toDataURL()")
    rect = page.locator("#stage").bounding_box()
    left, top, right, bottom = (round(end - start) for end, start in zip(
        (*place(page, x0, y0), *place(page, x1, y1)), (rect["x"], rect["y"]) * 2, strict=True))
    return read_image(base64.b64decode(address.partition(",")[2])).rgb[top:bottom, left:right]


def saved(page: Any, button: str, folder: Path) -> Any:
    with page.expect_download() as download:
        page.click(button)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_from_picture_to_cutout(page: Any, photo: Path, tmp_path: Path) -> None:
    says(page, "^$")
    shot(page, "1-begin")
    page.set_input_files("#file", photo)
    says(page, "512 × 512 pixels. Mark the object")
    assert page.locator("#drop").is_hidden()
    shot(page, "2-opened")
    drag(page, DEMO_BOX)
    says(page, "Done")
    shot(page, "3-cutout")
    # What is shown where the wall was is the checkerboard.
    wall = canvas(page, 420, 150, 500, 300).reshape(-1, 3)
    assert {tuple(colour) for colour in wall.tolist()} <= {(255, 255, 255), (203, 208, 211)}
    path = saved(page, "#save-alpha", tmp_path)
    assert path.name == "astronaut-alpha.png"
    # The box is that of the screen's whole pixels, so nearly the one that was meant.
    truth = matte(photo, DEMO_BOX).alpha
    assert np.abs(read_image(path).rgb[..., 0] / 255 - truth).mean() < 0.01
    cutout = read_image(saved(page, "#save-cutout", tmp_path))
    assert cutout.alpha is not None
    assert np.abs(cutout.alpha / 255 - truth).mean() < 0.01
    page.check("input[value=alpha]")
    np.testing.assert_array_equal(canvas(page, 200, 300, 210, 310) > 200, True)
    shot(page, "4-alpha")


def asked(page: Any, action: Callable[[], None]) -> Any:
    """The prompt that an action on the page asks for; waits until its matte is there."""
    with page.expect_request(lambda request: request.url.endswith("/mattes")) as request:
        action()
    sync_api.expect(page.locator("#progress")).to_be_hidden(timeout=PATIENCE)
    says(page, "Done")
    return request.value.post_data_json["prompts"][0]


class Requests:
    """The prompts that the page has asked for."""

    def __init__(self, page: Any) -> None:
        self.prompts: list[Any] = []
        page.on("request", lambda request: request.url.endswith("/mattes")
                and self.prompts.append(request.post_data_json["prompts"][0]))


def test_corrections_go_on_and_undo_asks_for_nothing(page: Any, photo: Path) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    requests = Requests(page)
    first = asked(page, lambda: page.mouse.click(*place(page, 220, 300)))
    one = canvas(page, 0, 0, 512, 512)
    second = asked(page, lambda: page.mouse.click(*place(page, 480, 30), button="right"))
    shot(page, "5-points")
    assert set(first) == {"points", "labels"}
    assert second["labels"] == [1, 0]
    assert isinstance(second["previous"], str)
    np.testing.assert_allclose(second["points"], [[220, 300], [480, 30]], atol=2)
    third = asked(page, lambda: page.mouse.click(*place(page, 60, 400)))
    assert third["previous"] not in ("", second["previous"])
    two = canvas(page, 0, 0, 512, 512)
    for _ in range(2):
        page.keyboard.press("Control+z")
    sync_api.expect(page.locator("#redo")).to_be_enabled()
    until(lambda: (canvas(page, 0, 0, 512, 512) == one).all())
    page.keyboard.press("Control+Shift+z")
    page.click("#redo")
    assert page.locator("#redo").is_disabled()
    until(lambda: (canvas(page, 0, 0, 512, 512) == two).all())
    assert len(requests.prompts) == 3
    page.click("#clear")
    assert page.locator("#save-cutout").is_disabled()
    page.click("#undo")
    assert page.locator("#save-cutout").is_enabled()
    page.click("#clear")
    page.keyboard.down("Shift")
    page.mouse.click(*place(page, 480, 30))
    page.keyboard.up("Shift")
    says(page, "belongs to the object")
    assert len(requests.prompts) == 3


def test_a_new_box_replaces_what_belonged_to_the_old_one(page: Any, photo: Path) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    asked(page, lambda: drag(page, DEMO_BOX))
    asked(page, lambda: page.mouse.click(*place(page, 220, 300)))
    again = asked(page, lambda: drag(page, (100, 60, 400, 500)))
    assert set(again) == {"box"}


def test_the_brush_keeps_and_drops(page: Any, photo: Path, tmp_path: Path) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    asked(page, lambda: drag(page, DEMO_BOX))
    page.keyboard.press("p")
    assert page.is_checked("#tool-brush")
    before = page.inner_text("#width")
    for _ in range(3):
        page.keyboard.press("]")
    page.keyboard.press("[")
    assert page.inner_text("#width") != before
    kept = asked(page, lambda: line(page, (450, 40), (490, 40), (490, 80)))
    [stroke] = kept["keep"]
    assert kept["previous"]
    assert stroke["width"] > 10
    np.testing.assert_allclose([stroke["points"][0], stroke["points"][-1]], [[450, 40], [490, 80]], atol=2)
    page.keyboard.down("Alt")
    dropped = asked(page, lambda: line(page, (220, 300), (240, 300)))
    page.keyboard.up("Alt")
    assert len(dropped["keep"]) == len(dropped["drop"]) == 1
    page.keyboard.press("x")
    assert page.is_checked("#not")
    over = asked(page, lambda: line(page, (470, 20), (470, 60)))
    assert len(over["keep"]) == 2, "the later stroke cuts the earlier one"
    shot(page, "8-strokes")
    alpha = read_image(saved(page, "#save-alpha", tmp_path)).rgb[..., 0]
    assert alpha[40, 452] > 127
    assert alpha[80, 490] > 127
    assert alpha[300, 222:238].max() < 128
    assert alpha[22:58, 470].max() < 128


def test_esc_ends_a_drag_and_nothing_else(page: Any, photo: Path) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    asked(page, lambda: drag(page, DEMO_BOX))
    requests = Requests(page)
    page.mouse.move(*place(page, 100, 100))
    page.mouse.down()
    page.mouse.move(*place(page, 200, 200), steps=3)
    page.keyboard.press("Escape")
    page.mouse.move(*place(page, 300, 300), steps=3)
    page.mouse.up()
    assert page.locator("#clear").is_enabled(), "the box before is still there"
    assert page.locator("#save-cutout").is_enabled()
    assert requests.prompts == []
    page.keyboard.press("Escape")
    assert page.locator("#clear").is_disabled()


def touches(session: Any, kind: str, *points: tuple[float, float]) -> None:
    """Fingers at pixels of the page."""
    session.send("Input.dispatchTouchEvent", {
        "type": kind, "touchPoints": [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]})


def test_fingers(browser: Any, client: Client, photo: Path) -> None:
    """A tap, one with the mode button, one that is held; a pinch zooms and makes no box."""
    page = browser.new_context(has_touch=True, viewport={"width": 900, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{client.endpoint.url}/#token={client.endpoint.token}")
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    requests, fingers = Requests(page), page.context.new_cdp_session(page)
    scale = page.get_attribute("#stage", "data-scale")
    a, b = place(page, 200, 200), place(page, 300, 300)
    touches(fingers, "touchStart", a)
    touches(fingers, "touchStart", a, b)
    touches(fingers, "touchMove", (a[0] - 40, a[1] - 40), (b[0] + 40, b[1] + 40))
    touches(fingers, "touchEnd")
    assert float(page.get_attribute("#stage", "data-scale")) > 1.2 * float(scale)
    assert page.locator("#clear").is_disabled()
    page.click("#zoom-fit")
    asked(page, lambda: page.touchscreen.tap(*place(page, 220, 300)))
    page.click("label:has(#not)")
    asked(page, lambda: page.touchscreen.tap(*place(page, 480, 30)))
    page.click("label:has(#keep)")
    touches(fingers, "touchStart", place(page, 30, 30))
    page.wait_for_timeout(700)
    asked(page, lambda: touches(fingers, "touchEnd"))
    assert [prompt["labels"] for prompt in requests.prompts] == [[1], [1, 0], [1, 0, 0]]
    page.close()


def test_zoom_and_pan(page: Any, tmp_path: Path) -> None:
    """800 % is exact: every pixel of the picture is a square of 8 x 8."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    (tmp_path / "small.png").write_bytes(encode_image(pixels))
    sync_api.expect(page.locator("#service")).to_contain_text("lite", timeout=PATIENCE)
    page.set_input_files("#file", tmp_path / "small.png")
    says(page, "120 × 90 pixels")
    assert float(page.get_attribute("#stage", "data-scale")) > 4, "small pictures are enlarged"
    page.keyboard.press("8")
    assert page.inner_text("#zoom") == "800 %"
    page.keyboard.down("Space")
    line(page, (60, 45), (70.3, 50.2))
    page.keyboard.up("Space")
    assert page.locator("#clear").is_disabled(), "panning marks nothing"
    np.testing.assert_array_equal(canvas(page, 40, 30, 60, 50), np.kron(pixels[30:50, 40:60], np.ones((8, 8, 1), int)))
    shot(page, "9-pixels")
    under = place(page, 50, 40)
    page.mouse.move(*under)
    page.mouse.wheel(0, -120)
    assert float(page.get_attribute("#stage", "data-scale")) == pytest.approx(8 * 2**0.5)
    np.testing.assert_allclose(place(page, 50, 40), under, atol=1)
    for key, share in (("-", "800 %"), ("1", "100 %"), ("+", "141 %")):
        page.keyboard.press(key)
        assert page.inner_text("#zoom") == share
    page.click("#zoom-fit")
    assert float(page.get_attribute("#stage", "data-scale")) > 4


def test_several_objects(page: Any, photo: Path, tmp_path: Path) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    asked(page, lambda: drag(page, DEMO_BOX))
    page.keyboard.press("n")
    shuttle = asked(page, lambda: page.mouse.click(*place(page, 420, 40)))
    assert "previous" not in shuttle
    assert "box" not in shuttle
    names = page.locator("#objects input[type=text]")
    names.nth(0).fill("astronaut")
    names.nth(1).fill("shuttle")
    names.nth(1).press("Enter")
    shot(page, "10-objects")
    alphas = {}
    for which, number in (("all", 1), ("each", 2)):
        page.select_option("#which", which)
        downloads: list[Any] = []

        def begun(download: Any, downloads: list[Any] = downloads) -> None:
            downloads.append(download)

        page.on("download", begun)
        page.click("#save-alpha")
        until(lambda downloads=downloads, number=number: (page.wait_for_timeout(50), len(downloads) >= number)[1])
        page.remove_listener("download", begun)
        for download in downloads:
            download.save_as(tmp_path / download.suggested_filename)
            alphas[download.suggested_filename] = read_image(tmp_path / download.suggested_filename).rgb[..., 0] / 255
    assert set(alphas) == {f"astronaut{name}-alpha.png" for name in ("", "-astronaut", "-shuttle")}
    one, two = alphas["astronaut-astronaut-alpha.png"], alphas["astronaut-shuttle-alpha.png"]
    np.testing.assert_allclose(alphas["astronaut-alpha.png"], 1 - (1 - one) * (1 - two), atol=0.006)
    page.click("#objects button[data-part=show] >> nth=0")
    assert page.get_attribute("#objects button[data-part=show] >> nth=0", "aria-pressed") == "false"
    until(lambda: {tuple(colour) for colour in canvas(page, 210, 380, 230, 400).reshape(-1, 3).tolist()}
          <= {(255, 255, 255), (203, 208, 211)})
    page.click("#objects button[data-part=remove] >> nth=1")
    assert names.count() == 1
    page.keyboard.press("Control+z")
    assert names.count() == 2
    assert names.nth(1).input_value() == "shuttle"


def test_backgrounds_and_formats(page: Any, photo: Path, tmp_path: Path) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    asked(page, lambda: drag(page, DEMO_BOX))
    page.select_option("#ground", "colour")
    page.fill("#colour", "#2060a0")
    wall = canvas(page, 420, 150, 500, 200)
    np.testing.assert_array_equal(wall, np.broadcast_to([0x20, 0x60, 0xA0], wall.shape))
    path = saved(page, "#save-composite", tmp_path)
    assert path.name == "astronaut-composite.png"
    np.testing.assert_array_equal(read_image(path).rgb[160, 450], [0x20, 0x60, 0xA0])
    page.select_option("#ground", "blur")
    assert canvas(page, 420, 150, 500, 200).std() < 40
    blurred = read_image(saved(page, "#save-composite", tmp_path)).rgb
    shown = canvas(page, 440, 150, 500, 200).mean((0, 1))
    np.testing.assert_allclose(blurred[150:200, 440:500].mean((0, 1)), shown, atol=4)
    PIL.Image.new("RGB", (64, 64), (10, 200, 30)).save(tmp_path / "green.png")
    page.set_input_files("#ground-file", tmp_path / "green.png")
    page.select_option("#ground", "picture")
    page.set_input_files("#ground-file", tmp_path / "green.png")
    until(lambda: (canvas(page, 440, 150, 500, 200) == (10, 200, 30)).all())
    page.check("#compare")
    page.fill("#split", "1")
    until(lambda: (canvas(page, 440, 150, 500, 200) != (10, 200, 30)).any())
    shot(page, "11-compare")
    page.fill("#split", "0.5")
    page.check("#crop")
    for form, suffix, bits in (("png16", "png", 16), ("webp", "webp", 8), ("tiff16", "tif", 16)):
        page.select_option("#format", form)
        path = saved(page, "#save-cutout", tmp_path)
        assert path.suffix == "." + suffix
        cut = read_image(path)
        assert cut.bits == bits
        assert cut.alpha is not None
        assert cut.alpha[:, 0].max() > 0
        assert cut.width < 512


def test_copied_and_pasted(browser: Any, client: Client, photo: Path) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{client.endpoint.url}/#token={client.endpoint.token}")
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    asked(page, lambda: drag(page, DEMO_BOX))
    page.keyboard.press("Control+c")
    says(page, "Copied")
    page.keyboard.press("Control+v")
    says(page, "512 × 512 pixels. Mark the object")
    np.testing.assert_allclose(canvas(page, 210, 380, 230, 400)[..., 0].mean() > 100, True)
    context.close()


def test_marks_survive_a_reload_and_another_service(browser: Any, photo: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTING_ANYTHING_RUNTIME", str(tmp_path / "own"))
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    with in_a_process(tmp_path / "own") as (process, client):
        page.goto(f"{client.endpoint.url}/#token={client.endpoint.token}")
        page.set_input_files("#file", photo)
        says(page, "Mark the object")
        asked(page, lambda: drag(page, DEMO_BOX))
        asked(page, lambda: page.mouse.click(*place(page, 420, 40)))
        before, address = canvas(page, 0, 0, 512, 512), client.endpoint.url
        page.wait_for_timeout(1500)
        page.reload()
        says(page, "correct it, or download it")
        until(lambda: (canvas(page, 0, 0, 512, 512) == before).all())
        assert page.locator("#undo").is_enabled()
        client("POST", "/v1/shutdown")
        process.wait(600)
    with in_a_process(tmp_path / "own") as (_, client):
        assert client.endpoint.url == address, "the next service takes the port of the last one"
        page.close()
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.set_viewport_size({"width": 1100, "height": 900})
        page.goto(f"{client.endpoint.url}/#token={client.endpoint.token}")
        says(page, "correct it, or download it")
        until(lambda: (canvas(page, 0, 0, 512, 512) == before).all())
        again = asked(page, lambda: page.mouse.click(*place(page, 480, 300), button="right"))
        assert len(again["points"]) == 2
        assert saved(page, "#save-alpha", tmp_path).exists()
        page.click("#close")
        page.wait_for_timeout(1500)
        page.reload()
        sync_api.expect(page.locator("#service")).to_contain_text("lite", timeout=PATIENCE)
        assert page.locator("#drop").is_visible()
    context.close()


def test_several_pictures_marked_the_same_way(page: Any, photo: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    PIL.Image.open(photo).resize((256, 256)).save(small)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page.set_input_files("#file", [photo, small, tmp_path / "broken.png"])
    says(page, "Mark the object")
    asked(page, lambda: drag(page, DEMO_BOX))
    requests = Requests(page)
    page.click("#same")
    says(page, "Look through the pictures")
    np.testing.assert_allclose(requests.prompts[0]["box"], np.array(DEMO_BOX) / 2, atol=2)
    assert [text.strip() for text in page.locator("#files .state").all_inner_texts()] == ["✓", "✓", "!"]
    shot(page, "12-queue")
    page.click("#files button >> nth=1")
    says(page, "small.png: correct it")
    assert page.locator("#save-cutout").is_enabled()
    asked(page, lambda: page.mouse.click(*place(page, 110, 150)))


def test_with_keys_alone(page: Any, photo: Path) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    assert page.evaluate("document.activeElement.id") == "stage"
    for keys in (["ArrowLeft"] * 16, ["ArrowUp"] * 18, ["b"], ["ArrowRight"] * 26, ["ArrowDown"] * 36):
        for key in keys:
            page.keyboard.press(key)
    shot(page, "6-keys")
    page.keyboard.press("b")
    says(page, "Done")
    page.keyboard.press("Enter")
    says(page, "Done")
    page.keyboard.press("Backspace")
    assert page.locator("#redo").is_enabled()
    page.keyboard.press("Escape")
    assert page.locator("#clear").is_disabled()


def test_a_new_mark_takes_back_what_was_said_of_the_old_one(page: Any, photo: Path) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    drag(page, DEMO_BOX)
    says(page, "Done")
    page.route("**/mattes", lambda route: None)  # the service never hears of it
    page.focus("#stage")
    page.keyboard.press("Enter")
    assert page.locator("#message").inner_text() == "Starting …"
    page.keyboard.press("Escape")
    says(page, "Stopped")


def test_errors_are_told(page: Any, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page.set_input_files("#file", tmp_path / "broken.png")
    says(page, "cannot be read as a picture")
    assert page.locator("#message.wrong").count() == 1
    (tmp_path / "text.txt").write_text("x")
    page.set_input_files("#file", tmp_path / "text.txt")
    says(page, "expected a picture: PNG, JPEG")
    shot(page, "7-error")
    page.set_input_files("#file", photo)
    says(page, "Mark the object")


@pytest.mark.parametrize(("form", "suffix"), [("GIF", "gif"), ("BMP", "bmp"), ("TIFF", "tif"), ("JPEG2000", "jp2"),
                                              ("AVIF", "avif")])
def test_every_kind_of_file_that_the_service_reads(page: Any, form: str, suffix: str, tmp_path: Path) -> None:
    """Those that the browser cannot show as well."""
    path = tmp_path / f"photo.{suffix}"
    pixels = np.zeros((300, 512, 3), np.uint8)
    pixels[:, 256:] = 200, 60, 20
    PIL.Image.fromarray(pixels).save(path, form)
    sync_api.expect(page.locator("#service")).to_contain_text("lite", timeout=PATIENCE)
    page.set_input_files("#file", path)
    says(page, "512 × 300 pixels. Mark the object")
    np.testing.assert_allclose(canvas(page, 490, 140, 500, 150)[2, 2], (200, 60, 20), atol=12)


def test_sixteen_bits_are_shown(page: Any, tmp_path: Path) -> None:
    (tmp_path / "deep.tif").write_bytes(encode_image(np.full((40, 512, 3), 51400, np.uint16), "tiff", bits=16))
    sync_api.expect(page.locator("#service")).to_contain_text("lite", timeout=PATIENCE)
    page.set_input_files("#file", tmp_path / "deep.tif")
    says(page, "512 × 40 pixels")
    np.testing.assert_allclose(canvas(page, 100, 20, 110, 30), 200, atol=2)


def test_a_picture_that_the_service_forgot_is_uploaded_again(page: Any, photo: Path, client: Client) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    assert client("DELETE", f"/v1/images/{hashlib.sha256(photo.read_bytes()).hexdigest()}").status_code == 204
    drag(page, DEMO_BOX)
    says(page, "Done")


def test_a_newer_mark_cancels_the_older_one(page: Any, photo: Path, client: Client) -> None:
    page.set_input_files("#file", photo)
    says(page, "Mark the object")
    drag(page, DEMO_BOX)
    drag(page, (100, 60, 400, 500))
    says(page, "Done")
    until(lambda: client.status()["queue"] == {"running": 0, "waiting": 0, "limit": 16})


def test_without_the_token_it_says_what_to_do(browser: Any, client: Client) -> None:
    page = browser.new_context().new_page()
    page.goto(client.endpoint.url)
    says(page, "Open the address that matting-anything serve prints")
    page.close()


def test_the_token_does_not_stay_in_the_address(page: Any, client: Client) -> None:
    says(page, "^$")
    assert page.url == client.endpoint.url + "/"
    page.reload()
    sync_api.expect(page.locator("#service")).to_contain_text("lite", timeout=PATIENCE)


def test_another_site_cannot_use_the_service(browser: Any, client: Client, photo: Path) -> None:
    """A page of another origin, with the token even: its requests are refused, and it reads no answer."""
    page = browser.new_context().new_page()
    page.route("http://evil.example/", lambda route: route.fulfill(body="<h1>evil</h1>", content_type="text/html"))
    page.goto("http://evil.example/")
    result = page.evaluate(f"""async () => {{
        try {{ const r = await fetch("{client.endpoint.url}/v1/status",
            {{headers: {{Authorization: "Bearer {client.endpoint.token}"}}}}); return r.status }}
        catch (e) {{ return String(e) }} }}""")
    assert "Failed to fetch" in result
    page.close()


def test_a_service_that_stops_is_told(browser: Any, photo: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTING_ANYTHING_RUNTIME", str(tmp_path / "own"))
    with in_a_process(tmp_path / "own") as (process, client):
        page = browser.new_page()
        page.goto(f"{client.endpoint.url}/#token={client.endpoint.token}")
        page.set_input_files("#file", photo)
        says(page, "Mark the object")
        process.kill()
        process.wait()
        page.mouse.click(*place(page, 220, 300))
        says(page, "Start it again: matting-anything serve --open")
        page.close()
