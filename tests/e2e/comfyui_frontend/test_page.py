"""What needs a page of its own: another language, a screen with finer pixels."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import SIZE, open_page
from .page import workflow

pytestmark = pytest.mark.timeout(180)


def test_in_french(browser: Any, frontend: Any, renderer: str) -> None:
    with open_page(browser, frontend, renderer, locale="fr") as french:
        french.load(workflow())
        french.wait_for_picture(*SIZE)
        assert "tracez un cadre" in french.status
        assert french.tool("undo").get_attribute("aria-label") == "Annuler (Ctrl+Z)"
        assert french.canvas.get_attribute("aria-label") == "Image avec la sélection"
        french.click(100, 100, SIZE)
        assert french.status == "Objet 1 sur 1 · Point 100, 100 : sur l’objet"


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
