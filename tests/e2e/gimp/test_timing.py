"""How long a call takes once the service is warm, against the first one: a ratio of times of one run."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import pytest

from .session import HERE, Session, results

pytestmark = pytest.mark.timeout(600)


def test_the_second_call_takes_a_quarter_of_the_first_at_most(new_session: Callable[[str], Session]) -> None:
    session = new_session("timing")
    finished = session.run(HERE / "timing.py")
    assert finished.status == 0, finished.errors
    seconds = results(session)["seconds"]
    ratio = median(seconds["again"]) / seconds["first"]
    print(f"first call {seconds['first']:.2f} s, again {median(seconds['again']):.2f} s ({ratio:.3f}x), "
          f"another picture once warm {seconds['other']:.2f} s")
    assert ratio <= 0.25
