"""The window's undo, and its requests: through the real service, in a thread, the newest one counting."""

from __future__ import annotations

import os
import queue
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import client
import numpy as np
import pytest
import service
from asking import Asker, Pixels
from client import ClientError
from editing import Editing, Result, State, packed
from marks import Mark

from matting_anything_core import Prompt, load_model, read_image
from matting_anything_core.assets import DEMO_BOX, demo_picture

pytestmark = pytest.mark.timeout(300)
BOX = Mark("box", (DEMO_BOX[:2], DEMO_BOX[2:]))


def result(*values: int, matte: str = "") -> Result:
    data, visible = packed([np.array(values, "<u2").tobytes()])
    return Result(matte, data, (len(values), 1), visible=visible)


def alpha(of: Result) -> np.ndarray:
    return np.frombuffer(b"".join(of.rows()), "<u2").reshape(of.size[::-1]) / 65535


def test_undo_and_redo_take_kept_results() -> None:
    editing, point = Editing(), Mark("point", ((3, 4),), 0)
    assert not editing.undo()
    editing.mark(BOX)
    first = editing.state
    assert first.prompt() == {"box": list(DEMO_BOX)}
    made = result(0, 65535, matte="one")
    assert editing.answered(first, made)
    assert editing.state.prompt() is None
    editing.mark(point)
    assert editing.state.base is made
    assert editing.state.prompt() == {"points": [(3, 4)], "labels": [0], "box": list(DEMO_BOX), "previous": True}
    late = editing.state
    assert editing.undo()
    assert editing.state.result is made
    assert editing.answered(late, result(7)), "an answer that comes late has its place"
    assert editing.redo()
    assert alpha(editing.state.shown)[0, 0] == pytest.approx(7 / 65535)
    editing.undo()
    editing.mark(BOX)
    assert not editing.answered(late, result(7))
    assert not editing.redo()


def test_a_result_keeps_its_numbers_however_it_is_cut() -> None:
    numbers = np.random.default_rng(1).integers(0, 65536, (37, 11), np.uint16)
    data, visible = packed([row.tobytes() for row in np.array_split(numbers, 5)])
    kept = Result("", data, (11, 37))
    assert visible == int((numbers >= 4096).sum())
    for strip in (1, 50, 1 << 20):
        rows = list(kept.rows(strip))
        assert all(len(part) % 22 == 0 for part in rows)
        np.testing.assert_array_equal(np.frombuffer(b"".join(rows), "<u2").reshape(37, 11), numbers)


class Window:
    """What a window does: it is told in its own thread."""

    def __init__(self, find: Callable[[client.Wait], client.Service] = service.find) -> None:
        self.picture = read_image(demo_picture()).rgb
        height, width, _ = self.picture.shape
        self.calls: queue.Queue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.Queue()
        self.found: list[client.Service] = []
        self.events: list[dict[str, Any]] = []
        strips = [part.tobytes() for part in np.array_split(self.picture, 4)]
        self.asker = Asker(find, Pixels(lambda: strips, width, height, 3, "u8"),
                           lambda work, *values: self.calls.put((work, values)), self.found.append)

    def until(self, got: list[Any], count: int = 1) -> Any:
        while len(got) < count:
            work, values = self.calls.get(timeout=120)
            work(*values)
        return got[-1]

    def ask(self, state: State) -> Any:
        got: list[Any] = []
        self.asker.ask(state, "lite", self.events.append, lambda _state, answer: got.append(answer))
        return self.until(got)


@pytest.fixture
def window() -> Iterator[Window]:
    one = Window()
    yield one
    one.asker.stop()


def test_marks_corrections_and_clean_colours_are_those_of_the_library(window: Window) -> None:
    model = load_model("lite", device="cpu")
    embedding = model.embed(window.picture)
    editing = Editing()
    editing.mark(BOX)
    made = window.ask(editing.state)
    wanted = model.matte(embedding, [Prompt(box=DEMO_BOX)])[0]
    assert np.abs(alpha(made) - wanted.alpha).max() < 1e-4
    assert {"encode", "matte"} <= {event.get("stage") for event in window.events}
    assert window.found[0].status["models"]
    editing.answered(editing.state, made)
    x, y = (int(side) for side in np.argwhere(alpha(made).T > 0.99)[50])
    editing.mark(Mark("point", ((x, y),), 0))
    better = window.ask(editing.state)
    assert alpha(better)[y, x] < 0.5
    window.found[0].forget(made.matte)
    again = window.ask(editing.state)  # the service has it no more: it is brought along, with eight bits
    assert np.abs(alpha(again) - alpha(better)).max() < 0.02
    window.found[0].forget(better.matte)
    colours: list[Any] = []
    window.asker.colours(made, "u8", colours.append)
    got = np.frombuffer(b"".join(window.until(colours)), np.uint8).reshape(window.picture.shape)
    soft = (wanted.alpha > 0.05) & (wanted.alpha < 0.95)
    assert np.abs(got / 255 - wanted.foreground)[soft].mean() < 0.01


def test_the_newest_request_counts(window: Window) -> None:
    got: list[Any] = []
    states = [State((Mark("box", ((10 + side, 10), (300, 300))),)) for side in range(5)]
    for state in states:
        window.asker.ask(state, "lite", window.events.append, lambda state, _answer: got.append(state))
    window.until(got)
    assert got == [states[-1]]


def test_a_service_that_dies_is_started_anew(window: Window) -> None:
    editing = Editing()
    editing.mark(BOX)
    editing.answered(editing.state, window.ask(editing.state))
    editing.mark(Mark("point", ((20, 20),), 0))
    os.kill(window.found[0].status["pid"], signal.SIGKILL)
    assert isinstance(window.ask(editing.state), Result)
    assert len(window.found) == 2


def test_errors_come_back_with_their_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MATTING_ANYTHING_PYTHON", str(tmp_path / "none"))
    window = Window()
    error = window.ask(State((BOX,)))
    assert isinstance(error, ClientError)
    assert "matting-anything install gimp" in str(error)
    monkeypatch.setenv("MATTING_ANYTHING_PYTHON", sys.executable)
    assert isinstance(window.ask(State((BOX,))), Result), "the next request may succeed"
    window.asker.stop()
