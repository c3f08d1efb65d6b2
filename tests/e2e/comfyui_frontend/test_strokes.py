"""Brush, lasso, the matte over the picture, frames of a batch and the button that runs it, in the real frontend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import QUARTERS, SIZE
from .page import EditorPage, workflow
from .test_editor import near

pytestmark = pytest.mark.timeout(180)


def with_matte(prompt: str = "") -> dict[str, Any]:
    """Load Image and a model, an editor, Matte, and a preview after it."""
    graph = workflow(prompt)
    load, editor = graph["nodes"]
    editor["outputs"] = [{"name": name, "type": kind, "links": links} for name, kind, links in (
        ("image", "IMAGE", [2]), ("prompt", "STRING", [3]), ("boxes", "BOUNDING_BOX", None),
        ("positive_coords", "STRING", None), ("negative_coords", "STRING", None), ("keep", "MASK", None),
        ("drop", "MASK", None))]
    model = {"id": 3, "type": "MattingAnythingLoadModel", "pos": [30, 460], "size": [280, 150], "flags": {}, "order": 1,
             "mode": 0, "inputs": [], "outputs": [{"name": "model", "type": "MATTING_MODEL", "links": [4]}],
             "properties": {}, "widgets_values": ["lite", "auto", "auto", "auto"]}
    matte = {"id": 4, "type": "MattingAnythingMatte", "pos": [880, 60], "size": [320, 420], "flags": {}, "order": 3,
             "mode": 0, "properties": {}, "widgets_values": [],
             "inputs": [{"name": "model", "type": "MATTING_MODEL", "link": 4},
                        {"name": "image", "type": "IMAGE", "link": 2}, {"name": "prompt", "type": "STRING", "link": 3}],
             "outputs": [{"name": "mask", "type": "MASK", "links": None},
                         {"name": "cutout", "type": "IMAGE", "links": [5]}]}
    shown = {"id": 5, "type": "PreviewImage", "pos": [1240, 60], "size": [200, 200], "flags": {}, "order": 4, "mode": 0,
             "inputs": [{"name": "images", "type": "IMAGE", "link": 5}], "outputs": [], "properties": {}}
    return graph | {"last_node_id": 5, "last_link_id": 5, "nodes": [load, editor, model, matte, shown], "links": [
        [1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 4, 1, "IMAGE"], [3, 2, 1, 4, 2, "STRING"], [4, 3, 0, 4, 0, "MATTING_MODEL"],
        [5, 4, 1, 5, 0, "IMAGE"]]}


@pytest.fixture
def ready(editor: EditorPage) -> EditorPage:
    editor.load(with_matte())
    editor.wait_for_picture(*SIZE)
    return editor


def test_brush_and_lasso(ready: EditorPage) -> None:
    ready.tool("brush").click()
    ready.drag((60, 60), (140, 60), SIZE)
    ready.page.keyboard.down("Shift")
    ready.drag((60, 120), (140, 120), SIZE)
    ready.page.keyboard.up("Shift")
    ready.page.keyboard.down("Alt")
    ready.drag((60, 140), (140, 140), SIZE)
    ready.page.keyboard.up("Alt")
    (only,) = ready.objects()
    assert [stroke["label"] for stroke in only["strokes"]] == [1, 0, 0]
    assert only["strokes"][0]["width"] == SIZE[0] / 40
    assert near(only["strokes"][0]["points"][0], [60, 60])
    assert near(only["strokes"][0]["points"][-1], [140, 60], 3)
    assert ready.prompt()["version"] == 2
    red, green, _ = ready.colour(100, 60, SIZE)
    assert green > 60, "the stroke is not drawn over the red quarter"
    assert red < 190
    ready.page.keyboard.press("l")
    corners = [(200, 40), (280, 40), (280, 100), (200, 100)]
    ready.page.mouse.move(*ready.at(*corners[0], SIZE))
    ready.page.mouse.down()
    for corner in corners[1:]:
        ready.page.mouse.move(*ready.at(*corner, SIZE), steps=4)
    ready.page.mouse.up()
    area = ready.objects()[0]["strokes"][3]
    assert (area["width"], area["label"]) == (0, 1)
    assert len(area["points"]) > 3
    ready.page.keyboard.press("Delete")
    ready.page.keyboard.press("Control+z")
    assert len(ready.objects()[0]["strokes"]) == 4
    ready.page.keyboard.press("v")
    ready.click(20, 20, SIZE)
    assert near(ready.objects()[0]["points"], [[20, 20, 1]])


def test_the_brush_has_sizes_and_escape_ends_a_stroke(ready: EditorPage) -> None:
    ready.tool("brush").click()
    ready.canvas.focus()
    for _ in range(4):
        ready.page.keyboard.press("]")
    ready.page.mouse.move(*ready.at(60, 60, SIZE))
    ready.page.mouse.down()
    ready.page.mouse.move(*ready.at(120, 60, SIZE), steps=3)
    ready.page.keyboard.press("Escape")
    ready.page.mouse.up()
    assert ready.text() == ""
    ready.drag((60, 60), (100, 60), SIZE)
    assert ready.objects()[0]["strokes"][0]["width"] > SIZE[0] / 40 * 2


def test_select_all_stays_inside(ready: EditorPage) -> None:
    ready.click(100, 100, SIZE)
    ready.page.keyboard.press("Control+a")
    ready.page.wait_for_timeout(200)
    assert ready.page.evaluate("Object.keys(window.app.canvas.selected_nodes ?? {}).length") <= 1
    ready.page.keyboard.press("Delete")
    assert ready.page.evaluate("window.app.graph._nodes.length") == 5
    assert ready.objects() == []


def test_the_zoom_follows_a_resized_node(ready: EditorPage) -> None:
    place = ready.page.locator(".mae-place", has_text="×").first
    before = place.inner_text()
    ready.page.evaluate("""() => {
        window.app.graph.getNodeById(2).setSize([700, 760]);
        window.app.canvas.setDirty(true, true);
    }""")
    ready.page.wait_for_function(
        "old => ![...document.querySelectorAll('.mae-place')].some(e => e.textContent === old)", arg=before)


def test_the_matte_of_a_run_is_over_the_picture(ready: EditorPage, frontend: Any, files: Path) -> None:
    matte = Image.new("L", (160, 120), 255)
    matte.paste(0, (80, 0, 160, 120))
    matte.save(files / "temp" / "matte.png")
    file = {"filename": "matte.png", "subfolder": "", "type": "temp", "width": SIZE[0], "height": SIZE[1], "index": 0}
    assert ready.tool("matte").is_disabled()
    frontend.send("executed", {"node": "4", "display_node": "4", "prompt_id": "1",
                               "output": {"matting_anything_matte": [file], "matting_anything_warning": []}})
    ready.page.wait_for_function("document.querySelector('.mae-button[data-tool=matte]').disabled === false")
    ready.page.wait_for_timeout(300)
    assert near(list(ready.colour(80, 60, SIZE)), list(QUARTERS[(80, 60)]), 12)
    assert max(ready.colour(240, 60, SIZE)) < 75, "what is not the object is not darkened"
    ready.tool("matte").click()
    ready.page.wait_for_timeout(200)
    assert near(list(ready.colour(240, 60, SIZE)), list(QUARTERS[(240, 60)]), 12)
    choose = ("() => { window.app.graph.getNodeById(1).widgets.find(w => w.name === 'image').value = "
              "'sub folder/square.png'; }")
    ready.tool("matte").click()
    ready.page.evaluate(choose)
    ready.wait_for_picture(480, 480)
    assert ready.tool("matte").is_disabled(), "another picture's matte is shown"


def test_the_button_runs_what_the_matte_needs_and_no_more(ready: EditorPage, frontend: Any) -> None:
    ready.click(100, 100, SIZE)
    frontend.queued.clear()
    ready.tool("run").click()
    for _ in range(50):
        if frontend.queued:
            break
        ready.page.wait_for_timeout(100)
    [sent] = frontend.queued
    kinds = sorted(node["class_type"] for node in sent["prompt"].values())
    assert kinds == ["LoadImage", "MaskToImage", "MattingAnythingLoadModel", "MattingAnythingMatte",
                     "MattingAnythingPromptEditor", "PreviewImage"]
    assert "5" not in sent["prompt"]
    assert sent["prompt"]["2"]["inputs"]["prompt"] == ready.text()
    assert ready.tool("run").is_disabled()
    frontend.send("execution_success", {"prompt_id": "1", "timestamp": 0})
    ready.page.wait_for_function("!document.querySelector('.mae-button[data-tool=run]').disabled")


def test_frames_of_a_batch_have_a_slider(ready: EditorPage, frontend: Any) -> None:
    def frame(name: str, index: int) -> dict[str, Any]:
        return {"filename": name, "subfolder": "", "type": "temp", "width": 640, "height": 480, "index": index}

    Image.new("RGB", (160, 120), (200, 200, 0)).save(frontend.files / "temp" / "second.png")
    slider = ready.page.locator(".mae-foot input[type=range]").first
    assert slider.is_hidden()
    frontend.send("executed", {"node": "2", "display_node": "2", "prompt_id": "1",
                               "output": {"matting_anything_picture": [frame("run.png", 0), frame("second.png", 9)]}})
    ready.wait_for_picture(640, 480)
    slider.wait_for(state="visible")
    slider.fill("1")
    ready.page.wait_for_timeout(400)
    assert near(list(ready.colour(160, 120, (640, 480))), [200, 200, 0], 12)
    assert ready.page.locator(".mae-foot output").first.inner_text() == "10"
    ready.page.wait_for_timeout(900)  # the look at the graph does not go back to the first one
    assert near(list(ready.colour(160, 120, (640, 480))), [200, 200, 0], 12)


def test_a_warning_ends_with_its_cause(ready: EditorPage, frontend: Any) -> None:
    count = "window.app.graph.getNodeById(4).widgets.filter(w => w.name === '$$node-text-preview').length"
    ready.page.evaluate("""() => {
        window.app.graph.getNodeById(4).addWidget("text", "$$node-text-preview", "nothing is marked", () => {});
    }""")
    for warning, left in (["nothing is marked"], 1), ([], 0):
        frontend.send("executed", {"node": "4", "display_node": "4", "prompt_id": "1",
                                   "output": {"matting_anything_warning": warning}})
        ready.page.wait_for_timeout(300)
        assert ready.page.evaluate(count) == left


def test_models_that_are_not_there_are_named_so(ready: EditorPage) -> None:
    label = "name => window.app.graph.getNodeById(3).widgets.find(w => w.name === 'model').options.getOptionLabel(name)"
    assert ready.page.evaluate(label, "vit_b") == "vit_b (not there yet)"
    assert ready.page.evaluate(label, "lite") == "lite"
