"""What needs a page of its own: another language, a screen with finer pixels."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import SIZE, open_page
from page import workflow

pytestmark = pytest.mark.timeout(180)


def test_in_german(browser: Any, frontend: Any, renderer: str) -> None:
    with open_page(browser, frontend, renderer, locale="de") as german:
        german.load(workflow())
        german.wait_for_picture(*SIZE)
        assert "ziehe einen Rahmen" in german.status
        assert german.tool("undo").get_attribute("aria-label") == "Rückgängig (Strg+Z)"
        assert german.canvas.get_attribute("aria-label") == "Bild mit der Auswahl"
        german.click(100, 100, SIZE)
        assert german.status == "Objekt 1 von 1 · Punkt 100, 100: auf dem Objekt"


def test_on_a_screen_with_twice_the_pixels(browser: Any, frontend: Any, renderer: str) -> None:
    with open_page(browser, frontend, renderer, device_scale_factor=2) as fine:
        fine.load(workflow())
        fine.wait_for_picture(*SIZE)
        fine.click(250, 50, SIZE)
        ((x, y, _),) = fine.objects()[0]["points"]
        assert abs(x - 250) <= 1
        assert abs(y - 50) <= 1
        pixels, shown = fine.canvas.evaluate("canvas => [canvas.width, canvas.getBoundingClientRect().width]")
        assert pixels == pytest.approx(2 * shown, rel=0.01)
